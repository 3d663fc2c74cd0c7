package transport

import (
	"errors"
	"net"
)

// A Replay is a connection of which some bytes were read already; they are read again first.
type Replay struct {
	net.Conn
	Early []byte
}

func (r *Replay) Read(b []byte) (int, error) {
	if len(r.Early) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.Early)
	if r.Early = r.Early[n:]; len(r.Early) == 0 {
		r.Early = nil
	}
	return n, nil
}

// CloseWrite ends the stream to the client, and lets it go on reading.
func (r *Replay) CloseWrite() error { return closeWrite(r.Conn) }

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
