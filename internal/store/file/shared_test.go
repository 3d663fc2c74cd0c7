package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// written is how many bytes the segments of the log have that are not zero, roughly: how much was written.
func written(t testing.TB, disk *vfs.Memory) (n int) {
	t.Helper()
	for _, name := range segments(t, disk) {
		b := contentOf(t, disk, name)
		n += len(b) - bytes.Count(b, []byte{0})
	}
	return n
}

func contentOf(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	_ = f.Close()
	return b
}

// A fan is one message for many queues, as a topic with durable subscriptions has it.
type fan struct {
	queues, size int
}

func (s fan) queue(q int) string { return fmt.Sprintf("/dsub/%d", q) }

func (s fan) body(seq store.Seq) []byte { return bytes.Repeat([]byte{byte('a' + seq%26)}, s.size) }

func (s fan) put(t testing.TB, b store.Backend, first, last store.Seq) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		m := storetest.Message(t, "/topic/t", s.body(seq))
		var rs []store.Record
		for q := range s.queues {
			rs = append(rs, store.Record{Kind: store.RecordPut, Queue: s.queue(q), Seq: seq, Msg: m})
		}
		if err := b.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
}

// holds looks whether a queue has the messages first to last.
func (s fan) holds(t testing.TB, b store.Backend, q int, first, last store.Seq) {
	t.Helper()
	rs, more, err := b.Read(nil, s.queue(q), 0, 1000, 1<<40)
	if err != nil || more {
		t.Fatal(more, err)
	}
	want := first
	for _, r := range rs {
		if r.Seq != want || !bytes.Equal(r.Msg.Body(), s.body(r.Seq)) || r.Msg.Destination() != "/topic/t" {
			t.Fatalf("queue %d has %d, want %d, or another message", q, r.Seq, want)
		}
		want++
	}
	if want != last+1 {
		t.Fatalf("queue %d ends before %d, want %d", q, want, last+1)
	}
}

// TestStoredOnce: a message that is put into many queues at once is in the log once, stays so when it is
// carried over, or the log is written anew, and goes when the last has acked it.
func TestStoredOnce(t *testing.T) {
	for _, queues := range []int{2, 100, 600} { // the last are more than one record names
		for _, size := range []int{0, 100, vfs.ShareFrom + 1} {
			t.Run(fmt.Sprintf("%d queues, %d bytes", queues, size), func(t *testing.T) { storedOnce(t, fan{queues, size}) })
		}
	}
}

func storedOnce(t *testing.T, s fan) {
	disk := &vfs.Memory{}
	cfg := file.Config{Dir: "/storage", RedoSize: 1 << 20, Syncs: 1, Unattended: true}
	var f *file.File
	start := func() {
		t.Helper()
		cfg.FS = disk
		f = openWith(t, cfg)
	}
	crash := func() {
		t.Helper()
		disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
		start()
	}
	start()
	most := (10*s.size*(s.queues+255)/256)*11/10 + 10*s.queues*24 + s.queues*40 + 64<<10
	once := func(when string, segments int) {
		t.Helper()
		if got := written(t, disk); got > segments*most {
			t.Errorf("%s, 10 messages of %d bytes for %d queues take %d bytes of the log, want %d at most", when, s.size, s.queues, got, segments*most)
		}
	}
	s.put(t, f, 1, 10)
	once("written", 1)
	all := func() {
		t.Helper()
		for _, q := range []int{1, s.queues / 2, s.queues - 1} {
			s.holds(t, f, q, 1, 10)
		}
	}
	s.holds(t, f, 0, 1, 10)
	all()
	ack(t, f, s.queue(0), 1, 9)
	crash()
	s.holds(t, f, 0, 10, 10)
	all()

	// Written anew, as at a start with damage, or of a log of before.
	if err := disk.Damage("stompserver.state", 40, 1); err != nil {
		t.Fatal(err)
	}
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	cfg.StartDamaged = true
	start()
	cfg.StartDamaged = false
	once("written anew", 1)
	s.holds(t, f, 0, 10, 10)
	all()

	// What passes through fills the log, so that they are carried over, again and again.
	passed, before := store.Seq(0), slices.Clone(segments(t, disk))
	for range 400 {
		passed++
		if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/pass", Seq: passed, Msg: storetest.Message(t, "/queue/pass", make([]byte, 60<<10))}}); err != nil {
			t.Fatal(err)
		}
		ack(t, f, "/queue/pass", passed, passed)
		if passed == 200 {
			crash()
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
	}
	if got := segments(t, disk); slices.Contains(got, before[0]) {
		t.Errorf("%q are there still: nothing was carried over", before)
	}
	once("carried over", 4)
	s.holds(t, f, 0, 10, 10)
	all()
	crash()
	s.holds(t, f, 0, 10, 10)
	all()
	for q := range s.queues {
		ack(t, f, s.queue(q), 1, 10)
	}
	crash()
	s.holds(t, f, s.queues-1, 1, 0)
	if err := f.Tend(true); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	if n := messageFiles(t, disk); n > 0 {
		t.Errorf("%d files are left", n)
	}
}

