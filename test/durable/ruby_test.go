package durable_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/internal/client"
)

// rubyServer is where the Debian package stompserver has it.
const rubyServer = "/usr/bin/stompserver"

// TestRubyServer hands a storage directory to the Ruby server and takes it back: -q file
// here and there.
func TestRubyServer(t *testing.T) {
	if _, err := os.Stat(rubyServer); err != nil {
		if os.Getenv("TEST_REQUIRE_ALL") == "1" {
			t.Fatal("the Ruby server, Debian package stompserver, is not installed")
		}
		t.Skip("the Ruby server, Debian package stompserver, is not installed")
	}
	dir := t.TempDir()
	t.Run("we store", func(t *testing.T) {
		c := dial(t, start(t, dir, "file"))
		for i := range 5 {
			if err := c.Request(t.Context(), client.SendFrame("/queue/a/b", nil, fmt.Append(nil, "message ", i, " \x00ä"))); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("the Ruby server goes on", func(t *testing.T) {
		c := startRuby(t, dir)
		c.send("SUBSCRIBE", "destination:/queue/a/b\nack:client", "")
		for i := range 3 {
			id, body := c.message()
			if want := fmt.Sprint("message ", i, " \x00ä"); body != want {
				t.Fatalf("got %q, want %q", body, want)
			}
			if i < 2 { // the third is given back by the end of the connection
				c.send("ACK", "message-id:"+id, "")
			}
		}
		c.Close()
		c = c.again()
		c.send("SEND", "destination:/queue/a/b\nreceipt:r", "from Ruby")
		if head, _ := c.frame(); !strings.HasPrefix(head, "RECEIPT\n") {
			t.Fatalf("got %q", head)
		}
		c.send("SEND", "destination:/queue/new\nreceipt:r", "new")
		c.frame()
	})
	t.Run("we go on", func(t *testing.T) {
		c := dial(t, start(t, dir, "file"))
		for _, q := range []struct {
			name string
			want []string
		}{
			{"/queue/a/b", []string{"message 2 \x00ä 2", "message 3 \x00ä ", "message 4 \x00ä ", "from Ruby "}},
			{"/queue/new", []string{"new "}},
		} {
			sub, err := c.Subscribe(t.Context(), q.name, client.SubscribeOptions{Ack: "client"})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range q.want {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				m, err := sub.Next(ctx)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				if got := string(m.Body) + " " + m.Header.Value("delivery-count"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		}
	})
}

// A rubyConn is a client of the Ruby server.
type rubyConn struct {
	net.Conn
	t    *testing.T
	r    *bufio.Reader
	addr string
}

// startRuby runs the Ruby server until the end of the test.
func startRuby(t *testing.T, dir string) *rubyConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	patch, err := filepath.Abs(filepath.Join("..", "..", "scripts", "bench-peers", "ruby_stompserver.rb"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ruby", "-W0", "-r", patch, rubyServer, "-b", "127.0.0.1", "-p", port, "-w", dir, "-q", "file")
	cmd.Dir = dir
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		if t.Failed() {
			said, _ := os.ReadFile(out.Name())
			t.Logf("the Ruby server said:\n%s", said)
		}
	})
	return (&rubyConn{t: t, addr: addr}).again()
}

// again connects, once the server listens.
func (c *rubyConn) again() *rubyConn {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := net.Dial("tcp", c.addr)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			c = &rubyConn{Conn: conn, t: c.t, r: bufio.NewReader(conn), addr: c.addr}
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Cleanup(func() { _ = c.Close() })
	c.send("CONNECT", "login:", "")
	if head, _ := c.frame(); !strings.HasPrefix(head, "CONNECTED\n") {
		c.t.Fatalf("got %q", head)
	}
	return c
}

func (c *rubyConn) send(command, head, body string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, "%s\n%s\n\n%s\x00\n", command, head, body); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads a frame: what is before its body, and that, which is as long as
// content-length says.
func (c *rubyConn) frame() (head, body string) {
	c.t.Helper()
	length := -1
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("reading %q: %v", head+line, err)
		}
		if head += line; line == "\n" {
			break
		}
		_, _ = fmt.Sscanf(line, "content-length:%d", &length)
	}
	for length < 0 || len(body) < length+1 {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("reading the body %q: %v", body, err)
		}
		body += string([]byte{b})
		if length < 0 && b == 0 {
			break
		}
	}
	_, _ = c.r.ReadByte() // LF
	return head, body[:len(body)-1]
}

func (c *rubyConn) message() (id, body string) {
	c.t.Helper()
	head, body := c.frame()
	_, rest, found := strings.Cut(head, "\nmessage-id:")
	if id, _, _ = strings.Cut(rest, "\n"); !found || !strings.HasPrefix(head, "MESSAGE\n") {
		c.t.Fatalf("got %q", head)
	}
	return id, body
}
