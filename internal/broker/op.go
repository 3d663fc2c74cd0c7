package broker

import (
	"sync"

	"stompserver/internal/store"
)

// An Owner hears how its operations end.
type Owner interface {
	// Done is called once for each operation, in the order of the operations on each
	// queue but for those that bring topics something, which are done when that is out, perhaps before the call that began it returns and perhaps with a queue's
	// lock held: it must neither block nor call the broker.
	Done(op *Op, err error)
}

// An Op is one operation that a store makes durable: a SEND, an ACK, a COMMIT. It is
// valid until Done returns.
type Op struct {
	Owner Owner
	Bytes int // the owner's own: what the operation holds of its memory
	Token any // the owner's own: which receipt to send

	// Patient says that its owner waits where a queue is full, and tries again when Room says so.
	Patient bool

	// News is what its owner sent to topics before; nil: nothing that matters.
	News *News

	batch store.Batch
	turn  *turn           // in the line before a queue that was full; nil: in none
	told  []string        // pairs of name and value for the receipt
	then  func(err error) // the broker's own work, before Done; it may not call the store
	news  *news           // what goes out before Done; nil: nothing, or it is out
	last  func(err error) // like then, when that is out
}

var ops sync.Pool

// NewOp returns an operation of owner, which may be nil.
func NewOp(owner Owner) *Op {
	op, ok := ops.Get().(*Op)
	if !ok {
		op = &Op{}
		op.batch.Done = opDone
		op.batch.Context = op
	}
	op.Owner = owner
	return op
}

// Tell adds a header to the receipt of the operation. It is for the broker, before Done.
func (op *Op) Tell(name, value string) { op.told = append(op.told, name, value) }

// Told are the headers that Tell added, as pairs of name and value. They are valid until Done
// returns.
func (op *Op) Told() []string { return op.told }

// Relax says that nobody waits for Done, so that a store may take its time. It holds until
// Done.
func (op *Op) Relax() { op.batch.Lazy = true }

// Attend says that its owner will call Broker.Attend. It holds until Done.
func (op *Op) Attend() { op.batch.Attended = true }

// Unattended takes Attend back.
func (op *Op) Unattended() { op.batch.Attended = false }

// Attend has the store make durable, on this goroutine, what was committed with Op.Attend, if
// it finds that quicker, and reports whether it did. It may wait for the disk, but not for
// other clients. Called with no lock held.
func (b *Broker) Attend() bool { return b.store.Attend() }

// Finally has f called before Done. It must neither block nor call the broker.
func (op *Op) Finally(f func(err error)) {
	if before := op.then; before != nil {
		op.then = func(err error) { before(err); f(err) }
		return
	}
	op.then = f
}

// Lastly is Finally for what waits until the topics have what the operation brings them.
func (op *Op) Lastly(f func(err error)) {
	if before := op.last; before != nil {
		op.last = func(err error) { before(err); f(err) }
		return
	}
	op.last = f
}

func opDone(b *store.Batch, err error) { b.Context.(*Op).Finish(err) }

// Finish completes the operation without a store: a SEND to a topic, an ACK that changes
// nothing, or one that failed before it reached the store.
func (op *Op) Finish(err error) {
	if op.then != nil {
		op.then(err)
		op.then = nil
	}
	if op.news != nil && !op.news.goneOut(op, err) {
		return // it calls again
	}
	if op.last != nil {
		op.last(err)
		op.last = nil
	}
	if op.Owner != nil {
		op.Owner.Done(op, err)
		op.Owner = nil
	}
	if op.turn != nil {
		op.leaveLine()
	}
	op.Bytes, op.Token, op.Patient, op.News, op.news = 0, nil, false, nil, nil
	op.told = op.told[:0]
	op.batch.Lazy, op.batch.Attended = false, false
	op.batch.Reset()
	ops.Put(op)
}