// TestStateThree: a log of a server that did not know of messages that lie there once is gone on with, and
// the state says that there may be such from now on.
func TestStateThree(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	putN(t, f, "/queue/a", 1, 20, 200)
	disk = disk.Clone()
	const digit = int64(len("stompserver state ")) // none of what has a checksum
	if err := disk.Damage("stompserver.state", digit, '3'^'4'); err != nil {
		t.Fatal(err)
	}
	f = openWith(t, onMemory(disk))
	if b := contentOf(t, disk, "stompserver.state"); b[digit] != '4' {
		t.Errorf("the state begins with %q", b[:digit+1])
	}
	s := fan{3, 100}
	s.put(t, f, 1, 5)
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	f = openWith(t, onMemory(disk))
	inOrder(t, f, "/queue/a", 1, 20)
	s.holds(t, f, 2, 1, 5)
	closed(t, f)
}

// TestFileOnce: files are made of it once as well, where the Ruby server knows nothing of the queues and
// the file system takes links; else each queue has its own, whatever is said against them but that the disk fails.
func TestFileOnce(t *testing.T) {
	const queues, size = 100, 20 << 10
	for _, tt := range []struct {
		name  string
		fault error // of all links, or of the first if it is a full disk
		once  bool
	}{
		{"links", nil, true},
		{"no links", errors.ErrUnsupported, false},
		{"none permitted", syscall.EPERM, false},
		{"refused by the system", syscall.EACCES, false},
		{"too many", syscall.EMLINK, false},
		{"an unknown reason", errors.New("no"), false},
		{"made, and said to be refused", fs.ErrExist, false},
		{"a full disk", syscall.ENOSPC, true},
		{"a disk that fails", syscall.EIO, true},
		{"a disk that cannot be written", syscall.EROFS, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := &vfs.Memory{}
			f := openWith(t, onMemory(disk))
			s := fan{queues, size}
			s.put(t, f, 1, 5)
			final := tt.fault == syscall.EIO || tt.fault == syscall.EROFS
			failed, linking, made := false, false, ""
			disk.Fault = func(op, name string) error {
				if op == "create" {
					made = name
				}
				if op == "link" && tt.fault == fs.ErrExist && !linking { // which it finds
					linking = true
					from, to := strings.Split(made, "/"), strings.Split(name, "/")
					if err := disk.Link(from[0], from[1], to[0], to[1]); err != nil {
						t.Error(err)
					}
					linking = false
				} else if op == "link" && !linking && (!failed || tt.fault != syscall.ENOSPC) {
					failed = true
					return tt.fault
				}
				return nil
			}
			err := f.Tend(true)
			if vfs.IsFull(tt.fault) {
				if !errors.Is(err, store.ErrFull) {
					t.Errorf("Tend: %v", err)
				}
				err = f.Tend(true)
			}
			disk.Fault = nil
			if final {
				if !errors.Is(err, tt.fault) || !errors.Is(f.Close(), tt.fault) {
					t.Errorf("Tend: %v", err)
				}
				disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
				f = openWith(t, onMemory(disk))
				err = f.Tend(true)
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := messageFiles(t, disk); n != 5*queues {
				t.Errorf("%d names of files", n)
			}
			room := 1 // as much as is not full
			for ; room < 1000; room++ {
				disk.Room = int64(room) * size
				if file, err := disk.Open("more", true); err != nil {
					t.Fatal(err)
				} else if file.Allocate(1) == nil {
					break
				}
			}
			disk.Room = 0
			if err := disk.Remove("more"); err != nil {
				t.Fatal(err)
			}
			if once := room < 20; once != tt.once {
				t.Errorf("5 messages of %d KiB take %d KiB", size>>10, room*size>>10)
			}
			for _, seed := range []uint64{1, 2, 3} {
				disk = disk.Crash(rand.New(rand.NewPCG(seed, 2)))
				f = openWith(t, onMemory(disk))
				for q := range queues {
					s.holds(t, f, q, 1, 5)
				}
			}
			// One takes them, and nobody else loses any.
			ack(t, f, s.queue(7), 1, 5)
			closed(t, f)
			f = openWith(t, onMemory(disk))
			s.holds(t, f, 7, 1, 0)
			s.holds(t, f, 8, 1, 5)
			if n := messageFiles(t, disk); n != 5*(queues-1) {
				t.Errorf("%d names of files", n)
			}
			closed(t, f)
		})
	}
}

// TestNoFileOfTheRubyServerIsShared: what the Ruby server reads says which message of which queue it is.
func TestNoFileOfTheRubyServerIsShared(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	m := storetest.Message(t, "/topic/t", []byte("x"))
	var rs []store.Record
	for _, q := range []string{"/queue/a", "/queue/b", "/dsub/c", "/dsub/d"} {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: q, Seq: 1, Msg: m})
	}
	if err := f.Write(rs); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	for i, folder := range []string{"_queue_a", "_queue_b"} {
		names, err := disk.Folder(folder).List()
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		b := contentOf(t, disk.Folder(folder), names[0])
		if queue := fmt.Sprintf("/queue/%c", 'a'+i); !bytes.Contains(b, []byte(names[0])) || !bytes.Contains(b, []byte(queue)) {
			t.Errorf("%s has a file %q", queue, b)
		}
	}
}
