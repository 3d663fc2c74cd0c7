package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/process"
)

// TestDescriptors has the server run out of file descriptors under clients who send to many
// queues: it tells them, lives on, works again when there are some, and what it confirmed is
// there after a kill.
func TestDescriptors(t *testing.T) {
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, dir, queue)
			confirmed := make(map[string]bool)
			send := func(c *client.Conn, n int, size int) (failed error) {
				for i := range n {
					dest := fmt.Sprintf("/queue/q%d", i%7)
					body := fmt.Appendf(nil, "%s %d", dest, len(confirmed))
					body = append(body, bytes.Repeat([]byte{'.'}, size)...)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					err := c.SendConfirmed(ctx, dest, nil, body)
					cancel()
					if err != nil {
						return err
					}
					confirmed[string(body)] = true
				}
				return nil
			}
			first := dial(t, s)
			if err := send(first, 20, 10); err != nil {
				t.Fatal(err)
			}
			// The client that sends is there already; the others take what is left.
			all := limitFiles(t, s, len(openOf(t, s))+5)
			var idle []net.Conn
			for range 40 {
				if c, err := net.DialTimeout("tcp", s.Addr(), 5*time.Second); err == nil {
					idle = append(idle, c)
				}
			}
			// Large bodies have logs and databases open files too.
			err := send(first, 40, 1<<20)
			var told *client.ServerError
			if err != nil && !errors.As(err, &told) {
				t.Errorf("the client got %v, and no ERROR", err)
			}
			t.Logf("%d confirmed, then %v", len(confirmed), err)
			if !s.Alive() {
				t.Fatalf("the server died: %s", s.Log())
			}
			for _, c := range idle {
				c.Close()
			}
			setFiles(t, s, all)
			if err := again(t, s, func(c *client.Conn) error { return send(c, 10, 10) }); err != nil {
				t.Fatalf("with descriptors again: %v\n%s", err, s.Log())
			}
			s.Kill(t)
			s = start(t, dir, queue)
			c := dial(t, s)
			for i := range 7 {
				dest := fmt.Sprintf("/queue/q%d", i)
				for _, body := range drain(t, c, dest) {
					delete(confirmed, body)
				}
			}
			if len(confirmed) > 0 {
				t.Errorf("%d confirmed messages are lost", len(confirmed))
			}
		})
	}
}

// TestStopWithoutDescriptors stops the server while it waits for a descriptor.
func TestStopWithoutDescriptors(t *testing.T) {
	s := start(t, t.TempDir(), "journal") // ended with the test, which fails if it does not end well
	limitFiles(t, s, len(openOf(t, s))+2)
	for range 10 {
		c, err := net.DialTimeout("tcp", s.Addr(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(s.Log(), "accept failed"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there were descriptors")
		}
	}
}

// again has a new client do f until it succeeds, since a pause for descriptors may be going on.
func again(t *testing.T, s *process.Server, f func(*client.Conn) error) (err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if err = f(dial(t, s)); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // between tries
	}
	return err
}

// drain returns the bodies of a queue, up to the mark that it puts behind them.
func drain(t *testing.T, c *client.Conn, dest string) (bodies []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.SendConfirmed(ctx, dest, frame.Header{}, []byte("end")); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(ctx, dest, client.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Body) == "end" {
			return bodies
		}
		bodies = append(bodies, string(m.Body))
	}
}

func openOf(t *testing.T, s *process.Server) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// limitFiles lets the server have n files open, and returns how many it could.
func limitFiles(t *testing.T, s *process.Server, n int) (before uint64) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(s.PID, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	setFiles(t, s, uint64(n))
	return old.Cur
}

func setFiles(t *testing.T, s *process.Server, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Prlimit(s.PID, unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur = n
	if err := unix.Prlimit(s.PID, unix.RLIMIT_NOFILE, &lim, nil); err != nil {
		t.Fatal(err)
	}
}
