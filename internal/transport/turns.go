package transport

import (
	"context"
	"net"
	"runtime"
)

// Turns bound how many handshakes are computed at once: half of the processors are for those who
// are connected, however many come.
type Turns chan struct{}

// NewTurns makes some for half of the processors.
func NewTurns() Turns { return make(Turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// A Handshake is a connection whose owner has a turn while it computes, and none while it waits
// for the client. It is to be used by one goroutine, from Begin to End; afterwards it is the
// connection that it was.
type Handshake struct {
	net.Conn
	Turns Turns
	ctx   context.Context // nil: it is over
}

// Begin waits for a turn. The error is that of ctx.
func (h *Handshake) Begin(ctx context.Context) error {
	h.ctx = ctx
	return h.enter()
}

// End gives the turn back, if there is one.
func (h *Handshake) End() {
	if h.ctx != nil {
		<-h.Turns
		h.ctx = nil
	}
}

func (h *Handshake) enter() error {
	select {
	case h.Turns <- struct{}{}:
		return nil
	case <-h.ctx.Done():
		err := h.ctx.Err()
		h.ctx = nil
		return err
	}
}

// Read waits for bytes without a turn.
func (h *Handshake) Read(b []byte) (int, error) {
	if h.ctx == nil {
		return h.Conn.Read(b)
	}
	<-h.Turns
	n, err := h.Conn.Read(b)
	if e := h.enter(); e != nil {
		return 0, e
	}
	return n, err
}

// CloseWrite ends the stream to the client, and lets it go on reading.
func (h *Handshake) CloseWrite() error { return closeWrite(h.Conn) }
