package broker

import (
	"errors"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue has a queue of the store for each priority that its messages have had, so that
// the next message is found at once however many wait. Most have one alone, that of the
// default priority. The others are named after the queue: /queue/$p9/queue/a has what has
// priority 9 in /queue/a.
//
// Outside of this file a Seq says of which of them it is: its upper bits, laneBits, are 0 for
// the default priority, so that all is as if there were no priorities where none is used.

const (
	laneShift  = 56
	laneMask   = store.Seq(1)<<laneShift - 1
	priorities = 10
)

// lanes are the queues of the store by priority. That of the default priority is queue.st.
type lanes struct {
	st   [priorities]store.Queue
	down []uint8 // those in use, the default priority among them, from the highest
}

const lanePrefix = destination.QueuePrefix + "$p"

func laneName(queue string, priority uint8) string {
	return lanePrefix + string('0'+rune(priority)) + queue
}

// ofLane returns which queue, and which of its priorities, a name of the store belongs to.
func ofLane(name string) (queue string, priority uint8) {
	if rest, ok := strings.CutPrefix(name, lanePrefix); ok && len(rest) > 1 && rest[0] >= '0' && rest[0] <= '9' && rest[1] == '/' {
		return rest[1:], rest[0] - '0'
	}
	return name, message.DefaultPriority
}

// laneTag is what the Seqs of a priority have in their upper bits.
func laneTag(priority uint8) store.Seq {
	if priority == message.DefaultPriority {
		return 0
	}
	return store.Seq(priority+1) << laneShift
}

// laneIndex is the priority that a Seq is of.
func laneIndex(seq store.Seq) uint8 {
	if p := seq >> laneShift; p != 0 {
		return uint8(p) - 1
	}
	return message.DefaultPriority
}

// at returns the queue of the store that seq is of, and its Seq there.
func (q *queue) at(seq store.Seq) (store.Queue, store.Seq) {
	if tag := seq >> laneShift; tag != 0 && q.lanes != nil {
		return q.lanes.st[tag-1], seq & laneMask
	}
	return q.st, seq
}

// lane returns where m is put. Called with q.mu held.
func (q *queue) lane(m *message.Message) (store.Queue, error) {
	if !m.Special() {
		return q.st, nil
	}
	p := q.laneOfMessage(m)
	if p == message.DefaultPriority {
		return q.st, nil
	}
	return q.openLane(p)
}

func (q *queue) openLane(p uint8) (store.Queue, error) {
	if q.lanes != nil && q.lanes.st[p] != nil {
		return q.lanes.st[p], nil
	}
	st, err := q.b.store.Queue(laneName(q.name, p), q.ready)
	if err != nil {
		return nil, err
	}
	if q.lanes == nil {
		q.lanes = new(lanes)
		q.lanes.st[message.DefaultPriority] = q.st
	}
	q.lanes.st[p] = st
	q.lanes.sort()
	q.b.memory.extra.Add(queueCost) // it is one more queue of the store
	return st, nil
}

func (l *lanes) sort() {
	l.down = l.down[:0]
	for p := priorities - 1; p >= 0; p-- {
		if l.st[p] != nil {
			l.down = append(l.down, uint8(p))
		}
	}
}

// fetch is Fetch of all priorities, the highest first. While what has a higher one is there and not
// at hand, nothing lower is.
func (q *queue) fetch(dst []store.Delivery, max int) ([]store.Delivery, error) {
	if q.lanes == nil {
		return q.st.Fetch(dst, max)
	}
	var failed error
	before := len(dst)
	for _, p := range q.lanes.down {
		n := len(dst)
		var err error
		if dst, err = q.lanes.st[p].Fetch(dst, max-(n-before)); err != nil {
			failed = errors.Join(failed, err)
		}
		tag := laneTag(p)
		for i := range dst[n:] {
			dst[n+i].Seq |= tag
		}
		if err == nil && len(dst) < before+max && q.lanes.st[p].Stats().Ready > 0 {
			break // the store calls ready
		}
	}
	if len(dst) > before {
		failed = nil // told when there is nothing else
	}
	return dst, failed
}

// release is Release.
func (q *queue) release(ds []store.Delivery) {
	if q.anyParked() {
		ds = q.withParked(ds)
	}
	if q.expiry != nil {
		q.expiry.again(q, ds)
	}
	if q.lanes == nil {
		q.st.Release(ds)
		q.resift(ds)
		return
	}
	q.resift(ds)
	for len(ds) > 0 {
		st, _ := q.at(ds[0].Seq)
		n := 0
		for n < len(ds) && ds[n].Seq>>laneShift == ds[0].Seq>>laneShift {
			n++
		}
		run := make([]store.Delivery, n)
		for i := range run {
			run[i] = ds[i]
			run[i].Seq &= laneMask
		}
		st.Release(run)
		ds = ds[n:]
	}
}

// ack adds the ack of first to last, which are of one priority, to op. It joins the run before
// if it follows it.
func (q *queue) ack(op *Op, first, last store.Seq) {
	if q.line != nil {
		q.line.roomy() // once the lock is free
	}
	st, first := q.at(first)
	_, last = q.at(last)
	changes := op.batch.Changes()
	if n := len(changes); n > 0 && changes[n-1].Msg == nil && changes[n-1].Queue == st && changes[n-1].Last+1 == first {
		changes[n-1].Last = last
		return
	}
	op.batch.AckRange(st, first, last)
}

// between returns first to last, which are of one priority, as far as they are there.
func (q *queue) between(first, last store.Seq) ([]store.Delivery, error) {
	q.mu.Lock()
	st, from := q.at(first)
	q.mu.Unlock()
	tag := first - from
	ds, err := st.Browse(nil, from-1, int(last-first)+1)
	for i := range ds {
		ds[i].Seq |= tag
	}
	return ds, err
}

// stats are those of all priorities together.
func (q *queue) stats() store.Stats {
	if q.lanes == nil {
		return q.st.Stats()
	}
	var all store.Stats
	for _, p := range q.lanes.down {
		all = addStats(all, q.lanes.st[p].Stats())
	}
	return all
}

func addStats(a, b store.Stats) store.Stats {
	return store.Stats{
		Ready: a.Ready + b.Ready, Leased: a.Leased + b.Leased, Bytes: a.Bytes + b.Bytes,
		Enqueued: a.Enqueued + b.Enqueued, Dequeued: a.Dequeued + b.Dequeued,
	}
}

// close forgets what the store has of the queue, which is empty, and reports whether it did.
func (q *queue) close() bool {
	if q.lanes != nil {
		for _, p := range q.lanes.down {
			if p == message.DefaultPriority {
				continue
			}
			if !q.lanes.st[p].Close() {
				return false
			}
			q.lanes.st[p] = nil // opened again when it is needed
			q.b.memory.extra.Add(-queueCost)
		}
		q.lanes = nil
	}
	return q.st.Close()
}
