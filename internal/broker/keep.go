package broker

import (
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A topic can keep what is sent to it, by age, bytes or number: then there is a queue that keeps
// (Properties.NonDestructive) behind it, which the topic feeds. Who subscribes to the topic follows
// that queue from some place on, and so misses nothing and gets nothing twice, however slow it is and
// however often its connection is lost. Subscriptions by a pattern are told what comes as they are of
// any topic.

const keptPrefix = destination.QueuePrefix + "$kept"

// keptName is the queue behind a topic.
func keptName(topic string) string {
	if strings.HasPrefix(topic, "/") {
		return keptPrefix + topic
	}
	return keptPrefix + "." + topic
}

// keptTopic is the topic that a queue is behind of.
func keptTopic(queue string) (topic string, ok bool) {
	rest, ok := strings.CutPrefix(queue, keptPrefix)
	switch {
	case !ok || rest == "":
		return "", false
	case rest[0] == '/':
		return rest, true
	case rest[0] == '.':
		return rest[1:], true
	}
	return "", false
}

// mayBeKept reports whether dest is a topic of the clients' that could keep what it is sent.
func (b *Broker) mayBeKept(dest string) bool {
	return !b.IsQueue(dest) && !isTemp(dest) && !b.IsPattern(dest) && !tells(dest) && dest != b.cfg.Monitor && controlOf(dest) == nil
}

// keepsTopic reports whether dest is a topic that keeps what it is sent.
func (b *Broker) keepsTopic(dest string) bool {
	if !b.mayBeKept(dest) {
		return false
	}
	p := b.props.of(keptName(dest))
	return p != nil && p.NonDestructive
}

// KeptQueue is the queue that is, or would be, behind a topic; ok is false where there can be none.
func (b *Broker) KeptQueue(topic string) (queue string, ok bool) {
	return keptName(topic), b.mayBeKept(topic)
}

// openKept opens the queues in the store that lose messages by their age, so that they do, those that hold more than
// they may, likewise, and those that keep the last of each key: what they hold is looked through for its keys, which would
// hold up everybody later.
// Those of topics that no rule has keep anything any more are left alone, and told of.
func (b *Broker) openKept() error {
	var open []string
	orphans := 0
	held := make(map[string]store.Stats)
	for name, st := range b.store.Queues() {
		name, _ = ofLane(name)
		_, of := keptTopic(name)
		if isSystem(name) && !of {
			continue
		}
		switch p := b.props.of(name); {
		case of && (p == nil || !p.NonDestructive):
			orphans++
		case p != nil && (p.MaxAge > 0 || p.LastValue):
			open = append(open, name)
		case p != nil && p.WhenFull == DropHead && p.bounded():
			if held[name] = addStats(held[name], st); p.tooFull(held[name]) {
				open = append(open, name)
			}
		}
	}
	if orphans > 0 {
		b.cfg.Log.Warn("topics have messages of a time when they kept them; they stay until a rule has these topics keep some again", "topics", orphans)
	}
	for _, name := range open {
		if _, err := b.queue(name); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether the topic keeps what it is sent. It is asked only where any may.
func (a *Address) keeps() bool {
	a.matching()
	return a.kept
}

// sendToKept puts m into the queue behind the topic, which brings it to everybody.
func (a *Address) sendToKept(m *message.Message, op *Op, w *Wake) bool {
	if queues := a.feeds(m); queues != nil {
		return a.feed(queues, m, op, w)
	}
	for {
		if a.keep == nil {
			if a.kept = a.b.fed(a.name); !a.kept { // any more
				return a.sendElsewhere(m, op, w)
			}
			q, err := a.b.queue(keptName(a.name))
			if err != nil {
				op.Finish(err)
				return true
			}
			a.keep = q
		}
		if err := a.keep.send(m, op, w); err != errGone {
			return err == nil
		}
		a.keep = nil // it was idle and forgotten
	}
}

// keepFor has the queue be the one behind a topic.
func (q *queue) keepFor(topic string) {
	last := q.st.Stats().Last
	q.kept = &kept{topic: topic, to: Address{b: q.b, name: topic}, from: last + 1, relayed: last}
	if last > 0 {
		q.b.wg.Go(func() { q.recall(last) }) // ends by itself; Close waits
	}
}

// laneOfMessage is the priority that m has in the queue. What is behind a topic has one series of
// numbers: its order is that in which the messages came.
func (q *queue) laneOfMessage(m *message.Message) uint8 {
	if q.kept != nil || q.props != nil && q.props.Priorities == No {
		return message.DefaultPriority
	}
	return m.Options().Priority
}

// relay brings what came to those who listen to the topic and do not follow the queue: the
// subscriptions by a pattern, and those that are older than the rule. Called with q.mu held.
func (k *kept) relay(w *Wake) {
	for _, it := range k.items {
		if it.seq <= k.relayed {
			continue
		}
		if it.waits() {
			return
		}
		if it.failed() { // what comes next may have its number
			continue
		}
		if k.relayed = it.seq; !k.heard() {
			continue
		}
		k.to.publish(it.msg.Redirect(it.msg.Destination(), StreamOffset, decimal(it.seq)), w)
	}
}

// heard reports whether anybody listens so.
func (k *kept) heard() bool {
	a := &k.to
	if a.t == nil || a.t.gone.Load() {
		a.t = a.b.topic(a.name)
	}
	return a.t != nil || len(a.wildcards()) > 0
}

// retainedShift sets the number of a message that the topic retains (retain:set) apart from those of
// what it keeps: it is none of these.
const retainedShift = 62

// Numbered reports whether seq is an order number in its queue.
func Numbered(seq store.Seq) bool { return seq != 0 && seq>>retainedShift == 0 }

// showRetained hands s, which follows the topic from now on, the message that the topic retains for
// who comes. Called with mu held, before it starts.
func (s *Subscription) showRetained(all []*keptMessage, w *Wake) {
	for _, m := range all {
		if s.filter != nil && !s.filter.Wants(m.shown) {
			continue
		}
		s.browser.retained = m.sent
		s.hand(store.Delivery{Seq: 1<<retainedShift | store.Seq(s.b.shown.Add(1)), Attempt: 1, Msg: m.shown}, w)
	}
}

// following is how many subscriptions follow what a topic keeps.
func (b *Broker) following(topic string) int {
	b.mu.RLock()
	q := b.queues[keptName(topic)]
	b.mu.RUnlock()
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.browsers)
}
