package file_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/vfs"
)

// failingOpen is a disk on which a file cannot be opened for a while.
type failingOpen struct {
	*vfs.Memory
	name string // how it ends
}

func (d *failingOpen) Open(name string, create bool) (vfs.File, error) {
	if d.name != "" && strings.HasSuffix(name, d.name) && !create {
		return nil, syscall.EMFILE
	}
	return d.Memory.Open(name, create)
}

// TestCarryFailsInTheMiddle: messages that were read when another one could not be are carried over the
// next time, and have files when all is done.
func TestCarryFailsInTheMiddle(t *testing.T) {
	disk := &failingOpen{Memory: &vfs.Memory{}}
	cfg := onMemory(disk.Memory)
	cfg.FS = disk
	f := openWith(t, cfg)
	putN(t, f, "/queue/stay", 1, 8, 800) // in two segments
	for seq := store.Seq(1); seq <= 60; seq++ {
		putN(t, f, "/queue/pass", seq, seq, 800)
		if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/pass", Seq: seq, Last: seq}}); err != nil {
			t.Fatal(err)
		}
	}
	disk.name = "-000000000002"
	if err := f.Tend(false); !vfs.IsFull(err) && !errors.Is(err, store.ErrFull) {
		t.Fatalf("a segment could be opened: %v", err)
	}
	disk.name = ""
	if err := f.Tend(false); err != nil {
		t.Fatal(err)
	}
	if got := segments(t, disk); len(got) > 6 {
		t.Errorf("%d segments stay", len(got))
	}
	closed(t, f)
	if n := messageFiles(t, disk); n != 8 {
		t.Errorf("%d have files", n)
	}
}

// TestPowerCutAfterRestart: what a process that was killed had written and not synced is sure before
// anything relies on it.
func TestPowerCutAfterRestart(t *testing.T) {
	for seed := range uint64(40) {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		cfg.NoSync = true
		f := openWith(t, cfg)
		putN(t, f, "/queue/a", 1, 8, 800)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 5}}); err != nil {
			t.Fatal(err)
		}
		cfg.FS, cfg.NoSync = unlocked{disk}, false // the process is killed, and the system goes on
		f = openWith(t, cfg)
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		cfg.FS = disk.Crash(rand.New(rand.NewPCG(seed, 5)))
		f, err := file.Open(cfg)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		inOrder(t, f, "/queue/a", 6, 8)
	}
}

// unlocked is a disk on which nobody has a lock.
type unlocked struct{ *vfs.Memory }

func (unlocked) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// TestRemovedFileStaysAway: files that a process removed which was killed then do not come back with a
// power cut once the log says nothing of them any more.
func TestRemovedFileStaysAway(t *testing.T) {
	for seed := range uint64(40) {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		cfg.FS = unlocked{disk}
		f := openWith(t, cfg)
		putN(t, f, "/queue/a", 1, 3, 800)
		if err := f.Tend(true); err != nil { // they have files
			t.Fatal(err)
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		ack(t, f, "/queue/a", 1, 2)
		if err := f.Tend(false); err != nil { // two are removed
			t.Fatal(err)
		}
		f = openWith(t, cfg) // the process was killed
		for seq := store.Seq(1); seq <= 10; seq++ {
			putN(t, f, "/queue/pass", seq, seq, 800)
			ack(t, f, "/queue/pass", seq, seq)
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		cfg.FS = disk.Crash(rand.New(rand.NewPCG(seed, 5)))
		inOrder(t, openWith(t, cfg), "/queue/a", 3, 3)
	}
}

func ack(t testing.TB, b store.Backend, queue string, first, last store.Seq) {
	t.Helper()
	if err := b.Write([]store.Record{{Kind: store.RecordAck, Queue: queue, Seq: first, Last: last}}); err != nil {
		t.Fatal(err)
	}
}

// TestAckedStaysAwayBesideDamage: a start that begins the log anew removes the files of messages that the
// old one says are acked, before it gives that up.
func TestAckedStaysAwayBesideDamage(t *testing.T) {
	for seed := range uint64(20) {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		cfg.FS, cfg.StartDamaged = unlocked{disk}, true
		f := openWith(t, cfg)
		putN(t, f, "/queue/a", 1, 3, 100)
		if err := f.Tend(true); err != nil { // they have files
			t.Fatal(err)
		}
		ack(t, f, "/queue/a", 1, 2)
		putN(t, f, "/queue/b", 1, 3, 100)
		names := segments(t, disk)
		b := readFile(t, disk, names[len(names)-1])
		if err := disk.Damage(names[len(names)-1], int64(bytes.Index(b, []byte("2 xxx"))), 1); err != nil { // of b
			t.Fatal(err)
		}
		openWith(t, cfg)
		cfg.FS = disk.Crash(rand.New(rand.NewPCG(seed, 5)))
		f = openWith(t, cfg)
		inOrder(t, f, "/queue/a", 3, 3)
	}
}

func readFile(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAckedWhileFiled: a message is acked while it gets its file, and the log goes on for so long that
// the ack is given up: the file is gone by then.
func TestAckedWhileFiled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &vfs.Memory{}
		cfg := file.Config{Dir: "/storage", FS: disk, RedoSize: 4 << 10, NoSync: true}
		var f *file.File
		var armed atomic.Bool // while only the keeper is at it
		acked, renamed := false, false
		var kills []*vfs.Memory
		disk.Fault = func(op, name string) error {
			if !armed.Load() {
				return nil
			}
			if renamed {
				kills, renamed = append(kills, disk.Clone()), false
			}
			renamed = op == "rename" && name == "stompserver.state.new"
			if !acked && strings.HasPrefix(name, "_queue_a/") {
				acked = true
				ack(t, f, "/queue/a", 1, 1)
				for seq := store.Seq(1); seq <= 10; seq++ {
					putN(t, f, "/queue/pass", seq, seq, 800)
					ack(t, f, "/queue/pass", seq, seq)
				}
			}
			return nil
		}
		f = openWith(t, cfg)
		putN(t, f, "/queue/a", 1, 2, 100)
		armed.Store(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		armed.Store(false)
		closed(t, f)
		if !acked || len(kills) == 0 {
			t.Fatal("nothing was given up")
		}
		for _, kill := range kills {
			cfg.FS, cfg.Unattended = kill, true
			inOrder(t, openWith(t, cfg), "/queue/a", 2, 2)
		}
	})
}

// TestReserveIsWhole: a reserve that is not as large as it should be is none: acks would find no room.
func TestReserveIsWhole(t *testing.T) {
	disk := &vfs.Memory{}
	cfg := file.Config{Dir: "/storage", FS: disk, RedoSize: 64 << 10, Unattended: true}
	f := openWith(t, cfg)
	putN(t, f, "/queue/a", 1, 50, 4000)
	if err := f.Tend(true); err != nil {
		t.Fatal(err)
	}
	f.Leave()
	closed(t, f)
	disk.Truncate("stompserver.reserve", 0)
	f = openWith(t, cfg)
	putN(t, f, "/queue/a", 51, 51, 4000)
	file, err := disk.Open("stompserver.reserve", false)
	if err != nil {
		t.Fatal(err)
	}
	if size, _ := file.Size(); size < 64<<10 {
		t.Errorf("the reserve has %d bytes", size)
	}
}
