package broker

import (
	"slices"
	"strconv"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A message that has expired is handed to nobody. It goes when its time comes, wherever in its
// queue it is, so that counts tell what could be had; what somebody holds at that moment goes
// when it is given back. A queue that never had a message with an end knows nothing of this.

// An expiry is what a queue knows of the ends of its messages.
type expiry struct {
	mu     sync.Mutex
	dues   dues
	pruned int // how many dues were left when it was looked which messages are still there
	alarm  alarm
}

const expireAtOnce = 512 // messages looked at in one go

// expiring has m, which op is about to put, go when its time has come. Called with q.mu held.
func (q *queue) expiring(op *Op, p uint8, m *message.Message) {
	q.openExpiry()
	e, at, i := q.expiry, m.Expires(), op.batch.Len()-1
	op.Finally(func(err error) {
		if err == nil {
			e.add(q, due{at, op.batch.Changes()[i].Seq | laneTag(p)})
		}
	})
}

// openExpiry prepares for messages that end, and notes in the store that there are some.
func (q *queue) openExpiry() {
	if q.expiry != nil {
		return
	}
	q.expiry = new(expiry)
	q.expiry.alarm.ring = q.expire
	if !isTempQueue(q.name) {
		q.b.ends.set(q.name)
	}
}

func (e *expiry) add(q *queue, d due) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dues.push(d)
	q.b.clock.set(&e.alarm, e.dues.next())
}

// again has what is given back looked at whose time has come meanwhile.
func (e *expiry) again(q *queue, ds []store.Delivery) {
	now := nowMilli()
	for _, d := range ds {
		if d.Msg != nil && expired(d.Msg, now) {
			e.add(q, due{now, d.Seq})
		}
	}
}

// expired reports whether m has ended.
func expired(m *message.Message, now int64) bool {
	at := m.Expires()
	return at != 0 && at <= now
}

// expire is the alarm of the queue's expiry.
func (q *queue) expire(now int64, w *Wake) (next int64) {
	e := q.expiry
	e.mu.Lock()
	var seqs []store.Seq
	for len(e.dues) > 0 && len(seqs) < expireAtOnce && e.dues.next() <= now {
		seqs = append(seqs, e.dues.pop().seq)
	}
	next = e.dues.next()
	stale := len(e.dues) > max(1024, 2*e.pruned)
	e.mu.Unlock()
	slices.SortFunc(seqs, compareSeqs) // so they go, and are dead letters, in the order they were to be delivered
	for len(seqs) > 0 {
		n := q.expireSome(seqs, now, w)
		seqs = seqs[n:]
	}
	if stale {
		q.pruneDues()
	}
	return next
}

