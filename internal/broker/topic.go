package broker

import (
	"slices"
	"sync/atomic"

	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
)

// A topic fans messages out to its subscriptions and keeps nothing. It exists only while
// it has one, so that naming topics costs no memory.
type topic struct {
	name    string
	prefix  string           // of its message ids
	pattern *pattern.Pattern // of a wildcard subscription, whose own it is; else nil
	seq     atomic.Uint64
	gone    atomic.Bool
	jams    atomic.Int32 // subscriptions that hold back who sends
	line    line         // those who wait for them

	// The list is never changed where a reader may look: one who joins is appended
	// behind its end, those who left are weeded out into a new list once they are many.
	subs atomic.Pointer[[]*Subscription]
	left int // how many of subs have left and told so; guarded by Broker.mu
}

func (b *Broker) joinTopic(name string, s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil {
		t = &topic{name: name, prefix: b.nextPrefix('t'), line: line{of: name}}
		t.subs.Store(new([]*Subscription))
		b.topics[name] = t
	}
	s.t, s.listed = t, true
	list := append(*t.subs.Load(), s)
	t.subs.Store(&list)
}

// leaveTopic takes s, which is detached, off its topic's list.
func (b *Broker) leaveTopic(s *Subscription) {
	if s.t.pattern != nil {
		b.leaveWildcard(s)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !s.listed {
		return // one who left in the same moment weeded s out as well
	}
	t := s.t
	t.left++
	old := *t.subs.Load()
	if t.left*2 < len(old) {
		return
	}
	list := make([]*Subscription, 0, len(old)-t.left)
	for _, s := range old {
		s.own.Lock()
		if s.listed = !s.detached; s.listed {
			list = append(list, s)
		}
		s.own.Unlock()
	}
	t.subs.Store(&list)
	t.left = 0
	if len(list) == 0 {
		t.gone.Store(true)
		delete(b.topics, t.name)
	}
}

// wants reports whether a subscription would get m.
func (t *topic) wants(m *message.Message) bool {
	return slices.ContainsFunc(*t.subs.Load(), func(s *Subscription) bool { return s.filter == nil || s.filter.Wants(m) })
}

// publish hands m to every subscription. It holds no lock of its own.
func (t *topic) publish(m *message.Message, w *Wake) {
	subs := *t.subs.Load()
	d := Delivery{Delivery: store.Delivery{Seq: store.Seq(t.seq.Add(1)), Attempt: 1, Msg: m}}
	for _, s := range subs {
		s.offer(d, w)
	}
	if len(subs) > 0 {
		subs[0].b.counts.published.Add(uint64(len(subs)))
	}
}

// offer hands d to the consumer, or keeps it back as long as that cannot take it.
func (s *Subscription) offer(d Delivery, w *Wake) {
	if s.filter != nil && !s.filter.Wants(d.Msg) {
		return
	}
	if s.direct.Load() {
		resumed := s.resumed.Load()
		if s.c.Deliver(d, w) {
			return
		}
		s.own.Lock()
		if s.resumed.Load() == resumed { // else it takes more already
			s.blocked = true
			s.direct.Store(false)
		}
		s.own.Unlock()
		return
	}
	s.own.Lock()
	defer s.own.Unlock()
	if s.detached {
		return
	}
	s.keepBack(d, w)
}

// drain hands out what was kept back, as far as the consumer takes it. Called with own
// held.
func (s *Subscription) drain(w *Wake) {
	for s.takes() && s.backlog.len() > 0 {
		s.give(s.backlog.pop(s), w)
	}
	if s.spill != nil && s.backlog.len() == 0 {
		s.drainSpill(w)
	}
	s.enough()
	s.direct.Store(s.mode == Auto && s.started && !s.blocked && !s.detached && !s.paused && s.backlog.len() == 0 && !s.spilling())
}

// takes reports whether the consumer can be given more. Called with own held.
func (s *Subscription) takes() bool {
	return s.started && !s.blocked && !s.detached && !s.paused && s.credit > 0
}

// give hands d, which was kept back, to the consumer. Called with own held.
func (s *Subscription) give(d Delivery, w *Wake) {
	if d.Msg.Expires() != 0 && expired(d.Msg, nowMilli()) {
		s.b.counts.expired.Add(1)
		s.b.counts.ended.Add(1)
		return
	}
	if s.mode != Auto {
		d.Tag = s.inflight.push(store.Delivery{Seq: d.Seq, Attempt: 1})
		s.credit--
	}
	if !s.c.Deliver(d, w) {
		s.blocked = true
	}
}
