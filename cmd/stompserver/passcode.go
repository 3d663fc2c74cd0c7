package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
)

// maxPasscode is the longest passcode that is read, in bytes.
const maxPasscode = 4096

// newPasscode asks for a passcode to be set: twice on a terminal, where nobody sees what
// is typed.
func (p *passwdCommand) newPasscode(prompt string) (string, error) {
	first, err := p.askPasscode(prompt)
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", &exitError{exitFailed, errors.New("a passcode must not be empty. Nothing was changed")}
	case p.stdin:
		return first, nil
	}
	second, err := p.askPasscode("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", &exitError{exitFailed, errors.New("the two passcodes differ. Nothing was changed")}
	}
	return first, nil
}

// askPasscode reads a passcode once: with --stdin a line of standard input, else from the
// terminal, without echo.
func (p *passwdCommand) askPasscode(prompt string) (string, error) {
	if p.stdin {
		return readLine(p.g.Stdin)
	}
	tty, ok := p.g.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return "", usageError("standard input is no terminal to ask for the passcode on: pipe it in, with --stdin")
	}
	fmt.Fprint(p.g.Stderr, prompt)
	defer fmt.Fprintln(p.g.Stderr)
	return readSilently(tty)
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasscode+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", &exitError{exitIO, fmt.Errorf("standard input: %w", err)}
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if len(line) > maxPasscode {
		return "", &exitError{exitFailed, fmt.Errorf("a passcode must not be longer than %d bytes", maxPasscode)}
	}
	return line, nil
}

// readSilently reads a line from a terminal with echo off. Ctrl-C turns echo on again
// before the program ends.
func readSilently(tty *os.File) (string, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", &exitError{exitIO, fmt.Errorf("terminal: %w", err)}
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	defer signal.Stop(interrupt)

	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // after Ctrl-C it ends with the program
		line, err := term.ReadPassword(fd)
		got <- answer{line, err}
	}()
	select {
	case <-interrupt:
		term.Restore(fd, state)
		return "", &exitError{exitInterrupted, nil}
	case a := <-got:
		switch {
		case errors.Is(a.err, io.EOF):
			return "", &exitError{exitFailed, errors.New("no passcode was given. Nothing was changed")}
		case a.err != nil:
			return "", &exitError{exitIO, fmt.Errorf("terminal: %w", a.err)}
		case len(a.line) > maxPasscode:
			return "", &exitError{exitFailed, fmt.Errorf("a passcode must not be longer than %d bytes", maxPasscode)}
		}
		return string(a.line), nil
	}
}
