package hostile_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/test/process"
	"stompserver/test/transcript"
)

// The server is built without the race detector, which needs memory of its own: here it is
// measured.
func TestMain(m *testing.M) {
	if addr := os.Getenv(healthyEnv); addr != "" {
		if err := beHealthy(addr); err != nil {
			fmt.Fprintln(os.Stderr, "the healthy client:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	process.Main(m, false)
}

const (
	wait   = transcript.Patience // for anything that must come
	memory = 200 << 20           // what the server may have at the most
	slow   = 5 * time.Second     // what a healthy client's round trip may take, beside what its machine is busy with
)

// start runs a server that a healthy client uses until the test ends.
func start(t *testing.T, settings ...string) *process.Server {
	t.Helper()
	return startIn(t, t.TempDir(), settings...)
}

func startIn(t *testing.T, dir string, settings ...string) *process.Server {
	t.Helper()
	s := process.StartIn(t, dir, settings...)
	healthy(t, s)
	t.Cleanup(func() { // runs before that of StartIn
		if _, peak := s.RSS(); peak > memory {
			t.Errorf("the server had %d MiB, want at most %d", peak>>20, int64(memory)>>20)
		} else {
			t.Logf("the server had at most %d MiB", peak>>20)
		}
	})
	return s
}

// healthy makes round trips until the test ends: a message to a queue and back, and the
// receipts of SEND and ACK.
func healthy(t *testing.T, s *process.Server) {
	t.Helper()
	c := dial(t, s)
	c.connect("1.2")
	c.send("SUBSCRIBE\nid:h\ndestination:/queue/healthy\nack:client\nreceipt:sub\n\n\x00")
	c.want("RECEIPT")
	var stopped atomic.Bool
	var trips int
	var slowest time.Duration
	late := lateness()
	done := make(chan error, 1)
	go func() {
		for !stopped.Load() {
			begin := time.Now()
			if err := c.trip(); err != nil {
				done <- fmt.Errorf("round trip %d: %w", trips+1, err)
				return
			}
			trips++
			slowest = max(slowest, time.Since(begin))
			time.Sleep(time.Millisecond) // it is not here to load the server
		}
		done <- nil
	}()
	t.Cleanup(func() {
		stopped.Store(true)
		if err := <-done; err != nil {
			t.Errorf("the healthy client: %v", err)
		}
		if slowest > slow+late() {
			t.Errorf("the healthy client's slowest round trip took %v, want at most %v", slowest, slow)
		}
		if trips == 0 {
			t.Error("the healthy client made no round trip")
		}
		t.Logf("the healthy client made %d round trips, the slowest in %v", trips, slowest.Round(time.Microsecond))
	})
}

func (c *conn) trip() error { return c.tripTo("/queue/healthy") }

func (c *conn) tripTo(queue string) error {
	c.SetDeadline(time.Now().Add(wait))
	if _, err := c.Write([]byte("SEND\ndestination:" + queue + "\nreceipt:r\n\nping\x00")); err != nil {
		return err
	}
	for seen := 0; seen < 2; seen++ { // MESSAGE and RECEIPT, in either order
		f, err := c.read()
		switch {
		case err != nil:
			return err
		case f.command == "MESSAGE":
			if _, err := fmt.Fprintf(c, "ACK\nid:%s\n\n\x00", f.header["ack"]); err != nil {
				return err
			}
		case f.command != "RECEIPT":
			return fmt.Errorf("got %v", f)
		}
	}
	return nil
}

// A conn is a socket to the server, on which anything can be written.
type conn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, s *process.Server) *conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &conn{nc, t, bufio.NewReader(nc)}
}

func login(t *testing.T, s *process.Server, version string) *conn {
	t.Helper()
	c := dial(t, s)
	c.connect(version)
	return c
}

func (c *conn) connect(version string) frame {
	c.t.Helper()
	c.send("CONNECT\naccept-version:" + version + "\nhost:localhost\n\n\x00")
	return c.want("CONNECTED")
}

func (c *conn) send(text string) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(wait))
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// pour writes as long as the server takes it, and tells how much that was.
func (c *conn) pour(text []byte, times int) (n int64) {
	c.SetWriteDeadline(time.Now().Add(wait))
	for range times {
		m, err := c.Write(text)
		n += int64(m)
		if err != nil {
			break
		}
	}
	return n
}

type frame struct {
	command string
	header  map[string]string // as on the wire
	body    string
}

func (f frame) String() string { return fmt.Sprintf("%s %q %q", f.command, f.header, f.body) }

// read reads a frame, and over EOLs before it.
func (c *conn) read() (f frame, err error) {
	for f.command == "" {
		if f.command, err = c.line(); err != nil {
			return f, err
		}
	}
	f.header = map[string]string{}
	for {
		line, err := c.line()
		if err != nil {
			return f, err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		if _, again := f.header[name]; !again {
			f.header[name] = value
		}
	}
	if length, ok := f.header["content-length"]; ok {
		n, err := strconv.Atoi(length)
		if err != nil {
			return f, err
		}
		body := make([]byte, n+1)
		_, err = io.ReadFull(c.r, body)
		f.body = string(body[:n])
		return f, err
	}
	body, err := c.r.ReadString(0)
	f.body = strings.TrimSuffix(body, "\x00")
	return f, err
}

func (c *conn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}

// want reads the next frame, which must have this command.
func (c *conn) want(command string) frame {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(wait))
	f, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v (so far %v)", command, err, f)
	}
	if f.command != command {
		c.t.Fatalf("got %v, want %s", f, command)
	}
	return f
}

// wantError reads up to an ERROR with this code, that names what is given, and to the end
// of the connection.
func (c *conn) wantError(code string, names ...string) frame {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(wait))
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for ERROR %s: %v", code, err)
		}
		if f.command != "ERROR" {
			continue
		}
		if f.header["error-code"] != code || f.header["message"] == "" {
			c.t.Fatalf("got %v, want error-code %s", f, code)
		}
		for _, name := range names {
			if !strings.Contains(f.header["message"]+f.body, name) {
				c.t.Errorf("got %v, want an ERROR that names %q", f, name)
			}
		}
		c.wantEnd()
		return f
	}
}

// wantEnd reads up to the end of the connection; nothing but EOLs may come before it.
func (c *conn) wantEnd() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(wait))
	rest, err := io.ReadAll(c.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection is still open")
	}
	if rest = bytes.TrimLeft(rest, "\r\n"); len(rest) > 0 {
		c.t.Errorf("%q came after the end", rest[:min(len(rest), 200)])
	}
}
