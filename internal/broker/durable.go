package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
)

// A durable subscription is a queue that its topic feeds. It takes what is sent while nobody
// is there, and whoever subscribes to it by its name shares it with the others.

// A Durable describes one.
type Durable struct {
	Queue    string // that holds its messages, /dsub/NAME for most
	Topic    string // or a pattern of topics
	Filter   Filter // which messages it takes; nil: all
	Selector string // what of Filter is kept, to make it again after a restart
	Owner    string // the user who made it; empty: it is not known
	Virtual  bool   // the name of Queue says which topic feeds it

	// Shared ones live as long as somebody is subscribed, and keep nothing over a restart.
	Shared bool
}

// MakeFilter makes the Filter of a Durable that was read back. It is set by who makes filters.
type MakeFilter func(selector string) (Filter, error)

type durables struct {
	ledger  *ledger
	ended   []string // queues of those that were destroyed before the start
	trie    pattern.Trie[*durable]
	version atomic.Uint64 // counts the changes, those of which topics keep messages too; 0 while there never was one

	mu sync.Mutex // of who makes, changes or ends one

	table  sync.RWMutex // guards what follows for those who do not hold mu; the last of all locks
	byName map[string]*durable
}

type durable struct {
	Durable
	pattern pattern.Pattern
	users   int // subscriptions of a shared one
}

// durableCost is what a durable subscription costs in memory besides its queue and names, roughly.
const durableCost = 768

func (d *durable) size() int64 {
	return int64(durableCost + len(d.Queue) + len(d.Topic) + len(d.Selector) + d.pattern.Size())
}

// openDurables makes anew what the store knows of.
func (b *Broker) openDurables() error {
	d := &b.durables
	d.byName = make(map[string]*durable)
	d.trie.Separators = b.cfg.Separators
	var err error
	if d.ledger, err = b.openLedger("dsub"); err != nil {
		return err
	}
	var failed error
	d.ledger.all(func(queue string, m *message.Message) {
		if _, ended := m.Header(endedHeader); ended {
			d.ended = append(d.ended, queue)
			return
		}
		one := Durable{Queue: queue}
		one.Topic, _ = m.Header("topic")
		one.Selector, _ = m.Header("selector")
		one.Owner, _ = m.Header("owner")
		if one.Selector != "" && b.cfg.MakeFilter != nil {
			if one.Filter, err = b.cfg.MakeFilter(one.Selector); err != nil {
				failed = errors.Join(failed, fmt.Errorf("broker: durable subscription %s: %w", queue, err))
			}
		}
		d.add(one)
	})
	return failed
}

// dropEnded drops what the store has of subscriptions that are over: the process ended before all of
// it was gone, or before those did who shared it.
func (b *Broker) dropEnded() error {
	d := &b.durables
	over := make(map[string]func())
	for name := range b.store.Queues() {
		if name, _ = ofLane(name); strings.HasPrefix(name, sharedPrefix) && !b.bound(name) {
			over[name] = func() {}
		}
	}
	for _, name := range d.ended {
		over[name] = func() { d.ledger.delete(name) }
	}
	d.ended = nil
	for name, gone := range over {
		q, err := b.queue(name)
		if err != nil {
			return err
		}
		q.destroy(gone)
	}
	return nil
}

// add registers one. Its name is new.
func (d *durables) add(one Durable) {
	p, err := d.trie.Separators.Parse(one.Topic)
	if err != nil { // until names are split again as they were when it was made
		d.ledger.b.cfg.Log.Error("durable subscription gets nothing: with these separators its topic is no pattern", "destination", one.Queue, "topic", one.Topic, "err", err)
	}
	e := &durable{Durable: one, pattern: p}
	d.table.Lock()
	d.byName[one.Queue] = e
	d.table.Unlock()
	d.ledger.b.memory.extra.Add(e.size())
	d.trie.Add(p, e)
	d.version.Add(1)
}

func (d *durables) remove(e *durable) {
	d.table.Lock()
	delete(d.byName, e.Queue)
	d.table.Unlock()
	d.ledger.b.memory.extra.Add(-e.size())
	d.trie.Remove(e.pattern, e)
	d.version.Add(1)
}

