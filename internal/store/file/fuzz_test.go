package file

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

func addFiles(f *testing.F, pattern string) {
	names, err := filepath.Glob(filepath.Join("testdata", "ruby", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("%s: %q, %v", pattern, names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzFile reads a message; what is read is the same when it was written and read again.
func FuzzFile(f *testing.F) {
	addFiles(f, "*/*")
	f.Fuzz(func(t *testing.T, b []byte) {
		const name = "vm-1795418394-273907-2"
		m, err := parseFile(source{first: b, size: int64(len(b))}, "/queue/a", name)
		for _, n := range []int{len(b) / 2, len(b) * 15 / 16} { // the rest is read when it is known where to
			part, partErr := parseFile(source{first: b[:n:n], size: int64(len(b)), rest: bytes.NewReader(b)}, "/queue/a", name)
			switch {
			case partErr == errShort || n < headSize:
			case (partErr == nil) != (err == nil):
				t.Fatalf("of %d bytes first %d: %v; at once: %v", len(b), n, partErr, err)
			case err == nil && !bytes.Equal(part.AppendRecord(nil), m.AppendRecord(nil)):
				t.Fatalf("of %d bytes first %d: got\n%q\nwant\n%q", len(b), n, part.AppendRecord(nil), m.AppendRecord(nil))
			}
		}
		if err != nil {
			return
		}
		var out vfs.Gather
		if err = addFile(&out, m, "/queue/a", "x-1-q1-1"); err != nil {
			t.Fatal(err)
		}
		b = gathered(&out)
		again, err := parseFile(source{first: b, size: int64(len(b))}, "/queue/a", "x-1-q1-1")
		if err != nil {
			t.Fatalf("written as %q: %v", b, err)
		}
		if want, got := m.AppendRecord(nil), again.AppendRecord(nil); !bytes.Equal(want, got) {
			t.Fatalf("got\n%q\nwant\n%q", got, want)
		}
	})
}

// gathered is all that g holds.
func gathered(g *vfs.Gather) (all []byte) {
	_ = g.Each(0, func(b []byte) error {
		all = append(all, b...)
		return nil
	})
	return all
}

// FuzzQinfo reads an index.
func FuzzQinfo(f *testing.F) {
	addFiles(f, "qinfo")
	f.Fuzz(func(t *testing.T, b []byte) {
		qs, err := parseQinfo(b)
		for _, q := range qs {
			if err == nil && q.exceptions == nil {
				t.Error("a queue without what was put back")
			}
		}
	})
}

// FuzzLog reads a redo log, with checksums that fit, and records as they are.
func FuzzLog(f *testing.F) {
	q := newQueue("/queue/a", "_queue_a", 1)
	out := vfs.Gather{Buf: appendQueue(make([]byte, groupSize), q)}
	for _, r := range []store.Record{
		{Kind: store.RecordPut, Seq: 1, Msg: message.Text("/queue/a", "x", 1)}, {Kind: store.RecordAck, Seq: 1, Last: 3},
		{Kind: store.RecordMark, Seq: 1}, {Kind: store.RecordAttempts, Seq: 2, Attempts: 3},
	} {
		addRecord(&out, 1, &r)
	}
	addMessage(&out, kindKeep, 1, 4, message.Text("/queue/a", "y", 1))
	f.Add(out.Buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		parseLog("log", b, 7)
		if len(b) < groupSize {
			return
		}
		b = bytes.Clone(b)
		putGroup(&vfs.Gather{Buf: b}, 7, 1, 0)
		if l := parseLog("log", b, 7); l.groups != 1 || l.end != aligned(int64(len(b))) {
			t.Errorf("%d groups, end at %d of %d", l.groups, l.end, len(b))
		}
	})
}

// FuzzState reads a state; what is read is the same when it was written and read again.
func FuzzState(f *testing.F) {
	q := newQueue("/queue/a", "_queue_a", 1)
	q.foreign[3], q.tries[3] = "vm-1-2-3", 2
	s := state{salt: 7, prefix: "vm-1", digests: []digest{{1}}, queues: []*queue{q}}
	f.Add(s.append(nil)[len(stateMagic)+4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(sum(b))
		if err != nil {
			return
		}
		once := s.append(nil)
		again, err := parseState(once)
		if err != nil || !bytes.Equal(again.append(nil), once) {
			t.Errorf("written as %q, %v", once, err)
		}
	})
}

// TestStateBefore: the state of a server that knew one log is read.
func TestStateBefore(t *testing.T) {
	q := newQueue("/queue/a", "_queue_a", 1)
	s := state{salt: 7, clean: true, prefix: "vm-1", nextID: 5, floor: 6, digests: []digest{{1}}, queues: []*queue{q}}
	b := s.append(nil)
	at := len(stateMagic) + 4 + 8 + 1 + 1 + len(s.prefix) // where the log and what it carries follow
	b = append(append([]byte(stateBefore), b[len(stateMagic):at]...), b[at+2:]...)
	putSum(b[len(stateBefore):])
	got, err := parseState(b)
	if err != nil || got.salt != 7 || got.prefix != "vm-1" || got.nextID != 5 || got.floor != 6 || got.log != 0 || len(got.queues) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// sum puts before the rest of a state what it begins with.
func sum(rest []byte) []byte {
	b := append([]byte(stateMagic), 0, 0, 0, 0)
	b = append(b, rest...)
	putSum(b[len(stateMagic):])
	return b
}
