package session

import (
	"time"

	"stompserver/internal/broker"
)

// attention is what a reader does about receipts that wait for a disk. A client that sends,
// waits for the receipt and sends again has nothing to say meanwhile: its reader may as well
// write to the disk, which saves handing the work to another goroutine and back. One that goes
// on sending is read instead. The reader owns it.
type attention struct {
	due bool  // something was committed that is to be attended
	shy uint8 // so many receipts more are left to the store
}

// shyFor is for how many receipts a client is taken for one that does not wait, or a store for
// one that is busy.
const shyFor = 32

// to has op attended, if that is worth it and one can tell whether it is.
func (a *attention) to(c conn, op *broker.Op) {
	switch {
	case a.shy > 0:
		a.shy--
	case c.waits():
		op.Attend()
		a.due = true
	}
}

// attend ends a burst in which something was committed to be attended.
func (s *session) attend() {
	s.attends.due = false
	if s.uncommitted.Load() == 0 {
		return // it is done
	}
	// Receipts that the store brings here need no goroutine to write them: that is done below.
	// One of somebody else's group may come now, if its client does not wait: it is late by a
	// write then.
	s.out.mu.Lock()
	s.out.attended = true
	s.out.mu.Unlock()
	s.paused.Store(true)
	here := s.b.Attend()
	s.paused.Store(false)
	if here {
		s.beat.heard(time.Now())
	}
	if !here || s.c.more() {
		s.attends.shy = shyFor
	}
	s.out.mu.Lock()
	s.out.attended = false
	s.out.mu.Unlock()
	s.flushAll()
}
