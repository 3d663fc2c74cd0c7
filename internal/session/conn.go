package session

import (
	"io"
	"net"
	"time"
)

// A conn reads and writes one connection in the two ways a session needs.
type conn interface {
	// read reads once into what space returns. Before it waits it calls idle, so that a
	// buffer need not be held while nothing comes.
	read(space func() []byte, idle func()) (int, error)

	// wait returns when there is something to read, which waits says it can tell. It needs
	// little stack.
	wait() error
	waits() bool

	// more reports whether there is something to read; false also if that cannot be told.
	more() bool

	// tryWrite writes as much of the pieces, from pos of the first, as goes without
	// waiting. ok is false if it cannot tell and nothing was written.
	tryWrite(ps []piece, pos int) (n int, ok bool, err error)

	// write writes some of it and waits until some can be.
	write(ps []piece, pos int) (int, error)

	// gone reports whether the client has closed its end, whatever of its bytes was not
	// read yet; false also if that cannot be told.
	gone() bool

	net() net.Conn
}

// Gone reports whether the other end of c has closed it, whatever it sent before that was not
// read yet; false also if that cannot be told.
func Gone(c net.Conn) bool { return newConn(c).gone() }

// plainConn does it with the methods of any net.Conn. It waits with little in hand, and
// reads into a large buffer once that was filled.
type plainConn struct {
	c     net.Conn
	small [1 << 10]byte
	left  []byte // of small, not given to the reader yet
	busy  bool
}

func (p *plainConn) net() net.Conn { return p.c }

func (p *plainConn) read(space func() []byte, idle func()) (int, error) {
	if len(p.left) == 0 {
		idle()
		if p.busy {
			n, err := p.c.Read(space())
			p.busy = n >= len(p.small)
			return n, err
		}
		n, err := p.c.Read(p.small[:])
		if n == 0 {
			return 0, err
		}
		p.left, p.busy = p.small[:n], n == len(p.small) // the next read has the error as well
	}
	n := copy(space(), p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *plainConn) wait() error { return nil }
func (p *plainConn) waits() bool { return false }
func (p *plainConn) gone() bool  { return false }
func (p *plainConn) more() bool  { return false }

func (p *plainConn) tryWrite([]piece, int) (int, bool, error) { return 0, false, nil }

func (p *plainConn) write(ps []piece, pos int) (int, error) {
	if len(ps) == 1 {
		return p.c.Write(ps[0].b[pos:])
	}
	bufs := make(net.Buffers, 0, min(len(ps), maxPieces))
	for _, q := range ps[:min(len(ps), maxPieces)] {
		bufs = append(bufs, q.b[pos:])
		pos = 0
	}
	n, err := bufs.WriteTo(p.c)
	return int(n), err
}

// maxPieces bounds how many pieces one gathered write takes; systems allow 1024.
const maxPieces = 64

// closeWrite ends the stream to the client but lets it go on reading what is there.
func closeWrite(c net.Conn) bool {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite() == nil
	}
	return false
}

// linger reads and forgets what the client still sends, until it closes or time is up. A
// connection that is closed with bytes unread is reset, and a reset can overtake the last
// frames sent: the client would never see its ERROR or receipt.
func linger(c net.Conn, d time.Duration) {
	if !closeWrite(c) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(d))
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 64<<20))
}
