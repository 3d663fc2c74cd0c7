package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"stompserver/internal/client"
)

func TestDialErrorIsPlain(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		name      string
		err       error
		connected bool
		want      string
	}{
		{"no such host", dial(&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), false, "there is no such host"},
		{"no name server", dial(&net.DNSError{Err: "server misbehaving", Name: "h", Server: "10.0.0.1:53"}), false, "the name of the host cannot be looked up"},
		{"late", dial(context.DeadlineExceeded), false, "no answer in time"},
		{"late by the socket's clock", dial(os.ErrDeadlineExceeded), false, "no answer in time"},
		{"no welcome in time", fmt.Errorf("no CONNECTED: %w", context.DeadlineExceeded), true, "it took the connection and did not answer in time"},
		{"closed", io.EOF, true, "it closed the connection without an answer"},
		{"closed within a frame", io.ErrUnexpectedEOF, true, "it closed the connection without an answer"},
		{"another protocol", errors.New("this is not STOMP"), true, "this is not STOMP"},
	} {
		err := &client.DialError{Address: "h:61613", Connected: tt.connected, Err: tt.err}
		if got, want := err.Error(), "cannot reach h:61613: "+tt.want; got != want {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}

func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	_, err = client.Dial(t.Context(), "stomp://"+at, client.Options{})
	if want := "cannot reach " + at + ": connection refused"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
