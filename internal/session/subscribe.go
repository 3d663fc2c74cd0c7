package session

import (
	"slices"
	"strings"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
)

// subscribe answers SUBSCRIBE.
func (s *session) subscribe(f *frame.Frame) error {
	names, err := s.names(f)
	if err != nil {
		return err
	}
	if len(names) > 1 {
		if err := s.mayList(f, names); err != nil {
			return err
		}
		names = withoutDoubles(names, s.b.Separators())
	}
	id, named := f.Header.Get("id")
	switch {
	case !named && s.version > frame.V10:
		return errMissing(f.Command, "id")
	case named && (s.subs.byName(string(id)) != nil || s.herdOf(string(id)) != nil):
		e := errf(codeSubscriptionExists, "Duplicated subscription identifier", "This connection has a subscription with the id %s already.", cut(id))
		e.Subscription = string(id)
		return e
	case !s.subs.room(s.lim.Subscriptions - len(s.herds) - len(names) + 1): // of a pattern of queues there may be none yet
		return s.errManySubscriptions()
	}
	o, err := s.options(f)
	if err != nil {
		return err
	}
	parts := make([]*subscr, 0, len(names))
	var g *group // of all, if they are several
	undo := func(err error) error {
		if g != nil {
			s.endWhole(g)
			return err
		}
		for _, sub := range parts {
			s.endSubscription(sub)
		}
		return err
	}
	right := s.access.rights.Load()
	for _, n := range names {
		herded := s.isHerd(n)
		if g == nil && (herded || len(names) > 1) {
			if err := s.notOfOne(f, n); err != nil {
				return undo(err)
			}
			g = new(group)
		}
		if herded {
			h, err := s.newHerd(f, n, o, g)
			if err != nil {
				return undo(err)
			}
			more, err := s.gather(h)
			if parts = append(parts, more...); err != nil {
				return undo(err)
			}
			continue
		}
		sub, err := s.attach(f, n, o, true)
		if err != nil {
			return undo(err)
		}
		parts = append(parts, sub)
		if g != nil {
			g.join(sub)
		}
		s.supersede(sub)
	}
	if s.access.rights.Load() != right { // they changed when not all of these were known
		for _, sub := range parts {
			if err := s.mayKeep(sub); err != nil {
				return undo(err)
			}
		}
	}
	s.hold(true) // the client must not read of a subscription that has no turn yet
	s.receipt(f) // before the first MESSAGE
	s.tellOf("subscribe", "Consumer", parts)
	for _, sub := range parts {
		sub.bs.Start(&s.wake)
	}
	s.hold(false)
	return nil
}

// hold keeps what is added from being written, until the flush that ends the burst at the
// latest. Called by the reader.
func (s *session) hold(on bool) {
	s.out.mu.Lock()
	s.out.holding = on
	s.out.mu.Unlock()
}

func (s *session) errManySubscriptions() *Error {
	return errLimit("limits.subscriptions", s.lim.Subscriptions, "This connection has too many subscriptions, those included whose messages it has not acknowledged.")
}

// attach makes the subscription of f to one destination. Declares says that f is about it alone,
// and may say how a queue is to be.
func (s *session) attach(f *frame.Frame, n destination.Name, o broker.Options, declares bool) (sub *subscr, err error) {
	id, named := f.Header.Get("id")
	sub = &subscr{s: s, id: string(id), named: named, spelt: n.Spelt, seqName: f.Header.Value("include-seq")}
	if sub.counts, err = flag(f, false, includeCount); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			sub.unshare()
			s.exprs -= sub.exprs
		}
	}()
	if sub.exprs, err = s.express(n); err != nil {
		return sub, err
	}
	dest, err := s.bind(f, n, &o, sub)
	if err != nil {
		return sub, err
	}
	if declares && sub.of == "" && s.b.IsQueue(dest) && !n.System() {
		if err := s.declare(f, dest, dest); err != nil {
			return sub, err
		}
	} else if declares && sub.of == "" {
		if err := s.declareTopic(f, n); err != nil {
			return sub, err
		}
	}
	if o.Browse, err = s.browse(f, dest); err != nil {
		return sub, err
	}
	if _, ok := f.Header.Get(broker.StreamOffset); (ok || isStream(f)) && sub.seqName == "" || s.b.Keeps(dest) {
		sub.offset = true
	}
	return sub, s.open(sub, dest, o)
}

// open connects sub with a destination, by the broker's name for it.
func (s *session) open(sub *subscr, dest string, o broker.Options) (err error) {
	if err := s.roomFor(dest); err != nil {
		return err
	}
	sub.dest, sub.num, sub.topic = dest, s.subs.next, !s.b.IsQueue(dest)
	if sub.topic {
		sub.kind = Topic
	} else {
		o.Filter = ofQueue(o.Filter)
	}
	o.Consumer, o.Owner = sub, s.id
	if sub.bs, err = s.b.Subscribe(dest, o); err != nil {
		return err
	}
	if !sub.topic && s.b.Owned(dest, s.id) {
		s.owns(dest)
	}
	sub.vain = o.Mode != broker.Auto && sub.bs.Mode() == broker.Auto // it may acknowledge, which changes nothing
	sub.head = append(sub.head, "MESSAGE\n"...)
	if sub.named {
		sub.head = append(sub.head, "subscription:"...)
		sub.head = append(frame.AppendEscaped(sub.head, []byte(sub.id), s.version), '\n')
	}
	sub.head = append(sub.head, "message-id:"...)
	sub.head = append(sub.head, sub.bs.IDPrefix()...)
	sub.browses = sub.bs.Browses()
	if sub.offset = sub.offset || sub.topic && sub.browses; sub.seqName == broker.StreamOffset {
		sub.offset = false // once is enough
	}
	s.subs.next++
	s.subs.add(sub)
	return nil
}

