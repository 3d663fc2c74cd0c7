package broker

import (
	"errors"
	"slices"
	"strings"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/message"
)

// An Address is where the SENDs to one destination go. A session keeps that of its last
// SEND, so that a run of SENDs looks its destination up once. It belongs to one goroutine.
type Address struct {
	b    *Broker
	name string
	q    *queue
	t    *topic
	ctrl control // it is no destination
	temp bool    // a temporary queue; without q its owner has left

	wild []*topic // wildcard subscriptions that it matches
	seen uint64   // the version of Broker.wild that this is of

	durables     []*durable // subscriptions that it matches
	seenDurables uint64
	kept         bool   // the topic keeps what it is sent
	keep         *queue // where; nil: it was not looked up yet
}

// Address finds the way to dest, a name as package destination gives it. The error is
// ErrReserved, ErrSystem, ErrWildcard or the store's.
func (b *Broker) Address(dest string) (Address, error) {
	if c := controlOf(dest); c != nil {
		return Address{b: b, name: dest, ctrl: c}, nil
	}
	switch {
	case dest == b.cfg.Monitor:
		return Address{}, ErrReserved
	case isSystem(dest):
		return Address{}, ErrSystem
	case b.IsPattern(dest):
		return Address{}, ErrWildcard
	}
	return b.address(dest)
}

func (b *Broker) address(dest string) (Address, error) {
	a := Address{b: b, name: dest, temp: isTempQueue(dest)}
	if !b.IsQueue(dest) {
		a.t = b.topic(dest)
		return a, nil
	}
	q, err := b.queue(dest)
	if err == errGone {
		err = nil
	}
	a.q = q
	return a, err
}

// Name is the destination; empty for the zero Address.
func (a *Address) Name() string { return a.name }

// Control reports whether what is sent there asks the broker for something. It may be part of
// no transaction and of no other destination.
func (a *Address) Control() bool { return a.ctrl != nil }

// Queue reports whether it is a queue.
func (a *Address) Queue() bool { return a.q != nil || a.temp }

// Temporary reports whether it is a temporary queue or topic.
func (a *Address) Temporary() bool { return isTemp(a.name) }

// Wanted reports whether a message sent there now would reach anybody: always for a
// queue, for a topic only if it has a subscriber, for a temporary queue only while its
// owner is there. It counts an unwanted one as dropped.
func (a *Address) Wanted() bool {
	if a.q != nil && !a.temp || a.ctrl != nil {
		return true
	}
	if a.temp {
		q, err := a.b.queue(a.name)
		if a.q = q; err == nil {
			return true
		}
	} else {
		if a.t == nil || a.t.gone.Load() {
			a.t = a.b.topic(a.name)
		}
		if a.t != nil || len(a.wildcards()) > 0 || len(a.matching()) > 0 || a.kept {
			return true
		}
	}
	a.b.counts.unwanted.Add(1)
	return false
}

// Reaches reports whether m, sent there now, would get to anybody: Wanted, and of those who subscribe
// to a topic one wants it. One that is sent later, or kept for who comes, may.
func (a *Address) Reaches(m *message.Message) bool {
	o := m.Options()
	if Later(o, m.Arrived()) || o.Retain != message.RetainNothing {
		return true
	}
	if !a.Wanted() {
		return false
	}
	if a.q != nil || a.temp || a.ctrl != nil || a.keeps() || len(a.feeds(m)) > 0 {
		return true
	}
	if a.t != nil && a.t.wants(m) || slices.ContainsFunc(a.wildcards(), func(t *topic) bool { return t.wants(m) }) {
		return true
	}
	a.b.counts.unwanted.Add(1)
	return false
}

// Send routes m to its queue or topic. op completes when m is as safe as the store
// makes it; for a topic that is at once. It returns false, and nothing has happened, if a queue
// is full and op is Patient: then it is to be tried again.
func (a *Address) Send(m *message.Message, op *Op, w *Wake) bool {
	if m.Special() {
		if known, sent := a.sendSpecial(m, op, w); known {
			return sent
		}
	}
	if a.q == nil {
		return a.sendElsewhere(m, op, w)
	}
	if a.temp {
		m.SetVolatile()
	}
	for {
		if err := a.q.send(m, op, w); err != errGone {
			return err == nil
		}
		// It was idle and forgotten between our look-up and now, or its owner has left.
		q, err := a.b.queue(a.name)
		if errors.Is(err, errGone) {
			a.b.counts.unwanted.Add(1)
			err = nil
		}
		if q == nil {
			op.Finish(err)
			return true
		}
		a.q = q
	}
}

