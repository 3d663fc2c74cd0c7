package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/vfs"
)

// chain is a disk with a log of several segments, as a kill leaves it.
func chain(t *testing.T, n store.Seq) *vfs.Memory {
	t.Helper()
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	putN(t, f, "/queue/a", 1, n, 200)
	return disk.Clone()
}

// TestMissingSegments: one that is missing is named, and nothing is changed. What is whole can be
// served, and then there is nothing more to complain of.
func TestMissingSegments(t *testing.T) {
	const n = 60
	names := segments(t, chain(t, n))
	if len(names) < 4 {
		t.Fatalf("%q", names)
	}
	for _, gone := range [][]string{names[:1], names[1:2], names[1:3], names} {
		t.Run(strings.Join(gone, " "), func(t *testing.T) {
			disk := chain(t, n)
			for _, name := range gone {
				if err := disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			before := segments(t, disk)
			var damage *file.DamageError
			if _, err := file.Open(onMemory(disk)); !errors.As(err, &damage) || !strings.Contains(damage.Problems[0], gone[0]) {
				t.Fatalf("Open: %v", err)
			}
			if after := segments(t, disk); len(after) != len(before) {
				t.Errorf("there were %q, and are %q", before, after)
			}
			cfg := onMemory(disk)
			cfg.StartDamaged = true
			rest := contents(t, openWith(t, cfg), "/queue/a")
			if len(gone) < len(names) && (len(rest) < 10 || len(rest) >= n) || len(gone) == len(names) && len(rest) > 0 {
				t.Errorf("%d messages are left", len(rest))
			}
			f := openWith(t, onMemory(disk.Crash(rand.New(rand.NewPCG(1, 1)))))
			holds(t, f, "/queue/a", rest...)
			closed(t, f)
		})
	}
}

// TestFlippedBits changes the log byte by byte: what is not what was written is told, or was the end
// of it, and is never served.
func TestFlippedBits(t *testing.T) {
	const n = 40
	disk := chain(t, n)
	want := contents(t, openWith(t, onMemory(disk.Clone())), "/queue/a")
	told := 0
	for _, name := range segments(t, disk) {
		for at := int64(0); ; at += 13 {
			d := disk.Clone()
			if d.Damage(name, at, 1<<(at%8)) != nil {
				break
			}
			f, err := file.Open(onMemory(d.Clone()))
			if err != nil {
				told++
			} else if got := contents(t, f, "/queue/a"); len(got) < n-1 {
				t.Fatalf("%s at %d: %d messages, and not a word", name, at, len(got))
			}
			cfg := onMemory(d)
			cfg.StartDamaged = true
			got := contents(t, openWith(t, cfg), "/queue/a")
			for i, j := 0, 0; i < len(got); i++ {
				for j < n && want[j] != got[i] {
					j++
				}
				if j == n {
					t.Fatalf("%s at %d: %.30s was never written", name, at, got[i])
				}
			}
		}
	}
	if told < 100 {
		t.Errorf("%d changes were told of", told)
	}
}

// TestDamagedWhileItRuns: a message that is damaged in the log is not served, stays there, and is told
// at the next start.
func TestDamagedWhileItRuns(t *testing.T) {
	for _, start := range []bool{false, true} {
		disk := chain(t, 40)
		cfg := onMemory(disk)
		cfg.StartDamaged = start
		f := openWith(t, cfg)
		if err := disk.Damage(segments(t, disk)[1], 200, 1); err != nil {
			t.Fatal(err)
		}
		rs, _, err := f.Read(nil, "/queue/a", 0, 100, 1<<20)
		if start && (err != nil || len(rs) != 39) || !start && (err == nil || !strings.Contains(err.Error(), "damaged") || len(rs) == 0) {
			t.Errorf("%d messages, %v", len(rs), err)
		}
		if err := f.Tend(true); err != nil {
			t.Fatal(err)
		}
		if got := messageFiles(t, disk); got != 39 {
			t.Errorf("%d files", got)
		}
		if err := f.Close(); err == nil || !strings.Contains(err.Error(), "1 messages cannot be read") {
			t.Errorf("Close: %v", err)
		}
		var damage *file.DamageError
		if _, err := file.Open(onMemory(disk)); !errors.As(err, &damage) {
			t.Errorf("Open: %v", err)
		}
		cfg.StartDamaged = true
		f = openWith(t, cfg)
		if got := contents(t, f, "/queue/a"); len(got) != 39 {
			t.Errorf("%d messages", len(got))
		}
		closed(t, f)
	}
}

// TestWithoutState: a state that is damaged costs no message that is in the log or has a file.
func TestWithoutState(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	putN(t, f, "/queue/a", 1, 30, 200)
	if err := f.Tend(true); err != nil {
		t.Fatal(err)
	}
	putN(t, f, "/queue/a", 31, 60, 200)
	if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: 60, Last: 60}}); err != nil {
		t.Fatal(err)
	}
	disk = disk.Clone()
	if err := disk.Damage("stompserver.state", 40, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(onMemory(disk)); err == nil || !strings.Contains(err.Error(), "stompserver.state: it is damaged") {
		t.Fatalf("Open: %v", err)
	}
	cfg := onMemory(disk)
	cfg.StartDamaged = true
	for range 2 {
		f = openWith(t, cfg)
		inOrder(t, f, "/queue/a", 1, 59)
		closed(t, f)
	}
}

