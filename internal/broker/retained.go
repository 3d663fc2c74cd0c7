package broker

import (
	"errors"
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
	all map[string]*message.Message
}

func (b *Broker) openRetained() error {
	r := &b.retained
	r.all = make(map[string]*message.Message)
	var err error
	if r.ledger, err = b.openLedgerBy("retained", topicHeader); err != nil {
		return err
	}
	r.ledger.all(func(topic string, row *message.Message) {
		spelt, _ := row.Header(speltHeader)
		r.all[topic] = row.Redirect(spelt, topicHeader, "", speltHeader, "")
	})
	return nil
}

// retains reports whether m, sent to a topic, changes what that keeps.
func retains(m *message.Message) bool {
	return m.Special() && m.Options().Retain != message.RetainNothing
}

// keep has op, which publishes m, change what the topic keeps.
func (b *Broker) keep(op *Op, topic string, m *message.Message) {
	r := &b.retained
	if m.Options().Retain == message.RetainRemove {
		op.Finally(func(err error) {
			if err == nil {
				r.mu.Lock()
				delete(r.all, topic)
				r.mu.Unlock()
			}
		})
		r.mu.RLock()
		_, there := r.all[topic]
		r.mu.RUnlock()
		if there {
			r.ledger.drop(topic)
		}
		return
	}
	shown := m.Redirect(m.Destination(), "retained", "true", "retain", "")
	r.ledger.putRow(op, m.Redirect(r.ledger.name, "retained", "true", "retain", "", topicHeader, topic, speltHeader, m.Destination()))
	op.Finally(func(err error) {
		if err == nil {
			r.mu.Lock()
			r.all[topic] = shown
			r.mu.Unlock()
		}
	})
}

// roomToKeep reports whether a message may be kept for the topic.
func (b *Broker) roomToKeep(topic string) bool {
	r := &b.retained
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all) < maxRetained || r.all[topic] != nil
}

// retainedFor returns what the topics of a subscription keep for it.
func (b *Broker) retainedFor(dest string, p *pattern.Pattern) (all []*message.Message) {
	r := &b.retained
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := nowMilli()
	if p == nil || !p.Wild() {
		if m := r.all[dest]; m != nil && !expired(m, now) {
			return []*message.Message{m}
		}
		return nil
	}
	for topic, m := range r.all {
		if p.Matches(topic) && !expired(m, now) {
			all = append(all, m)
		}
	}
	return all
}

// showKept hands s, of a topic, what that keeps, ahead of what came since it subscribed. Called
// with s.mu held, before it starts.
func (s *Subscription) showKept() {
	all := s.b.retainedFor(s.t.name, s.t.pattern)
	if len(all) == 0 {
		return
	}
	var came []Delivery
	for s.backlog.len() > 0 {
		came = append(came, s.backlog.pop(s))
	}
	for _, m := range all {
		if s.filter == nil || s.filter.Wants(m) {
			s.backlog.push(s, Delivery{Delivery: store.Delivery{Seq: store.Seq(s.t.seq.Add(1)), Attempt: 1, Msg: m}})
		}
	}
	for _, d := range came {
		s.backlog.push(s, d)
	}
}

// feedKept gives a new durable subscription what its topics keep.
func (b *Broker) feedKept(d *durable) {
	for _, m := range b.retainedFor(d.Topic, &d.pattern) {
		if d.Filter == nil || d.Filter.Wants(m) {
			a, err := b.address(d.Queue)
			if err != nil {
				return
			}
			var w Wake
			a.Send(m, NewOp(nil), &w)
			w.Run()
		}
	}
}
