package session

import (
	"io"
	"time"

	"stompserver/internal/broker"
)

// commitOp commits tx, which waits where a queue is full, or a topic has who sends wait.
func (s *session) commitOp(tx *broker.Transaction, op *broker.Op) error {
	if tx.Commit(op, &s.wake) {
		return nil
	}
	err := s.retry(op, func() bool { return tx.Commit(op, &s.wake) })
	if err != nil {
		tx.Abort()
	}
	return err
}

// How often it is looked whether a client that waits for room is still there, and how long it
// waits that may be waiting for itself: it has messages which it cannot acknowledge, or does not read,
// meanwhile. And how much time is between two waits of a client that are told of.
const (
	lookEvery  = 100 * time.Millisecond
	roomWithin = 30 * time.Second
	tellAgain  = 5 * time.Second
)

// ownWait reports whether the client may be waiting for itself, as it waits for a queue, or topic.
func (s *session) ownWait(of string) bool {
	return s.subs.outstanding() || s.subs.has(of) // what it is sent in mode auto is settled when it reads it
}

// tellBlocked tells that the client has to wait.
func (s *session) tellBlocked(of string) {
	if now := s.sinceStart(time.Now()); s.blocked == 0 || time.Duration(now-s.blocked) > tellAgain {
		if s.blocked == 0 { // once is enough for the log
			s.log().Info("sender waits for room", "destination", of)
		}
		s.blocked = now
		if s.b.Watched() {
			s.b.Tell(&s.wake, broker.About("blocked", "FULL", of, s.facts()))
		}
	}
}

// retry has a client wait, whose socket is not read meanwhile, until it is its turn and try
// succeeds. If it never does, op has come to nothing.
func (s *session) retry(op *broker.Op, try func() bool) error {
	op.Unattended() // what waited for that is past
	s.tellBlocked(op.WaitsFor())
	err := s.pause(func() error {
		nudged := make(chan struct{}, 1)
		s.waiting.Store(&nudged)
		defer s.waiting.Store(nil)
		since := time.Now()
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			if f := s.failure.Load(); f != nil {
				return f
			}
			select {
			case <-op.Room():
				if try() {
					return nil
				}
			case <-nudged: // it may have failed
			case <-tick.C:
				if s.missed() {
					return io.EOF
				}
				if time.Since(since) <= roomWithin {
					continue
				}
				s.subs.yield()
				if s.ownWait(op.WaitsFor()) {
					op.Patient = false
					if try() {
						return nil
					}
				}
			case <-s.srv.quit:
				return s.srv.errShuttingDown()
			}
		}
	})
	if err != nil {
		s.unused(op)
	}
	return err
}
