package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
		{"untrusted", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false, "its certificate is signed by nobody who is trusted here"},
		{"another's certificate", x509.HostnameError{Host: "h", Certificate: &x509.Certificate{DNSNames: []string{"a", "b"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}}, false, "its certificate is not for h: it is for a, b, 192.0.2.1"},
		{"certificate of the past", x509.CertificateInvalidError{Reason: x509.Expired}, false, "its certificate has expired, or is not valid yet"},
	} {
		err := &client.DialError{Address: "h:61613", Connected: tt.connected, Err: tt.err}
		if got, want := err.Error(), "cannot reach h:61613: "+tt.want; got != want {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}

// TestDialWithoutTLS begins TLS with servers that speak none: one that answers in its own words, and
// one that knows a hello.
func TestDialWithoutTLS(t *testing.T) {
	for name, answer := range map[string]string{"words": "HTTP/1.1 400 Bad Request\r\n\r\n", "alert": "\x15\x03\x01\x00\x02\x02\x28"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 5))
				_, _ = io.WriteString(c, answer)
				_, _ = io.Copy(io.Discard, c)
			}()
			at := l.Addr().String()
			_, err = client.Dial(t.Context(), "stomps://"+at, client.Options{})
			if want := "cannot reach " + at + ": it does not speak TLS there"; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
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
