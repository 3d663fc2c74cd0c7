package broker

import (
	"errors"
	"slices"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
)

// A topic can keep the last message that asked for it, for those who subscribe later. It is kept
// in memory, and as a row of a ledger as safe as any message.

const (
	topicHeader = "$topic" // of a row: the broker's name of the topic
	speltHeader = "$spelt" // and the client's

	// maxRetained is for how many topics messages are kept.
	maxRetained = 100_000
)

// ErrRetained is the error of a SEND that is to be kept while those of too many topics are.
var ErrRetained = errors.New("broker: too many topics keep a message")

type retained struct {
	ledger *ledger

	mu  sync.RWMutex // guards what follows
	all map[string]*keptMessage
}

func (b *Broker) openRetained() error {
	r := &b.retained
	r.all = make(map[string]*keptMessage)
	var err error
	if r.ledger, err = b.openLedgerBy("retained", topicHeader); err != nil {
		return err
	}
	r.ledger.all(func(topic string, row *message.Message) {
		spelt, _ := row.Header(speltHeader)
		k := &keptMessage{shown: row.Redirect(spelt, topicHeader, "", speltHeader, "")}
		r.all[topic] = k
		b.memory.extra.Add(k.size())
	})
	return nil
}

// retains reports whether m, sent to a topic, changes what that keeps: a temporary one keeps nothing, or it
// would do so after its end.
func retains(topic string, m *message.Message) bool {
	return m.Special() && m.Options().Retain != message.RetainNothing && !isTemp(topic)
}

// sendKept publishes m, which changes what its topic keeps, and has op store that.
func (a *Address) sendKept(m *message.Message, op *Op, w *Wake) {
	b := a.b
	if m.Options().Retain == message.RetainSet && !b.roomToKeep(a.name) {
		op.Finish(ErrRetained)
		return
	}
	b.keep(op, a.name, m)
	if !op.News.behind(b, a.name, m, op) {
		b.publishKept(a, m, w)
	}
	op.Patient = false // it is out already
	t := b.Begin()
	for _, q := range a.feeds(m) {
		t.add(q, m)
	}
	if a.keeps() {
		t.add(keptName(a.name), m)
	}
	t.commit(op, w)
}

// keep has op store what the topic of m keeps.
func (b *Broker) keep(op *Op, topic string, m *message.Message) {
	r := &b.retained
	if m.Options().Retain == message.RetainSet {
		r.ledger.putRow(op, m.Redirect(r.ledger.name, "retained", "true", "retain", "", topicHeader, topic, speltHeader, m.Destination()))
		return
	}
	r.ledger.remove(op, topic)
}

// publishKept publishes m and has its topic keep it, in one: who subscribes meanwhile gets it
// once.
func (b *Broker) publishKept(a *Address, m *message.Message, w *Wake) {
	r := &b.retained
	r.mu.Lock()
	defer r.mu.Unlock()
	if !a.keeps() && a.Wanted() { // else it comes by what the topic keeps
		a.publish(m, w)
	}
	b.memory.extra.Add(-r.all[a.name].size())
	if m.Options().Retain == message.RetainRemove {
		delete(r.all, a.name)
		return
	}
	k := &keptMessage{shown: m.Redirect(m.Destination(), "retained", "true", "retain", ""), sent: m}
	r.all[a.name] = k
	b.memory.extra.Add(k.size())
}

// A keptMessage is what a topic keeps.
type keptMessage struct {
	shown *message.Message // to who subscribes later
	sent  *message.Message // as it was published; nil after a restart
}

// keptCost is what keeping a message costs in memory besides itself, roughly: places in two tables.
const keptCost = 512

// size is what it costs in memory, with its row, which the store counts as a message only.
func (k *keptMessage) size() int64 {
	if k == nil {
		return 0
	}
	n := int64(k.shown.Size()) + keptCost
	if k.sent != nil {
		n += int64(k.sent.Size())
	}
	return n
}

// roomToKeep reports whether a message may be kept for the topic.
func (b *Broker) roomToKeep(topic string) bool {
	r := &b.retained
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all) < maxRetained || r.all[topic] != nil
}

// retainedFor returns what the topics of a subscription keep for it.
func (b *Broker) retainedFor(dest string, p *pattern.Pattern) (all []*keptMessage) {
	r := &b.retained
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := nowMilli()
	if p == nil || !p.Wild() {
		if m := r.all[dest]; m != nil && !expired(m.shown, now) {
			return []*keptMessage{m}
		}
		return nil
	}
	for topic, m := range r.all {
		if p.Matches(topic) && !expired(m.shown, now) {
			all = append(all, m)
		}
	}
	return all
}

// showKept hands s, of a topic, what that kept, ahead of what came since it subscribed. Called
// with s.mu held, before it starts.
func (s *Subscription) showKept(all []*keptMessage) {
	var came []Delivery
	for s.backlog.len() > 0 {
		came = append(came, s.backlog.pop(s))
	}
	for _, m := range all {
		if s.filter != nil && !s.filter.Wants(m.shown) || slices.ContainsFunc(came, func(d Delivery) bool { return d.Msg == m.sent }) {
			continue
		}
		s.backlog.push(s, Delivery{Delivery: store.Delivery{Seq: store.Seq(s.t.seq.Add(1)), Attempt: 1, Msg: m.shown}})
	}
	for _, d := range came {
		s.backlog.push(s, d)
	}
}

// feedKept gives a new durable subscription what its topics keep.
func (b *Broker) feedKept(d *durable, w *Wake) {
	for _, m := range b.retainedFor(d.Topic, &d.pattern) {
		if d.Filter == nil || d.Filter.Wants(m.shown) {
			a, err := b.address(d.Queue)
			if err != nil {
				return
			}
			a.Send(m.shown.Shown(), NewOp(nil), w) // also if one of that name was there before
		}
	}
}
