package broker

import (
	"time"

	"stompserver/internal/store"
)

// A patience is how long a subscription may keep a delivery without settling it. Past that it is
// given back, as if the client had been lost with it; the subscription goes on.
type patience struct {
	limit time.Duration
	alarm alarm
	lost  map[uint64]bool // tags that were given back, of which a late ACK is no error
}

// maxLost is how many of these are remembered.
const maxLost = 4096

// watch notes when slot j of the deliveries in flight is to be settled. Called with mu held.
func (s *Subscription) watch(j int) {
	p := s.patience
	sl := &s.inflight.slots[j]
	sl.until = nowMilli() + max(p.limit.Milliseconds(), 1)
	s.b.clock.set(&p.alarm, sl.until)
}

// lose is the alarm of s's patience.
func (s *Subscription) lose(now int64, w *Wake) (next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.patience
	var back []store.Delivery
	for j := s.inflight.head; j < len(s.inflight.slots); j++ {
		sl := &s.inflight.slots[j]
		switch {
		case sl.state != slotLive || sl.until == 0:
		case sl.until > now:
			if next == 0 || sl.until < next {
				next = sl.until
			}
		default:
			if len(p.lost) >= maxLost {
				clear(p.lost)
			}
			p.lost[sl.tag] = true
			back = append(back, sl.delivery())
			s.settled(j)
			s.leftGroup(sl.msg)
			s.inflight.set(j, slotGone)
		}
	}
	if len(back) == 0 {
		return next
	}
	s.inflight.trim()
	s.b.counts.timedOut.Add(uint64(len(back)))
	s.q.giveBack(back, -1, w)
	s.changed(w)
	s.q.dispatch(w)
	return next
}

// wasLost reports whether ref, which is not in flight, was given back because it took too long,
// and forgets that.
func (s *Subscription) wasLost(ref Ref) bool {
	if s.patience == nil || !s.patience.lost[ref.Tag] {
		return false
	}
	delete(s.patience.lost, ref.Tag)
	return true
}

// Extend has the deliveries that an ACK of ref would cover kept for so long from now on, where
// there is a limit.
func (s *Subscription) Extend(ref Ref, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.inflight.open(ref)
	if !ok {
		return ErrUnknown
	}
	if s.patience == nil {
		return nil
	}
	until := nowMilli() + max(d.Milliseconds(), 1)
	for j := s.inflight.from(i, s.mode == Client); j <= i; j++ {
		s.inflight.slots[j].until = until
	}
	s.b.clock.set(&s.patience.alarm, until)
	return nil
}
