//go:build unix

package session

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConn works on the descriptor itself: it asks for a read buffer only when there is
// something to read, and writes without waiting.
type rawConn struct {
	c   net.Conn
	raw syscall.RawConn

	// The functions given to raw are made once; what they need lies beside them. One
	// goroutine at a time reads, and one writes.
	readFn  func(fd uintptr) bool
	space   func() []byte
	idle    func()
	readN   int
	readErr error

	writeFn  func(fd uintptr) bool
	pieces   []piece
	pos      int
	block    bool
	writeN   int
	writeErr error
}

func newConn(c net.Conn) conn {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return &plainConn{c: c}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return &plainConn{c: c}
	}
	r := &rawConn{c: c, raw: raw}
	r.readFn, r.writeFn = r.doRead, r.doWrite
	return r
}

func (r *rawConn) net() net.Conn { return r.c }

func (r *rawConn) read(space func() []byte, idle func()) (int, error) {
	r.space, r.idle = space, idle
	if err := r.raw.Read(r.readFn); err != nil {
		return 0, err
	}
	if r.readN == 0 && r.readErr == nil {
		return 0, io.EOF
	}
	return r.readN, r.readErr
}

func (r *rawConn) doRead(fd uintptr) bool {
	for {
		n, err := unix.Read(int(fd), r.space())
		switch err {
		case unix.EAGAIN:
			r.idle()
			return false
		case unix.EINTR:
			continue
		}
		r.readN, r.readErr = max(n, 0), err
		return true
	}
}

func (r *rawConn) waits() bool { return true }

func (r *rawConn) wait() error { return r.raw.Read(readable) }

// readable polls: a read would do as well, but needs a buffer and the stack to get one.
func readable(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}

func (r *rawConn) more() bool {
	some := false
	err := r.raw.Control(func(fd uintptr) { some = readable(fd) })
	return err != nil || some
}

func (r *rawConn) gone() bool {
	closed := false
	err := r.raw.Control(func(fd uintptr) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: pollClosed}}
		n, err := unix.Poll(p[:], 0)
		closed = err == nil && n > 0 && p[0].Revents&(pollClosed|unix.POLLERR|unix.POLLHUP) != 0
	})
	return err != nil || closed
}

func (r *rawConn) tryWrite(ps []piece, pos int) (int, bool, error) {
	n, err := r.send(ps, pos, false)
	return n, true, err
}

func (r *rawConn) write(ps []piece, pos int) (int, error) { return r.send(ps, pos, true) }

func (r *rawConn) send(ps []piece, pos int, wait bool) (int, error) {
	r.pieces, r.pos, r.block, r.writeN, r.writeErr = ps, pos, wait, 0, nil
	err := r.raw.Write(r.writeFn)
	r.pieces = nil
	if err == nil {
		err = r.writeErr
	}
	return r.writeN, err
}

func (r *rawConn) doWrite(fd uintptr) bool {
	for {
		n, err := r.writeOnce(int(fd))
		switch err {
		case unix.EAGAIN:
			return !r.block
		case unix.EINTR:
			continue
		}
		r.writeN, r.writeErr = max(n, 0), err
		return true
	}
}

func (r *rawConn) writeOnce(fd int) (int, error) {
	if len(r.pieces) == 1 {
		return unix.Write(fd, r.pieces[0].b[r.pos:])
	}
	return writev(fd, r.pieces, r.pos)
}
