package spool

import (
	"slices"

	"stompserver/internal/store"
)

// A holding is the Seqs of what a queue holds back until it is durable, in order. What came first goes
// first, but where a backend that is away refuses what came behind it.
type holding struct {
	seqs []store.Seq
	head int // the first is seqs[head]
}

func (h *holding) empty() bool { return h.head == len(h.seqs) }

func (h *holding) first() store.Seq { return h.seqs[h.head] }

func (h *holding) add(seq store.Seq) {
	if h.head > 32 && h.head*2 > len(h.seqs) {
		h.seqs, h.head = h.seqs[:copy(h.seqs, h.seqs[h.head:])], 0
	}
	h.seqs = append(h.seqs, seq)
}

func (h *holding) remove(seq store.Seq) {
	i, ok := slices.BinarySearch(h.seqs[h.head:], seq)
	switch {
	case !ok:
		return
	case i == 0:
		h.head++
	default:
		h.seqs = slices.Delete(h.seqs, h.head+i, h.head+i+1)
	}
	if h.empty() {
		if h.seqs, h.head = h.seqs[:0], 0; cap(h.seqs) > 1024 {
			h.seqs = nil
		}
	}
}