// TestSyncAll has the sync of many files fail. Where the system has none each file is synced; a full
// disk passes, and any other error is final.
func TestSyncAll(t *testing.T) {
	const n = 20
	for _, fault := range []error{errors.ErrUnsupported, syscall.ENOSPC, syscall.EIO} {
		t.Run(fault.Error(), func(t *testing.T) {
			disk := chain(t, n)
			f := openWith(t, onMemory(disk))
			synced := map[string]bool{}
			disk.Fault = func(op, name string) error {
				if op == "syncall" {
					return fmt.Errorf("synced: %w", fault)
				}
				if op == "sync" {
					synced[name] = true
				}
				return nil
			}
			err := f.Tend(true)
			write := f.Write([]store.Record{{Kind: store.RecordMark, Queue: "/queue/a", Seq: 1}})
			files := 0
			for name := range synced {
				if strings.HasPrefix(name, "_queue_a/") {
					files++
				}
			}
			switch fault {
			case errors.ErrUnsupported:
				if err != nil || write != nil || files != n {
					t.Errorf("%v, %v, %d files were synced", err, write, files)
				}
			case syscall.ENOSPC:
				if !errors.Is(err, store.ErrFull) || write != nil {
					t.Errorf("%v, %v", err, write)
				}
				disk.Fault = nil
				if err := f.Tend(true); err != nil || messageFiles(t, disk) != n {
					t.Errorf("%v, %d files", err, messageFiles(t, disk))
				}
			default:
				if !errors.Is(err, fault) || !errors.Is(write, fault) || !errors.Is(f.Close(), fault) {
					t.Errorf("%v, %v", err, write)
				}
			}
			disk.Fault = nil
			for seed := range uint64(10) {
				d := disk
				if seed < 9 {
					d = disk.Clone()
				}
				f := openWith(t, onMemory(d.Crash(rand.New(rand.NewPCG(seed, 1)))))
				inOrder(t, f, "/queue/a", 1, n)
				closed(t, f)
			}
		})
	}
}

