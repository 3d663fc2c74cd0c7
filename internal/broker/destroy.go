package broker

import (
	"errors"
	"sync/atomic"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// destroy ends the queue and drops what it holds: at once what nobody has and is at hand. A queue
// that is used again meanwhile lives on, without that. Then is called when nothing of it is left,
// perhaps with q.mu held.
func (q *queue) destroy(then func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		then()
		return
	}
	q.condemn()
	q.doom.then = append(q.doom.then, then)
	q.dying = true
	q.drop()
}

// drop acks everything that nobody holds, and forgets the queue when it is empty. Called
// with q.mu held.
func (q *queue) drop() {
	if q.subs > 0 {
		q.dying = false // somebody wants it
		q.sweep()
		return
	}
	for {
		ds, err := q.fetch(q.scratch[:0], fetchAtOnce)
		if err != nil {
			q.b.cfg.Log.Error("fetch failed", "destination", q.name, "err", err)
			return
		}
		if len(ds) == 0 {
			break
		}
		op := NewOp(nil)
		op.Relax()
		q.ackAll(op, ds)
		q.b.store.Commit(&op.batch)
		clear(ds)
		q.scratch = ds[:0]
	}
	if st := q.stats(); st.Ready > 0 {
		return // ready is called when there is more
	}
	q.forget()
}

// ackAll adds the acks of ds to op.
func (q *queue) ackAll(op *Op, ds []store.Delivery) {
	for _, d := range ds {
		q.ack(op, d.Seq, d.Seq)
	}
}

// A doom is how far what a queue holds is of one that ended, and whose name another has now: nobody
// gets it, neither from the store nor from who has it in flight.
type doom struct {
	last     [priorities]store.Seq // of each priority
	sweeping bool                  // some of it may be there
	then     []func()              // what waits until none is
	begins   []func()              // likewise, unless it cannot be read
}

// condemn has nobody get what the queue holds. Called with q.mu held.
func (q *queue) condemn() {
	if q.doom == nil {
		q.doom = new(doom)
	}
	q.doom.sweeping = true
	q.eachLane(func(p uint8, st store.Queue) { q.doom.last[p] = st.Stats().Last })
}

func (q *queue) eachLane(f func(p uint8, st store.Queue)) {
	if q.lanes == nil {
		f(message.DefaultPriority, q.st)
		return
	}
	for _, p := range q.lanes.down {
		f(p, q.lanes.st[p])
	}
}

// condemned reports whether d is of what ended.
func (q *queue) condemned(d store.Delivery) bool {
	return q.doom != nil && d.Seq&laneMask <= q.doom.last[laneIndex(d.Seq)]
}

// begin calls then when nothing is left of what was destroyed, perhaps with q.mu held: what begins
// under that name is without it. Where the store cannot read it that is at once, for what is left is
// condemned while this process lives.
func (q *queue) begin(then func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || q.doom == nil {
		then()
		return
	}
	q.dying = false
	q.doom.sweeping = true
	q.doom.begins = append(q.doom.begins, then)
	q.sweep()
}

// sweep drops what is condemned and at hand; the store calls ready when there is more. Called with
// q.mu held.
func (q *queue) sweep() {
	if q.doom == nil || !q.doom.sweeping {
		return
	}
	done := true
	var failed error
	q.eachLane(func(p uint8, st store.Queue) {
		ok, err := q.sweepLane(p, st)
		done = done && ok
		failed = errors.Join(failed, err)
	})
	switch {
	case done:
		q.doom.end()
	case failed == nil || errors.Is(failed, store.ErrClosed): // then the next process goes on with it
	default:
		q.b.cfg.Log.Error("fetch failed", "destination", q.name, "err", failed)
		if len(q.doom.begins) > 0 {
			q.doom.then = nil // what would be noted now is noted of what begins
			call(&q.doom.begins)
		}
	}
}

// end calls what waits for it, as nothing is left.
func (d *doom) end() {
	d.sweeping = false
	call(&d.then)
	call(&d.begins)
}

func call(all *[]func()) {
	for _, f := range *all {
		f()
	}
	*all = nil
}

// sweepLane is sweep for one priority. It reports whether nothing is left.
func (q *queue) sweepLane(p uint8, st store.Queue) (done bool, _ error) {
	last := q.doom.last[p]
	for {
		ds, err := st.Fetch(q.scratch[:0], fetchAtOnce)
		if err != nil {
			return false, err
		}
		q.scratch = ds[:0]
		n := 0
		for n < len(ds) && ds[n].Seq <= last {
			n++
		}
		if n == 0 && len(ds) == 0 && st.Stats().Ready > 0 {
			return false, nil
		}
		for i := range ds[n:] {
			ds[n+i].Attempt--
		}
		st.Release(ds[n:])
		if err := dropFrom(q.b.store, st, ds[:n]); err != nil {
			return false, err
		}
		if n == 0 || n < len(ds) {
			break
		}
	}
	_, _ = st.Fetch(nil, 0) // withdraws the demand
	// What is left is in flight. Who has it may settle it in vain.
	for after := store.Seq(0); ; {
		ds, _ := st.Peek(q.scratch[:0], after, fetchAtOnce)
		q.scratch = ds[:0]
		n := 0
		for n < len(ds) && ds[n].Seq <= last {
			n++
		}
		if n == 0 {
			return true, nil
		}
		after = ds[n-1].Seq
		if err := dropFrom(q.b.store, st, ds[:n]); err != nil {
			return false, err
		}
	}
}

// dropFrom acks ds, by the Seqs of st. The error is that of a store that closes, which says so at once.
func dropFrom(s store.Store, st store.Queue, ds []store.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	var closed atomic.Bool
	op := NewOp(nil)
	op.Relax()
	op.Finally(func(err error) { closed.Store(errors.Is(err, store.ErrClosed)) })
	for _, d := range ds {
		op.batch.Ack(st, d.Seq)
	}
	clear(ds)
	s.Commit(&op.batch)
	if closed.Load() {
		return store.ErrClosed
	}
	return nil
}

// consumers are those who are subscribed.
func (q *queue) consumers() (all []Consumer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.single.all {
		all = append(all, s.c)
	}
	return all
}
