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
		ds, err := q.st.Fetch(q.scratch[:0], fetchAtOnce)
		if err != nil {
			q.b.cfg.Log.Error("fetch failed", "destination", q.name, "err", err)
			return
		}
		if len(ds) == 0 {
			break
		}
		op := NewOp(nil)
		op.Relax()
		ackAll(op, q.st, ds)
		q.b.store.Commit(&op.batch)
		clear(ds)
		q.scratch = ds[:0]
	}
	if st := q.st.Stats(); st.Ready > 0 {
		return // ready is called when there is more
	}
	q.forget()
}

// ackAll adds the acks of ds, which are in order but for gaps, to op.
func ackAll(op *Op, st store.Queue, ds []store.Delivery) {
	for i := 0; i < len(ds); {
		j := i + 1
		for j < len(ds) && ds[j].Seq == ds[j-1].Seq+1 {
			j++
		}
		op.batch.AckRange(st, ds[i].Seq, ds[j-1].Seq)
		i = j
	}
}