// sendSpecial is Send for what the options of m ask for. Known is false if they ask for nothing
// that matters here.
func (a *Address) sendSpecial(m *message.Message, op *Op, w *Wake) (known, sent bool) {
	switch {
	case a.ctrl != nil:
		return false, false
	case m.Options().Dedupe != "":
		tx := a.b.Begin()
		tx.Send(a, m)
		return true, tx.commitOrAbort(tx.Commit(op, w))
	case Later(m.Options(), m.Arrived()):
		if err := a.b.schedule.put(op, a.name, m); err != nil {
			op.Finish(err)
			return true, true
		}
		a.b.store.Commit(&op.batch)
		return true, true
	case retains(a.name, m) && a.q == nil && !a.temp:
		if a.mustWait(op) {
			return true, false
		}
		a.sendKept(m, op, w)
		return true, true
	}
	return false, false
}

// sendElsewhere is Send for what is no queue.
func (a *Address) sendElsewhere(m *message.Message, op *Op, w *Wake) bool {
	if a.ctrl != nil {
		a.ctrl(a.b, a.name, m, op, w)
		return true
	}
	if a.b.jams.Load() > 0 && a.mustWait(op) {
		return false
	}
	if !a.temp && a.b.durables.version.Load() != 0 {
		if a.keeps() {
			return a.sendToKept(m, op, w)
		}
		if queues := a.feeds(m); queues != nil {
			return a.feed(queues, m, op, w)
		}
	}
	if !op.News.behind(a.b, a.name, m, op) && a.Wanted() {
		a.publish(m, w)
	}
	op.Finish(nil)
	return true
}

// publish hands m to the subscribers of a topic.
func (a *Address) publish(m *message.Message, w *Wake) {
	if m.Expires() != 0 && expired(m, nowMilli()) {
		a.b.counts.expired.Add(1)
		a.b.counts.ended.Add(1)
		return
	}
	if a.t != nil {
		a.t.publish(m, w)
	}
	for _, t := range a.wildcards() {
		t.publish(m, w)
	}
}

// wildcards are the subscriptions by a pattern that the destination matches: none for a
// temporary one, which is its owner's.
func (a *Address) wildcards() []*topic {
	if isTemp(a.name) {
		return nil
	}
	if v := a.b.wild.version.Load(); v != a.seen {
		a.seen = v
		clear(a.wild)
		a.wild = a.b.wild.trie.Match(a.name, a.wild[:0])
	}
	return a.wild
}

// Heard reports whether anybody listens to what Publish sends to a topic.
func (b *Broker) Heard(dest string) bool {
	a := Address{b: b, name: dest}
	return b.topic(dest) != nil || len(a.wildcards()) > 0
}

// Publish sends a message of the broker's own to a topic, whatever its name. It is called with
// no lock held.
func (b *Broker) Publish(dest, body string) {
	var w Wake
	b.publishText(dest, body, &w)
	w.Run()
}

func (b *Broker) publishText(dest, body string, w *Wake) {
	a := Address{b: b, name: dest, t: b.topic(dest)}
	wild := a.wildcards()
	if a.t == nil && len(wild) == 0 {
		return
	}
	m := message.Text(dest, body, time.Now().UnixMilli())
	if a.t != nil {
		a.t.publish(m, w)
	}
	for _, t := range wild {
		if !tells(dest) || tells(t.name) {
			t.publish(m, w)
		}
	}
}

// isSystem reports whether dest is one of the broker's own: its name begins with a dollar
// sign.
func isSystem(dest string) bool {
	return strings.HasPrefix(dest, destination.QueuePrefix+"$") || strings.HasPrefix(dest, destination.TopicPrefix+"$")
}
