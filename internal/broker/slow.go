package broker

import (
	"strings"

	"stompserver/internal/message"
)

// What becomes of the messages of a topic for a subscription that does not take them as fast as they come:
// they wait in memory up to its Budget, and then there is a policy.

// Slow is such a policy.
type Slow uint8

// The policies.
const (
	SlowUnset      Slow = iota
	SlowDrop            // the oldest are dropped
	SlowDisconnect      // and its client is disconnected
	SlowSpill           // they wait in the store, in a queue of the subscription
	SlowBlock           // who sends to the topic waits
)

var slowNames = map[Slow]string{SlowDrop: "drop_oldest", SlowDisconnect: "disconnect", SlowSpill: "spill", SlowBlock: "block"}

func (s Slow) String() string { return slowNames[s] }

// ParseSlow reads the word of a policy.
func ParseSlow(word string) (Slow, bool) {
	for s, name := range slowNames {
		if name == word {
			return s, true
		}
	}
	return SlowUnset, false
}

// A Slowness is a policy with its bound.
type Slowness struct {
	Policy  Slow // default SlowDrop
	Pending int  // how many messages SlowSpill has wait; past that the oldest are dropped. Default 1,000,000
}

// DefaultPending is how many messages wait for a subscription in the store.
const DefaultPending = 1_000_000

// SlowOf is what the rules of the configuration say of slow subscriptions to a topic, or to a pattern of
// topics that a rule names as a whole; what is zero is not said.
func (b *Broker) SlowOf(topic string) Slowness {
	matches := func(r Rule) bool { return r.Match.Matches(topic) }
	if b.IsPattern(topic) {
		all, err := b.cfg.Separators.Parse(topic)
		matches = func(r Rule) bool { return err == nil && r.Match.Contains(all) }
	}
	p := &b.props
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if matches(r) {
			return Slowness{r.Properties.Slow, r.Properties.MaxPending}
		}
	}
	return Slowness{}
}

// slowness settles the policy of s. A rule comes before what the client says.
func (s *Subscription) slowness(topic string, o Options) {
	rule := s.b.SlowOf(topic)
	s.slow, s.most = rule.Policy, rule.Pending
	or(&s.slow, o.Slow.Policy)
	or(&s.slow, SlowDrop)
	or(&s.most, o.Slow.Pending)
	or(&s.most, DefaultPending)
	switch {
	case s.slow != SlowSpill:
	case s.pending < 0:
		s.slow = SlowDrop // it wants none
	case s.pending > 0:
		s.most = min(s.most, s.pending)
	}
	if strings.HasPrefix(topic, eventPrefix) || isTemp(topic) {
		switch s.slow { // what the broker itself sends is not to wait, nor to fill the store
		case SlowBlock, SlowSpill:
			s.slow = SlowDrop
		}
	}
}

// jam holds back who sends to the topic of s, until unjam.
func (s *Subscription) jam() {
	if s.jams.CompareAndSwap(false, true) {
		s.t.jams.Add(1)
		s.b.jams.Add(1)
		s.lagging(0)
	}
}

func (s *Subscription) unjam() {
	if s.jams.CompareAndSwap(true, false) {
		s.b.jams.Add(-1)
		if s.t.jams.Add(-1) == 0 {
			s.t.line.roomy()
		}
	}
}

// Jams reports whether s holds back who sends to its topic.
func (s *Subscription) Jams() bool { return s.jams.Load() }

// Yield has s, if it holds back who sends to its topic, miss messages from now on instead.
func (s *Subscription) Yield() {
	if s.t == nil || !s.jams.Load() {
		return
	}
	s.own.Lock()
	defer s.own.Unlock()
	if s.slow == SlowBlock {
		s.slow = SlowDrop
		s.unjam()
	}
}

// lagging tells the consumer that it is too slow, and missed n messages.
func (s *Subscription) lagging(n int) {
	s.b.counts.dropped.Add(uint64(n))
	s.c.Lagging(n, s.slow)
}

// jammed is the topic, or the pattern, that holds back who sends; nil: none does. It is asked only while
// some topic has anybody wait.
func (a *Address) jammed() *topic {
	if a.t == nil || a.t.gone.Load() {
		a.t = a.b.topic(a.name)
	}
	if a.t != nil && a.t.jams.Load() > 0 {
		return a.t
	}
	for _, t := range a.wildcards() {
		if t.jams.Load() > 0 {
			return t
		}
	}
	return nil
}

// mustWait reports whether a SEND to the topic is to be tried again later, and has op stand in line for it.
func (a *Address) mustWait(op *Op) bool {
	if a.b.jams.Load() <= 0 || !op.Patient || a.temp {
		return false
	}
	for t := a.jammed(); t != nil; t = a.jammed() {
		op.joinLine(&t.line)
		if t.jams.Load() > 0 {
			return true
		}
		op.leaveLine() // nobody would have called
	}
	return false
}

// mustWait reports likewise whether one of the messages is to a topic that holds back who sends.
func (t *Transaction) mustWait(op *Op) bool {
	if t.b.jams.Load() <= 0 {
		return false
	}
	for _, st := range t.steps {
		if st.msg == nil {
			continue
		}
		topic, kept := keptTopic(st.dest)
		if !kept {
			topic = st.dest
		}
		if a := (Address{b: t.b, name: topic, temp: isTemp(topic)}); !t.b.IsQueue(topic) && a.mustWait(op) {
			return true
		}
	}
	return false
}

// enough lets senders go on when half of what may wait for s has gone. Called with own held.
func (s *Subscription) enough() {
	switch {
	case s.slow != SlowBlock || !s.jams.Load():
	case s.pending > 0 && s.backlog.len() > s.pending/2:
	case s.backlog.len() == 0 || s.budget.used.Load() <= s.budget.Limit/2:
		s.unjam()
	}
}

// keepBack has d wait for s, as its policy says. Called with own held.
func (s *Subscription) keepBack(d Delivery, w *Wake) {
	spills := s.slow == SlowSpill && s.mustSpill(d.Msg)
	if spills {
		spills = s.spillOver(d.Msg, w)
	}
	if !spills {
		s.backlog.push(s, d)
	}
	s.drain(w)
	switch {
	case s.slow == SlowSpill:
		s.bound()
	case s.pending == 0 || !s.started:
	case s.slow == SlowBlock && s.pending > 0:
		if s.backlog.len() >= s.pending {
			s.jam()
		}
		s.backlog.keep(s, 2*s.pending) // of those who cannot wait
	default:
		s.backlog.keep(s, max(s.pending, 0))
	}
}

// mustSpill reports whether m does not fit into memory, or others went to the store before it.
func (s *Subscription) mustSpill(m *message.Message) bool {
	switch {
	case s.spilling():
		return true
	case s.backlog.len() == 0:
		return s.b.memory.full() && (s.blocked || s.credit <= 0)
	}
	return s.b.memory.full() || s.budget.used.Load()+int64(m.Size()) > s.budget.Limit
}
