package storetest

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A Reference is a store.Backend in memory, as simple as can be: what others are compared
// with, and what a spool is tested on. The zero value is empty. It outlives Close, so that a
// restart can be played.
type Reference struct {
	// Before is called by Write with what it is to write, and may fail it or keep it
	// waiting.
	Before func([]store.Record) error

	mu     sync.Mutex
	queues map[string]*refQueue
	writes int
	puts   int
}

type refQueue struct {
	msgs   []refMessage // in order
	last   store.Seq
	marked store.Seq
}

type refMessage struct {
	seq      store.Seq
	msg      *message.Message
	attempts uint32
}

func (q *refQueue) find(seq store.Seq) (int, bool) {
	return slices.BinarySearchFunc(q.msgs, seq, func(m refMessage, s store.Seq) int { return cmp.Compare(m.seq, s) })
}

// Forgets reports whether a crash at this moment would forget that the message seq of queue
// was handed out: it is stored, and nothing says so.
func (r *Reference) Forgets(queue string, seq store.Seq) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[queue]
	if q == nil {
		return false
	}
	at, found := q.find(seq)
	return found && seq > q.marked && q.msgs[at].attempts == 0
}

// Writes is how often Write succeeded, and how many messages that put in all.
func (r *Reference) Writes() (writes, puts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes, r.puts
}

// spoolsOwn is where a spool keeps what it has to know of Seqs. Its writes are none that a test waits
// for or counts.
const spoolsOwn = "/queue/$numbers"

// Write implements store.Backend.
func (r *Reference) Write(rs []store.Record) error {
	own := len(rs) > 0 && rs[0].Queue == spoolsOwn
	if r.Before != nil && !own {
		if err := r.Before(rs); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queues == nil {
		r.queues = make(map[string]*refQueue)
	}
	if !own {
		r.writes++
	}
	for _, rec := range rs {
		q := r.queues[rec.Queue]
		if q == nil {
			q = &refQueue{}
			r.queues[rec.Queue] = q
		}
		at, found := q.find(rec.Seq)
		switch rec.Kind {
		case store.RecordPut:
			if !own {
				r.puts++
			}
			q.msgs = slices.Insert(q.msgs, at, refMessage{seq: rec.Seq, msg: rec.Msg})
			q.last = max(q.last, rec.Seq)
		case store.RecordAck:
			end, found := q.find(rec.Last)
			if found {
				end++
			}
			if at == 0 {
				q.msgs = q.msgs[end:]
			} else {
				q.msgs = slices.Delete(q.msgs, at, end)
			}
		case store.RecordMark:
			q.marked = rec.Seq
		case store.RecordAttempts:
			if found {
				q.msgs[at].attempts = rec.Attempts
			}
		}
	}
	return nil
}

// Read implements store.Backend.
func (r *Reference) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) ([]store.Record, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[queue]
	if q == nil {
		return dst, false, nil
	}
	at, _ := q.find(after + 1)
	for ; at < len(q.msgs) && max > 0 && size > 0; at++ {
		m := q.msgs[at]
		dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: m.seq, Msg: m.msg, Attempts: m.attempts})
		max--
		size -= int64(m.msg.Size())
	}
	return dst, at < len(q.msgs), nil
}

// Queues implements store.Backend.
func (r *Reference) Queues() ([]store.Info, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var infos []store.Info
	for _, name := range slices.Sorted(maps.Keys(r.queues)) {
		q := r.queues[name]
		i := store.Info{Name: name, Last: q.last, Count: len(q.msgs), Marked: q.marked}
		for _, m := range q.msgs {
			i.Bytes += int64(m.msg.Size())
		}
		if i.Count > 0 {
			i.First = q.msgs[0].seq
		}
		infos = append(infos, i)
	}
	return infos, nil
}

// Close implements store.Backend.
func (r *Reference) Close() error { return nil }
