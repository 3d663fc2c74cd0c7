package broker

import "stompserver/internal/store"

// bury moves d to the dead letters in one batch. There it keeps its headers; destination
// names the new queue and original-destination the one it came from. What is rejected
// there is gone. Called with q.mu held.
func (q *queue) bury(d store.Delivery, w *Wake) {
	op := NewOp(nil)
	q.ack(op, d.Seq, d.Seq)
	if q.name == q.b.cfg.DeadLetter || d.Msg == nil {
		q.b.store.Commit(&op.batch)
		return
	}
	dlq, err := q.b.queue(q.b.cfg.DeadLetter) // pinned: it stays
	if err != nil {
		q.b.cfg.Log.Error("dead letter queue not available", "destination", q.name, "err", err)
		op.batch.Reset()
		op.Finish(nil)
		q.release([]store.Delivery{d})
		return
	}
	dead := d.Msg.Redirect(dlq.name, "original-destination", q.name)
	// Of the dead all are alike: that they are seen in the order they came is of more use
	// than their priority, and another queue's lock is not needed.
	op.batch.Put(dlq.st, dead)
	op.then = func(err error) {
		if err != nil {
			q.b.cfg.Log.Error("dead letter not stored", "destination", q.name, "err", err)
		}
	}
	q.b.store.Commit(&op.batch)
	q.b.counts.deadLettered.Add(1)
	w.queues = append(w.queues, dlq)
}
