package session_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stompserver/internal/session"
	"stompserver/test/certificate"
	"stompserver/test/transcript"
	"stompserver/test/webclient"
)

// TestNoLoginWithinEachWrapping: who begins something and does not end it is gone after
// limits.login_timeout, however STOMP would be wrapped.
func TestNoLoginWithinEachWrapping(t *testing.T) {
	cert := &tls.Config{Certificates: []tls.Certificate{certificate.Make(t, "localhost")}}
	s := newPort(t, session.Config{Limits: session.Limits{LoginTimeout: 300 * time.Millisecond}}, &session.Port{
		TLS: cert, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	for name, begin := range map[string]string{
		"nothing":                "",
		"half a verb":            "GE",
		"half a head":            "GET / HTTP/1.1\r\nHost: x\r\n",
		"half a TLS hello":       "\x16\x03\x01\x00\xc8\x01\x00",
		"half a PROXY header":    "PROXY TCP4 192.0.2.7",
		"half a PROXY header, 2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01",
		"a PROXY header":         "PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n",
		"half a WebSocket frame": "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82",
		"half a STOMP frame":     "CONNECT\naccept",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := s.tcp()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(transcript.Patience))
			_, _ = io.WriteString(c, begin)
			if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection does not end: %v", err)
			}
		})
	}
}

// TestTooMuchBeforeTheLogin: what comes before the login is bounded within a WebSocket too, in
// however many frames, and compressed.
func TestTooMuchBeforeTheLogin(t *testing.T) {
	s := newPort(t, session.Config{}, &session.Port{})
	huge := append([]byte("CONNECT\naccept-version:1.2\nx:"), bytes.Repeat([]byte("x"), 8<<20)...)
	for _, test := range []struct {
		name string
		o    webclient.Options
	}{
		{"in one message", webclient.Options{}},
		{"in many parts", webclient.Options{Part: 1000}},
		{"compressed, of 8 MiB", webclient.Options{Deflate: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := s.web(t, test.o)
			go func() { _, _ = w.Write(huge) }() // ends with the connection
			text := ""
			for {
				_, p, err := w.Message()
				if err != nil {
					break
				}
				text += string(p)
			}
			code := 0
			if len(w.Closed) >= 2 {
				code = int(binary.BigEndian.Uint16(w.Closed))
			}
			if code != 1009 {
				t.Errorf("got %.200q, closed with %d", text, code)
			}
		})
	}
}

// TestPingsWithoutReading: who sends pings and does not read the pongs is not read in the end.
func TestPingsWithoutReading(t *testing.T) {
	s := newPort(t, session.Config{Limits: session.Limits{Outbox: 64 << 10}}, &session.Port{})
	w := s.web(t, webclient.Options{})
	connectWeb(t, w)
	ping := bytes.Repeat([]byte("\x89\xfd\x00\x00\x00\x00"+strings.Repeat("x", 125)), 1000)
	_ = w.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent := 0
	for sent < 256<<20 {
		n, err := w.Conn.Write(ping)
		sent += n
		if err != nil {
			break
		}
	}
	if sent >= 256<<20 {
		t.Fatalf("%d MiB of pings were taken, and nothing was read", sent>>20)
	}
	// And it goes on once the client reads.
	_ = w.Conn.SetDeadline(time.Now().Add(transcript.Patience))
	for range 1000 {
		if op, _, err := w.Message(); err != nil || op != 10 {
			t.Fatalf("got opcode %d, %v", op, err)
		}
	}
}
