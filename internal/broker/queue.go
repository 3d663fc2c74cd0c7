package broker

import (
	"math"
	"sync"
	"sync/atomic"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// fetchAtOnce bounds how many deliveries one Fetch asks for, and so how long a queue's
// lock is held for one round.
const fetchAtOnce = 64

// A queue hands the messages of one store queue to its subscriptions in turn.
type queue struct {
	b      *Broker
	name   string
	prefix string      // of its message ids
	pinned atomic.Bool // never forgotten; set with Broker.mu held

	mu      sync.Mutex
	st      store.Queue
	lanes   *lanes // nil: all messages are of the default priority
	gone    bool   // forgotten: look the name up again
	dying   bool   // what it holds is dropped, then it is forgotten
	doom    *doom  // nil: all that it holds is to be delivered
	subs    int    // subscriptions attached
	ring           // of those who can take more and have the highest priority
	lower   []ring // of those with lower ones, the highest first
	single  single
	sifters []*Subscription // those that want some messages only, the highest priority first
	sifting bool            // a goroutine looks through what is not at hand

	browsers  []*Subscription
	kept      *kept       // nil: there is no topic that it is behind of
	props     *Properties // nil: it has none
	halted    bool        // somebody asked that it hand out nothing
	gate      *gate       // nil: it waits for no number of consumers
	owner     uint64      // the connection that it is of, if it is exclusive; 0: none yet
	paused    bool        // for either reason
	trimming  trimming
	coming    coming
	idling    *alarm
	aging     *alarm      // nil: none goes for its age
	idleSince int64       // since when it has no consumer
	groups    *groups     // nil: no message is of a group
	expiry    *expiry     // nil: no message ends
	last      *lastValues // nil: it keeps all messages of a key
	pause     *pause      // nil: none waits to be delivered again
	line      *line       // nil: its senders never had to wait for room
	asked     bool        // the store was asked for more than it had
	unused    bool        // not used since the reaper came by
	scratch   []store.Delivery
	one       [2]store.Delivery // what makes room
}

// send puts m. The error is errGone, or errWait; then nothing has happened.
func (q *queue) send(m *message.Message, op *Op, w *Wake) error {
	q.mu.Lock()
	if q.gone {
		q.mu.Unlock()
		return errGone
	}
	q.unused = false
	if q.props != nil {
		admitted, err := q.admit(m, op, w)
		if admitted == nil {
			q.mu.Unlock()
			if err == errWait {
				return err
			}
			if err == nil && op.batch.Len() > 0 {
				q.b.store.Commit(&op.batch)
				return nil
			}
			op.Finish(err)
			return nil
		}
		m = admitted
	}
	st := q.st
	if m.Special() {
		var err error
		if st, err = q.lane(m); err != nil {
			q.mu.Unlock()
			op.Finish(err)
			return nil
		}
	}
	if q.kept != nil {
		q.note(op, m, false)
	}
	if q.last != nil {
		m = q.dated(m)
	}
	op.batch.Put(st, m)
	if m.Special() && m.Expires() != 0 {
		q.expiring(op, q.laneOfMessage(m), m)
	}
	if q.last != nil {
		q.overtake(op, 0, m)
	}
	q.b.store.Commit(&op.batch)
	if q.props != nil {
		q.cameIn()
		q.trim(w)
	}
	if q.next != nil || q.sifters != nil || q.browsers != nil || q.kept != nil {
		q.dispatch(w)
	}
	q.mu.Unlock()
	return nil
}

// ready is called by the store when a Fetch is worth repeating.
func (q *queue) ready() {
	var w Wake
	q.look(&w)
	w.Run()
}

func (q *queue) look(w *Wake) {
	q.mu.Lock()
	switch {
	case q.gone:
	case q.dying:
		q.drop()
	default:
		q.sweep()
		q.dispatch(w)
	}
	q.mu.Unlock()
}

// dispatch hands out what there is to those who can take it. Called with q.mu held.
func (q *queue) dispatch(w *Wake) {
	for q.dispatchOnce(w); q.groups != nil && q.groups.moved; q.dispatchOnce(w) {
		q.groups.moved = false // others may have what the last owner of a group waited for
	}
}

func (q *queue) dispatchOnce(w *Wake) {
	if q.trimming == trimOwed {
		q.trim(w)
	}
	if q.kept != nil {
		q.follow(w) // nobody takes what is there
		return
	}
	if q.trimming > trimOwed {
		return // what is to make room goes to nobody
	}
	if q.anyParked() {
		q.unpark(w)
	}
	for _, s := range q.browsers {
		q.browse(s, w)
	}
	if q.learns() {
		return
	}
	for q.next != nil && (q.groups == nil || len(q.groups.parked) < maxParked) {
		if q.sifters != nil {
			if q.siftAll(q.priority, w); q.next == nil {
				break
			}
		}
		want := q.demand()
		ds, err := q.fetch(q.scratch[:0], want)
		if err != nil {
			q.b.cfg.Log.Error("fetch failed", "destination", q.name, "err", err)
			return
		}
		q.scratch = ds[:0]
		q.asked = len(ds) < want
		if q.expiry != nil || q.last != nil || q.doom != nil {
			ds = q.endAll(ds, w)
		}
		for i, d := range ds {
			if q.next == nil {
				q.unseen(ds[i:])
				break
			}
			if d.Attempt > 1 && q.overLimit(d) {
				q.bury(d, death{reason: "delivery_limit"}, w) // handed out too often before a restart
				continue
			}
			if grouped(d.Msg) {
				q.toGroup(d, w)
				continue
			}
			q.next.take(d, w)
		}
		clear(ds)
		if q.asked && q.next != nil { // else who wants some messages only may have what is left
			return
		}
	}
	if q.sifters != nil {
		q.siftAll(math.MinInt, w)
	}
	if q.asked {
		q.asked = false
		_, _ = q.fetch(nil, 0) // withdraws the demand
	}
}

// demand is how many deliveries the takers have credit for, up to fetchAtOnce.
func (q *queue) demand() int {
	n := 0
	for s, i := q.next, 0; i < q.takers; s, i = s.ringNext, i+1 {
		if n += s.credit; n >= fetchAtOnce {
			return fetchAtOnce
		}
	}
	return n
}

// unseen gives back what no client was sent.
func (q *queue) unseen(ds []store.Delivery) {
	for i := range ds {
		ds[i].Attempt--
	}
	q.release(ds)
}

// limit is how often d may be handed out; 0 is without limit, which dead letters are.
func (q *queue) limit(d store.Delivery) uint32 {
	if q.name == q.b.cfg.DeadLetter {
		return 0
	}
	if d.Msg != nil {
		if n := d.Msg.MaxDeliveries(); n > 0 {
			return n
		}
	}
	if q.props != nil && q.props.MaxDeliveries > 0 {
		return uint32(q.props.MaxDeliveries)
	}
	return uint32(q.b.cfg.MaxDeliveries)
}

func (q *queue) overLimit(d store.Delivery) bool {
	if d.Attempt <= 1 {
		return false
	}
	n := q.limit(d)
	return n > 0 && d.Attempt > n
}

// forgetIfIdle removes the queue if it is empty and nobody used it since the last call, or
// now is set.
func (q *queue) forgetIfIdle(now bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || q.pinned.Load() || q.subs > 0 || q.b.bound(q.name) {
		return false
	}
	if q.dying {
		q.drop()
		return q.gone
	}
	if !q.unused && !now {
		q.unused = true
		return false
	}
	return q.forget()
}

// forget removes the queue if it is empty. Called with q.mu held.
func (q *queue) forget() bool {
	if st := q.stats(); st.Ready > 0 || st.Leased > 0 {
		return false
	}
	if q.doom != nil {
		q.doom.end() // while no other queue can have this name: what that one writes comes behind it
	}
	if !q.unlist() {
		return false
	}
	if q.expiry != nil && !isTempQueue(q.name) {
		q.b.ends.drop(q.name)
	}
	q.gone = true
	q.dropAlarms()
	if q.kept != nil {
		q.kept.clear(q)
		q.b.steps.forget(q.name)
	}
	q.b.forgetProperties(q.name)
	if q.kept != nil {
		q.b.durables.version.Add(1) // the topic may keep nothing any more
	}
	q.b.memory.extra.Add(-queueCost - int64(len(q.name)))
	return true
}

// dropAlarms lets go of alarms of the queue: how far ahead they are is for clients to say, and so many queues
// may have been there meanwhile.
func (q *queue) dropAlarms() {
	if q.idling != nil {
		q.b.clock.drop(q.idling)
	}
	if q.aging != nil {
		q.b.clock.drop(q.aging)
	}
	if q.gate != nil {
		q.b.clock.drop(&q.gate.alarm)
	}
	if q.expiry != nil {
		q.b.clock.drop(&q.expiry.alarm)
	}
	if q.pause != nil {
		q.b.clock.drop(&q.pause.alarm)
	}
}

// unlist takes the queue, which is empty, out of the table and the store, but not if it is to
// stay.
func (q *queue) unlist() bool {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	if q.pinned.Load() || !q.close() {
		return false
	}
	delete(q.b.queues, q.name)
	return true
}

// pin returns the named queue, making it if there is none, and has it never be forgotten: who
// asks puts into it without its lock.
func (b *Broker) pin(name string) (*queue, error) {
	for {
		q, err := b.queue(name)
		if err != nil || q.pinned.Load() {
			return q, err
		}
		b.mu.Lock()
		same := b.queues[name] == q
		if same {
			q.pinned.Store(true)
		}
		b.mu.Unlock()
		if same {
			return q, nil
		}
	}
}
