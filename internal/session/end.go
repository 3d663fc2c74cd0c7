package session

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"stompserver/internal/websocket"
)

// How a session ends.

// release gives back everything the session held in the broker, but what was delivered.
func (s *session) release() {
	for _, tx := range s.txs {
		tx.Abort()
	}
	s.srv.census.transactions.Add(-int64(len(s.txs)))
	s.txs = nil
	s.b.Partial(-s.held)
	s.held = 0
	for _, h := range s.herds {
		h.follower.End()
	}
	for _, sub := range s.subs.list {
		if !sub.gone {
			s.tellOf("unsubscribe", "Consumer", []*subscr{sub})
		}
	}
	for _, sub := range s.subs.list {
		sub.bs.Halt(&s.wake)
	}
	s.wake.Run()
}

// finish tells the client what there is to tell, gives back what it did not get, and
// closes. Err is why the session ends.
func (s *session) finish(err error) {
	s.access.leave()
	var e *Error
	why := byClient
	switch {
	case errors.As(err, &e):
		s.tell(e, err)
		why = e.ends()
	case err == errLeave && s.turnedAway != nil:
		why = byRefusal
	case err == errLeave:
	case websocket.AsClose(err) != nil:
		why = s.countClose(websocket.AsClose(err))
	default:
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			s.trace("connection lost", "err", err)
			why = byLoss
		}
		_ = s.sock.Close() // nobody is there to read
	}
	if s.web != nil {
		s.closeWeb(err)
	}
	s.drain()
	s.giveBack()
	if s.told { // before the client sees the end of the stream
		s.tellEvent("disconnect", "Connection")
		s.wake.Run()
	}
	switch {
	case s.web != nil:
		s.web.linger()
	case e != nil || err == errLeave:
		linger(s.c.net(), lingerWait)
	}
	_ = s.c.net().Close()
	if n := s.dropped.Load(); n > 0 {
		s.log().Warn("slow subscriber missed messages", "dropped", n)
	}
	s.trace("connection closed")
	s.depart(why)
}

// countClose counts what ended a WebSocket.
func (s *session) countClose(c *websocket.CloseError) (why string) {
	switch {
	case !c.Ours:
		return byClient
	case c.Code == websocket.CloseTooBig && s.told:
		s.srv.LimitReached("body")
	case c.Code == websocket.CloseTooBig:
		s.srv.LimitReached("frame_before_login")
	}
	return byError
}

// ends is why a session ended that was told e.
func (e *Error) ends() string {
	switch {
	case e.Code == codeHeartbeatLost:
		return byHeartbeat
	case e.Code == codeShuttingDown:
		return byShutdown
	case e.Limit == "limits.outbox":
		return bySlowness
	}
	return byError
}

// tell puts the ERROR frame behind everything else.
func (s *session) tell(e *Error, cause error) {
	if e.Code == codeInternal {
		s.log().Error("session failed", "err", cause)
	} else {
		s.trace("error sent", "code", e.Code, "detail", e.Detail)
	}
	s.srv.told(e)
	s.out.mu.Lock()
	s.out.frame(e.frame(), s.version)
	s.out.mu.Unlock()
}

// drain writes what is left, for a while, and returns when nobody writes any more.
func (s *session) drain() {
	_ = s.sock.SetWriteDeadline(time.Now().Add(flushWait))
	s.out.mu.Lock()
	s.out.last = true
	s.out.done = make(chan struct{})
	done := s.out.done
	s.out.signal()
	s.out.mu.Unlock()
	s.Flush(&s.wake, false)
	<-done
	s.wake.Run()
}

// giveBack returns to the queues what the client was not sent, or did not settle.
func (s *session) giveBack() {
	s.out.mu.Lock()
	s.out.closed = true
	sent, runs := s.out.sent, s.out.runs
	s.out.sent, s.out.runs, s.out.held = nil, nil, nil
	s.out.discard()
	s.out.mu.Unlock()
	for _, r := range sent { // a write was cut short: some of these may have arrived
		s.undo(r, true)
	}
	for _, r := range runs {
		s.undo(r, false)
	}
	s.subs.close(&s.wake)
	s.dropTemporary()
	s.wake.Run()
}

func (s *session) undo(r run, seen bool) {
	if r.tag == 0 {
		r.sub.bs.Return(r.first, r.last, r.attempt, seen, &s.wake)
	} else if seen {
		r.sub.written.Store(r.tag)
	}
}

// errShuttingDown tells a client to come again, and when: not all in one moment.
func (srv *Server) errShuttingDown() *Error {
	e := errf(codeShuttingDown, "Shutting down", "The server is stopping. Connect again in a moment.")
	span := min(time.Duration(srv.leaving.Load())*retryEach, retryMost-retryLeast)
	e.RetryAfter = retryLeast + rand.N(span+1)
	return e
}

// Clients that are told to come again are to come about one each retryEach, but not at once, and not
// so late.
const (
	retryEach  = time.Millisecond
	retryLeast = 200 * time.Millisecond
	retryMost  = 10 * time.Second
)
