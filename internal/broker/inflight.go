package broker

import (
	"cmp"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// inflight holds the deliveries of one subscription that were not settled, in the order
// they were made: "all messages before" of a cumulative ACK is meant in that order, which
// redelivery makes another than that of the sequence numbers.
type inflight struct {
	slots    []slot // by tag, ascending; those that are gone leave holes, which push closes
	head     int    // the first of slots that is in use
	gone     int    // slots settled, from head on
	last     uint64 // the tag given last
	unsorted bool   // a redelivery broke the order of the Seqs
}

type slot struct {
	tag     uint64
	seq     store.Seq
	msg     *message.Message
	attempt uint32
	state   slotState
}

func (s *slot) delivery() store.Delivery {
	return store.Delivery{Seq: s.seq, Attempt: s.attempt, Msg: s.msg}
}

type slotState uint8

const (
	slotLive slotState = iota
	slotHeld           // settled in a transaction that is still open
	slotGone
)

// push adds d and returns its tag, the first being 1.
func (f *inflight) push(d store.Delivery) uint64 {
	if n := len(f.slots); n > f.head && d.Seq <= f.slots[n-1].seq {
		f.unsorted = true
	}
	if n := len(f.slots); n == cap(f.slots) && f.head+f.gone > n/2 {
		f.compact()
	}
	f.last++
	f.slots = append(f.slots, slot{tag: f.last, seq: d.Seq, msg: d.Msg, attempt: d.Attempt})
	return f.last
}

// compact takes out what is settled: one delivery that is never settled must not hold the
// room of all that came after it.
func (f *inflight) compact() {
	kept := f.slots[:0]
	for _, s := range f.slots[f.head:] {
		if s.state != slotGone {
			kept = append(kept, s)
		}
	}
	clear(f.slots[len(kept):])
	f.slots, f.head, f.gone = kept, 0, 0
}

// find returns the index of what ref names, if it is there and not settled.
func (f *inflight) find(ref Ref) (int, bool) {
	i, ok := f.index(ref)
	return i, ok && f.slots[i].state != slotGone
}

func (f *inflight) index(ref Ref) (int, bool) {
	used := f.slots[f.head:]
	switch {
	case len(used) == 0:
		return 0, false
	case ref.Tag != 0:
		if ref.Tag < used[0].tag {
			return 0, false
		}
		off := ref.Tag - used[0].tag
		if off < uint64(len(used)) && used[off].tag == ref.Tag { // no holes before it
			return f.head + int(off), true
		}
		i, ok := slices.BinarySearchFunc(used, ref.Tag, func(s slot, tag uint64) int { return cmp.Compare(s.tag, tag) })
		return f.head + i, ok
	case !f.unsorted:
		i, ok := slices.BinarySearchFunc(used, ref.Seq, func(s slot, seq store.Seq) int { return cmp.Compare(s.seq, seq) })
		return f.head + i, ok
	}
	for i := len(f.slots) - 1; i >= f.head; i-- {
		if f.slots[i].seq == ref.Seq && f.slots[i].state != slotGone {
			return i, true
		}
	}
	return 0, false
}

// open returns the index of what ref names, if it may be settled: it is in flight, and in
// no transaction.
func (f *inflight) open(ref Ref) (int, bool) {
	i, ok := f.index(ref)
	return i, ok && f.slots[i].state == slotLive
}

// from is the first index that an ACK or NACK of index i covers.
func (f *inflight) from(i int, cumulative bool) int {
	if cumulative {
		return f.head
	}
	return i
}

// set changes the state of slot i, which is not gone, and keeps the count.
func (f *inflight) set(i int, to slotState) {
	s := &f.slots[i]
	s.state = to
	if to == slotGone {
		f.gone++
		s.msg = nil
	}
}

// trim drops what is settled from the front.
func (f *inflight) trim() {
	for f.head < len(f.slots) && f.slots[f.head].state == slotGone {
		f.head++
		f.gone--
	}
	if f.head < len(f.slots) {
		return
	}
	f.head, f.unsorted = 0, false
	if cap(f.slots) > 256 {
		f.slots = nil // a burst is over: do not keep its room
	} else {
		f.slots = f.slots[:0]
	}
}

// len is the number of deliveries not settled.
func (f *inflight) len() int { return len(f.slots) - f.head - f.gone }

// drain empties f and returns what was not settled.
func (f *inflight) drain() []slot {
	f.compact()
	rest := f.slots
	*f = inflight{last: f.last}
	return rest
}
