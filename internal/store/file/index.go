package file

import (
	"sort"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue is what is known of one. Its messages are listed; where they are says each name.
type queue struct {
	name   string
	folder string
	id     uint64 // in the names of its messages
	named  bool   // the state or the redo log says so

	last, marked store.Seq
	slots        []slot // in order, some of them empty
	empty        int    // of slots
	count        int
	bytes        int64
	carried      int64 // of bytes, while a log is made that begins with them

	pending map[store.Seq]*pending // not in a file of their own yet, but in the redo log
	foreign map[store.Seq]string   // the names that are not ours
	tries   map[store.Seq]uint32

	enqueued, dequeued, exceptions int64
}

// A slot is a message, or where one was: then its size is 0.
type slot struct {
	seq  store.Seq
	size int64
}

// A pending message is in the redo log.
type pending struct {
	msg   *message.Message
	there bool // its file is, too; whether that is whole says filed
	filed bool
	young bool // it is to be in the next log, too
}

func newQueue(name, folder string, id uint64) *queue {
	return &queue{
		name: name, folder: folder, id: id,
		pending: make(map[store.Seq]*pending), foreign: make(map[store.Seq]string), tries: make(map[store.Seq]uint32),
	}
}

func (q *queue) find(seq store.Seq) int {
	return sort.Search(len(q.slots), func(i int) bool { return q.slots[i].seq >= seq })
}

func (q *queue) has(seq store.Seq) bool {
	i := q.find(seq)
	return i < len(q.slots) && q.slots[i].seq == seq && q.slots[i].size > 0
}

// add notes a message of that size.
func (q *queue) add(seq store.Seq, size int64) {
	size = max(size, 1)
	q.last = max(q.last, seq)
	i := len(q.slots)
	if i > 0 && q.slots[i-1].seq >= seq {
		i = q.find(seq)
	}
	switch {
	case i < len(q.slots) && q.slots[i].seq == seq:
		if q.slots[i].size > 0 { // a redo log says again what a file says
			q.count--
			q.bytes -= q.slots[i].size
		} else {
			q.empty--
		}
		q.slots[i].size = size
	default:
		q.slots = append(q.slots, slot{})
		copy(q.slots[i+1:], q.slots[i:])
		q.slots[i] = slot{seq, size}
	}
	q.count++
	q.bytes += size
}

// remove takes out what there is of first to last.
func (q *queue) remove(first, last store.Seq, gone func(store.Seq)) {
	for i := q.find(first); i < len(q.slots) && q.slots[i].seq <= last; i++ {
		s := &q.slots[i]
		if s.size == 0 {
			continue
		}
		q.count--
		q.bytes -= s.size
		s.size = 0
		q.empty++
		gone(s.seq)
		delete(q.pending, s.seq)
		delete(q.foreign, s.seq)
		delete(q.tries, s.seq)
	}
	n := 0
	for n < len(q.slots) && q.slots[n].size == 0 {
		n++
	}
	q.slots, q.empty = q.slots[n:], q.empty-n
	if q.empty > 64 && q.empty > len(q.slots)/2 {
		full := make([]slot, 0, q.count)
		for _, s := range q.slots {
			if s.size > 0 {
				full = append(full, s)
			}
		}
		q.slots, q.empty = full, 0
	}
	if len(q.slots) == 0 {
		q.slots = nil
	}
}

func (q *queue) info() store.Info {
	i := store.Info{
		Name: q.name, Last: q.last, Count: q.count, Bytes: q.bytes, Marked: q.marked,
		Enqueued: uint64(max(q.enqueued, 0)), Dequeued: uint64(max(q.dequeued, 0)),
	}
	if q.count > 0 {
		i.First = q.slots[0].seq // the first is never empty
	}
	return i
}
