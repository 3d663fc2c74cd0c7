package session

import (
	"io"
	"time"

	"stompserver/internal/broker"
)

// commitOp commits tx, which waits where a queue is full.
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

// How often it is looked for room in a full queue, and how long a client waits there that has
// messages which it cannot acknowledge meanwhile: it may be waiting for itself.
const (
	roomEvery  = 5 * time.Millisecond
	roomWithin = 30 * time.Second
)

// retry has a client wait, whose socket is not read meanwhile, until try succeeds. If it never
// does, op has come to nothing.
func (s *session) retry(op *broker.Op, try func() bool) error {
	op.Unattended() // what waited for that is past
	err := s.pause(func() error {
		since := time.Now()
		tick := time.NewTicker(roomEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-s.srv.quit:
				return errShuttingDown()
			}
			if f := s.failure.Load(); f != nil {
				return f
			}
			if s.missed() {
				return io.EOF
			}
			if s.subs.outstanding() && time.Since(since) > roomWithin {
				op.Patient = false
			}
			if try() {
				return nil
			}
		}
	})
	if err != nil {
		s.unused(op)
	}
	return err
}
