package message_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
)

func fields(m *message.Message) (all []string) {
	for n, v := range m.Fields {
		all = append(all, n+"="+v)
	}
	return all
}

func same(t *testing.T, got, want *message.Message) {
	t.Helper()
	if got.Destination() != want.Destination() || got.Arrived() != want.Arrived() ||
		got.MaxDeliveries() != want.MaxDeliveries() || got.Volatile() != want.Volatile() ||
		!bytes.Equal(got.Body(), want.Body()) || !slices.Equal(fields(got), fields(want)) {
		t.Errorf("got %v %q, want %v %q", fields(got), got.Body(), fields(want), want.Body())
	}
	for v := frame.V10; v <= frame.V12; v++ {
		if g, w := got.AppendHead(nil, v), want.AppendHead(nil, v); !bytes.Equal(g, w) {
			t.Errorf("%v: head %q, want %q", v, g, w)
		}
	}
	if !bytes.Equal(got.Rest(), want.Rest()) {
		t.Errorf("rest %q, want %q", got.Rest(), want.Rest())
	}
}

func TestRecord(t *testing.T) {
	for _, test := range []struct {
		name   string
		dest   string
		body   string
		now    int64
		header []string
		owned  bool
	}{
		{name: "empty", dest: "/queue/a", now: 1},
		{name: "headers", dest: "/queue/a b", body: "hi", now: math.MaxInt64 / 2, header: []string{"a", "b", "max-exceptions", "3", "persistent", "false"}},
		{name: "escapes", dest: "/queue/a:b", body: "\x00\xff\n", now: -5, header: []string{"a:b\n", "\\c\r", "", "", "x", ":"}},
		{name: "large", dest: "/queue/a", body: strings.Repeat("x", 1<<20) + "\x00", now: 7, owned: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &frame.Frame{Command: frame.Send, Body: []byte(test.body), Owned: test.owned, Plain: test.name != "escapes"}
			for i := 0; i < len(test.header); i += 2 {
				f.Header.Add(test.header[i], test.header[i+1])
			}
			m, err := message.New(f, test.dest, message.At(test.now))
			if err != nil {
				t.Fatal(err)
			}
			rec := m.AppendRecord([]byte("before"))
			if n := len(rec) - len("before"); n > m.RecordSize() {
				t.Errorf("%d bytes, at most %d were announced", n, m.RecordSize())
			}
			got, err := message.ParseRecord(rec[len("before"):])
			if err != nil {
				t.Fatal(err)
			}
			clear(rec) // it was copied
			same(t, got, m)
			if got.Size() != m.Size() {
				t.Errorf("size %d, want %d", got.Size(), m.Size())
			}
		})
	}
}

// FuzzRecord: any input is safe; what is taken for a message is written as one that reads
// the same.
func FuzzRecord(f *testing.F) {
	m := message.Text("/queue/a:b", "body", 5)
	f.Add(m.AppendRecord(nil))
	f.Add([]byte{1, 0, 0, 0, 0, 1, '\n'})
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := message.ParseRecord(b)
		for _, n := range []int{len(b) / 2, len(b) * 15 / 16} {
			part, partErr := message.ParseRecordFrom(b[:n:n], len(b), func(rest []byte) error {
				copy(rest, b[n:])
				return nil
			})
			switch {
			case partErr == message.ErrShort:
			case (partErr == nil) != (err == nil):
				t.Fatalf("of %q first %d: %v; at once: %v", b, n, partErr, err)
			case err == nil:
				same(t, part, m)
			}
		}
		if err != nil {
			return
		}
		if n, err := message.SizeOfRecord(b); err != nil || n != m.Size() {
			t.Fatalf("SizeOfRecord is %d, %v, want %d", n, err, m.Size())
		}
		again, err := message.ParseRecord(m.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, m)
	})
}

func BenchmarkParseRecord(b *testing.B) {
	f := &frame.Frame{Command: frame.Send, Body: bytes.Repeat([]byte("x"), 1024), Plain: true}
	f.Header.Add("content-type", "text/plain")
	f.Header.Add("persistent", "true")
	f.Header.Add("correlation-id", "4711")
	m, err := message.New(f, "/queue/orders", message.At(1))
	if err != nil {
		b.Fatal(err)
	}
	record := m.AppendRecord(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if _, err := message.ParseRecord(record); err != nil {
			b.Fatal(err)
		}
	}
}
