package websocket

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Stream is the client's end of a WebSocket, as a stream of bytes: each Write is a message.
// One goroutine may read while others write.
type Stream struct {
	net.Conn
	r    *bufio.Reader
	left uint64 // bytes of a frame that are still to be read

	mu  sync.Mutex // of writing
	out []byte
}

// Open asks for a WebSocket on c, at the host and path given, with one of the protocols, none if
// there are none. ctx bounds the time; c stays open if it fails.
func Open(ctx context.Context, c net.Conn, host, path string, protocols ...string) (*Stream, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var key [16]byte
	_, _ = rand.Read(key[:]) // does not fail
	sent := base64.StdEncoding.EncodeToString(key[:])
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sent + "\r\n"
	if len(protocols) > 0 {
		head += "Sec-WebSocket-Protocol: " + strings.Join(protocols, ", ") + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		return nil, err
	}
	s := &Stream{Conn: c, r: bufio.NewReaderSize(c, 16<<10)}
	a, err := http.ReadResponse(s.r, nil)
	if err != nil {
		return nil, fmt.Errorf("websocket: no answer that is HTTP: %w", err)
	}
	if a.StatusCode != http.StatusSwitchingProtocols || a.Header.Get("Sec-WebSocket-Accept") != acceptOf(sent) {
		text, _ := io.ReadAll(io.LimitReader(a.Body, 200))
		return nil, fmt.Errorf("websocket: refused with %s: %s", a.Status, strings.TrimSpace(string(text)))
	}
	return s, nil
}

// Write sends b as a message of bytes.
func (s *Stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(b), s.frame(opBinary, b)
}

// frame sends a frame. Called with mu held.
func (s *Stream) frame(op byte, payload []byte) error {
	b := append(s.out[:0], finBit|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	b = append(b, mask[:]...)
	n := len(b)
	b = append(b, payload...)
	xor(b[n:], mask, 0)
	if cap(b) <= 256<<10 {
		s.out = b
	}
	_, err := s.Conn.Write(b)
	return err
}

// Read reads what messages carry; the server's close is io.EOF.
func (s *Stream) Read(b []byte) (int, error) {
	for s.left == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(b[:min(uint64(len(b)), s.left)])
	s.left -= uint64(n)
	return n, err
}

// next reads the head of a frame, and answers it if it is one of control.
func (s *Stream) next() error {
	var h [10]byte
	if _, err := io.ReadFull(s.r, h[:2]); err != nil {
		return err
	}
	size, more := uint64(h[1]), 0
	switch h[1] {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if _, err := io.ReadFull(s.r, h[2:2+more]); err != nil {
		return err
	}
	switch more {
	case 2:
		size = uint64(binary.BigEndian.Uint16(h[2:]))
	case 8:
		size = binary.BigEndian.Uint64(h[2:])
	}
	op := h[0] & 0xf
	if h[0]&0x70 != 0 || h[1]&maskBit != 0 || op >= opClose && size > maxControl {
		return fmt.Errorf("websocket: the server sent a frame that begins with %x", h[:2])
	}
	if op < opClose {
		s.left = size
		return nil
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case opPing:
		return s.frame(opPong, payload)
	case opClose:
		_ = s.frame(opClose, payload) // it may be gone
		return io.EOF
	}
	return nil
}

// Close ends the connection.
func (s *Stream) Close() error {
	_ = s.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	s.mu.Lock()
	_ = s.frame(opClose, []byte{CloseNormal >> 8, CloseNormal & 0xff})
	s.mu.Unlock()
	return s.Conn.Close()
}
