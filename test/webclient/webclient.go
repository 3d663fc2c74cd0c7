// Package webclient is the client's end of a WebSocket for tests. It shares no code with the
// server's, so that it does not share a mistake.
package webclient

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Options say how a Conn speaks. The zero value sends a binary message for each Write.
type Options struct {
	Text     bool
	Deflate  bool   // compress what is sent, and take what is compressed
	Part     int    // bytes of a frame, into which messages are cut; 0: no bound
	Trickle  bool   // each byte in a write of its own
	Protocol string // to offer; "": none
	Origin   string
	Path     string // default /ws
	Bearer   string // a token for the header Authorization
	Basic    string // NAME:PASSCODE for it
}

// A Conn is a stream of bytes within a WebSocket.
type Conn struct {
	net.Conn
	R        *bufio.Reader
	Options  Options
	Response *http.Response

	mu     sync.Mutex
	left   []byte
	Closed []byte // what the server's close frame held; nil: none came
	Ops    []byte // opcodes of the messages that came
	Sizes  []int  // and their bytes
}

// Open asks for a WebSocket on c. The Response says what came of it.
func Open(t testing.TB, c net.Conn, o Options) *Conn {
	t.Helper()
	w := &Conn{Conn: c, R: bufio.NewReader(c), Options: o}
	var key [16]byte
	_, _ = rand.Read(key[:])
	path := o.Path
	if path == "" {
		path = "/ws"
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key[:]) + "\r\n"
	if o.Protocol != "" {
		head += "Sec-WebSocket-Protocol: " + o.Protocol + "\r\n"
	}
	if o.Basic != "" {
		head += "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(o.Basic)) + "\r\n"
	}
	if o.Bearer != "" {
		head += "Authorization: Bearer " + o.Bearer + "\r\n"
	}
	if o.Origin != "" {
		head += "Origin: " + o.Origin + "\r\n"
	}
	if o.Deflate {
		head += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	}
	w.raw([]byte(head + "\r\n"))
	r, err := http.ReadResponse(w.R, nil)
	if err != nil {
		t.Fatalf("no answer to the request for a WebSocket: %v", err)
	}
	w.Response = r
	return w
}

func (w *Conn) raw(b []byte) {
	if !w.Options.Trickle {
		_, _ = w.Conn.Write(b)
		return
	}
	for i := range b {
		_, _ = w.Conn.Write(b[i : i+1])
	}
}

// Frame sends one frame, masked.
func (w *Conn) Frame(first byte, payload []byte) {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	w.raw(b)
}

// Write sends b as a message.
func (w *Conn) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	op, payload := byte(2), b
	if w.Options.Text {
		op = 1
	}
	if w.Options.Deflate {
		var out bytes.Buffer
		z, _ := flate.NewWriter(&out, flate.BestCompression)
		_, _ = z.Write(b)
		_ = z.Flush()
		payload = bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
		op |= 0x40
	}
	part := w.Options.Part
	if part == 0 {
		part = len(payload)
	}
	for len(payload) > part {
		w.Frame(op, payload[:part])
		w.Frame(0x89, []byte("ping within")) // allowed between the parts
		op, payload = 0, payload[part:]
	}
	w.Frame(op|0x80, payload)
	return len(b), nil
}

// Message reads the next message or pong, and what it was: its opcode. The server's close is io.EOF.
func (w *Conn) Message() (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(w.R, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1] & 0x7f)
	switch n {
	case 126:
		var l [2]byte
		if _, err := io.ReadFull(w.R, l[:]); err != nil {
			return 0, nil, err
		}
		if n = uint64(binary.BigEndian.Uint16(l[:])); n < 126 {
			return 0, nil, fmt.Errorf("%d bytes with a length of 16 bits", n)
		}
	case 127:
		var l [8]byte
		if _, err := io.ReadFull(w.R, l[:]); err != nil {
			return 0, nil, err
		}
		if n = binary.BigEndian.Uint64(l[:]); n < 1<<16 {
			return 0, nil, fmt.Errorf("%d bytes with a length of 64 bits", n)
		}
	}
	if h[1]&0x80 != 0 || h[0]&0x80 == 0 || h[0]&0x30 != 0 {
		return 0, nil, fmt.Errorf("a frame of the server begins with %x", h)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(w.R, payload); err != nil {
		return 0, nil, err
	}
	if h[0]&0x40 != 0 {
		if !w.Options.Deflate {
			return 0, nil, fmt.Errorf("a compressed message, which was not agreed")
		}
		z := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		if payload, err = io.ReadAll(z); err != nil {
			return 0, nil, err
		}
	}
	op = h[0] & 0xf
	w.Ops, w.Sizes = append(w.Ops, op), append(w.Sizes, len(payload))
	switch op {
	case 1, 2, 10:
		return op, payload, nil
	case 8:
		w.Closed = payload
		return op, payload, io.EOF
	}
	return 0, nil, fmt.Errorf("a frame of opcode %d", op)
}

// Read reads what messages carry.
func (w *Conn) Read(b []byte) (int, error) {
	for len(w.left) == 0 {
		op, p, err := w.Message()
		if err != nil {
			return 0, err
		}
		if op != 10 {
			w.left = p
		}
	}
	n := copy(b, w.left)
	w.left = w.left[n:]
	return n, nil
}

// Bridge listens, and connects each client with what dial returns: so programs for TCP speak
// another way. It returns the address.
func Bridge(t testing.TB, dial func() (net.Conn, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				t.Errorf("dial: %v", err)
				_ = near.Close()
				continue
			}
			all.Go(func() {
				defer near.Close()
				_, _ = io.Copy(near, far)
			})
			all.Go(func() {
				defer far.Close()
				_, _ = io.Copy(far, near)
			})
		}
	})
	return l.Addr().String()
}
