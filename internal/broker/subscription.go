package broker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// An AckMode says how a subscription settles its deliveries.
type AckMode uint8

// The ack modes of STOMP.
const (
	Auto             AckMode = iota // settled when the socket took the bytes
	Client                          // ACK and NACK cover all delivered before as well
	ClientIndividual                // ACK and NACK cover one delivery
)

// MaxPrefetch is what prefetch -1, without limit, comes to.
const MaxPrefetch = 65536

// unlimited is the credit of mode auto, which the consumer's outbox bounds.
const unlimited = 1 << 30

// ErrUnknown is returned for an ACK or NACK of what is not in flight, or settled in a
// transaction that is still open.
var ErrUnknown = errors.New("broker: no such delivery in flight")

// Options are what a subscription asks for.
type Options struct {
	Mode     AckMode
	Prefetch int // deliveries in flight at most; ignored in mode Auto
	Consumer Consumer
	Budget   *Budget  // bounds what waits for the consumer of a topic
	Filter   Filter   // which messages it wants; nil: all
	Pending  int      // messages of a topic kept back for it, the newest; 0: what Budget has room for, negative: none
	Slow     Slowness // what becomes of those of a topic that Budget has no room for, if no rule says it
	Owner    uint64   // of the temporary destinations that it may subscribe to

	// What follows is of queues only.
	Priority  int           // who has a higher one, and can take more, is served first
	Exclusive bool          // while it is there nobody else is served
	Bytes     int           // of messages in flight, past which it gets no more; 0: not bounded
	Timeout   time.Duration // for which a delivery may stay unsettled; 0: as long as it likes
	Manual    bool          // an ACK does not bring credit back, AddCredit does
	Browse    *Browse       // it takes nothing; its mode is Auto
}

// A Filter says which messages a subscription wants. It is called from any goroutine, with
// locks held: it must neither block nor call the broker.
type Filter interface {
	Wants(m *message.Message) bool
}

// A Ref names a delivery: by its Tag, or if that is 0 by its Seq.
type Ref struct {
	Tag uint64
	Seq store.Seq
}

// A Subscription connects a Consumer with a destination. Its methods may be called from
// any goroutine, but not by the Consumer's.
type Subscription struct {
	b        *Broker
	q        *queue // nil: a topic
	t        *topic
	tells    bool // it may hear of events
	listed   bool // in t.subs; guarded by Broker.mu
	mode     AckMode
	c        Consumer
	budget   *Budget
	filter   Filter
	sift     *sift     // of a queue: it wants some of the messages only
	patience *patience // nil: a delivery may stay unsettled
	browser  *browser  // of a queue: it takes none

	mu  *sync.Mutex // q.mu, or own; guards what follows
	own sync.Mutex

	ringNext, ringPrev *Subscription // the queue's ring of takers

	priority  int
	exclusive bool
	manual    bool

	inflight inflight
	pending  int     // how many of these at most; 0: any number, negative: none
	slow     Slow    // of a topic: what becomes of more
	most     int     // of a topic: how many wait at most where slow has them spill
	spill    *spill  // of a topic: those in the store; nil: it never needed that
	backlog  backlog // of a topic: what the consumer could not take yet
	credit   int
	window   int  // bytes in flight that are allowed; 0: any number
	bytes    int  // bytes in flight, where they are bounded
	taking   bool // in the ring
	started  bool
	blocked  bool // the consumer said no more
	halted   bool // gets no more deliveries
	detached bool // likewise, and others take its place
	paused   bool // gets none for now

	direct  atomic.Bool   // of a topic: nothing stands between publisher and consumer
	jams    atomic.Bool   // of a topic: it holds back who sends
	resumed atomic.Uint32 // how often Resume was called
}

