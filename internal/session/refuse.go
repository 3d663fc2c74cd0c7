package session

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"stompserver/internal/frame"
)

// Who comes when there are too many is told so in what it speaks: TLS, HTTP or STOMP. That takes
// reading what it says, and a handshake, so that it is done for a few at a time only; the others
// are told in STOMP.
const (
	mostRefusing = 32  // at once
	refuseRate   = 100 // a second
	refuseWait   = 2 * time.Second
)

// turnAway has a client refused, on a goroutine of its own. Called with mu held.
func (srv *Server) turnAway(s *session, now time.Time, limit string, most int, why string) {
	listen := s.port != nil && srv.listens(now)
	srv.readers.Add(1)
	go func() { // ends soon; Shutdown waits
		defer srv.readers.Done()
		s.log().Warn("connection refused", "reason", limit, "limit", most)
		s.refuse(errLimit(limit, most, "%s", why), listen)
		s.depart(byRefusal)
		if listen {
			srv.listened()
		}
	}()
}

// listens reports whether there is time to listen to one more of them. Called with mu held.
func (srv *Server) listens(now time.Time) bool {
	if srv.refusing >= mostRefusing || !srv.refused.atRate(refuseRate, now) {
		return false
	}
	srv.refusing++
	return true
}

func (srv *Server) listened() {
	srv.mu.Lock()
	srv.refusing--
	srv.mu.Unlock()
}

// tooMany is how a session ends that is one too many of its address, which is known before it
// has said anything.
func (s *session) tooMany(e *Error) error {
	s.srv.mu.Lock()
	listen := s.srv.listens(time.Now())
	s.srv.mu.Unlock()
	if !listen {
		return e
	}
	defer s.srv.listened()
	_ = s.sock.SetReadDeadline(time.Now().Add(refuseWait))
	s.turnedAway = e
	_, err := s.peel()
	if err == errLeave {
		s.srv.reached(e.Limit)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return e
	}
	return err
}

// refuse tells a client that it is not let in, and closes. If it is listened to it has some time
// to begin with what it speaks.
func (s *session) refuse(e *Error, listen bool) {
	defer s.sock.Close()
	if listen {
		_ = s.sock.SetReadDeadline(time.Now().Add(refuseWait))
		s.turnedAway = e
		_, err := s.peel()
		var other *Error
		switch {
		case err == errLeave: // what there is to say is in the outbox
			s.srv.reached(e.Limit)
			_ = s.sock.SetWriteDeadline(time.Now().Add(lingerWait))
			s.out.mu.Lock()
			reply := s.out.chunk
			s.out.mu.Unlock()
			_, _ = s.c.net().Write(reply)
			linger(s.c.net(), lingerWait)
			return
		case errors.As(err, &other):
			e = other
		case err == errHandshake, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return
		}
	}
	s.srv.told(e)
	c := s.c.net()
	_ = s.sock.SetDeadline(time.Now().Add(lingerWait))
	said := frame.Append(nil, frame.V10, e.frame())
	if s.cfg.NoTrailingLF {
		said = said[:len(said)-1]
	}
	_, _ = c.Write(said)
	linger(c, lingerWait)
	_ = c.Close()
}

// refusal is the answer to a request of a client that is not let in.
func (s *session) refusal() []byte {
	return answer(http.StatusServiceUnavailable, s.turnedAway.Detail, http.Header{"Retry-After": {"5"}})
}
