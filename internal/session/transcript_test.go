package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/session"
	"stompserver/internal/store/spool"
)

// patience bounds how long a test waits for what must come.
const patience = 10 * time.Second

// A server is a broker with sessions, for tests.
type server struct {
	b   *broker.Broker
	srv *session.Server
	ln  net.Listener
}

func newServer(t testing.TB, bc broker.Config, sc session.Config) *server {
	t.Helper()
	bc.Store = spool.New()
	return newServerOn(t, bc, sc)
}

// newServerOn serves the store of bc.
func newServerOn(t testing.TB, bc broker.Config, sc session.Config) *server {
	t.Helper()
	st := bc.Store
	s := &server{b: broker.New(bc)}
	s.srv = session.NewServer(s.b, sc)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := contextFor(patience)
		defer cancel()
		if err := s.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, session.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A peer is one end of a connection that a test drives.
type peer struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func (s *server) dial(t testing.TB) *peer {
	t.Helper()
	c, err := net.Dial("tcp", s.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t: t, c: c, r: bufio.NewReader(c)}
}

// send writes bytes as they are, but for ^@, which is a NUL.
func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.c, strings.ReplaceAll(text, "^@", "\x00")); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// connect logs in with a version, "" being a client that names none.
func (p *peer) connect(version string, headers ...string) {
	p.t.Helper()
	f := "CONNECT\n"
	if version != "" {
		f += "accept-version:" + version + "\n"
	}
	for _, h := range headers {
		f += h + "\n"
	}
	p.send(f + "\n^@")
	p.expect("CONNECTED\n")
}

// A reply is a frame from the server, header lines as they stood on the wire.
type reply struct {
	command string
	header  []string
	body    string
}

func (r reply) get(name string) (string, bool) {
	for _, h := range r.header {
		if v, ok := strings.CutPrefix(h, name+":"); ok {
			return v, true
		}
	}
	return "", false
}

// read takes the next frame, passing heart-beats over. It reads the wire by itself, so that
// it does not share a mistake with the package frame.
func (p *peer) read() (reply, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(patience))
	var f reply
	length := -1
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("%w after %q", err, line)
			}
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case f.command == "" && line == "":
			continue
		case f.command == "":
			f.command = line
			continue
		case line != "":
			f.header = append(f.header, line)
			continue
		}
		break
	}
	if v, ok := f.get("content-length"); ok {
		if _, err := fmt.Sscan(v, &length); err != nil {
			return f, err
		}
		body := make([]byte, length+1)
		if _, err := io.ReadFull(p.r, body); err != nil {
			return f, err
		}
		if body[length] != 0 {
			return f, fmt.Errorf("no NUL after %d bytes of body", length)
		}
		f.body = string(body[:length])
		return f, nil
	}
	body, err := p.r.ReadString(0)
	f.body = strings.TrimSuffix(body, "\x00")
	return f, err
}

// expect reads a frame and compares it with want: command and the header lines that must be
// there, in any order, then perhaps an empty line and the body. A value of * may be
// anything; a line that begins with ! names a header that must be absent.
func (p *peer) expect(want string) reply {
	p.t.Helper()
	got, err := p.read()
	if err != nil {
		p.t.Fatalf("want %q, got error: %v", want, err)
	}
	if diff := match(got, want); diff != "" {
		p.t.Fatalf("%s\n got %q %q %q\nwant %q", diff, got.command, got.header, got.body, want)
	}
	return got
}

func match(got reply, want string) string {
	head, body, hasBody := strings.Cut(want, "\n\n")
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	if got.command != lines[0] {
		return "another command"
	}
	for _, l := range lines[1:] {
		if absent, ok := strings.CutPrefix(l, "!"); ok {
			if v, has := got.get(absent); has {
				return fmt.Sprintf("header %s:%s should be absent", absent, v)
			}
			continue
		}
		name, value, _ := strings.Cut(l, ":")
		v, ok := got.get(name)
		if !ok || value != "*" && v != value {
			return fmt.Sprintf("header %s: got %q", name, v)
		}
	}
	if hasBody && got.body != strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "^@", "\x00") {
		return fmt.Sprintf("body: got %q", got.body)
	}
	return ""
}

// closed waits for the end of the stream, with nothing but heart-beats before it.
func (p *peer) closed() {
	p.t.Helper()
	if f, err := p.read(); err != io.EOF {
		p.t.Fatalf("want the end of the stream, got %v, %v", f, err)
	}
}

