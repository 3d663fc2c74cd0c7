package group

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// A window is a Source that has one buffer, and spoils what it gave before.
type window struct {
	Bytes
	buf  []byte
	left int // so many calls do not fail
}

var errWindow = errors.New("the file cannot be read")

func (w *window) Peek(at, n int64) ([]byte, error) {
	if w.left--; w.left < 0 {
		return nil, errWindow
	}
	b, _ := w.Bytes.Peek(at, n)
	for i := range w.buf {
		w.buf[i] = 0xee
	}
	w.buf = append(w.buf[:0], b...)
	return w.buf, nil
}

// A step is what Next said.
type step struct {
	what   Found
	number uint64
	at     int64 // where the scan is then
}

// scanned goes through all, and checks what must be so whatever there is.
func scanned(t *testing.T, s Scan, b Bytes, from Source) (steps []step, torn bool, err error) {
	t.Helper()
	s.From = from
	for {
		at, want := s.At, s.Want
		h, what, err := s.Next()
		if err != nil {
			return steps, false, err
		}
		steps = append(steps, step{what, h.Number, s.At})
		switch what {
		case End:
			if steps[len(steps)-1].number = 0; s.At != at || s.Want != want {
				t.Fatalf("at the end it went from %d to %d", at, s.At)
			}
			return steps, s.Torn(), nil
		case Group:
			if want != 0 && h.Number != want || s.Want != h.Number+1 || s.At != s.Layout.Aligned(s.Layout.End(at, &h)) {
				t.Fatalf("at %d is %+v, wanted was %d; it goes on at %d with %d", at, h, want, s.At, s.Want)
			}
			if ok, err := s.Layout.Whole(b, at, &h); !ok || h.Salt != s.Salt {
				t.Fatalf("at %d is %+v, which is not whole, %v", at, h, err)
			}
		case Hole:
			if s.At <= at || s.At%s.Layout.Align != 0 || s.Want != h.Number || h.Number <= want {
				t.Fatalf("behind a hole at %d, where %d was wanted, it goes on at %d with %d of %+v", at, want, s.At, s.Want, h)
			}
		}
		if len(steps) > 1000 {
			t.Fatal("it does not end")
		}
	}
}

// A piece is what the log of a fuzzer is made of.
type piece struct {
	at, end        int64
	number, synced uint64
	sum, link      uint32
	whole          bool
}

// FuzzScan puts groups, damaged ones, holes and nonsense behind each other: what a Scan finds is what a list of
// them says. The bytes themselves are scanned too.
func FuzzScan(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0}, byte(0))
	f.Add([]byte{0, 1, 0, 0, 4, 0, 9, 0, 0}, byte(1))
	f.Add([]byte{0, 0, 2, 0, 3, 0, 0, 0}, byte(2))
	f.Add([]byte{0, 0, 5, 0, 0, 6, 0, 40, 0, 7, 0}, byte(4))
	f.Add([]byte{0, 17, 33, 1, 0, 18, 0, 8, 0, 0}, byte(9))
	f.Add([]byte{0, 4, 5, 0, 0}, byte(160))
	names := []string{"plain", "links", "length"}
	f.Fuzz(func(t *testing.T, how []byte, kind byte) {
		l := layouts[names[int(kind)%len(names)]]
		_, _, _ = scanned(t, Scan{Layout: l, Salt: 9}, how, Bytes(how))
		how = how[:min(len(how), 100)]
		var b []byte
		var pieces []piece
		number, link := uint64(0), uint32(0)
		for i, c := range how {
			records := [][]byte{bytes.Repeat([]byte{c}, int(c)/4), how[:i]}
			if c == 255 && len(b) < 2*atOnce { // more than is looked at at a time
				records = append(records, make([]byte, atOnce+int(kind)))
			}
			h := Head{Salt: 9, Number: number + 1, Synced: number - min(number, uint64(c/16%4))}
			if l.Links {
				h.Link = link
			}
			p := piece{at: int64(len(b)), number: h.Number, synced: h.Synced, whole: true}
			switch c % 16 {
			default:
			case 1: // damaged
				p.whole = false
			case 2: // another log's, or of before
				h.Salt, p.whole = 8, false
			case 3: // one is missing
				h.Number += 2
				p.number += 2
			case 4: // another one was before it
				h.Link++
			case 5: // as it was written before, behind the end
				h.Number, p.number = number/2+1, number/2+1
			case 6:
				b = append(b, make([]byte, l.Align*int64(c/16))...)
				continue
			case 7: // what looks like one
				b = append(append(b, l.Magic...), bytes.Repeat([]byte{c}, int(l.Align)-4)...)
				continue
			}
			laid, sum := laidOut(l, h, records...)
			if p.sum, p.link = sum, h.Link; !p.whole {
				laid[4+int(c)%(HeadSize-4)] ^= c | 1
			}
			if c%16 != 5 {
				number, link = p.number, sum
			}
			b = append(b, laid...)
			p.end = int64(len(b))
			pieces = append(pieces, p)
		}
		s := Scan{Layout: l, Salt: 9, Want: uint64(kind / 16 % 3)}
		if kind >= 128 {
			s.Until = number + uint64(kind/64%2)
		}
		got, torn, _ := scanned(t, s, b, Bytes(b))
		if want := expected(s, pieces); !slices.Equal(got, want) {
			t.Fatalf("%+v\nof %+v: found\n%v\nwant\n%v", s, pieces, got, want)
		}
		w := &window{Bytes: b, left: 1 << 20}
		if again, againTorn, err := scanned(t, s, b, w); err != nil || !slices.Equal(again, got) || torn != againTorn {
			t.Fatalf("piece by piece: found\n%v, %v\nwant\n%v", again, err, got)
		}
		w.left = (1<<20 - w.left) / 2
		if some, _, err := scanned(t, s, b, w); err == nil && !slices.Equal(some, got) {
			t.Fatalf("what could not be read was not told of: found\n%v", some)
		}
	})
}

