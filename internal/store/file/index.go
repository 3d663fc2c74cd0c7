package file

import (
	"math"
	"sort"

	"stompserver/internal/store"
)

// A queue is what is known of one. Its messages are listed, each with where it is.
type queue struct {
	name   string
	folder string
	id     uint64    // in the names of its messages, and in the log
	named  uint64    // the segment of the log that last said so
	top    store.Seq // the highest that was encoded

	last, marked store.Seq
	slots        []slot // in order, some of them empty
	empty        int    // of slots
	count        int
	bytes        int64
	filed        int64 // of bytes, those of messages that have a file

	foreign map[store.Seq]string // the names that are not ours
	tries   map[store.Seq]uint32

	enqueued, dequeued, exceptions int64
}

// A slot is a message, or where one was: then its size is 0.
type slot struct {
	seq   store.Seq
	at    place // in the log; 0: it has a file
	size  uint32
	there bool // it is in the log and has a file, too, of which it is not known whether it is whole
	among bool // others have the same place: the message lies there once for several queues
}

// A place is where a record begins in the log: the number of the segment, and where in that.
type place uint64

func placeOf(segment uint64, at int64) place { return place(segment<<32 | uint64(at)) }

func (p place) segment() uint64 { return uint64(p >> 32) }
func (p place) offset() int64   { return int64(p & math.MaxUint32) }

func newQueue(name, folder string, id uint64) *queue {
	return &queue{name: name, folder: folder, id: id, foreign: make(map[store.Seq]string), tries: make(map[store.Seq]uint32)}
}

func (q *queue) find(seq store.Seq) int {
	return sort.Search(len(q.slots), func(i int) bool { return q.slots[i].seq >= seq })
}

// get is the slot of a message that is there, else nil.
func (q *queue) get(seq store.Seq) *slot {
	if i := q.find(seq); i < len(q.slots) && q.slots[i].seq == seq && q.slots[i].size > 0 {
		return &q.slots[i]
	}
	return nil
}

// countOf is how many messages there are of first to last.
func (q *queue) countOf(first, last store.Seq) (n uint64) {
	for i := q.find(first); i < len(q.slots) && q.slots[i].seq <= last; i++ {
		if q.slots[i].size > 0 {
			n++
		}
	}
	return n
}

func (q *queue) has(seq store.Seq) bool { return q.get(seq) != nil }

// set notes a message of that size, which is at that place in the log, or has a file. It returns
// what it was before.
func (q *queue) set(seq store.Seq, size int64, at place) (was slot) {
	q.last = max(q.last, seq)
	i := len(q.slots)
	if i > 0 && q.slots[i-1].seq >= seq {
		i = q.find(seq)
	}
	if i < len(q.slots) && q.slots[i].seq == seq {
		if was = q.slots[i]; was.size == 0 {
			q.empty--
		} else {
			q.forget(was)
		}
	} else {
		q.slots = append(q.slots, slot{})
		copy(q.slots[i+1:], q.slots[i:])
	}
	s := slot{seq: seq, at: at, size: uint32(min(max(size, 1), math.MaxUint32))}
	s.there = at != 0 && was.size > 0 && (was.at == 0 || was.there)
	q.slots[i] = s
	q.count++
	q.bytes += int64(s.size)
	if at == 0 {
		q.filed += int64(s.size)
	}
	return was
}

// forget takes a message off the books.
func (q *queue) forget(s slot) {
	q.count--
	q.bytes -= int64(s.size)
	if s.at == 0 {
		q.filed -= int64(s.size)
	}
}

// remove takes out what there is of first to last.
func (q *queue) remove(first, last store.Seq, gone func(slot)) {
	for i := q.find(first); i < len(q.slots) && q.slots[i].seq <= last; i++ {
		s := &q.slots[i]
		if s.size == 0 {
			continue
		}
		q.forget(*s)
		gone(*s)
		s.size, s.at, s.among = 0, 0, false
		q.empty++
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

// What changes where messages are keeps count of what each segment of the log has. All of it is
// called with mu held.

// put notes a message at a place in the log, wherever it was before; among says that others have that
// place, too.
func (f *File) put(q *queue, seq store.Seq, size int64, at place, among bool) {
	was := q.set(seq, size, at)
	f.lives(was, -1)
	s := q.get(seq)
	s.among = among
	f.lives(*s, 1)
}

// lives notes that a message is in its segment, or no more.
func (f *File) lives(s slot, n int) {
	if s.size == 0 || s.at == 0 {
		return
	}
	seg := f.segment(s.at.segment())
	seg.live += n
	f.live += n
	if s.among {
		others := f.among[s.at]
		if f.among[s.at] = others + n; others+n == 0 {
			delete(f.among, s.at)
		}
		if others > 0 && others+n > 0 { // its bytes are counted once
			return
		}
	}
	f.liveBytes += int64(n) * int64(s.size)
}

// hasFile notes that the message in s, of q, has a file.
func (f *File) hasFile(q *queue, s *slot) {
	f.lives(*s, -1)
	s.at, s.there, s.among = 0, false, false
	q.filed += int64(s.size)
}

// ack removes messages, which group says, and reports how many there were.
func (f *File) ack(q *queue, first, last store.Seq, group uint64) (n int64) {
	q.remove(first, last, func(s slot) {
		n++
		f.lives(s, -1)
		if s.at == 0 || s.there {
			d := dead{path: path{q.folder, f.nameOf(q, s.seq)}, group: group}
			if _, ok := q.foreign[s.seq]; ok {
				d.q, d.foreign = q, s.seq
			}
			f.dead = append(f.dead, d)
		}
	})
	return n
}

// tried notes how often a message was handed out. The Ruby server counts how often it was
// put back, in all of a queue as well.
func (f *File) tried(q *queue, seq store.Seq, n uint32) {
	if q.has(seq) {
		q.exceptions += int64(n) - int64(q.tries[seq])
		q.tries[seq] = n
	}
}
