package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stompserver"
)

// openTerminal returns the two ends of a terminal: what a person types and sees, and what
// a program has as its standard input.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// echo reports whether the terminal shows what is typed.
func echo(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestPasscodeOnTerminal(t *testing.T) {
	tests := []struct {
		name          string
		first, second string
		want          int
	}{
		{"the same twice", "sesame", "sesame", exitOK},
		{"different", "sesame", "sesam", exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			person, program := openTerminal(t)
			path := filepath.Join(t.TempDir(), ".passwd")
			prompts, stderr := io.Pipe()
			var stdout bytes.Buffer
			g := &globals{Stdin: program, Stdout: &stdout, Stderr: stderr}
			code := make(chan int, 1)
			go func() {
				code <- run(t.Context(), g, []string{"passwd", "add", "app", "--file", path})
				stderr.Close()
			}()
			for _, step := range []struct{ prompt, typed string }{
				{"New passcode of app: ", tt.first}, {"\nAgain: ", tt.second},
			} {
				got := make([]byte, len(step.prompt))
				if _, err := io.ReadFull(prompts, got); err != nil || string(got) != step.prompt {
					t.Fatalf("prompt is %q, %v; want %q", got, err, step.prompt)
				}
				for echo(t, program) {
					runtime.Gosched() // the prompt comes a moment before
				}
				if _, err := person.WriteString(step.typed + "\n"); err != nil {
					t.Fatal(err)
				}
			}
			rest, err := io.ReadAll(prompts)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-code; got != tt.want {
				t.Fatalf("exit code is %d, want %d: %s", got, tt.want, rest)
			}
			if !echo(t, program) {
				t.Error("the terminal is left without echo")
			}
			if tt.want != exitOK {
				if _, err := os.Stat(path); err == nil {
					t.Error("a file was made")
				}
				return
			}
			wantLogin(t, path, "app", tt.first, true)
		})
	}
}

// A send that waits for what is typed says so, unless it is to be quiet.
func TestSendFromTerminal(t *testing.T) {
	for _, tt := range []struct{ name, args, stderr string }{
		{"a body", "send|/queue/a", "reading the body from the terminal, end it with Ctrl-D\n"},
		{"lines", "send|/queue/a|--lines", "reading lines from the terminal, end them with Ctrl-D\n"},
		{"quiet", "send|/queue/a|--quiet", ""},
		{"nothing to read", "send|/queue/a|hi", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broker(t, stompserver.Config{})
			person, program := openTerminal(t)
			if _, err := person.WriteString("hi\n\x04"); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			g := &globals{Stdin: program, Stdout: &stdout, Stderr: &stderr}
			if code := run(t.Context(), g, strings.Split(tt.args, "|")); code != exitOK || stderr.String() != tt.stderr {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr.String(), tt.stderr)
			}
		})
	}
}
