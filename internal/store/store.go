// Package store is the contract between the broker, which decides who gets a message, and
// the stores, which decide where it is kept. It holds no I/O.
//
// A store hands messages out on lease: Fetch never removes. What is in flight is still in
// the store until a Batch acks it, so no crash loses it. Every change, one SEND, a run of
// ACKs or a whole transaction, is a Batch; nothing is promised to a client before the
// batch's Done was called with nil.
package store

import (
	"errors"
	"iter"

	"stompserver/internal/message"
)

// Seq orders the messages of one queue and names one of them. The first is 1.
type Seq uint64

// A Delivery is a message handed out by a Queue. It stays in the store, leased to this
// process, until a Batch acks it or Release gives it back. A lease ends with the process:
// after a crash the message is handed out again.
type Delivery struct {
	Seq     Seq
	Attempt uint32 // 1 for the first time
	Msg     *message.Message
}

// A Store keeps queues. It may be used from any goroutine.
type Store interface {
	// Queue opens the named queue, making it if there is none. The store calls ready,
	// from a goroutine of its own and holding no lock, when a short Fetch is worth
	// repeating. A queue is opened once at a time.
	Queue(name string, ready func()) (Queue, error)

	// Queues yields every queue that holds messages or is open.
	Queues() iter.Seq2[string, Stats]

	// Commit takes b, all or nothing, and returns at once. b.Done (it may be nil) is
	// called exactly once: with nil when b is durable, else with the reason. The
	// batches of one queue complete in the order of their Commits. Done may run before
	// Commit returns; it must not block and must not call the store. Until Done b
	// belongs to the store.
	Commit(b *Batch)

	// Attend sees to attended batches. If one waits, alone, it may make it durable
	// itself; then it returns true, after Done. Else it returns false at once, and
	// others do it. Call it with no lock held.
	Attend() bool

	// Bytes is what the messages kept cost in memory, by message.Size.
	Bytes() int64

	Close() error // makes durable what was committed, then lets go
}

// A Queue hands out the messages of one queue in order.
type Queue interface {
	// Name is the name it was opened by.
	Name() string

	// Fetch appends to dst at most max deliveries that nobody holds, and returns at
	// once: what is not at hand is fetched behind the scenes, then ready is called.
	// max states the demand and replaces the one before; 0 withdraws it.
	Fetch(dst []Delivery, max int) ([]Delivery, error)

	// Release gives deliveries back, to be handed out again before later ones. The
	// next Attempt of each is one more than the one given: who gives back what no
	// client can have seen gives it back with Attempt lowered by one.
	Release(ds []Delivery)

	// Lease takes messages out of turn: it appends those of ds, as Browse gave them, that
	// are still there and nobody holds. Later says that some have to wait for the store,
	// which calls ready when it is worth asking for them again. Unseen says that no client
	// will be shown them, so that a crash may forget that they were handed out. It returns
	// at once.
	Lease(dst, ds []Delivery, unseen bool) (_ []Delivery, later bool)

	// Foretell says that ds, as Browse gave them, are likely to be taken by Lease soon, so
	// that a store can prepare for all of them at once. A crash may have them count as
	// handed out.
	Foretell(ds []Delivery)

	// Peek is Browse of what is at hand, and returns at once. Whole says that nothing else
	// follows; else Browse has it.
	Peek(dst []Delivery, after Seq, max int) (_ []Delivery, whole bool)

	// Browse appends at most max messages that follow after, held or not, and takes
	// none of them. It may wait for I/O: call it with no lock held.
	Browse(dst []Delivery, after Seq, max int) ([]Delivery, error)

	// Page is Browse for what may be large: of what it has to read it appends no more once
	// that has size bytes, but one message if there is any. More reports that others may
	// follow.
	Page(dst []Delivery, after Seq, max int, size int64) (_ []Delivery, more bool, _ error)

	// Shown is the Seq up to which nothing was put by a batch of several changes that is not
	// durable. What follows, which Browse gives too, may still never come to be; the store calls
	// ready when Shown is worth asking again.
	Shown() Seq

	// Stats tells depth and counters.
	Stats() Stats

	// Close forgets the queue if it is empty and reports whether it was; the name may
	// be opened anew afterwards. One that holds messages stays as it is.
	Close() bool
}

// Stats are a queue's depth and counters.
type Stats struct {
	Ready    int    // messages that nobody holds
	Leased   int    // messages handed out and not settled
	Bytes    int64  // what all of them cost, by message.Size
	Enqueued uint64 // messages put since the counters began
	Dequeued uint64 // messages acked since then

	// Last is the highest Seq that a put got, in a process before this one too. The next put gets
	// one more, or a greater one if the queue was closed meanwhile. Of a queue that is not open it
	// is not told.
	Last Seq
}

// Errors that a caller tells apart.
var (
	ErrClosed = errors.New("store: closed")
	ErrFull   = errors.New("store: no room left") // that batch failed whole; later ones may pass
	ErrAway   = errors.New("store: it is away")   // likewise, and ahead of batches before it
)
