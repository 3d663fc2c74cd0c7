package session_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/internal/session"
	"stompserver/test/certificate"
)

// ask says something to c and returns all that is answered.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, text)
	answer, _ := io.ReadAll(c)
	return string(answer)
}

func serve(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate.Make(t, "localhost")}}
}

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// TestTooManyInWhatTheySpeak: who is one too many is told so in what it speaks.
func TestTooManyInWhatTheySpeak(t *testing.T) {
	t.Run("in all", func(t *testing.T) {
		tooMany(t, session.Limits{Connections: 1}, "limits.connections: 1", "127.0.0.0/8")
	})
	t.Run("of an address", func(t *testing.T) {
		tooMany(t, session.Limits{ConnectionsPerAddress: 1}, "limits.connections_per_address: 1", "192.0.2.0/24")
	})
}

func tooMany(t *testing.T, limits session.Limits, limit, trusted string) {
	s := newPort(t, session.Config{Limits: limits}, &session.Port{TLS: serve(t), Trusted: []netip.Prefix{netip.MustParsePrefix(trusted)}})
	first := s.dial(t)
	first.Connect("1.2")
	plain := func() net.Conn {
		c, err := net.Dial("tcp", s.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	secure := func() net.Conn {
		c, err := tls.Dial("tcp", s.ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	connect := "CONNECT\naccept-version:1.2\n\n\x00"
	for _, row := range []struct {
		name string
		dial func() net.Conn
		says string
		http bool
	}{
		{"STOMP", plain, connect, false},
		{"STOMP within TLS", secure, connect, false},
		{"STOMP behind a proxy", plain, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n" + connect, false},
		{"a WebSocket", plain, upgradeRequest, true},
		{"a WebSocket within TLS", secure, upgradeRequest, true},
		{"HTTP", plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"nothing", plain, "", false},
		{"nothing within TLS", secure, "", false},
		{"a long head", plain, "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 20<<10), true},
	} {
		if strings.HasPrefix(row.says, "PROXY") && trusted != "127.0.0.0/8" {
			continue // it is refused for that
		}
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := ask(t, row.dial(), row.says)
			if !row.http {
				if !strings.HasPrefix(got, "ERROR\n") || !strings.Contains(got, "error-code:limit-reached\n") || !strings.Contains(got, limit) {
					t.Errorf("the answer is %q", got)
				}
				return
			}
			r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				t.Fatalf("%v: %q", err, got)
			}
			if row.name == "a long head" {
				if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
					t.Errorf("the answer is %q", got)
				}
				return
			}
			if text, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || !bytes.Contains(text, []byte(limit)) {
				t.Errorf("the answer is %q", got)
			}
		})
	}
	t.Cleanup(first.Nothing)
}

// TestTooManyByFar: of a flood each is told something, and none keeps the server busy.
func TestTooManyByFar(t *testing.T) {
	s := newPort(t, session.Config{Limits: session.Limits{Connections: 1}}, &session.Port{TLS: serve(t)})
	first := s.dial(t)
	first.Connect("1.2")
	var wg sync.WaitGroup
	for i := range 200 {
		c, err := net.Dial("tcp", s.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		says := []string{"", "\x16\x03\x01\x02\x00", "GET / HTTP/1.1\r\n", "CONN"}[i%4] // and then silence
		wg.Go(func() { ask(t, c, says) })
	}
	began := time.Now()
	wg.Wait()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v to be rid of them", took)
	}
	first.Nothing()
	first.Send("DISCONNECT\nreceipt:1\n\n^@")
	first.Expect("RECEIPT\nreceipt-id:1\n")
}
