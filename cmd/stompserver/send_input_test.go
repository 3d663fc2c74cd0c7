package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"stompserver"
	"stompserver/internal/client"
)

// An interrupt ends a send that waits for more input, and what it says it has sent was
// taken by the server.
func TestSendInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name, args, in string
		stdout         string
		arrives        []string
	}{
		{name: "a body", args: "send|/queue/a", in: "half of it"},
		{name: "a body for an answer", args: "send|/queue/a|--reply", in: "half of it"},
		{name: "lines", args: "send|/queue/a|--lines", in: "one\ntwo\nthr", stdout: "sent 2 messages, 6 bytes to /queue/a\n", arrives: []string{"one", "two"}},
		{name: "no line yet", args: "send|/queue/a|--lines", in: "on"},
		{name: "lines, as JSON", args: "send|/queue/a|--lines|--json", in: "one\n", stdout: `{"destination":"/queue/a","messages":1,"bytes":3}` + "\n", arrives: []string{"one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broker(t, stompserver.Config{})
			stdin, typed := io.Pipe()
			defer typed.Close()
			var stdout, stderr bytes.Buffer
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			g := &globals{Stdin: stdin, Stdout: &stdout, Stderr: &stderr}
			code := make(chan int, 1)
			go func() { code <- run(ctx, g, strings.Split(tt.args, "|")) }()
			if _, err := io.WriteString(typed, tt.in); err != nil { // read when it returns
				t.Fatal(err)
			}

			c, err := client.Dial(t.Context(), os.Getenv("STOMPSERVER_URL"), client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.arrives {
				m, err := sub.Next(t.Context())
				if err != nil || string(m.Body) != want {
					t.Fatalf("message %q, %v; want %q", m.Body, err, want)
				}
			}
			interrupt()
			if got := <-code; got != exitInterrupted {
				t.Errorf("exit code %d, want %d: %s", got, exitInterrupted, stderr.String())
			}
			if stdout.String() != tt.stdout || stderr.Len() > 0 {
				t.Errorf("stdout %q, want %q; stderr %q", stdout.String(), tt.stdout, stderr.String())
			}
		})
	}
}

// A server that neither reads nor confirms anything holds an interrupted send for a moment
// only, and nothing is said to be sent.
func TestSendInterruptedAtSilentServer(t *testing.T) {
	for _, args := range []string{"send|/queue/a|--lines", "send|/queue/a|x"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		connected := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString(0)
			_, _ = io.WriteString(c, "CONNECTED\nversion:1.2\n\n\x00")
			connected <- c
		}()
		clearEnv(t)
		var stdout, stderr bytes.Buffer
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		g := &globals{Stdin: endless(strings.Repeat("x", 1<<15) + "\n"), Stdout: &stdout, Stderr: &stderr}
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, g, append(strings.Split(args, "|"), "--timeout", "2s", "--server", "stomp://"+l.Addr().String()))
		}()
		defer (<-connected).Close()
		interrupt()
		if got := <-code; got != exitInterrupted || stdout.Len() > 0 || stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", args, got, exitInterrupted, stdout.String(), stderr.String())
		}
	}
}

// endless repeats itself.
type endless string

func (e endless) Read(b []byte) (int, error) { return copy(b, e), nil }

// A promptReader hands on what there is, in any portions, and then the end or the error.
func TestPromptReader(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10, 200_000} {
		want := bytes.Repeat([]byte("x"), size)
		got, err := io.ReadAll(newPromptReader(t.Context(), bytes.NewReader(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("abc")); w.CloseWithError(io.ErrClosedPipe) }()
	if got, err := io.ReadAll(newPromptReader(t.Context(), r)); string(got) != "abc" || err != io.ErrClosedPipe {
		t.Errorf("%q, %v", got, err)
	}
}
