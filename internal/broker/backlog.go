package broker

import "sync/atomic"

// A Budget bounds the bytes that wait for one client's topic subscriptions together.
type Budget struct {
	Limit int64
	used  atomic.Int64
}

// A backlog is what a topic subscription could not hand on yet. Past the budget the
// oldest goes, unless its policy is another; one message always fits, unless the broker's memory is at
// its limit.
type backlog struct {
	items []Delivery
	head  int
}

func (l *backlog) len() int { return len(l.items) - l.head }

func (l *backlog) push(s *Subscription, d Delivery) {
	if l.head > 32 && l.head*2 > len(l.items) {
		n := copy(l.items, l.items[l.head:])
		clear(l.items[n:])
		l.items, l.head = l.items[:n], 0
	}
	l.items = append(l.items, d)
	s.budget.used.Add(int64(d.Msg.Size()))
	s.b.Hold(d.Msg)
	full, limit := s.b.memory.full(), s.budget.Limit
	switch s.slow {
	case SlowSpill:
		return // it was asked before whether there is room
	case SlowBlock:
		if s.budget.used.Load() > limit {
			s.jam()
		}
		full, limit = false, 2*limit // for those who cannot wait
	}
	dropped := 0
	for l.len() > 1 && (full || s.budget.used.Load() > limit) || full && l.len() > 0 {
		l.pop(s)
		dropped++
	}
	if dropped > 0 {
		s.lagging(dropped)
	}
}

// keep drops the oldest until n are left, which the client itself wants so.
func (l *backlog) keep(s *Subscription, n int) {
	for l.len() > n {
		l.pop(s)
		s.b.counts.dropped.Add(1)
	}
}

func (l *backlog) pop(s *Subscription) Delivery {
	d := l.items[l.head]
	l.items[l.head] = Delivery{}
	l.head++
	s.budget.used.Add(-int64(d.Msg.Size()))
	s.b.Drop(d.Msg)
	if l.head == len(l.items) {
		l.head, l.items = 0, l.items[:0]
		if cap(l.items) > 1024 {
			l.items = nil
		}
	}
	return d
}

func (l *backlog) clear(s *Subscription) {
	for l.len() > 0 {
		l.pop(s)
	}
	l.items = nil
}