// nothing makes sure that no frame is on its way: what a later command brings comes first.
func (p *peer) nothing() {
	p.t.Helper()
	p.send("SEND\ndestination:/topic/nobody\nreceipt:nothing\n\n^@")
	p.expect("RECEIPT\nreceipt-id:nothing\n")
}

// TestTranscripts plays testdata/*.stomp: lines "A> ..." are sent by client A, made with
// its first line; a frame ends with "^@". Lines "A< ..." are command and headers of a frame
// that A must get, as peer.expect has them, "A= ..." its body, and "A<" alone its end. "A!
// closed" is the end of its stream, "A! nothing" that no frame is on its way to it, and "A! leave" that it
// cuts its connection. {x} in an expected value keeps it under that name, {x} in a line that
// is sent puts it in.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.stomp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".stomp"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := newServer(t, broker.Config{}, session.Config{ServerHeader: "test/1"})
			play(t, s, string(text))
		})
	}
}

func play(t *testing.T, s *server, script string) {
	peers := map[string]*peer{}
	vars := map[string]string{}
	fill := func(l string) string {
		for k, v := range vars {
			l = strings.ReplaceAll(l, "{"+k+"}", v)
		}
		return l
	}
	var out, want strings.Builder
	for n, line := range strings.Split(script, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) < 2 {
			t.Fatalf("line %d: %q", n+1, line)
		}
		who, op := line[:1], line[1]
		rest := strings.TrimPrefix(line[2:], " ")
		p := peers[who]
		if p == nil {
			p = s.dial(t)
			peers[who] = p
		}
		switch op {
		case '>':
			out.WriteString(fill(rest))
			if !strings.Contains(rest, "^@") {
				out.WriteString("\n")
				continue
			}
			p.send(out.String())
			out.Reset()
		case '=':
			want.WriteString("\n" + rest)
		case '<':
			if rest != "" || !strings.HasSuffix(line, "<") {
				want.WriteString(rest + "\n")
				continue
			}
			text := want.String()
			want.Reset()
			got, err := p.read()
			if err != nil {
				t.Fatalf("line %d: want %q, got error: %v", n+1, text, err)
			}
			var lines []string
			for _, l := range strings.Split(text, "\n") {
				name, value, _ := strings.Cut(l, ":")
				if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
					key := strings.Trim(value, "{}")
					if _, ok := vars[key]; !ok {
						vars[key], _ = got.get(name)
						l = name + ":*"
					}
				}
				lines = append(lines, fill(l))
			}
			if diff := match(got, strings.Join(lines, "\n")); diff != "" {
				t.Fatalf("line %d: %s\n got %q %q %q\nwant %q", n+1, diff, got.command, got.header, got.body, text)
			}
		case '!':
			switch rest {
			case "closed":
				p.closed()
			case "nothing":
				p.nothing()
			case "leave":
				_ = p.c.Close()
				delete(peers, who)
			default:
				t.Fatalf("line %d: %q", n+1, line)
			}
		default:
			t.Fatalf("line %d: %q", n+1, line)
		}
	}
}

var _ = frame.V10

// TestDisconnectGivesBackFirst: once a client has its RECEIPT for DISCONNECT, what it did not
// settle is back in its place.
func TestDisconnectGivesBackFirst(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	for range 300 {
		a := s.dial(t)
		a.connect("1.2")
		a.send("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\nprefetch-count:2\n\n^@")
		for _, body := range []string{"1", "2", "3", "4"} {
			a.send("SEND\ndestination:/queue/a\n\n" + body + "^@")
		}
		a.expect("MESSAGE\n")
		a.expect("MESSAGE\n")
		a.send("DISCONNECT\nreceipt:r\n\n^@")
		a.expect("RECEIPT\n")
		b := s.dial(t)
		b.connect("1.2")
		b.send("SUBSCRIBE\nid:0\ndestination:/queue/a\n\n^@")
		for i, redelivered := range []string{"true", "true", "false", "false"} {
			m, err := b.read()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := m.get("redelivered"); m.body != strconv.Itoa(i+1) || got != redelivered {
				t.Fatalf("message %d: body %q, redelivered:%s, want %d and %s", i+1, m.body, got, i+1, redelivered)
			}
		}
		b.send("DISCONNECT\nreceipt:r\n\n^@")
		b.expect("RECEIPT\n")
	}
}
