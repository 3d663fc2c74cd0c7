package broker

import (
	"slices"

	"stompserver/internal/store"
)

// inflight holds the deliveries of one subscription that were not settled, in the order
// they were made: "all messages before" of a cumulative ACK is meant in that order, which
// redelivery makes another than that of the sequence numbers.
type inflight struct {
	first    uint64 // tag of slots[head]
	slots    []slot
	head     int
	live     int  // slots neither settled nor held
	unsorted bool // a redelivery broke the order of the Seqs
}

type slot struct {
	d     store.Delivery
	state slotState
}

type slotState uint8

const (
	slotLive slotState = iota
	slotHeld           // settled in a transaction that is still open
	slotGone
)

// push adds d and returns its tag, the first being 1.
func (f *inflight) push(d store.Delivery) uint64 {
	if f.first == 0 {
		f.first = 1
	}
	if n := len(f.slots); n > f.head && d.Seq <= f.slots[n-1].d.Seq {
		f.unsorted = true
	}
	if len(f.slots) == cap(f.slots) && f.head > len(f.slots)/2 {
		n := copy(f.slots, f.slots[f.head:])
		clear(f.slots[n:])
		f.slots, f.head = f.slots[:n], 0
	}
	f.slots = append(f.slots, slot{d: d})
	f.live++
	return f.first + uint64(len(f.slots)-f.head) - 1
}

// find returns the index of what ref names, if it is there and in one of the states.
func (f *inflight) find(ref Ref) (int, bool) {
	if ref.Tag != 0 {
		if ref.Tag < f.first {
			return 0, false
		}
		off := ref.Tag - f.first
		if off >= uint64(len(f.slots)-f.head) {
			return 0, false
		}
		i := f.head + int(off)
		return i, f.slots[i].state != slotGone
	}
	if !f.unsorted {
		i, ok := slices.BinarySearchFunc(f.slots[f.head:], ref.Seq, func(s slot, q store.Seq) int {
			switch {
			case s.d.Seq < q:
				return -1
			case s.d.Seq > q:
				return 1
			}
			return 0
		})
		i += f.head
		return i, ok && f.slots[i].state != slotGone
	}
	for i := len(f.slots) - 1; i >= f.head; i-- {
		if f.slots[i].d.Seq == ref.Seq && f.slots[i].state != slotGone {
			return i, true
		}
	}
	return 0, false
}

// from is the first index that an ACK or NACK of index i covers.
func (f *inflight) from(i int, cumulative bool) int {
	if cumulative {
		return f.head
	}
	return i
}

// set changes the state of slot i and keeps the count.
func (f *inflight) set(i int, to slotState) {
	s := &f.slots[i]
	if s.state == slotLive {
		f.live--
	}
	if to == slotLive {
		f.live++
	}
	s.state = to
	if to == slotGone {
		s.d.Msg = nil
	}
}

// trim drops what is settled from the front.
func (f *inflight) trim() {
	for f.head < len(f.slots) && f.slots[f.head].state == slotGone {
		f.head++
		f.first++
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

// drain empties f and returns what was not settled.
func (f *inflight) drain() []slot {
	var rest []slot
	for _, s := range f.slots[f.head:] {
		if s.state != slotGone {
			rest = append(rest, s)
		}
	}
	f.first += uint64(len(f.slots) - f.head)
	f.slots, f.head, f.live, f.unsorted = nil, 0, 0, false
	return rest
}
