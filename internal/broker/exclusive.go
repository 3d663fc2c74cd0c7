package broker

import "stompserver/internal/store"

// A queue that is exclusive is of the connection that subscribes to it first: no other may, and it goes, with
// what it holds, when that connection does. Anybody may send to it.

// Exclusive reports whether dest is such a queue, or would be.
func (b *Broker) Exclusive(dest string) bool {
	p := b.props.of(dest)
	return p != nil && p.Exclusive
}

// ownedBy reports whether a connection may subscribe to the queue, which is its own from now on, if it is
// exclusive. Called with q.mu held.
func (q *queue) ownedBy(owner uint64) bool {
	if q.props == nil || !q.props.Exclusive {
		return true
	}
	if q.owner == 0 {
		q.owner = owner
	}
	return q.owner == owner
}

// Owned reports whether a connection has an exclusive queue, or had it when its properties were others.
func (b *Broker) Owned(dest string, owner uint64) bool {
	b.mu.RLock()
	q := b.queues[dest]
	b.mu.RUnlock()
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.gone && q.owner == owner
}

// Abandon says that a connection is gone, of which an exclusive queue may be. Its subscriptions must be closed.
func (b *Broker) Abandon(dest string, owner uint64) {
	b.mu.RLock()
	q := b.queues[dest]
	b.mu.RUnlock()
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || q.owner != owner {
		return
	}
	q.owner = 0
	if q.props != nil && q.props.Exclusive {
		q.b.cfg.Log.Info("queue deleted", "destination", q.name, "reason", "exclusive")
		q.condemn() // the next may be there before all of it is gone
		q.dying = true
		q.drop()
	}
}

// openExclusive drops what is left of such queues by a crash: their connections are gone.
func (b *Broker) openExclusive() error {
	for name := range b.store.Queues() {
		name, _ = ofLane(name)
		if isSystem(name) || !b.Exclusive(name) {
			continue
		}
		q, err := b.queue(name)
		if err != nil {
			return err
		}
		if err := q.empty(); err != nil {
			return err
		}
		q.destroy(func() {})
	}
	return nil
}

// empty drops all that the queue holds, before anybody can ask for it.
func (q *queue) empty() error {
	for p := range uint8(priorities) {
		st := q.laneOf(p)
		for after := store.Seq(0); st != nil; {
			ds, _, err := st.Page(nil, after, 512, pageBytes)
			if err != nil || len(ds) == 0 {
				if err != nil {
					return err
				}
				break
			}
			after = ds[len(ds)-1].Seq
			op := NewOp(nil)
			op.Relax()
			got, _ := st.Lease(nil, ds, true)
			for _, d := range got {
				op.batch.Ack(st, d.Seq)
			}
			q.b.store.Commit(&op.batch)
		}
	}
	return nil
}
