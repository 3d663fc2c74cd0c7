package session

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/websocket"
)

// A webConn is the connection of a client that speaks STOMP within WebSocket. What it reads is
// unwrapped in place. What is written was wrapped when it was put into the outbox, a frame of
// STOMP into a message each, for some clients cannot do with less or more; here it is compressed,
// if the client wants that.
type webConn struct {
	conn // beneath
	s    *session
	r    websocket.Reader

	early  []byte // read, and not decoded yet
	err    error  // ended reading
	space  func() []byte
	in     []byte        // what space returned
	takeFn func() []byte // take, bound once
}

// upgrade makes a WebSocket of the connection; early came behind its request.
func (s *session) upgrade(deflate bool, early []byte) {
	w := &webConn{conn: s.c, s: s, early: bytes.Clone(early)}
	w.r.Deflate = deflate
	w.takeFn = w.take
	if s.secure {
		s.place(SecureWebSocket, 0)
	} else {
		s.place(WebSocket, 0)
	}
	s.c, s.web = w, w
	s.out.mu.Lock()
	s.out.envelope, s.out.apart = &websocket.Framer{Text: true}, true
	s.out.mu.Unlock()
}

func (w *webConn) take() []byte {
	w.in = w.space()
	return w.in
}

// read returns 0 bytes without an error for what carries nothing, such as a ping.
func (w *webConn) read(space func() []byte, idle func()) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.r.Waiting():
		var n int
		if n, w.err = w.r.Unpack(space()); n > 0 || w.err != nil {
			return n, w.err
		}
	}
	w.space = space
	var n int
	if len(w.early) > 0 {
		n = copy(w.take(), w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
	} else {
		w.r.Idle()
		var err error
		if n, err = w.conn.read(w.takeFn, idle); n == 0 {
			return 0, err
		}
	}
	w.r.MaxPacked = w.s.packedLimit()
	began := w.r.Began
	n, rest, err := w.r.Decode(w.in[:n])
	if len(rest) > 0 {
		w.early = append(bytes.Clone(rest), w.early...)
	}
	if !began && w.r.Began {
		w.s.out.mu.Lock()
		w.s.out.envelope.Text = w.r.Text
		w.s.out.mu.Unlock()
	}
	if len(w.r.Reply) > 0 {
		w.s.pong(w.r.Reply)
		w.r.Reply = w.r.Reply[:0]
	}
	w.err = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (w *webConn) ready() bool { return w.err != nil || len(w.early) > 0 || w.r.Waiting() }

func (w *webConn) wait() error {
	if w.ready() {
		return nil
	}
	return w.conn.wait()
}

func (w *webConn) more() bool { return w.ready() || w.conn.more() }

func (w *webConn) tryWrite(ps []piece, pos int) (int, bool, error) {
	if w.r.Deflate {
		return 0, false, nil // compressing takes time that is the writer's own
	}
	return w.conn.tryWrite(ps, pos)
}

// packBatch is about how many bytes are compressed for one write.
const packBatch = 64 << 10

var packRooms = sync.Pool{New: func() any { return new([]byte) }}

// write takes whole frames, which is what it is given.
func (w *webConn) write(ps []piece, pos int) (int, error) {
	if !w.r.Deflate {
		return w.conn.write(ps, pos)
	}
	room := packRooms.Get().(*[]byte)
	defer packRooms.Put(room)
	out, used := (*room)[:0], 0
	for len(ps) > 0 && len(out) < packBatch {
		h := websocket.HeadOf(ps[0].b[pos:])
		left := h.Size + h.Payload
		if h.Payload > websocket.PackTo && len(out) > 0 {
			break // that goes as it is, by itself
		}
		used += left
		var parts [2][]byte // a frame has a head of ours, and a body that is shared
		n := 0
		for left > 0 {
			k := min(left, len(ps[0].b)-pos)
			parts[n] = ps[0].b[pos : pos+k]
			n++
			left -= k
			if pos += k; pos == len(ps[0].b) {
				ps, pos = ps[1:], 0
			}
		}
		if h.Payload > websocket.PackTo {
			return used, w.writeAll(parts[:n])
		}
		out = websocket.AppendPacked(out, h, parts[:n]...)
	}
	if cap(out) <= 4*packBatch {
		*room = out
	}
	return used, w.writeAll([][]byte{out})
}

func (w *webConn) writeAll(parts [][]byte) error {
	for _, p := range parts {
		for len(p) > 0 {
			n, err := w.conn.write([]piece{{b: p}}, 0)
			if err != nil {
				return err
			}
			p = p[n:]
		}
	}
	return nil
}

// packedLimit bounds a compressed message: it is gathered before it is unpacked.
func (s *session) packedLimit() int {
	l := s.lim
	if s.state != connected {
		return l.FrameBeforeLogin + 4096
	}
	if l.Body > none-l.TransactionBytes {
		return l.Body
	}
	return l.Body + 1<<20
}

// pong answers pings. A client that sends them and does not read is made to wait.
func (s *session) pong(frames []byte) {
	s.raw(frames)
	s.out.mu.Lock()
	s.owe()
	s.out.mu.Unlock()
	var w broker.Wake
	s.Flush(&w, true)
	w.Run()
}

// closeWeb adds the frame that ends a WebSocket, for why reading ended.
func (s *session) closeWeb(err error) {
	code, reason := websocket.CloseNormal, ""
	var e *Error
	c := websocket.AsClose(err)
	switch {
	case c != nil:
		code, reason = c.Code, c.Reason
		if !c.Ours {
			reason = ""
		}
	case errors.As(err, &e):
		reason = e.Message
		switch e.Code {
		case codeShuttingDown:
			code = websocket.CloseGoing
		case codeInternal:
			code = websocket.CloseInternal
		case codeTooLarge:
			code = websocket.CloseTooBig
		default:
			code = websocket.ClosePolicy
		}
	}
	s.raw(websocket.AppendClose(nil, code, reason))
}

// linger waits for the client to close too, for a while.
func (w *webConn) linger() {
	c := websocket.AsClose(w.err)
	switch {
	case c != nil && c.Ours:
		linger(w.conn.net(), lingerWait)
	case w.err == nil:
		_ = w.s.sock.SetReadDeadline(time.Now().Add(lingerWait))
		b := make([]byte, 4<<10)
		for n := 0; n < 64<<20; {
			k, err := w.read(func() []byte { return b }, func() {})
			if n += k; err != nil {
				return
			}
		}
	}
}
