package group

import (
	"encoding/binary"
	"hash/crc32"
)

// A Source is a file that has groups.
type Source interface {
	// Size is where it ends.
	Size() int64

	// Peek returns the n bytes at a place, fewer at the end. They are good until the next call.
	Peek(at, n int64) ([]byte, error)
}

// Bytes is a Source in memory.
type Bytes []byte

// Size implements Source.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Peek implements Source.
func (b Bytes) Peek(at, n int64) ([]byte, error) {
	at = min(at, b.Size())
	return b[at:min(at+n, b.Size())], nil
}

// atOnce is how much is looked at of a Source at a time.
const atOnce = 64 << 10

// Whole reports whether the group at a place, which has that head, is what was written.
func (l *Layout) Whole(from Source, at int64, h *Head) (bool, error) {
	end := l.End(at, h)
	if end > from.Size() {
		return false, nil
	}
	sum := uint32(0)
	for at += 8; at < end; {
		n := min(atOnce, end-at)
		b, err := from.Peek(at, n)
		if err != nil || int64(len(b)) < n {
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at += n
	}
	return sum == h.Sum, nil
}

// Find looks for a head from a place on, which is a multiple of Align, that is wanted.
func (l *Layout) Find(from Source, start int64, wanted func(*Head) bool) (h Head, at int64, found bool, err error) {
	magic, size := binary.LittleEndian.Uint32([]byte(l.Magic)), l.Records(0)
	for at = start; at+size <= from.Size(); {
		b, err := from.Peek(at, atOnce)
		if err != nil || int64(len(b)) < size {
			return h, at, false, err
		}
		for ; int64(len(b)) >= size; at += l.Align {
			if binary.LittleEndian.Uint32(b) == magic {
				if h, _ := l.Parse(b); wanted(&h) {
					return h, at, true, nil
				}
			}
			b = b[min(l.Align, int64(len(b))):]
		}
	}
	return h, at, false, nil
}

// A Scan goes through a file that has groups in the order of their numbers. A group that is not whole is the end
// of the log, unless there is one behind it that Proves that to be damage.
type Scan struct {
	Layout *Layout
	From   Source
	Salt   uint64 // groups of another are none

	At   int64  // where the next one is to be
	Want uint64 // its number; 0: any

	// Until is the number of the group that is known to come behind all of this file, so that those before it
	// are damaged if they are not whole; 0: nothing is known to.
	Until uint64

	Link   uint32 // the sum of the group before
	Linked bool   // that is known
}

// Found is what a Scan comes upon.
type Found int

const (
	End   Found = iota // nothing more
	Group              // the group that was wanted
	Hole               // groups that are damaged, behind which one stands that can be read
)

// Next goes on. With Group it returns the head of that, and At is behind it. With Hole it returns the head of the
// one behind the hole, which is the next to come, and At is there. At the End At is where the log can go on.
func (s *Scan) Next() (h Head, what Found, err error) {
	if s.Until != 0 && s.Want == s.Until {
		return h, End, nil
	}
	h, ok, err := s.Look()
	if err == nil && ok && s.fits(&h) {
		if ok, err = s.Layout.Whole(s.From, s.At, &h); ok {
			s.At = s.Layout.Aligned(s.Layout.End(s.At, &h))
			s.Want, s.Link, s.Linked = h.Number+1, h.Sum, true
			return h, Group, nil
		}
	}
	for at := s.At + s.Layout.Align; err == nil; at += s.Layout.Align {
		if h, at, ok, err = s.Layout.Find(s.From, at, s.tells); err != nil || !ok {
			break
		}
		if ok, err = s.Layout.Whole(s.From, at, &h); ok {
			s.At = at
			s.Skip(h.Number)
			return h, Hole, nil
		}
	}
	return h, End, err
}

// Look reads the head at At, of a group that may not be whole, and reports whether it is of this log.
func (s *Scan) Look() (h Head, ok bool, err error) {
	b, err := s.From.Peek(s.At, HeadSize)
	if err != nil {
		return h, false, err
	}
	h, ok = s.Layout.Parse(b)
	return h, ok && h.Salt == s.Salt, nil
}

// Torn reports whether there is the beginning of a group at the End, as a power cut leaves it.
func (s *Scan) Torn() bool {
	h, ok, _ := s.Look()
	return ok && h.Number >= s.Want
}

// Skip has the group of that number be the next.
func (s *Scan) Skip(number uint64) { s.Want, s.Linked = number, false }

// fits reports whether it is the group that is wanted, if it is whole.
func (s *Scan) fits(h *Head) bool {
	switch {
	case s.Until != 0 && h.Number >= s.Until:
		return false
	case s.Want == 0:
		return true
	}
	return h.Number == s.Want && (!s.Linked || !s.Layout.Links || h.Link == s.Link)
}

// tells reports whether a group, if it is whole, shows that the one that is wanted is damaged.
func (s *Scan) tells(h *Head) bool {
	return h.Salt == s.Salt && h.Number > s.Want && (s.Until == 0 && h.Proves(s.Want) || h.Number < s.Until)
}
