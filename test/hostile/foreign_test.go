package hostile_test

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHTTP: the answer is one that a browser or curl shows, and says what this port is.
func TestHTTP(t *testing.T) {
	s := start(t)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		t.Run(method, func(t *testing.T) {
			req, err := http.NewRequest(method, "http://"+s.Addr()+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Errorf("reading the body: %v", err)
			}
			if resp.StatusCode != http.StatusBadRequest || method != "HEAD" && !strings.Contains(string(body), "STOMP") {
				t.Errorf("got %s with the text %q, want 400 and a hint at STOMP", resp.Status, body)
			}
		})
	}

	t.Run("byte by byte", func(t *testing.T) {
		c := dial(t, s)
		for _, b := range []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") {
			c.pour([]byte{b}, 1)
		}
		c.SetReadDeadline(time.Now().Add(wait))
		answer, _ := io.ReadAll(c.r)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("got %q, want HTTP/1.1 400", answer)
		}
	})
}

// TestTLS: without a certificate the client is told so in its own protocol.
func TestTLS(t *testing.T) {
	s := start(t)
	t.Run("handshake", func(t *testing.T) {
		raw := dial(t, s)
		raw.SetDeadline(time.Now().Add(wait))
		err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake()
		var alert *net.OpError
		if !errors.As(err, &alert) || alert.Op != "remote error" {
			t.Errorf("got %v, want an alert", err)
		}
		raw.wantEnd()
	})
	t.Run("its first byte alone", func(t *testing.T) {
		c := dial(t, s)
		c.send("\x16")
		c.SetReadDeadline(time.Now().Add(wait))
		if got, _ := io.ReadAll(c.r); len(got) == 0 || got[0] != 0x15 {
			t.Errorf("got %q, want an alert", got)
		}
	})
}

// TestGarbage: any bytes at all, on a new connection and on one that is logged in.
func TestGarbage(t *testing.T) {
	s := start(t)
	t.Logf("-seed=%d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	for i := range 200 {
		c := dial(t, s)
		if i%2 == 1 {
			c.connect("1.2")
		}
		junk := make([]byte, 1+rng.IntN(64<<10))
		for j := range junk {
			if junk[j] = byte(rng.Uint32()); i%4 > 1 { // of what frames are made
				junk[j] = "\n\r\x00:\\ASENDMESSAGEcontent-length0123456789"[int(junk[j])%41]
			}
		}
		c.pour(junk, 1)
		c.Conn.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(wait))
		if _, err := io.Copy(io.Discard, c.r); isTimeout(err) {
			t.Fatalf("connection %d is still open", i)
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
