package stompserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/internal/client"
	"stompserver/test/certificate"
	"stompserver/test/webclient"
)

func loadFile(t *testing.T, dir, file string) stompserver.Config {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "stompserver.conf"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := stompserver.Load(stompserver.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s.Config
}

// TestListeners has a server with a listener of each kind, from a file.
func TestListeners(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate.Write(t, dir, "a", "localhost")
	cfg := loadFile(t, dir, `
http: {listen: "127.0.0.1:0"}
tls: {cert: `+cert+`, key: `+key+`}
listeners:
  - {address: "127.0.0.1:0", protocols: [stomp+tls]}
  - {address: "127.0.0.1:0", protocols: [ws], trusted_proxies: [127.0.0.1]}
  - {address: "unix:`+filepath.Join(dir, "s.sock")+`"}
`)
	s := start(t, cfg)
	more := s.MoreAddrs()
	if len(more) != 3 {
		t.Fatalf("listens on %v besides", more)
	}
	dial := func(a net.Addr) net.Conn {
		t.Helper()
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	insecure := &tls.Config{InsecureSkipVerify: true}
	for _, test := range []struct {
		name string
		conn net.Conn
		want string
	}{
		{"STOMP", dial(s.Addrs()[0]), "CONNECTED\n"},
		{"TLS", tls.Client(dial(s.Addrs()[0]), insecure), "CONNECTED\n"},
		{"WebSocket", webclient.Open(t, dial(s.Addrs()[0]), webclient.Options{}), "CONNECTED\n"},
		{"WebSocket within TLS", webclient.Open(t, tls.Client(dial(s.Addrs()[0]), insecure), webclient.Options{}), "CONNECTED\n"},
		{"WebSocket at HTTP", webclient.Open(t, dial(s.HTTPAddrs()[0]), webclient.Options{Text: true}), "CONNECTED\n"},
		{"TLS only, within", tls.Client(dial(more[0]), insecure), "CONNECTED\n"},
		{"TLS only, in the clear", dial(more[0]), "ERROR\nmessage:TLS required\n"},
		{"WebSocket only", webclient.Open(t, dial(more[1]), webclient.Options{}), "CONNECTED\n"},
		{"WebSocket only, without", dial(more[1]), "ERROR\nmessage:WebSocket only\n"},
		{"a socket in the file system", dial(more[2]), "CONNECTED\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.conn.Write([]byte(connect)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1000)
			n, err := test.conn.Read(b)
			if err != nil || !strings.HasPrefix(string(b[:n]), test.want) {
				t.Errorf("got %q, %v", b[:n], err)
			}
		})
	}
}

// TestSocketThatWasLeft: a socket file of a server that is gone is replaced, one that is in use is
// not, and neither is a file.
func TestSocketThatWasLeft(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"})
	if err != nil {
		t.Skip("no sockets in the file system:", err)
	}
	l.SetUnlinkOnClose(false)
	cfg := stompserver.Config{Port: stompserver.AnyPort, Listeners: []stompserver.Listener{{Address: "unix:" + file}}}
	refused := func(why string) {
		t.Helper()
		s, err := stompserver.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err == nil {
			t.Errorf("starts although %s", why)
		}
		_ = s.Shutdown(t.Context())
	}
	refused("somebody listens there")
	_ = l.Close()
	s := start(t, cfg)
	if got := exchangeAt(t, s.MoreAddrs()[0], connect); !strings.HasPrefix(got, "CONNECTED\n") {
		t.Errorf("got %q", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("there is a file")
}

func exchangeAt(t *testing.T, a net.Addr, frames string) string {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = c.Write([]byte(frames))
	b := make([]byte, 1000)
	n, _ := c.Read(b)
	return string(b[:n])
}

// TestClientsByEachAddress has the project's own client come by each kind of address.
func TestClientsByEachAddress(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate.Write(t, dir, "a", "localhost")
	s := start(t, stompserver.Config{TLS: stompserver.TLS{Cert: cert, Key: key}})
	port := s.Addrs()[0].(*net.TCPAddr).Port
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	trust.RootCAs.AppendCertsFromPEM(text)
	for _, scheme := range []string{"stomp", "stomps", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			at := fmt.Sprintf("%s://localhost:%d", scheme, port)
			c, err := client.Dial(ctx, at, client.Options{TLS: trust})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sub, err := c.Subscribe(ctx, "/queue/"+scheme, client.SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{0, 100, 200, 70_000, 2 << 20} {
				body := bytes.Repeat([]byte("x"), n)
				if err := c.Send("/queue/"+scheme, nil, body); err != nil {
					t.Fatal(err)
				}
				m, err := sub.Next(ctx)
				if err != nil || !bytes.Equal(m.Body, body) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
			if scheme == "stomps" || scheme == "wss" {
				if _, err := client.Dial(ctx, at, client.Options{}); err == nil {
					t.Error("a certificate that nobody trusts is taken")
				}
			}
		})
	}
}
