package store

import "stompserver/internal/message"

// A Batch is a set of changes that become durable together. The zero value is empty and
// ready; after Done it may be Reset and used again, so that a steady flow allocates none.
type Batch struct {
	// Done is called once the batch is durable or has failed. It is a field, and is given
	// the batch, so that one function serves all batches of a session.
	Done func(b *Batch, err error)

	// Lazy says that nobody waits for Done: a store may let some milliseconds pass, in
	// which the ack of what was put may come and neither need be written.
	Lazy bool

	// Attended says that who commits will call Store.Attend, once no lock is held and
	// nothing else is to be done: a store need not wake anybody before that.
	Attended bool

	// Context is the committer's own; a store does not look at it.
	Context any

	changes []Change
	first   [1]Change // most batches are of one change
}

// A Change is a message put, or a run of messages acked.
type Change struct {
	Queue Queue
	Msg   *message.Message // nil: the change is an ack
	Seq   Seq              // of a put: set by the store in Commit; of an ack: the first
	Last  Seq              // of an ack: the last; every Seq between is acked that is held
}

// Put adds m to q.
func (b *Batch) Put(q Queue, m *message.Message) { b.add(Change{Queue: q, Msg: m}) }

// Ack removes the message seq of q, which the caller holds.
func (b *Batch) Ack(q Queue, seq Seq) { b.add(Change{Queue: q, Seq: seq, Last: seq}) }

// AckRange removes the messages first to last of q, all of which the caller holds.
func (b *Batch) AckRange(q Queue, first, last Seq) {
	b.add(Change{Queue: q, Seq: first, Last: last})
}

func (b *Batch) add(c Change) {
	if b.changes == nil {
		b.changes = b.first[:0]
	}
	b.changes = append(b.changes, c)
}

// Changes returns the changes in order. The store may set the Seq of puts in place.
func (b *Batch) Changes() []Change { return b.changes }

// Len is the number of changes.
func (b *Batch) Len() int { return len(b.changes) }

// Reset empties the batch for another use; Done, Lazy, Attended and Context stay.
func (b *Batch) Reset() {
	clear(b.changes)
	if cap(b.changes) > 1024 {
		b.changes = nil // do not hold on to the room of one huge transaction
	}
	b.changes = b.changes[:0]
}

// Finish calls Done, if there is one. Stores call it, once.
func (b *Batch) Finish(err error) {
	if b.Done != nil {
		b.Done(b, err)
	}
}
