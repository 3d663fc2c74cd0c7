package spool

import (
	"slices"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

const (
	chunkBits = 7
	chunkSize = 1 << chunkBits // slots of a chunk
)

// A slot is the place of one message.
type slot struct {
	msg     *message.Message // nil once it is gone
	attempt uint32           // how often it was handed out
	state   state
}

type state uint8

const (
	leased  state = 1 << iota // handed out
	held                      // put by a batch of several changes that is not durable: not handed out, nor is what follows
	leaving                   // acked by such a batch: gone once that is durable
	doomed                    // its put failed while it was out: gone when it is given back
	queued                    // in window.back
	asked                     // the backend is to be told that it was handed out, apart from the mark
	told                      // and knows it
)

// A chunk is a run of slots. It goes when all its messages have, so that one message that
// stays behind while millions pass costs its chunk and 8 bytes for each that is gone.
type chunk struct {
	slots [chunkSize]slot
	live  int
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// A window holds the messages of a queue by Seq. The slot of a Seq is found by arithmetic.
type window struct {
	base   store.Seq // Seq of the first slot of the first chunk; a multiple of chunkSize
	chunks []*chunk  // nil where all are gone
	head   int       // the first chunk is chunks[head]
	far    []stretch // what lies far behind the last of chunks, in order
	next   store.Seq // the next to be put
	fresh  store.Seq // the first never handed out
	back   seqHeap   // released, to be handed out again before fresh ones
}

// init has the window begin with first.
func (w *window) init(first store.Seq) {
	w.next, w.fresh, w.base = first, first, first&^(chunkSize-1)
}

func (w *window) at(seq store.Seq) (*chunk, *slot) {
	if seq < w.base || seq >= w.next {
		return nil, nil
	}
	i := w.head + int((seq-w.base)>>chunkBits)
	if i >= len(w.chunks) {
		return w.farAt(seq)
	}
	c := w.chunks[i]
	if c == nil {
		return nil, nil
	}
	return c, &c.slots[seq&(chunkSize-1)]
}

// push adds m and returns its Seq.
func (w *window) push(m *message.Message) store.Seq {
	seq := w.next
	place := w.place(seq)
	c := *place
	if c == nil { // new, or emptied while it was being filled
		c = chunks.Get().(*chunk)
		*place = c
	}
	c.slots[seq&(chunkSize-1)] = slot{msg: m}
	c.live++
	w.next++
	return seq
}

// place is where the chunk of seq is, or is to be: seq is not before all others.
func (w *window) place(seq store.Seq) **chunk {
	i := w.head + int((seq-w.base)>>chunkBits)
	if i >= len(w.chunks) {
		if w.far != nil || i-len(w.chunks) > farAway {
			return w.farPlace(seq)
		}
		i = w.grow(i)
	}
	return &w.chunks[i]
}

// grow makes room for chunks[last] and returns where that is now.
func (w *window) grow(last int) int {
	if w.head > 0 && w.head >= len(w.chunks)/2 {
		n := copy(w.chunks, w.chunks[w.head:])
		clear(w.chunks[n:])
		last -= w.head
		w.chunks, w.head = w.chunks[:n], 0
	}
	for len(w.chunks) <= last {
		w.chunks = append(w.chunks, nil)
	}
	return last
}

// skipTo has the next push put seq: those between are gone.
func (w *window) skipTo(seq store.Seq) {
	if w.head == len(w.chunks) && w.far == nil && w.fresh == w.next { // it is empty: none between needs a place
		w.chunks, w.head = w.chunks[:0], 0
		w.init(seq)
		return
	}
	w.next = seq
}

// fetch hands out at most n messages: first those released, then those never seen, up to
// limit, which it leaves.
func (w *window) fetch(dst []store.Delivery, n int, limit store.Seq) []store.Delivery {
	for n > 0 && len(w.back) > 0 {
		seq := w.back.pop()
		if _, s := w.at(seq); s != nil && s.msg != nil {
			if s.state &^= queued; s.state&leased == 0 {
				dst = s.lease(dst, seq)
				n--
			}
		}
	}
	for limit = min(limit, w.next); n > 0 && w.fresh < limit; {
		c, s := w.at(w.fresh)
		switch {
		case c == nil:
			w.fresh = min(w.hop(w.fresh), w.next)
			continue
		case s.state&held != 0:
			return dst
		case s.msg != nil && s.state&leased == 0: // else it was leased out of turn
			dst = s.lease(dst, w.fresh)
			n--
		}
		w.fresh++
	}
	return dst
}

func (s *slot) lease(dst []store.Delivery, seq store.Seq) []store.Delivery {
	s.attempt++
	s.state |= leased
	return append(dst, store.Delivery{Seq: seq, Attempt: s.attempt, Msg: s.msg})
}

// release takes a message back and reports whether it was out.
func (w *window) release(seq store.Seq, attempt uint32) bool {
	_, s := w.at(seq)
	if s == nil || s.state&leased == 0 {
		return false
	}
	s.state &^= leased
	s.attempt = attempt
	if seq+1 == w.fresh && len(w.back) == 0 && attempt == 0 {
		w.fresh = seq // it was the last, and never seen
		return true
	}
	if seq < w.fresh && s.state&queued == 0 { // else it was leased out of turn, and its turn comes
		s.state |= queued
		w.back.push(seq)
	}
	return true
}

// weed drops from back what was leased out of turn and is gone.
func (w *window) weed() {
	kept := w.back[:0]
	for _, seq := range w.back {
		if _, s := w.at(seq); s != nil && s.state&queued != 0 {
			kept = append(kept, seq)
		}
	}
	slices.Sort(kept) // which is a heap
	w.back = kept
}

// remove takes a message out, if it is in the state only, and returns it.
func (w *window) remove(seq store.Seq, only state) *message.Message {
	c, s := w.at(seq)
	if s == nil || s.msg == nil || s.state&only != only {
		return nil
	}
	m := s.msg
	*s = slot{}
	if c.live--; c.live == 0 {
		*w.place(seq) = nil
		chunks.Put(c)
	}
	return m
}

// skipGone moves fresh on over what was leased out of turn and is gone.
func (w *window) skipGone() {
	for w.fresh < w.next {
		switch c, s := w.at(w.fresh); {
		case c == nil:
			w.fresh = min(w.hop(w.fresh), w.next)
		case s.msg == nil:
			w.fresh++
		default:
			return
		}
	}
}

// trim moves the window on over what is gone at its front.
func (w *window) trim() {
	for w.head < len(w.chunks) && w.chunks[w.head] == nil && w.base+chunkSize <= w.fresh {
		w.head++
		w.base += chunkSize
	}
	if w.head == len(w.chunks) {
		w.chunks, w.head = w.chunks[:0], 0
		if cap(w.chunks) > 64 {
			w.chunks = nil
		}
		if w.far != nil {
			w.comeNear()
		}
	}
}

// browse lists what follows after, held or not.
func (w *window) browse(dst []store.Delivery, after store.Seq, n int) []store.Delivery {
	seq := max(after+1, w.base)
	for n > 0 && seq < w.next {
		c, s := w.at(seq)
		if c == nil {
			seq = w.hop(seq)
			continue
		}
		if s.msg != nil {
			dst = append(dst, store.Delivery{Seq: seq, Attempt: s.attempt, Msg: s.msg})
			n--
		}
		seq++
	}
	return dst
}

// A seqHeap is a binary heap of Seqs, the smallest first. (container/heap would put each
// into an interface, which allocates.)
type seqHeap []store.Seq

func (h *seqHeap) push(seq store.Seq) {
	s := append(*h, seq)
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if s[up] <= s[i] {
			break
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
	*h = s
}

func (h *seqHeap) pop() store.Seq {
	s := *h
	top, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	for i := 0; ; {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < n; down++ {
			if s[down] < s[least] {
				least = down
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	if *h = s; n == 0 && cap(s) > 1024 {
		*h = nil
	}
	return top
}
