package broker

import (
	"fmt"
	"strings"
	"sync"

	"stompserver/internal/destination"
	"stompserver/internal/message"
)

// A queue that is paused takes messages and hands out none, over restarts too, and one of a
// client's subscriptions can be paused by that client.

const (
	// queueControl with the name of a queue behind it asks for that to be paused or resumed.
	queueControl = destination.QueuePrefix + "$queue/"

	// SubscriptionControl asks for a subscription of the client itself to be.
	SubscriptionControl = destination.QueuePrefix + "$sub"
)

// A Pauser is an Owner whose subscriptions can be paused. It is called by who sends, as a Send is.
type Pauser interface {
	// PauseSubscription has the subscription with that id get nothing, or go on, and reports
	// whether there is one.
	PauseSubscription(id string, on bool, w *Wake) bool
}

// pauseOf reads which of the two m asks for.
func pauseOf(m *message.Message) (on bool, err error) {
	switch action, _ := m.Header("action"); action {
	case "pause":
		return true, nil
	case "resume":
		return false, nil
	}
	return false, fmt.Errorf("%w: it wants the header action with pause or resume", ErrControl)
}

// controlSubscription answers action:pause and action:resume with the id of a subscription.
func (b *Broker) controlSubscription(_ string, m *message.Message, op *Op, w *Wake) {
	on, err := pauseOf(m)
	if err != nil {
		op.Finish(err)
		return
	}
	id, _ := m.Header("id")
	if p, ok := op.Owner.(Pauser); !ok || !p.PauseSubscription(id, on, w) {
		op.Finish(fmt.Errorf("%w: this connection has no subscription with the id %q", ErrControl, id))
		return
	}
	op.Finish(nil)
}

// controlQueue answers action:pause and action:resume for a queue.
func (b *Broker) controlQueue(name string, m *message.Message, op *Op, w *Wake) {
	on, err := pauseOf(m)
	dest := asQueue(strings.TrimPrefix(name, queueControl))
	if err == nil && (!b.IsQueue(dest) || isSystem(dest) || b.IsPattern(dest)) {
		err = fmt.Errorf("%w: %q is no queue", ErrControl, dest)
	}
	if err != nil {
		op.Finish(err)
		return
	}
	if on && !b.pauses.room() {
		op.Finish(fmt.Errorf("%w: %d queues are paused, which is as many as can be", ErrControl, maxPaused))
		return
	}
	was := b.pauses.set(dest, on)
	b.apply(dest, on, w)
	b.cfg.Log.Info("queue paused or resumed", "destination", dest, "paused", on)
	switch {
	case on && !was:
		b.pauses.ledger.put(op, dest)
		b.store.Commit(&op.batch)
		return
	case !on && was:
		b.pauses.ledger.drop(dest)
	}
	op.Finish(nil)
}

// maxPaused is how many queues may be paused: they are remembered also when they are empty.
const maxPaused = 10_000

// pauses are the queues that are paused, whether they are there or not.
type pauses struct {
	ledger *ledger

	mu  sync.Mutex // guards all
	all map[string]bool
}

func (b *Broker) openPauses() (err error) {
	p := &b.pauses
	p.all = make(map[string]bool)
	if p.ledger, err = b.openLedger("paused"); err != nil {
		return err
	}
	p.ledger.all(func(queue string, _ *message.Message) { p.all[queue] = true })
	return nil
}

// has reports whether a queue is paused.
func (p *pauses) has(queue string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[queue]
}

func (p *pauses) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all) < maxPaused
}

func (p *pauses) set(queue string, on bool) (was bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was = p.all[queue]
	if on {
		p.all[queue] = true
	} else {
		delete(p.all, queue)
	}
	return was
}

// apply pauses a queue that is there, or has it go on.
func (b *Broker) apply(queue string, on bool, w *Wake) {
	b.mu.RLock()
	q := b.queues[queue]
	b.mu.RUnlock()
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.halted = on
	q.pausedOrNot(w)
}

// Pause has s get nothing until it is called again with on false. What is on its way comes.
func (s *Subscription) Pause(on bool, w *Wake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = on
	s.changed(w)
}
