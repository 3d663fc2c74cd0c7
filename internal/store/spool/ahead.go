package spool

import (
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// What is leased out of turn may be far behind the window, where only the backend has it.
// The ahead of a queue knows what became of such messages until the window comes by.
type ahead struct {
	slots map[store.Seq]*slot  // leased, or given back; msg is nil while nobody has it
	gone  map[store.Seq]uint64 // acked: bits by Seq/64, which cost next to nothing where it is many in a row
}

const goneBits = 6

func (a *ahead) isGone(seq store.Seq) bool {
	return a.gone[seq>>goneBits]>>(seq&(1<<goneBits-1))&1 != 0
}

func (a *ahead) setGone(seq store.Seq) {
	if a.gone == nil {
		a.gone = make(map[store.Seq]uint64)
	}
	a.gone[seq>>goneBits] |= 1 << (seq & (1<<goneBits - 1))
}

// passed forgets what the window, which has come up to next, knows by itself now. Called with mu held.
func (q *queue) passed(next store.Seq) {
	a := &q.ahead
	for seq, s := range a.slots {
		if seq < next {
			delete(a.slots, seq)
			if s.state&leased != 0 {
				q.lost(s)
			}
		}
	}
	for block := range a.gone {
		if (block+1)<<goneBits <= next {
			delete(a.gone, block)
		}
	}
}

// lost takes a message off the books that somebody has and the backend has no more: what acked it is written, and
// only about to be settled, or it could not be stored.
func (q *queue) lost(s *slot) {
	q.away--
	q.awayBytes -= int64(s.msg.Size())
	q.leased--
	if s.state&leaving != 0 {
		q.dequeued++
	}
	q.gone(s.msg)
}

// slotOf returns the place of a message that is in the window or ahead of it, or nil.
func (q *queue) slotOf(seq store.Seq) *slot {
	if _, s := q.win.at(seq); s != nil && s.msg != nil {
		return s
	}
	if q.tail == nil {
		return nil
	}
	return q.ahead.slots[seq]
}

// Lease implements store.Queue.
func (q *queue) Lease(dst, ds []store.Delivery, unseen bool) (_ []store.Delivery, later bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return dst, false
	}
	before := len(dst)
	for _, d := range ds {
		s, wait := q.available(d)
		if wait || s != nil && q.tail != nil && !unseen && !q.mayGo(d.Seq, s) {
			q.leasing, later = true, true
		}
		if s == nil || later { // what follows one that has to wait does not overtake it
			continue
		}
		if s.msg == nil {
			s.msg = d.Msg
			q.spool.keep(d.Msg)
		}
		dst = s.lease(dst, d.Seq)
		if q.tail != nil && !unseen && q.near(d.Seq) {
			q.outOfTurn = max(q.outOfTurn, d.Seq)
		}
	}
	q.leased += len(dst) - before
	if q.tail != nil && q.split {
		q.win.skipGone()
		q.pageIfLow()
	}
	return dst, later
}

// Foretell implements store.Queue.
func (q *queue) Foretell(ds []store.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.tail == nil {
		return
	}
	for _, d := range ds {
		if s, _ := q.available(d); s != nil {
			q.mayGo(d.Seq, s)
		}
	}
}

// available returns the slot of a message that is there and nobody has, or nil. Wait says that
// it is about to be.
func (q *queue) available(d store.Delivery) (_ *slot, wait bool) {
	if d.Seq < q.win.next {
		if _, s := q.win.at(d.Seq); s != nil && s.msg != nil && s.state&leased == 0 {
			return s, s.state&held != 0
		}
		return nil, false
	}
	if q.tail == nil || !q.split || d.Seq > q.last || d.Msg == nil || q.ahead.isGone(d.Seq) {
		return nil, false
	}
	s := q.ahead.slots[d.Seq]
	if s == nil {
		l := q.findLate(d.Seq)
		if l != nil && (l.held || l.msg == nil) {
			return nil, l.held && l.msg != nil
		}
		if q.ahead.slots == nil {
			q.ahead.slots = make(map[store.Seq]*slot)
		}
		s = &slot{attempt: d.Attempt}
		if s.attempt == 0 && d.Seq <= q.told {
			s.attempt = 1
		}
		q.ahead.slots[d.Seq] = s
	}
	if s.state&leased != 0 {
		return nil, false
	}
	return s, false
}