// owns remembers a queue that the connection has for itself, to let it go at the end.
func (s *session) owns(queue string) {
	if slices.Contains(s.exclusive, queue) {
		return
	}
	if len(s.exclusive) == cap(s.exclusive) { // some may be forgotten, which were empty and not used any more
		s.exclusive = slices.DeleteFunc(s.exclusive, func(q string) bool { return !s.b.Owned(q, s.id) })
	}
	s.exclusive = append(s.exclusive, queue)
}

// roomFor waits for memory, if a subscription to dest would make a queue.
func (s *session) roomFor(dest string) error {
	if s.b.MemoryFull() && s.b.Makes(dest) {
		return s.awaitMemory(s.b.MemoryFull)
	}
	return nil
}

// subscribeToReplies subscribes to a temporary destination for the client.
func (s *session) subscribeToReplies(spelt, dest string, topic bool) error {
	if s.subs.byName(spelt) != nil || !s.subs.room(s.lim.Subscriptions) {
		return nil // it cannot be told apart; the client may subscribe by itself
	}
	sub := &subscr{s: s, id: spelt, named: true, spelt: spelt, silent: true}
	if err := s.open(sub, dest, broker.Options{Mode: broker.Auto, Budget: &s.budget}); err != nil {
		return err
	}
	sub.bs.Start(&s.wake)
	return nil
}

// supersede ends the subscription to a temporary destination that the server made for answers,
// when the client makes one by itself, as those of ActiveMQ and Apollo do: else the two would
// take turns.
func (s *session) supersede(sub *subscr) {
	if !broker.IsTemporary(sub.dest) {
		return
	}
	for _, old := range slices.Clone(s.subs.list) {
		if old.silent && !old.gone && old.dest == sub.dest {
			s.endSubscription(old)
		}
	}
}

// unsubscribe answers UNSUBSCRIBE: by id, in 1.0 also by destination, which ends all
// subscriptions of the connection to it.
func (s *session) unsubscribe(f *frame.Frame) error {
	if done, err := s.unsubscribeDurable(f); done || err != nil {
		return err
	}
	if id, ok := f.Header.Get("id"); ok {
		sub, h := s.subs.byName(string(id)), s.herdOf(string(id))
		if h != nil {
			s.endWhole(h.group)
			s.receipt(f)
			return nil
		}
		if sub == nil {
			e := errf(codeSubscriptionUnknown, "No subscription found", "This connection has no subscription with the id %s.", cut(id))
			e.Subscription = string(id)
			return e
		}
		for _, p := range slices.Clone(sub.whole()) {
			s.endSubscription(p)
		}
		s.receipt(f)
		return nil
	}
	if s.version > frame.V10 {
		return errMissing(f.Command, "id")
	}
	dest, ok := f.Header.Get("destination")
	if !ok || len(dest) == 0 {
		return errMissing(f.Command, "destination")
	}
	var ended []*subscr
	for _, sub := range s.subs.list {
		if !sub.gone && s.spells(sub, string(dest)) {
			ended = append(ended, sub)
		}
	}
	followed := false
	for _, h := range slices.Clone(s.herds) {
		if h.name.Spelt == string(dest) {
			followed = true
			s.endHerd(h)
		}
	}
	if len(ended) == 0 && !followed {
		return errf(codeSubscriptionUnknown, "No subscription found", "This connection has no subscription to %s.", cut(dest))
	}
	for _, sub := range ended {
		if !sub.gone {
			s.endSubscription(sub)
		}
	}
	s.receipt(f)
	return nil
}

// spells reports whether dest, the header of an UNSUBSCRIBE, names what sub is to: as a
// whole or in part, in any spelling.
func (s *session) spells(sub *subscr, dest string) bool {
	if sub.spelt == dest {
		return true
	}
	all, err := destination.Parse(dest, destination.None)
	if err != nil {
		return false
	}
	for _, n := range all {
		if text, ok := s.temps[n.Text]; ok && text == sub.dest || n.Text == sub.dest {
			return true
		}
	}
	return false
}

// endWhole ends a subscription with all its parts and patterns.
func (s *session) endWhole(g *group) {
	for _, h := range slices.Clone(s.herds) {
		if h.group == g {
			s.endHerd(h)
		}
	}
	for _, p := range slices.Clone(g.parts) {
		if !p.gone {
			s.endSubscription(p)
		}
	}
}

func (s *session) endSubscription(sub *subscr) {
	s.tellOf("unsubscribe", "Consumer", []*subscr{sub})
	sub.bs.Detach(&s.wake)
	s.subs.end(sub)
	sub.unshare()
	s.exprs, sub.exprs = s.exprs-sub.exprs, 0
}

// maxExprs bounds the bytes of expressions in the patterns of a connection: each SEND to a topic that is new to its
// sender tries them all.
const maxExprs = 4 << 20

// express counts the expressions of n, if it is a pattern that has some.
func (s *session) express(n destination.Name) (size int, err error) {
	if !strings.Contains(n.Text, "{") {
		return 0, nil
	}
	p, err := s.b.Separators().Parse(n.Text)
	if err != nil {
		return 0, nil // told by who subscribes to it
	}
	if size = p.Size(); s.exprs+size > maxExprs {
		return 0, errf(codeLimit, "Limit reached", "The regular expressions in the destinations of this connection's subscriptions are too many, or too large, with those of %s.", cut([]byte(n.Spelt)))
	}
	s.exprs += size
	return size, nil
}

// authTime is how long a login may be looked into.
func (l *Limits) authTime() time.Duration {
	if l.LoginTimeout > 0 {
		return l.LoginTimeout
	}
	return time.Minute
}
