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
	until map[uint64]int64 // by tag, when it is to be settled
	lost  map[uint64]bool  // tags that were given back, of which a late ACK is no error
}

// maxLost is how many of these are remembered.
const maxLost = 4096

// watch notes when the delivery of that tag is to be settled. Called with mu held.
func (s *Subscription) watch(tag uint64) { s.watchUntil(tag, s.patience.limit) }

func (s *Subscription) watchUntil(tag uint64, d time.Duration) {
	p := s.patience
	p.until[tag] = nowMilli() + max(d.Milliseconds(), 1)
	s.b.clock.set(&p.alarm, p.until[tag])
}

// lose is the alarm of s's patience.
func (s *Subscription) lose(now int64, w *Wake) (next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.patience
	var back []store.Delivery
	for tag, until := range p.until {
		j, ok := s.inflight.find(Ref{Tag: tag})
		switch {
		case !ok:
			delete(p.until, tag)
		case until > now:
			if next == 0 || until < next {
				next = until
			}
		default:
			delete(p.until, tag)
			if len(p.lost) >= maxLost {
				clear(p.lost)
			}
			p.lost[tag] = true
			sl := &s.inflight.slots[j]
			back = append(back, sl.delivery())
			s.settled(j)
			s.leftGroup(sl.msg)
			s.inflight.set(j, slotGone)
		}
	}
	if len(back) == 0 {
		return next
	}
	inOrder(back)
	s.inflight.trim()
	s.b.counts.timedOut.Add(uint64(len(back)))
	s.q.giveBack(back, -1, w)
	s.changedBack(w)
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
	if !ok && s.patience != nil && s.patience.lost[ref.Tag] {
		return nil // too late, as an ACK may be
	}
	if !ok {
		return ErrUnknown
	}
	if s.patience == nil {
		return nil
	}
	for j := s.inflight.from(i, s.mode == Client); j <= i; j++ {
		if s.inflight.slots[j].state == slotLive {
			s.watchUntil(s.inflight.slots[j].tag, d)
		}
	}
	return nil
}
