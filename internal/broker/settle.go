package broker

import (
	"errors"

	"stompserver/internal/store"
)

// How the deliveries of a subscription are settled: by ACK and NACK, and in mode Auto by the
// socket that took their bytes.

// settled gives back what slot j of the deliveries in flight took. Called with mu held, before
// the slot is gone.
func (s *Subscription) settled(j int) {
	if !s.manual {
		s.credit++
	}
	if s.patience != nil {
		delete(s.patience.until, s.inflight.slots[j].tag)
	}
	if s.window > 0 {
		if m := s.inflight.slots[j].msg; m != nil {
			s.bytes -= m.WireSize()
		}
	}
}

// unsettled takes back what settled of slot j gave.
func (s *Subscription) unsettled(j int) {
	if !s.manual {
		s.credit--
	}
	if s.patience != nil {
		s.watch(s.inflight.slots[j].tag)
	}
	if s.window > 0 {
		if m := s.inflight.slots[j].msg; m != nil {
			s.bytes += m.WireSize()
		}
	}
}

// Settle acks the deliveries first to last of mode Auto, whose bytes the socket took.
func (s *Subscription) Settle(first, last store.Seq, w *Wake) {
	if s.q == nil || s.browser != nil {
		return
	}
	op := NewOp(nil)
	s.q.mu.Lock()
	s.q.ack(op, first, last)
	found := false
	if s.q.groups != nil && s.q.sifters != nil {
		for seq := first; seq <= last; seq++ {
			found = s.q.unfindSeq(seq) || found
		}
	}
	s.b.store.Commit(&op.batch)
	if found {
		s.q.dispatch(w) // the next of its group may have waited behind it
	}
	s.q.mu.Unlock()
}

// Return gives the deliveries first to last of mode Auto back, which were the attempt-th
// try. Seen says that the client may have had them.
func (s *Subscription) Return(first, last store.Seq, attempt uint32, seen bool, w *Wake) {
	if s.q == nil || s.browser != nil {
		return
	}
	all, err := s.q.between(first, last)
	if err != nil {
		s.b.cfg.Log.Error("browse failed", "destination", s.q.name, "err", err)
	}
	ds := all[:0]
	for _, d := range all {
		if d.Seq > last {
			break
		}
		d.Attempt = attempt
		ds = append(ds, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen {
		s.q.giveBack(ds, -1, w)
	} else {
		s.q.unseen(ds)
	}
	s.q.dispatch(w)
}

// Ack settles what ref names, in mode Client all delivered before as well.
func (s *Subscription) Ack(ref Ref, op *Op, w *Wake) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.inflight.open(ref)
	if !ok {
		if s.wasLost(ref) {
			op.Finish(nil)
			return nil
		}
		return ErrUnknown
	}
	for j := s.inflight.from(i, s.mode == Client); j <= i; j++ {
		if s.inflight.slots[j].state == slotLive {
			s.settled(j)
			s.ackSlot(j, op, w)
		}
	}
	s.inflight.trim()
	s.commit(op)
	s.changed(w)
	if s.q != nil && s.q.groups != nil {
		s.q.dispatch(w) // others may have waited for it
	}
	return nil
}

// ackSlot adds the ack of slot j to op's batch, joined to the run before if it follows it.
func (s *Subscription) ackSlot(j int, op *Op, w *Wake) {
	if s.q == nil {
		w.acked[1]++
	} else {
		w.acked[0]++
		seq := s.inflight.slots[j].seq
		s.q.ack(op, seq, seq)
		if s.q.groups != nil {
			s.q.unfind(s.inflight.slots[j].delivery())
			s.leftGroup(s.inflight.slots[j].msg)
		}
	}
	s.inflight.set(j, slotGone)
}

func (s *Subscription) commit(op *Op) {
	if op.batch.Len() == 0 {
		op.Finish(nil)
		return
	}
	s.b.store.Commit(&op.batch)
}

// Nack gives what ref names back to the queue or moves it to the dead letters, as r says; in
// mode Client all delivered before as well. A topic has nothing to give it back to: there it
// is dropped.
func (s *Subscription) Nack(ref Ref, r Refusal, op *Op, w *Wake) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.inflight.open(ref)
	if !ok {
		if s.wasLost(ref) {
			op.Finish(nil)
			return nil
		}
		return ErrUnknown
	}
	var back []store.Delivery
	for j := s.inflight.from(i, s.mode == Client); j <= i; j++ {
		if s.inflight.slots[j].state == slotLive {
			back = append(back, s.inflight.slots[j].delivery())
			s.settled(j)
			s.leftGroup(s.inflight.slots[j].msg)
			s.inflight.set(j, slotGone)
		}
	}
	s.inflight.trim()
	if r.Dead && s.q != nil {
		op = s.q.burial(op)
	}
	s.refuse(back, r, op, w)
	s.commit(op)
	s.changedBack(w)
	return nil
}

// burial returns an operation that makes dead letters, and completes op when these are stored. If
// there is no room for them the messages are back, as if it had been another NACK.
func (q *queue) burial(op *Op) *Op {
	b := NewOp(nil)
	b.batch.Lazy, b.batch.Attended = op.batch.Lazy, op.batch.Attended
	b.then = func(err error) {
		if err != nil {
			q.b.cfg.Log.Error("dead letter not stored", "destination", q.name, "err", err)
		}
		if errors.Is(err, store.ErrFull) {
			err = nil
		}
		op.Finish(err)
	}
	return b
}

// changedBack is changed, after something was given back: others may come before s.
func (s *Subscription) changedBack(w *Wake) {
	if s.sift == nil {
		s.changed(w)
	}
	if s.q != nil {
		s.q.dispatch(w)
	}
}

func (s *Subscription) refuse(ds []store.Delivery, r Refusal, op *Op, w *Wake) {
	switch {
	case s.q == nil:
	case !r.Dead:
		s.q.giveBack(ds, r.Delay, w)
	default:
		for _, d := range ds {
			s.q.buryIn(op, d, death{"rejected", r.Reason}, w)
		}
	}
}