// expected is what a Scan finds of pieces.
func expected(s Scan, pieces []piece) (steps []step) {
	for i := 0; ; {
		if s.Until != 0 && s.Want == s.Until {
			return append(steps, step{End, 0, s.At})
		}
		for i < len(pieces) && pieces[i].at < s.At {
			i++
		}
		if i < len(pieces) && pieces[i].at == s.At {
			p := pieces[i]
			linked := !s.Linked || !s.Layout.Links || p.link == s.Link
			if p.whole && (s.Want == 0 || p.number == s.Want && linked) && (s.Until == 0 || p.number < s.Until) {
				s.At, s.Want, s.Link, s.Linked = p.end, p.number+1, p.sum, true
				steps = append(steps, step{Group, p.number, s.At})
				continue
			}
		}
		hole := slices.IndexFunc(pieces, func(p piece) bool {
			durable := p.synced >= s.Want
			if s.Until != 0 {
				durable = p.number < s.Until
			}
			return p.at > s.At && p.whole && p.number > s.Want && durable
		})
		if hole < 0 {
			return append(steps, step{End, 0, s.At})
		}
		s.At, s.Want, s.Linked = pieces[hole].at, pieces[hole].number, false
		steps = append(steps, step{Hole, s.Want, s.At})
	}
}

// TestTorn: what a power cut leaves of a group is the end of the log, and is told of.
func TestTorn(t *testing.T) {
	for name, l := range layouts {
		one, sum := laidOut(l, Head{Salt: 9, Number: 1}, []byte("one"))
		two, _ := laidOut(l, Head{Salt: 9, Number: 2, Link: sum}, []byte(strings.Repeat("two", 50)))
		for n := range len(two) {
			b := slices.Concat(one, two[:n], make([]byte, len(two)-n))
			want := []step{{Group, 1, int64(len(one))}, {End, 0, int64(len(one))}}
			h := Head{Length: 150}
			if n >= int(l.End(0, &h)) || bytes.Equal(b[len(one):], two) {
				want = []step{want[0], {Group, 2, int64(len(b))}, {End, 0, int64(len(b))}}
			}
			steps, torn, err := scanned(t, Scan{Layout: l, Salt: 9, Want: 1}, b, Bytes(b))
			if err != nil || !slices.Equal(steps, want) || n >= HeadSize && len(want) == 2 && !torn || n < 8 && torn {
				t.Errorf("%s: with %d bytes of it: %v, %v, %v", name, n, steps, torn, err)
			}
		}
	}
}

// TestUnreadable: what cannot be read is told, and is no end.
func TestUnreadable(t *testing.T) {
	l := layouts["plain"]
	var b []byte
	for n := range uint64(4) {
		piece, _ := laidOut(l, Head{Salt: 9, Number: n + 1, Synced: n}, []byte("records"))
		piece[HeadSize] ^= byte(n % 2) // the second and the fourth are damaged
		b = append(b, piece...)
	}
	for left := 0; ; left++ {
		steps, _, err := scanned(t, Scan{Layout: l, Salt: 9, Want: 1}, b, &window{Bytes: b, left: left})
		if err == nil {
			if left < 8 || len(steps) != 4 {
				t.Errorf("after %d calls: %v", left, steps)
			}
			return
		}
		if !errors.Is(err, errWindow) {
			t.Fatal(err)
		}
	}
}
