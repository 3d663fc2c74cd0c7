package broker

import (
	"strconv"
	"strings"
	"sync/atomic"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// What does not fit into memory for a slow subscription of a topic can wait in a queue of the store that
// the subscription has for itself, as long as it lives. While there is anything in it all that comes goes
// through it, so that the order stays; then the subscription is as fast as any again.

const (
	spillPrefix = destination.QueuePrefix + "$spill/"

	// Who sends is held back while so much of what it sent is on its way to the disk, until that is half.
	spillUnwritten = 4 << 20

	spillAtOnce = 16 // messages taken out in one go
)

// A spill is such a queue. Its fields but unwritten and fresh are guarded by Subscription.own.
type spill struct {
	st        store.Queue
	active    bool          // there may be something in it
	asked     bool          // the store was asked for more than it had
	unwritten atomic.Int64  // bytes on their way to the disk
	fresh     chan struct{} // there may be more to fetch; for emptyOut
}

// spilling reports whether messages of s are in the store. Called with own held.
func (s *Subscription) spilling() bool {
	if s.spill == nil || !s.spill.active {
		return false
	}
	st := s.spill.st.Stats()
	s.spill.active = st.Ready+st.Leased > 0
	return s.spill.active
}

// spillOver puts m into the store and reports whether it did. Called with own held.
func (s *Subscription) spillOver(m *message.Message, w *Wake) bool {
	p := s.spill
	if p == nil {
		p = &spill{fresh: make(chan struct{}, 1)}
		var err error
		p.st, err = s.b.store.Queue(spillPrefix+s.b.token+"-"+strconv.FormatUint(s.b.spills.Add(1), 10), func() {
			signal(p.fresh)
			s.unspill()
		})
		if err != nil {
			s.b.cfg.Log.Error("messages of a slow subscriber cannot be stored", "destination", s.t.name, "err", err)
			s.slow = SlowDrop
			return false
		}
		s.spill = p
		s.lagging(0)
	}
	m = m.Stored()
	size := int64(m.Size())
	op := NewOp(nil)
	op.Relax() // it may be wanted soon
	op.batch.Put(p.st, m)
	op.Finally(func(err error) {
		if p.unwritten.Add(-size) <= spillUnwritten/2 {
			s.unjam()
		}
		if err != nil {
			s.b.counts.dropped.Add(1)
			s.b.cfg.Log.Error("message of a slow subscriber not stored", "destination", s.t.name, "err", err)
		}
	})
	p.active = true
	if p.unwritten.Add(size) > spillUnwritten {
		s.jam()
	}
	s.b.store.Commit(&op.batch)
	if p.unwritten.Load() <= spillUnwritten/2 {
		s.unjam()
	}
	return true
}

// unspill is called by the store when there may be more to take.
func (s *Subscription) unspill() {
	var w Wake
	s.own.Lock()
	if !s.detached {
		s.drain(&w)
	}
	s.own.Unlock()
	w.Run()
}

// drainSpill hands out what is in the store, as far as the consumer takes it. Called with own held and
// nothing kept back in memory.
func (s *Subscription) drainSpill(w *Wake) {
	p := s.spill
	var room [spillAtOnce]store.Delivery
	for s.takes() && s.spilling() {
		ds, err := p.st.Fetch(room[:0], min(s.credit, spillAtOnce))
		if err != nil {
			s.b.cfg.Log.Error("fetch failed", "destination", s.t.name, "err", err)
			break
		}
		p.asked = len(ds) < spillAtOnce
		if len(ds) == 0 {
			return // the store calls when there is more
		}
		n := 0
		for n < len(ds) && s.takes() {
			s.give(Delivery{Delivery: store.Delivery{Seq: store.Seq(s.t.seq.Add(1)), Attempt: 1, Msg: ds[n].Msg}}, w)
			n++
		}
		s.settleSpilled(ds[:n])
		for i := range ds[n:] {
			ds[n+i].Attempt--
		}
		p.st.Release(ds[n:])
	}
	if p.asked && !s.takes() {
		p.asked = false
		_, _ = p.st.Fetch(nil, 0) // withdraws the demand
	}
}

// settleSpilled takes ds, which were fetched, out of the store.
func (s *Subscription) settleSpilled(ds []store.Delivery) {
	if len(ds) == 0 {
		return
	}
	op := NewOp(nil)
	op.Relax()
	for _, d := range ds {
		op.batch.Ack(s.spill.st, d.Seq)
	}
	s.b.store.Commit(&op.batch)
}

// bound drops the oldest messages past the number that may wait. Called with own held.
func (s *Subscription) bound() {
	n := s.backlog.len()
	if s.spill != nil && s.spill.active {
		n += s.spill.st.Stats().Ready
	}
	dropped := 0
	for n-dropped > s.most && s.backlog.len() > 0 {
		s.backlog.pop(s)
		dropped++
	}
	for n-dropped > s.most && s.spill != nil {
		ds, err := s.spill.st.Fetch(nil, min(n-dropped-s.most, 256))
		if err != nil || len(ds) == 0 {
			break // what is not at hand goes with what comes next
		}
		s.settleSpilled(ds)
		dropped += len(ds)
	}
	if dropped > 0 {
		s.lagging(dropped)
	}
}

// endSpill gives up what is in the store, for a subscription that ends. Called with own held.
func (s *Subscription) endSpill() {
	if p := s.spill; p != nil {
		s.spill = nil
		s.b.wg.Go(func() { s.b.emptyOut(p.st, p.fresh) }) // ends by itself, or with the broker
	}
}

// emptyOut drops what a queue of the store holds, and the queue.
func (b *Broker) emptyOut(st store.Queue, fresh <-chan struct{}) {
	for !b.stopped() {
		ds, err := st.Fetch(nil, 256)
		if err != nil {
			return // the next start finds it
		}
		if len(ds) > 0 {
			op := NewOp(nil)
			op.Relax()
			op.batch.AckRange(st, ds[0].Seq, ds[len(ds)-1].Seq)
			b.store.Commit(&op.batch)
			continue
		}
		if st.Stats().Ready == 0 {
			st.Close()
			return
		}
		select {
		case <-fresh:
		case <-b.stop:
		}
	}
}

// openSpills drops what subscriptions left in the store that ended with the process before this one.
func (b *Broker) openSpills() error {
	var left []string
	for name := range b.store.Queues() {
		if strings.HasPrefix(name, spillPrefix) {
			left = append(left, name)
		}
	}
	for _, name := range left {
		fresh := make(chan struct{}, 1)
		st, err := b.store.Queue(name, func() { signal(fresh) })
		if err != nil {
			return err
		}
		b.wg.Go(func() { b.emptyOut(st, fresh) }) // ends by itself, or with the broker
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