// TestDamagedInTheLog: a message that cannot be read does not have the log grow for ever, and stays what
// it is.
func TestDamagedInTheLog(t *testing.T) {
	for _, calm := range []bool{false, true} {
		disk := &vfs.Memory{}
		f := openWith(t, onMemory(disk))
		putN(t, f, "/queue/stays", 1, 3, 500)
		names := segments(t, disk)
		if err := disk.Damage(names[0], 1000, 1); err != nil {
			t.Fatal(err)
		}
		for seq := store.Seq(1); seq <= 300; seq++ {
			putN(t, f, "/queue/pass", seq, seq, 800)
			ack(t, f, "/queue/pass", seq, seq)
			if err := f.Tend(calm && seq%10 == 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := segments(t, disk); len(got) > 8 {
			t.Errorf("calm: %v: %d segments", calm, len(got))
		}
		damaged := 0
		for after := range store.Seq(3) {
			rs, _, err := f.Read(nil, "/queue/stays", after, 1, 1)
			if err != nil && strings.Contains(err.Error(), "damaged") {
				damaged++
			} else if err != nil || len(rs) != 1 {
				t.Errorf("behind %d: %v, %v", after, rs, err)
			}
		}
		if damaged != 1 {
			t.Errorf("calm: %v: %d are damaged", calm, damaged)
		}
	}
}

// TestLeftOutOnce: a damaged message is told of once, however often what it lies in is read.
func TestLeftOutOnce(t *testing.T) {
	disk := &vfs.Memory{}
	cfg := onMemory(disk)
	var log bytes.Buffer
	cfg.StartDamaged, cfg.Log = true, slog.New(slog.NewTextHandler(&log, nil))
	f := openWith(t, cfg)
	putN(t, f, "/queue/a", 1, 3, 500)
	if err := disk.Damage(segments(t, disk)[0], 1000, 1); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		rs, _, err := f.Read(nil, "/queue/a", 0, 10, 1<<20)
		if err != nil || len(rs) != 2 {
			t.Fatalf("%d messages, %v", len(rs), err)
		}
	}
	if n := strings.Count(log.String(), "left out"); n != 1 {
		t.Errorf("it is told of %d times: %s", n, &log)
	}
}

// TestUnreadableHead: what stands before the messages of a group cannot be read. They are readable by
// themselves, and so the log goes on being given up, and each has a file after a stop.
func TestUnreadableHead(t *testing.T) {
	for _, start := range []bool{false, true} {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		cfg.StartDamaged = start
		f := openWith(t, cfg)
		const stay = 20
		putN(t, f, "/queue/stays", 1, stay, 100)
		if err := disk.Damage(segments(t, disk)[0], 1, 1); err != nil {
			t.Fatal(err)
		}
		if start { // or it is the walk for the files that comes by there first
			if err := f.Tend(true); err != nil {
				t.Fatal(err)
			}
		}
		for seq := store.Seq(1); seq <= 300; seq++ {
			putN(t, f, "/queue/pass", seq, seq, 800)
			ack(t, f, "/queue/pass", seq, seq)
			if err := f.Tend(false); err != nil {
				t.Fatal(err)
			}
		}
		if got := segments(t, disk); len(got) > 8 {
			t.Errorf("%d segments", len(got))
		}
		inOrder(t, f, "/queue/stays", 1, stay)
		closed(t, f)
		if n := messageFiles(t, disk); n != stay {
			t.Errorf("%d files", n)
		}
		inOrder(t, openWith(t, onMemory(disk)), "/queue/stays", 1, stay)
	}
}

// TestUnreadableHeadAtAStop: then they are not read by their groups either.
func TestUnreadableHeadAtAStop(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	putN(t, f, "/queue/a", 1, 300, 100)
	for i, name := range segments(t, disk) {
		if i%2 == 0 {
			if err := disk.Damage(name, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	closed(t, f)
	if n := messageFiles(t, disk); n != 300 {
		t.Errorf("%d files", n)
	}
	inOrder(t, openWith(t, onMemory(disk)), "/queue/a", 1, 300)
}

// TestUnreadableRecord: of a message it cannot be read where it begins and ends. With on_damage: start it is
// left out, so that the log does not grow for ever; otherwise that is told, once, and nothing is given up.
func TestUnreadableRecord(t *testing.T) {
	for _, start := range []bool{false, true} {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		var log bytes.Buffer
		cfg.StartDamaged, cfg.Log = start, slog.New(slog.NewTextHandler(&log, nil))
		f := openWith(t, cfg)
		putN(t, f, "/queue/stays", 1, 3, 500)
		first := segments(t, disk)[0]
		b := contentOf(t, disk, first)
		at := bytes.Index(b, []byte("2 xxx"))
		for at > 0 && !(b[at] == 7 && b[at+1] == 1 && b[at+2] == 2) { // put, queue 1, message 2
			at--
		}
		if err := disk.Damage(first, int64(at), 0x70); err != nil {
			t.Fatal(err)
		}
		for seq := store.Seq(1); seq <= 300; seq++ {
			putN(t, f, "/queue/pass", seq, seq, 800)
			ack(t, f, "/queue/pass", seq, seq)
			if err := f.Tend(seq%10 == 0); err != nil {
				t.Fatal(err)
			}
		}
		there := slices.Contains(segments(t, disk), first)
		told := strings.Count(log.String(), "grows")
		left := strings.Count(log.String(), "left out")
		if there == start || told != map[bool]int{false: 1, true: 0}[start] || left != map[bool]int{false: 0, true: 1}[start] {
			t.Errorf("start: %v: %s is there: %v; it is told that the log grows %d times, and of what is left out %d times\n%.3000s", start, first, there, told, left, &log)
		}
		if start {
			if got := contents(t, f, "/queue/stays"); len(got) != 2 {
				t.Errorf("%d messages", len(got))
			}
			closed(t, f)
			if got := contents(t, openWith(t, onMemory(disk)), "/queue/stays"); len(got) != 2 {
				t.Errorf("%d messages", len(got))
			}
			continue
		}
		if err := f.Close(); err == nil || !strings.Contains(err.Error(), "1 messages cannot be read") {
			t.Errorf("Close: %v", err)
		}
		if n := messageFiles(t, disk); n != 2 {
			t.Errorf("%d files", n)
		}
	}
}