// expireSome looks at the first of seqs, and those near it, and returns how many it has seen
// to.
func (q *queue) expireSome(seqs []store.Seq, now int64, w *Wake) int {
	q.mu.Lock()
	st, first := q.at(seqs[0])
	gone := q.gone
	q.mu.Unlock()
	if gone || st == nil {
		return len(seqs)
	}
	tag := seqs[0] - first
	ds, more, err := st.Page(nil, first-1, 64, pageBytes)
	if err != nil {
		q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
		return len(seqs)
	}
	n := 0
	ended := ds[:0]
	for _, d := range ds {
		for n < len(seqs) && ahead(seqs[n], d.Seq|tag) {
			n++ // it is gone
		}
		if n < len(seqs) && seqs[n] == d.Seq|tag {
			if expired(d.Msg, now) {
				ended = append(ended, d)
			}
			n++
		}
	}
	if !more {
		for n < len(seqs) && seqs[n]>>laneShift == tag>>laneShift {
			n++
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	got, later := st.Lease(nil, ended, true)
	for i := range got {
		got[i].Seq |= tag
	}
	got = append(got, q.unparkThese(ended, tag)...)
	inOrder(got)
	for _, d := range got {
		q.end(d, w)
	}
	if q.groups != nil && len(ended) > 0 {
		q.dispatch(w) // the next of their groups may have waited for them
	}
	if later { // their transaction is not durable yet
		for _, d := range ended {
			q.expiry.add(q, due{now + 20, d.Seq | tag})
		}
	}
	return max(n, 1)
}

// end has a message go that has expired. Called with q.mu held.
func (q *queue) end(d store.Delivery, w *Wake) {
	q.unfind(d)
	q.b.counts.expired.Add(1)
	q.b.Tell(w, About("expired", "Expired", q.spoken(), map[string]any{"messageId": q.prefix + strconv.FormatUint(uint64(d.Seq), 10)}))
	buries := q.b.cfg.DeadLetterExpired
	if q.props != nil && q.props.DeadLetterExpired != Unsaid {
		buries = q.props.DeadLetterExpired == Yes
	}
	if buries && q.kept == nil {
		q.bury(d, death{reason: "expired"}, w)
		return
	}
	op := NewOp(nil)
	op.Relax()
	q.ack(op, d.Seq, d.Seq)
	q.b.store.Commit(&op.batch)
}

// endAll has those of ds go that have expired or are condemned, and returns the others.
func (q *queue) endAll(ds []store.Delivery, w *Wake) []store.Delivery {
	if q.expiry == nil && q.last == nil && q.doom == nil {
		return ds
	}
	now := nowMilli()
	left := ds[:0]
	for _, d := range ds {
		switch {
		case q.condemned(d):
			q.discard(d)
		case d.Msg != nil && expired(d.Msg, now):
			q.end(d, w)
		case q.overtaken(d):
			q.discard(d)
		default:
			left = append(left, d)
		}
	}
	if len(left) < len(ds) && q.groups != nil {
		q.groups.moved = true // the next of their groups may have waited for them, before somebody who was asked already
	}
	clear(ds[len(left):])
	return left
}

// pruneDues forgets the ends of messages that are gone, where those became many.
func (q *queue) pruneDues() {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.expiry
	e.mu.Lock()
	defer e.mu.Unlock()
	var first [priorities]store.Seq // the oldest there is
	e.dues.keep(func(d due) bool {
		st, seq := q.at(d.seq)
		p := laneIndex(d.seq)
		if first[p] == 0 {
			first[p] = 1<<63 - 1
			if ds, whole := st.Peek(nil, 0, 1); len(ds) > 0 {
				first[p] = ds[0].Seq
			} else if !whole {
				first[p] = 1
			}
		}
		return seq >= first[p]
	})
	e.pruned = len(e.dues)
}

// findEnds notes the ends of what the queue had when the broker started. It is a goroutine.
func (q *queue) findEnds() {
	for p := range uint8(priorities) {
		q.mu.Lock()
		st := q.laneOf(p)
		q.mu.Unlock()
		for after := store.Seq(0); st != nil && !q.b.stopped(); {
			ds, _, err := st.Page(nil, after, expireAtOnce, pageBytes)
			if err != nil || len(ds) == 0 {
				if err != nil {
					q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
				}
				break
			}
			after = ds[len(ds)-1].Seq
			for _, d := range ds {
				if at := d.Msg.Expires(); at != 0 {
					q.expiry.add(q, due{at, d.Seq | laneTag(p)})
				}
			}
		}
	}
}

// openEnds reads which queues had messages with an end when the broker stopped.
func (b *Broker) openEnds() error {
	var err error
	if b.ends, err = b.openLedger("ttl"); err != nil {
		return err
	}
	var names []string
	b.ends.all(func(queue string, _ *message.Message) { names = append(names, queue) })
	for _, name := range names {
		q, err := b.queue(name)
		if err != nil {
			return err
		}
		q.expiry = new(expiry)
		q.expiry.alarm.ring = q.expire
		b.wg.Go(q.findEnds) // ends by itself, or with the broker
	}
	return nil
}
