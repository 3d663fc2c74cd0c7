package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"stompserver/internal/transport"
)

// TestTurns: a handshake has its turn while it computes and none while it waits for its client, and
// gives it back when it is given up.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(transport.Turns, 1)
		ctx, cancel := context.WithCancel(t.Context())
		near, far := net.Pipe()
		one := &transport.Handshake{Conn: near, Turns: turns}
		if err := one.Begin(ctx); err != nil {
			t.Fatal(err)
		}
		two := &transport.Handshake{Turns: turns}
		begun := make(chan error, 1)
		go func() { begun <- two.Begin(t.Context()) }()
		synctest.Wait()
		if len(begun) > 0 {
			t.Fatal("two have a turn")
		}
		read := make(chan error, 1)
		go func() {
			_, err := one.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		if len(begun) == 0 {
			t.Fatal("who waits for its client keeps its turn")
		}
		if _, err := io.WriteString(far, "x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(read) > 0 {
			t.Error("it goes on without a turn")
		}
		cancel()
		if err := <-read; !errors.Is(err, context.Canceled) {
			t.Errorf("given up with %v", err)
		}
		one.End() // there is none to give back
		two.End()
		if len(turns) > 0 {
			t.Error("a turn is not given back")
		}
		three := &transport.Handshake{Conn: far, Turns: turns}
		if err := three.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		three.End()
		go func() { _, _ = io.WriteString(near, "y") }()
		if b := make([]byte, 1); true {
			if _, err := three.Read(b); err != nil || b[0] != 'y' {
				t.Errorf("after the handshake: %q, %v", b, err)
			}
		}
	})
}