// Subscribe attaches a consumer to dest, a name as package destination gives it. Nothing is
// delivered before Start. The error is ErrNotOwner, ErrTaken, ErrSystem, ErrWildcard or the store's.
func (b *Broker) Subscribe(dest string, o Options) (*Subscription, error) {
	if !b.owns(o.Owner, dest) {
		return nil, ErrNotOwner
	}
	if isSystem(dest) && b.IsQueue(dest) {
		return nil, ErrSystem
	}
	if o.Browse != nil {
		o.Mode = Auto // it takes nothing that an ACK could settle
	}
	s := &Subscription{b: b, mode: o.Mode, c: o.Consumer, budget: o.Budget, filter: o.Filter,
		priority: o.Priority, exclusive: o.Exclusive, manual: o.Manual, window: o.Bytes, pending: o.Pending}
	switch {
	case o.Mode == Auto:
		s.credit = unlimited
	case o.Prefetch < 0 || o.Prefetch > MaxPrefetch:
		s.credit = MaxPrefetch
	default:
		s.credit = max(o.Prefetch, 1)
	}
	switch {
	case b.IsQueue(dest):
		if b.IsPattern(dest) {
			return nil, ErrWildcard
		}
	case b.keepsTopic(dest):
		if o.Browse == nil {
			o.Browse = &Browse{Follow: true, Skip: true}
		}
		dest, s.mode, s.credit = keptName(dest), Auto, unlimited
	default:
		if dest == b.cfg.Monitor {
			s.mode, s.credit = Auto, unlimited // as in the Ruby server it hears no ACK
		}
		s.mu = &s.own
		s.slowness(dest, o)
		if tells(dest) {
			s.tells = true
			b.watchers.Add(1)
		}
		if b.IsPattern(dest) {
			p, err := b.cfg.Separators.Parse(dest)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrWildcard, err)
			}
			b.joinWildcard(dest, p, s)
		} else {
			b.joinTopic(dest, s)
		}
		s.count(1)
		return s, nil
	}
	for {
		q, err := b.queue(dest)
		if err != nil {
			return nil, err
		}
		q.mu.Lock()
		if q.gone {
			q.mu.Unlock()
			continue
		}
		if !q.ownedBy(o.Owner) {
			q.mu.Unlock()
			return nil, ErrTaken
		}
		s.q, s.mu = q, &q.mu
		if o.Timeout > 0 && o.Mode != Auto {
			s.patience = &patience{limit: o.Timeout, until: make(map[uint64]int64), lost: make(map[uint64]bool)}
			s.patience.alarm.ring = s.lose
		}
		switch {
		case o.Browse != nil:
			s.browser = &browser{Browse: *o.Browse}
			q.attachBrowser(s)
		case s.filter != nil:
			s.sift = new(sift)
			q.attach(s)
			q.addSifter(s)
		default:
			q.attach(s)
		}
		q.mu.Unlock()
		s.count(1)
		return s, nil
	}
}

// Start lets deliveries begin.
func (s *Subscription) Start(w *Wake) {
	var kept []*keptMessage
	switch {
	case s.t != nil:
		kept = s.b.retainedFor(s.t.name, s.t.pattern)
	case s.q.kept != nil && s.browser.Skip: // the others are shown more
		kept = s.b.retainedFor(s.q.kept.topic, nil)
	}
	s.mu.Lock()
	first := !s.started
	s.started = true
	if s.q != nil && s.q.gate != nil {
		s.q.gateCounts(w)
	}
	switch {
	case len(kept) == 0 || !first:
	case s.t != nil:
		s.showKept(kept)
	default:
		s.showRetained(kept, w)
	}
	s.changed(w)
	s.mu.Unlock()
}

// Browses reports whether it takes nothing from a queue. So does who follows what a topic keeps.
func (s *Subscription) Browses() bool { return s.browser != nil }

// Mode is the ack mode in force.
func (s *Subscription) Mode() AckMode { return s.mode }

// IDPrefix is what the message ids of its deliveries begin with; the Seq follows.
func (s *Subscription) IDPrefix() string {
	if s.q != nil {
		return s.q.prefix
	}
	return s.t.prefix
}

// Resume says that the consumer takes deliveries again.
func (s *Subscription) Resume(w *Wake) {
	s.mu.Lock()
	s.resumed.Add(1)
	s.blocked = false
	s.changed(w)
	s.mu.Unlock()
}

// changed follows up a change of credit or state. Called with mu held.
func (s *Subscription) changed(w *Wake) {
	if s.q == nil {
		s.drain(w)
		return
	}
	able := s.able()
	switch {
	case s.browser != nil:
		s.q.browse(s, w)
		return
	case s.sift != nil:
		if able {
			if s.q.anyParked() {
				s.q.unpark(w)
			}
			if s.q.sift(s, w); s.q.groups != nil && s.q.groups.moved {
				s.q.dispatch(w)
			}
		}
		return
	}
	if able != s.taking {
		if able {
			s.q.join(s)
		} else {
			s.q.leave(s)
		}
	}
	if able {
		s.q.dispatch(w)
	}
}

