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
// waits that has messages which it cannot acknowledge, or does not read, meanwhile: it may be waiting for
// itself.
const (
	lookEvery  = 100 * time.Millisecond
	roomWithin = 30 * time.Second
)

// retry has a client wait, whose socket is not read meanwhile, until it is its turn and try
// succeeds. If it never does, op has come to nothing.
func (s *session) retry(op *broker.Op, try func() bool) error {
	op.Unattended() // what waited for that is past
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
				if s.subs.outstanding() {
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