// near reports whether a mark up to a message says of few others that they were handed out.
func (q *queue) near(seq store.Seq) bool { return seq < q.win.fresh+aheadOf }

// mayGo reports whether the message of s may be handed out: a crash would not forget that it was.
// If not it asks for a mark, or, if that would be of too many others, for a word on it alone.
func (q *queue) mayGo(seq store.Seq, s *slot) bool {
	t := q.tail
	switch {
	case seq <= t.marked || seq > t.written && seq <= t.marking || s.attempt > 0 || s.state&told != 0:
		return true
	case q.near(seq):
		if seq > t.taken {
			return true // it is marked when it is taken up
		}
		if t.wish < seq {
			t.wish = min(seq+aheadOf, t.taken)
			q.spool.disk.pending.mark(q)
		}
		return false
	case s.state&asked == 0:
		s.state |= asked
		if t.tell = append(t.tell, seq); seq <= t.taken {
			q.spool.disk.pending.mark(q)
		}
	}
	return seq > t.taken // it is told with it
}

// tellTries adds to rs what the backend is to know of messages that were handed out far out of turn.
// It is for the group under way, behind its puts. Called with mu held.
func (q *queue) tellTries(rs []store.Record) []store.Record {
	t := q.tail
	later := t.tell[:0]
	for _, seq := range t.tell {
		if seq > t.taken {
			later = append(later, seq)
			continue
		}
		t.telling = append(t.telling, seq)
		if s := q.slotOf(seq); s != nil && (s.msg == nil || !s.msg.Volatile()) {
			rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: q.name, Seq: seq, Attempts: 1})
		}
	}
	t.tell = later
	return rs
}

// toldTries notes that the backend knows it.
func (q *queue) toldTries() {
	t := q.tail
	for _, seq := range t.telling {
		if _, s := q.win.at(seq); s != nil && s.msg != nil {
			s.state = s.state&^asked | told
		} else if s := q.ahead.slots[seq]; s != nil {
			s.state = s.state&^asked | told
		}
	}
	t.telling = t.telling[:0]
}

// settleAhead takes an acked message out that is not in the window, if it is in the state
// only, and returns it.
func (q *queue) settleAhead(seq store.Seq, only state) *message.Message {
	if q.tail == nil {
		return nil
	}
	s := q.ahead.slots[seq]
	if s == nil || s.msg == nil || s.state&only != only {
		return nil
	}
	m := s.msg
	n := int64(m.Size())
	delete(q.ahead.slots, seq)
	q.ahead.setGone(seq)
	q.away--
	q.awayBytes -= n
	if l := q.findLate(seq); l != nil && l.msg != nil {
		q.spool.leave(l.msg)
		l.msg = nil
	}
	return m
}

// releaseAhead takes a message back that is not in the window, and reports whether it was out.
func (q *queue) releaseAhead(seq store.Seq, attempt uint32) bool {
	if q.tail == nil {
		return false
	}
	s := q.ahead.slots[seq]
	if s == nil || s.state&leased == 0 {
		return false
	}
	if s.state&doomed != 0 {
		if m := q.settleAhead(seq, doomed); m != nil {
			q.gone(m)
		}
		return true
	}
	s.state, s.attempt = s.state&(asked|told), attempt
	q.spool.leave(s.msg)
	s.msg = nil
	return true
}

// enter has a message that has come into the window be there what it was ahead of it.
func (q *queue) enter(seq store.Seq) {
	a := q.ahead.slots[seq]
	if a == nil {
		return
	}
	delete(q.ahead.slots, seq)
	_, s := q.win.at(seq)
	s.attempt, s.state = a.attempt, s.state|a.state
	if a.msg != nil {
		q.spool.leave(a.msg)
	}
}
