package group

import (
	"bytes"
	"testing"

	"stompserver/internal/vfs"
)

var layouts = map[string]*Layout{
	"plain":  {Magic: "blog", Align: 8},
	"links":  {Magic: "rlog", Align: 64, Links: true},
	"length": {Magic: "GROP", Align: 8, LengthFirst: true},
}

// laidOut is a group as it is in a file, and its sum.
func laidOut(l *Layout, h Head, records ...[]byte) (b []byte, sum uint32) {
	var out vfs.Gather
	out.Reset(HeadSize, 1<<20)
	for i, r := range records {
		if i%2 == 0 {
			out.Buf = append(out.Buf, r...)
		} else {
			out.Share(r)
		}
	}
	sum = l.Put(&out, h)
	_ = out.Each(0, func(piece []byte) error {
		b = append(b, piece...)
		return nil
	})
	return append(b, make([]byte, l.Aligned(int64(len(b)))-int64(len(b)))...), sum
}

// TestEveryBit: what was put is read again, and no bit of it can be another one, but of what fills the end.
func TestEveryBit(t *testing.T) {
	for name, l := range layouts {
		want := Head{Salt: 0x1122334455667788, Number: 1 << 40, Synced: 1<<40 - 3, Length: 13, Link: 0xabcdef}
		b, sum := laidOut(l, want, []byte("these "), []byte("are"), []byte(" his"))
		want.Sum = sum
		whole := func() (Head, bool) {
			h, ok := l.Parse(b)
			if ok {
				ok, _ = l.Whole(Bytes(b), 0, &h)
			}
			return h, ok
		}
		if h, ok := whole(); !ok || h != want {
			t.Errorf("%s: there is %+v, %v, want %+v", name, h, ok, want)
		}
		if at, end := l.Records(0), l.End(0, &want); string(b[at:end]) != "these are his" {
			t.Errorf("%s: the records are %q", name, b[at:end])
		}
		for bit := range 8 * int(l.End(0, &want)) {
			b[bit/8] ^= 1 << (bit % 8)
			if _, ok := whole(); ok {
				t.Errorf("%s: bit %d of byte %d is another one, and nobody notices", name, bit%8, bit/8)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range l.End(0, &want) {
			h, ok := l.Parse(b[:n])
			if ok != (n >= HeadSize) {
				t.Errorf("%s: of %d bytes %+v, %v", name, n, h, ok)
			}
			if ok, _ := l.Whole(Bytes(b[:n]), 0, &want); ok {
				t.Errorf("%s: it is whole with %d bytes", name, n)
			}
		}
	}
}

// TestNoLink reads a group that has none.
func TestNoLink(t *testing.T) {
	b, sum := laidOut(layouts["links"], Head{Salt: 7, Number: 8, Synced: 6}, []byte("records"))
	l := &Layout{Magic: "rlog", Align: 64, NoLink: true}
	h, ok := l.Parse(b[:36])
	if want := (Head{Sum: sum, Salt: 7, Number: 8, Synced: 6, Length: 7}); !ok || h != want || l.Records(64) != 100 {
		t.Errorf("%+v, %v, want %+v", h, ok, want)
	}
	if _, ok := l.Parse(b[:35]); ok {
		t.Error("35 bytes are a head")
	}
}

func TestPutAllocatesNothing(t *testing.T) {
	var out vfs.Gather
	out.Reset(HeadSize, 1<<20)
	out.Buf = append(out.Buf, "records"...)
	out.Share(bytes.Repeat([]byte("x"), 100))
	l := layouts["links"]
	if n := testing.AllocsPerRun(100, func() { l.Put(&out, Head{Number: 1}) }); n != 0 {
		t.Errorf("Put allocates %v times", n)
	}
}