// able reports whether s, of a queue, can take more. Called with mu held.
func (s *Subscription) able() bool {
	if !s.started || s.blocked || s.halted || s.paused || s.q.paused && s.browser == nil || s.credit <= 0 || s.window > 0 && s.bytes >= s.window {
		return false
	}
	active := s.q.single.active
	return active == nil || active == s || s.browser != nil
}

// AddCredit lets n more deliveries be made.
func (s *Subscription) AddCredit(n int, w *Wake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode != Auto {
		s.credit = min(s.credit+n, MaxPrefetch)
		s.changed(w)
	}
}

// take hands d to the consumer. Called by the queue, whose turn it moves on.
func (s *Subscription) take(d store.Delivery, w *Wake) {
	s.q.next = s.ringNext
	s.hand(d, w)
	if s.blocked || s.credit <= 0 || s.window > 0 && s.bytes >= s.window { // the rest of able is as it was
		s.q.leave(s)
	}
}

// hand is take without a turn.
func (s *Subscription) hand(d store.Delivery, w *Wake) { s.show(d, d.Msg, w) }

// show is hand of d as another message, which the client sees.
func (s *Subscription) show(d store.Delivery, m *message.Message, w *Wake) {
	out := Delivery{Delivery: d}
	out.Msg = m
	if d.Attempt > 1 && s.browser == nil {
		s.b.counts.redelivered.Add(1)
	}
	if s.mode != Auto {
		out.Tag = s.inflight.push(d)
		if s.patience != nil {
			s.watch(out.Tag)
		}
		s.credit--
		if s.window > 0 {
			s.bytes += d.Msg.WireSize()
		}
	}
	if !s.c.Deliver(out, w) {
		s.blocked = true
	}
}

// Outstanding is the number of deliveries not settled.
func (s *Subscription) Outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inflight.len()
}

// Holds reports whether what ref names is in flight, perhaps in an open transaction.
func (s *Subscription) Holds(ref Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.inflight.find(ref)
	return ok
}

// Detach ends deliveries, as UNSUBSCRIBE does. What is in flight may still be settled.
func (s *Subscription) Detach(w *Wake) {
	s.mu.Lock()
	if s.detached {
		s.mu.Unlock()
		return
	}
	s.halted, s.detached = true, true
	switch {
	case s.browser != nil:
		s.q.detachBrowser(s, w)
	case s.q != nil:
		s.changed(w) // it has no turn any more when another takes its place
		s.q.detach(s, w)
		if s.q.groups != nil {
			s.q.dispatch(w) // its groups are free, where it has nothing of them
		}
	default:
		s.direct.Store(false)
		s.backlog.clear(s)
		s.endSpill()
	}
	s.changed(w)
	s.mu.Unlock()
	s.count(-1)
	if s.t != nil {
		s.unjam()
		if s.tells {
			s.b.watchers.Add(-1)
		}
		s.b.leaveTopic(s)
	}
}

// Halt ends deliveries ahead of Close. Who takes the place of s, alone or for some groups, does so
// when that has given back what s has, and not before.
func (s *Subscription) Halt(w *Wake) {
	if s.q == nil || s.browser != nil {
		s.Detach(w)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = true
	s.changed(w)
}

// Close detaches s and gives back what is in flight. Deliveries with a Tag above written
// never reached the client's socket: they do not count as tries.
func (s *Subscription) Close(written uint64, w *Wake) {
	s.Halt(w)
	if s.q == nil || s.browser != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var seen, unseen []store.Delivery
	for _, sl := range s.inflight.drain() {
		s.leftGroup(sl.msg)
		if sl.tag <= written {
			seen = append(seen, sl.delivery())
		} else {
			unseen = append(unseen, sl.delivery())
		}
	}
	if len(unseen) > 0 {
		s.q.unseen(unseen)
	}
	s.q.giveBack(seen, -1, w)
	if !s.detached {
		s.detached = true
		s.q.detach(s, w)
	}
	if s.q.dying {
		s.q.drop()
		return
	}
	s.q.dispatch(w)
}

// count counts the subscription among those of queues, or of topics.
func (s *Subscription) count(n int64) {
	if s.t != nil || s.q.kept != nil {
		s.b.counts.topicSubs.Add(n)
	} else {
		s.b.counts.queueSubs.Add(n)
	}
}
