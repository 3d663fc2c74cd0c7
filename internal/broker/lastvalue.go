package broker

import (
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue can keep the last message of each key alone, as Artemis's last-value queues do: one
// that comes takes the place of that which nobody has yet. What a client has is not taken from
// it; but if it comes back it is dropped.

// keysAtLeast is how many keys a queue remembers before it looks which are of messages that are
// gone.
const keysAtLeast = 1024

// lastValues is what a queue knows of the keys of its messages.
type lastValues struct {
	mu   sync.Mutex // guards what follows, and each newest; it may be taken with queue.mu held
	keys map[string]*newest
	over []store.Seq // overtaken while they were on their way into the store
}

// A newest is the message of a key that came last. Seq is 0 until it is in the store.
type newest struct {
	seq  store.Seq
	gone bool // it was dropped for the next one
}

// keyOf is the key of m; empty if the queue keeps it whatever comes later.
func (q *queue) keyOf(m *message.Message) string {
	if q.last == nil || m == nil {
		return ""
	}
	if q.props != nil && q.props.KeyHeader != "" {
		if key, ok := m.Lookup(q.props.KeyHeader); ok && len(key) > 0 {
			return string(key)
		}
	}
	return m.Options().Key
}

// overtake has m, which is change i of op, take the place of the one of its key before. Called
// with q.mu held, before op is committed.
func (q *queue) overtake(op *Op, i int, m *message.Message) {
	key := q.keyOf(m)
	if key == "" {
		return
	}
	l, tag := q.last, laneTag(q.laneOfMessage(m))
	if st := q.stats(); len(l.keys) > max(keysAtLeast, 2*(st.Ready+st.Leased)) {
		q.forgetKeys()
	}
	n := new(newest)
	l.mu.Lock()
	before := l.keys[key]
	l.keys[key] = n
	drop := l.over
	l.over = nil
	if before != nil && before.seq != 0 {
		before.gone = true
		drop = append(drop, before.seq)
	}
	l.mu.Unlock()
	q.dropIfFree(op, drop)
	op.Finally(func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err == nil:
			n.seq = op.batch.Changes()[i].Seq | tag
			if before != nil && before.seq != 0 && !before.gone {
				l.over = append(l.over, before.seq)
			}
		case before != nil: // which counts again
			before.gone = false
			n.seq = before.seq
		}
	})
}

// dropIfFree adds to op the acks of those that nobody has.
func (q *queue) dropIfFree(op *Op, seqs []store.Seq) {
	for _, seq := range seqs {
		st, at := q.at(seq)
		ds, err := st.Browse(nil, at-1, 1)
		if err != nil || len(ds) == 0 || ds[0].Seq != at {
			continue // it is gone, or goes when it is fetched
		}
		if free, _ := st.Lease(nil, ds, true); len(free) > 0 {
			q.ack(op, seq, seq)
		}
	}
}

// overtaken reports whether a later message of d's key is in the store.
func (q *queue) overtaken(d store.Delivery) bool {
	key := q.keyOf(d.Msg)
	if key == "" {
		return false
	}
	l := q.last
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.keys[key]
	return n != nil && n.seq != 0 && n.seq != d.Seq
}

// openLast learns the keys of what the queue holds, or forgets them, as its properties have it.
// Called with q.mu held.
func (q *queue) openLast() {
	want := q.props != nil && q.props.LastValue
	switch {
	case !want:
		q.last = nil
	case q.last == nil:
		q.last = &lastValues{keys: make(map[string]*newest)}
		q.learnKeys(func(string, store.Seq) bool { return true })
	}
}

// forgetKeys forgets those of messages that are gone.
func (q *queue) forgetKeys() {
	l := q.last
	old := l.keys
	l.mu.Lock()
	l.keys = make(map[string]*newest)
	for key, n := range old {
		if n.seq == 0 {
			l.keys[key] = n // on its way
		}
	}
	l.mu.Unlock()
	q.learnKeys(func(key string, seq store.Seq) bool {
		n := old[key]
		return n != nil && n.seq == seq
	})
}

// learnKeys notes the keys of what the queue holds, as far as which says so.
func (q *queue) learnKeys(which func(key string, seq store.Seq) bool) {
	l := q.last
	came := make(map[string]int64)
	for p := uint8(0); p < priorities; p++ {
		st := q.laneOf(p)
		for after := store.Seq(0); st != nil; {
			ds, _, err := st.Page(nil, after, 256, pageBytes)
			if err != nil {
				q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			}
			if len(ds) == 0 {
				break
			}
			after = ds[len(ds)-1].Seq
			l.mu.Lock()
			for _, d := range ds {
				key, seq := q.keyOf(d.Msg), d.Seq|laneTag(p)
				if key == "" || !which(key, seq) {
					continue
				}
				switch before := l.keys[key]; {
				case before != nil && (before.seq == 0 || before.seq == seq):
					continue // one is on its way, or was when this began
				case before != nil && came[key] > d.Msg.Arrived():
					l.over = append(l.over, seq) // of another priority, and older
					continue
				case before != nil:
					l.over = append(l.over, before.seq)
				}
				l.keys[key], came[key] = &newest{seq: seq}, d.Msg.Arrived()
			}
			l.mu.Unlock()
		}
	}
}
