package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the stompserver command too, found in PATH.
func TestMain(m *testing.M) {
	// A process under the race detector would wait a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"stompserver": main})
}

// TestScripts runs the command from outside: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Defer(func() { killDaemon(filepath.Join(e.WorkDir, "run", "log", "stompserver.pid")) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// exits CODE COMMAND ARG... runs a command that must end with that code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"ends": ends,
			// damage DIR changes one byte of a message with the header type:x.
			"damage": func(ts *testscript.TestScript, _ bool, args []string) {
				files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
				ts.Check(err)
				for _, file := range files {
					b, err := os.ReadFile(file)
					ts.Check(err)
					if i := bytes.Index(b, []byte("type:x")); i >= 0 {
						b[i] ^= 1
						ts.Check(os.WriteFile(file, b, 0o600))
						return
					}
				}
				ts.Fatalf("no such message")
			},
		},
	})
}

// killDaemon ends what a script that failed has left running.
func killDaemon(pidFile string) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(string(text)); err == nil {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{usageError("x"), 2},
		{fmt.Errorf("a: %w", &exitError{exitRefused, errors.New("x")}), 77},
		{context.Canceled, 130},
		{fmt.Errorf("a: %w", context.Canceled), 130},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: code %d, want %d", tt.err, got, tt.want)
		}
	}
}

// Every command that a sub-command's file brings is in the tree, with a line of help.
func TestCommandsHaveHelp(t *testing.T) {
	root := newRootCommand(&globals{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	for _, c := range root.Commands() {
		if c.Short == "" {
			t.Errorf("%s has no help", c.Name())
		}
	}
}
