package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
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
		if err = addFile(&out, m, 0, "/queue/a", "x-1-q1-1"); err != nil {
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

// FuzzLog starts with a log of one group, with a checksum that fits, with bytes as they are, and with such a group
// of before there was a chain.
func FuzzLog(f *testing.F) {
	q := newQueue("/queue/a", "_queue_a", 1)
	out := vfs.Gather{Buf: appendQueue(appendPrefix(make([]byte, group.HeadSize), "vm-1"), q)}
	addMessage(&out, kindPut, []target{{1, 1}}, message.Text("/queue/a", "x", 1))
	for _, r := range []store.Record{
		{Kind: store.RecordAck, Seq: 1, Last: 3},
		{Kind: store.RecordMark, Seq: 1}, {Kind: store.RecordAttempts, Seq: 2, Attempts: 3},
	} {
		addRecord(&out, q, &r)
	}
	addMessage(&out, kindKeep, []target{{1, 4}}, message.Text("/queue/a", "y", 1))
	out.Buf = appendQueue(out.Buf, newQueue("/dsub/b", "_dsub_b", 2))
	addMessage(&out, kindPut, []target{{1, 5}, {2, 1}, {2, 2}}, message.Text("/topic/t", "z", 1))
	addMessage(&out, kindKeep, []target{{1, 5}, {2, 2}}, message.Text("/topic/t", "z", 1))
	addNumbers(&out, kindFiled, 1, 4, 4)
	f.Add(out.Buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, before := bytes.Clone(b), bytes.Clone(b)
		if len(b) >= group.HeadSize {
			layout.Put(&vfs.Gather{Buf: whole}, group.Head{Salt: 7, Number: 1})
			before = slices.Concat([]byte(layoutBefore.Magic), whole[4:layoutBefore.Records(0)], whole[group.HeadSize:])
			binary.LittleEndian.PutUint32(before[4:], crc32.Checksum(before[8:], castagnoli))
		}
		s := state{salt: 7, prefix: "vm-1", digests: []digest{{}}, segment: 1, first: 1}
		for _, files := range []map[string][]byte{
			{stateName: s.append(nil), segmentName(1): b},
			{stateName: s.append(nil), segmentName(1): whole},
			{stateName: s.before(stateOne), redoBefore[0]: before},
		} {
			disk := &vfs.Memory{}
			for name, content := range files {
				file, err := disk.Open(name, true)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := file.WriteAt(content, 0); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				d, err := Open(Config{Dir: "/storage", FS: disk, RedoSize: 4 << 10, Unattended: true, StartDamaged: true, Syncs: 1})
				if err != nil {
					t.Fatal(err)
				}
				for name, q := range d.queues {
					rs, _, err := d.Read(nil, name, 0, 1000, 1<<40)
					if err != nil || len(rs) > q.count { // what is no message is left out
						t.Fatalf("%d of %d messages: %v", len(rs), q.count, err)
					}
				}
				if err := d.Close(); err != nil && !errors.Is(err, errDamaged) {
					t.Fatal(err)
				}
			}
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

// TestStateBefore: the states of servers that knew one log, or two, or a chain in which each queue had its own
// messages, are read.
func TestStateBefore(t *testing.T) {
	q := newQueue("/queue/a", "_queue_a", 1)
	s := state{salt: 7, clean: true, prefix: "vm-1", nextID: 5, floor: 6, digests: []digest{{1}}, queues: []*queue{q}}
	for magic, numbers := range map[string][]byte{stateOne: nil, stateTwo: {1, 3}, stateThree: {0, 0, 0}} {
		got, err := parseState(s.before(magic, numbers...))
		if err != nil || got.salt != 7 || got.prefix != "vm-1" || got.nextID != 5 || got.floor != 6 || got.log != int(slices.Max(append(numbers, 0)))/3 || len(got.queues) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// before is s as servers of before wrote it, with numbers, of which it has three.
func (s *state) before(magic string, numbers ...byte) []byte {
	b := s.append(nil)
	at := len(stateMagic) + 4 + 8 + 1 + 1 + len(s.prefix) // where it says what the log is, and how much there is of it
	b = slices.Concat([]byte(magic), b[len(stateMagic):at], numbers, b[at+3:])
	putSum(b[len(magic):])
	return b
}

// sum puts before the rest of a state what it begins with.
func sum(rest []byte) []byte {
	b := append([]byte(stateMagic), 0, 0, 0, 0)
	b = append(b, rest...)
	putSum(b[len(stateMagic):])
	return b
}
