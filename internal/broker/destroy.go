package broker

import "stompserver/internal/store"

// destroy ends the queue and drops what it holds and nobody has. It goes on in the
// background where that is not at hand. A queue that is used again meanwhile lives on.
func (q *queue) destroy() {
	q.mu.Lock()
	q.dying = true
	q.drop()
	q.mu.Unlock()
}

// drop acks everything that nobody holds, and forgets the queue when it is empty. Called
// with q.mu held.
func (q *queue) drop() {
	if q.subs > 0 {
		q.dying = false // somebody wants it
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
