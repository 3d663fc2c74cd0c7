package store

import "stompserver/internal/message"

// A Backend is durable storage on this machine, of which the spool makes a Store. It may
// block, needs no lock beyond that of Write against Read, and starts no goroutine that Close does
// not end.
type Backend interface {
	// Write makes rs durable in order, all or nothing, before it returns. There is
	// never more than one Write under way. ErrFull and a *RefusedError are not final, nor
	// is a Remote's ErrAway; any other error is.
	Write(rs []Record) error

	// Read appends to dst the records of messages of queue that follow after, in order:
	// at most max, and no more once their messages have size bytes. More reports that
	// others follow. It may run beside a Write, and sees all of one or nothing.
	Read(dst []Record, queue string, after Seq, max int, size int64) (rs []Record, more bool, err error)

	// Queues tells at start what is stored: names, first and last Seq, and counts. An
	// Info without a name tells of queues that are forgotten: none had a Seq above its
	// Last.
	Queues() ([]Info, error)

	Close() error
}

// A Syncer is a Backend that can leave what it writes to the system's memory for a while.
// Sync makes durable all that was written; it is not called beside Write.
type Syncer interface{ Sync() error }

// A Leaver is a Backend whose Close takes time for what this program does not need, but another one.
// Leave has it leave that undone; it may be called beside anything, Close too.
type Leaver interface{ Leave() }

// A Remote is a Backend whose storage may be away for a while. Read waits for it as long as it
// takes. Write fails with an ErrAway, which is not final, if it has been away for longer than
// a client should wait and nothing was written; while that is not sure it waits, too.
type Remote interface {
	// Away names who is to be told, from within Write, Read or Wait: why the storage has
	// been away for so long, again and again while it is, and nil once it is back. It is
	// called before the first Write, and told may not call the backend.
	Away(told func(err error))

	// Wait returns when the storage is back, or with an error that is final. It is not
	// called beside Write.
	Wait() error

	// GiveUp has what waits fail soon, unless the storage comes back. It may be called
	// beside anything.
	GiveUp()
}

// A RefusedError says that a Backend can never hold some messages, because they are too large
// for it or because of what is in them. Nothing was written; the other records can be, by a
// Write without those.
type RefusedError struct {
	Records []int // which of the Write's, all of them RecordPut
	Err     error // why, of the last of them
}

func (e *RefusedError) Error() string { return "the message cannot be stored: " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// A Record is one change in a backend.
type Record struct {
	Kind     Kind
	Queue    string
	Seq      Seq
	Last     Seq              // of a RecordAck: the last Seq of the run
	Attempts uint32           // of a RecordAttempts, and of a RecordPut that is read: how often it was handed out
	Msg      *message.Message // of a RecordPut
}

// A Kind is what a Record says.
type Kind uint8

// The kinds of records.
const (
	RecordPut      Kind = iota // Msg is stored under Seq
	RecordAck                  // Seq to Last are removed
	RecordMark                 // every message up to Seq, and none behind it, may have been handed out; not beyond the last put
	RecordAttempts             // the message Seq was handed out Attempts times; written at a clean stop, and when one is taken far out of turn
)

// Info tells what a backend holds of one queue at start.
type Info struct {
	Name        string
	First, Last Seq // Last is the highest Seq ever used, so that none is used twice
	Count       int
	Bytes       int64 // what the messages cost, by message.Size or close to it
	Marked      Seq   // the last RecordMark: messages up to here may have been handed out before

	// Where the counters of Stats begin, if the backend keeps such.
	Enqueued, Dequeued uint64
}