// Bind makes a durable subscription, or changes what an existing one of that name takes; what
// it holds stays. It is made for good when op is done. A shared one has to be given back with
// Unbind. The error is ErrSystem, ErrWildcard, ErrHoldsBack or the store's.
func (b *Broker) Bind(one Durable, op *Op) error {
	switch {
	case isSystem(one.Queue):
		return ErrSystem
	case b.IsPattern(one.Queue):
		return ErrWildcard
	}
	d := &b.durables
	var w Wake
	defer w.Run() // with no lock held
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.byName[one.Queue]
	if old != nil {
		one.Owner = old.Owner
	}
	q, err := b.queue(one.Queue)
	if err != nil {
		return err
	}
	if old == nil && b.props.holdsBack(one.Queue) {
		return ErrHoldsBack
	}
	same := old != nil && old.Topic == one.Topic && old.Selector == one.Selector && old.Shared == one.Shared
	if old == nil || old.Topic != one.Topic {
		if _, err := d.trie.Separators.Parse(one.Topic); err != nil {
			return fmt.Errorf("%w: %w", ErrWildcard, err)
		}
	}
	write := func() {
		d.ledger.put(op, one.Queue, "topic", one.Topic, "selector", one.Selector, "owner", one.Owner)
		b.store.Commit(&op.batch)
	}
	begins := old == nil && isDurable(one.Queue)
	if begins {
		if one.Shared {
			write = func() {}
		}
		q.begin(write) // before anything is put there
	}
	if !same || one.Filter != nil { // which may be of another connection
		if old != nil {
			d.remove(old)
		}
		d.add(one)
		if old != nil {
			d.byName[one.Queue].users = old.users
		}
	}
	if old == nil {
		b.feedKept(d.byName[one.Queue], &w)
	}
	if one.Shared {
		d.byName[one.Queue].users++
		op.Finish(nil)
		return nil
	}
	if same {
		op.Finish(nil)
		return nil
	}
	if !begins {
		write()
	}
	return nil
}

// Unbind ends a durable subscription, with what its queue holds, and reports whether there was
// one. Left are those who are subscribed to that queue, and get nothing any more. Of a shared one it
// gives back one Bind. It is over for good when op is done; without one op does not begin.
func (b *Broker) Unbind(queue string, op *Op) (left []Consumer, ok bool) {
	d := &b.durables
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byName[queue]
	if e == nil {
		return nil, false
	}
	if e.users--; e.Shared && e.users > 0 {
		op.Finish(nil)
		return nil, true
	}
	d.remove(e)
	q, err := b.queue(queue) // which may not be open since the start
	if err != nil {
		b.cfg.Log.Error("a durable subscription leaves what it held", "destination", queue, "err", err)
	}
	gone := func() {}
	if e.Shared {
		op.Finish(nil)
	} else {
		d.ledger.put(op, queue, endedHeader, "true")
		b.store.Commit(&op.batch)
		gone = func() { d.ledger.delete(queue) }
	}
	if q != nil {
		q.destroy(gone)
		left = q.consumers()
	}
	return left, true
}

// endedHeader is in the row of a durable subscription that was destroyed, as long as its queue holds
// anything: a process that ends meanwhile leaves it to the next.
const endedHeader = "ended"

// Bound returns the durable subscription whose messages queue holds.
func (b *Broker) Bound(queue string) (Durable, bool) {
	d := &b.durables
	d.table.RLock()
	defer d.table.RUnlock()
	if e := d.byName[queue]; e != nil {
		return e.Durable, true
	}
	return Durable{}, false
}

// bound reports whether the queue belongs to a durable subscription.
func (b *Broker) bound(queue string) bool {
	d := &b.durables
	d.table.RLock()
	defer d.table.RUnlock()
	return d.byName[queue] != nil
}

// feeds are the durable subscriptions that take m, which is sent to a topic.
func (a *Address) feeds(m *message.Message) (queues []string) {
	for _, d := range a.matching() {
		if d.Filter == nil || d.Filter.Wants(m) {
			queues = append(queues, d.Queue)
		}
	}
	return queues
}

// matching are the durable subscriptions to the topic.
func (a *Address) matching() []*durable {
	if isTemp(a.name) {
		return nil
	}
	if v := a.b.durables.version.Load(); v != a.seenDurables {
		a.seenDurables = v
		a.kept = a.b.fed(a.name)
		clear(a.durables)
		a.durables = slices.DeleteFunc(a.b.durables.trie.Match(a.name, a.durables[:0]), func(d *durable) bool {
			return !d.pattern.Wild() && d.Topic != a.name // names are told apart by their separators, too
		})
	}
	return a.durables
}

// feed sends m to a topic with durable subscriptions: it goes out to whoever listens when
// those have it.
func (a *Address) feed(queues []string, m *message.Message, op *Op, w *Wake) bool {
	t := a.b.Begin()
	if len(queues) > 1 || a.keeps() {
		m = m.Spread()
	}
	for _, q := range queues {
		t.add(q, m)
	}
	to := a.name
	if a.keeps() {
		to = keptName(a.name)
	}
	t.add(to, m)
	return t.commitOrAbort(t.commit(op, w))
}

// sharedPrefix is that of the queues of subscriptions that are shared and not durable.
const sharedPrefix = destination.DurablePrefix + "$"

func isDurable(dest string) bool {
	return len(dest) > len(destination.DurablePrefix) && dest[:len(destination.DurablePrefix)] == destination.DurablePrefix
}
