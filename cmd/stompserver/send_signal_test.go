//go:build unix

package main

import (
	"bytes"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"stompserver/internal/client"
)

// The signals of a terminal and of a service manager end a send whose standard input is a
// pipe that stays open.
func TestSendEndsAtSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			r := startServer(t, nil)
			c, err := client.Dial(t.Context(), "stomp://"+r.addr, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("stompserver", "send", "/queue/a", "--lines", "--server", "stomp://"+r.addr)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
			if _, err := io.WriteString(stdin, "one\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || stdout.String() != "sent 3 bytes to /queue/a\n" {
				t.Errorf("exit code %d, stdout %q", code, stdout.String())
			}
		})
	}
}
