// Package transcript drives clients of a server by the bytes they send and the frames they
// must get, written down in tests or in files.
package transcript

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Patience bounds how long a test waits for what must come. It is long, for a machine may have much else to do: no
// test that passes takes it.
const Patience = time.Minute

// A Peer is one end of a connection that a test drives.
type Peer struct {
	T    testing.TB
	Conn net.Conn
	R    *bufio.Reader // of Conn

	early []Reply // came before a RECEIPT that was waited for
}

// NewPeer drives one end of c.
func NewPeer(t testing.TB, c net.Conn) *Peer { return &Peer{T: t, Conn: c, R: bufio.NewReader(c)} }

// Dial connects to addr.
func Dial(t testing.TB, addr string) *Peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return NewPeer(t, c)
}

// Send writes bytes as they are, but for ^@, which is a NUL.
func (p *Peer) Send(text string) {
	p.T.Helper()
	if _, err := io.WriteString(p.Conn, strings.ReplaceAll(text, "^@", "\x00")); err != nil {
		p.T.Fatalf("write: %v", err)
	}
}

// Connect logs in with a version, "" being a client that names none.
func (p *Peer) Connect(version string, headers ...string) {
	p.T.Helper()
	f := "CONNECT\n"
	if version != "" {
		f += "accept-version:" + version + "\n"
	}
	for _, h := range headers {
		f += h + "\n"
	}
	p.Send(f + "\n^@")
	p.Expect("CONNECTED\n")
}

// A Reply is a frame from the server, header lines as they stood on the wire.
type Reply struct {
	Command string
	Header  []string
	Body    string
}

// Get returns the value of the first header called name, as it stood on the wire.
func (r Reply) Get(name string) (string, bool) {
	for _, h := range r.Header {
		if v, ok := strings.CutPrefix(h, name+":"); ok {
			return v, true
		}
	}
	return "", false
}

// Read takes the next frame, passing heart-beats over. It reads the wire by itself, so that
// it does not share a mistake with the package frame.
func (p *Peer) Read() (Reply, error) {
	if len(p.early) > 0 {
		f := p.early[0]
		p.early = p.early[1:]
		return f, nil
	}
	return p.next()
}

// awaitReceipt reads up to a RECEIPT. What comes before it is read again.
func (p *Peer) awaitReceipt(id string) error {
	for {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("want a RECEIPT: %w", err)
		}
		if got, _ := f.Get("receipt-id"); f.Command == "RECEIPT" && got == id {
			return nil
		}
		if f.Command == "ERROR" {
			return fmt.Errorf("want a RECEIPT, got ERROR %q %q", f.Header, f.Body)
		}
		p.early = append(p.early, f)
	}
}

func (p *Peer) next() (Reply, error) {
	_ = p.Conn.SetReadDeadline(time.Now().Add(Patience))
	var f Reply
	length := -1
	for {
		line, err := p.R.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("%w after %q", err, line)
			}
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case f.Command == "" && line == "":
			continue
		case f.Command == "":
			f.Command = line
			continue
		case line != "":
			f.Header = append(f.Header, line)
			continue
		}
		break
	}
	if v, ok := f.Get("content-length"); ok {
		if _, err := fmt.Sscan(v, &length); err != nil {
			return f, err
		}
		body := make([]byte, length+1)
		if _, err := io.ReadFull(p.R, body); err != nil {
			return f, err
		}
		if body[length] != 0 {
			return f, fmt.Errorf("no NUL after %d bytes of body", length)
		}
		f.Body = string(body[:length])
		return f, nil
	}
	body, err := p.R.ReadString(0)
	f.Body = strings.TrimSuffix(body, "\x00")
	return f, err
}

// Expect reads a frame and compares it with want: command and the header lines that must be
// there, in any order, then perhaps an empty line and the body. A value of * may be
// anything; a line that begins with ! names a header that must be absent.
func (p *Peer) Expect(want string) Reply {
	p.T.Helper()
	got, err := p.Read()
	if err != nil {
		p.T.Fatalf("want %q, got error: %v", want, err)
	}
	if diff := Match(got, want); diff != "" {
		p.T.Fatalf("%s\n got %q %q %q\nwant %q", diff, got.Command, got.Header, got.Body, want)
	}
	return got
}

// Match compares a frame with want, as Expect has it, and says what differs; "" is nothing.
func Match(got Reply, want string) string {
	head, body, hasBody := strings.Cut(want, "\n\n")
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	if got.Command != lines[0] {
		return "another command"
	}
	for _, l := range lines[1:] {
		if absent, ok := strings.CutPrefix(l, "!"); ok {
			if v, has := got.Get(absent); has {
				return fmt.Sprintf("header %s:%s should be absent", absent, v)
			}
			continue
		}
		name, value, _ := strings.Cut(l, ":")
		v, ok := got.Get(name)
		if !ok || value != "*" && v != value {
			return fmt.Sprintf("header %s: got %q", name, v)
		}
	}
	if hasBody && got.Body != strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "^@", "\x00") {
		return fmt.Sprintf("body: got %q", got.Body)
	}
	return ""
}

// Closed waits for the end of the stream, with nothing but heart-beats before it.
func (p *Peer) Closed() {
	p.T.Helper()
	if f, err := p.Read(); err != io.EOF {
		p.T.Fatalf("want the end of the stream, got %v, %v", f, err)
	}
}

const nothing = "SEND\ndestination:/topic/nobody\nreceipt:nothing\n\n^@"

// Nothing makes sure that no frame is on its way: what a later command brings comes first.
func (p *Peer) Nothing() {
	p.T.Helper()
	p.Send(nothing)
	p.Expect("RECEIPT\nreceipt-id:nothing\n")
}

// Silent makes sure that nothing comes while nothing happens. For tests in a bubble, where
// time passes when everyone waits.
func (p *Peer) Silent() {
	p.T.Helper()
	_ = p.Conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	for {
		b, err := p.R.ReadByte()
		if err != nil {
			return
		}
		if b != '\n' { // which ends the frame before
			p.T.Errorf("a byte %q came", b)
		}
	}
}
