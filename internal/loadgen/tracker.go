package loadgen

import "math/bits"

// A page holds one bit for each of 65,536 messages.
const pageBits = 1 << 16

type page [pageBits / 64]uint64

// A seen is what one consumer got of one stream. It belongs to that consumer until the
// run is over; then sums are made of those of all consumers.
type seen struct {
	pages    []*page
	count    int64 // messages, duplicates included
	twice    int64 // of them, those this consumer had before
	last     int64 // the last seq that came for the first time
	disorder int64 // how often a first delivery came behind a later message
}

func newSeen() *seen { return &seen{last: -1} }

// add notes a delivery. redelivered excuses it from the order: a message given back and
// sent again comes late by right.
func (s *seen) add(seq int64, redelivered bool) {
	s.count++
	n := int(seq / pageBits)
	for n >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	p := s.pages[n]
	if p == nil {
		p = new(page)
		s.pages[n] = p
	}
	word, bit := seq%pageBits/64, uint64(1)<<(seq%64)
	if p[word]&bit != 0 {
		s.twice++
		return
	}
	p[word] |= bit
	switch {
	case seq > s.last:
		s.last = seq
	case !redelivered:
		s.disorder++
	}
}

// tally is what became of the messages of one stream.
type tally struct {
	lost, duplicated, disorder int64
}

func (t *tally) plus(o tally) {
	t.lost += o.lost
	t.duplicated += o.duplicated
	t.disorder += o.disorder
}

// settle counts, of sent messages of one stream, those that none of the consumers got and
// those that were got more than once. Consumers that share a queue are settled together,
// those of a topic each alone.
func settle(sent int64, consumers ...*seen) (t tally) {
	var got, distinct int64
	longest := 0
	for _, s := range consumers {
		got += s.count
		t.disorder += s.disorder
		longest = max(longest, len(s.pages))
	}
	for n := range longest {
		var all page
		for _, s := range consumers {
			if n < len(s.pages) && s.pages[n] != nil {
				for i, w := range s.pages[n] {
					all[i] |= w
				}
			}
		}
		for _, w := range all {
			distinct += int64(bits.OnesCount64(w))
		}
	}
	t.duplicated = got - distinct
	t.lost = sent - distinct
	return t
}
