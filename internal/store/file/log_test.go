package file_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// putN writes messages first to last of a queue, each by itself, with bodies of so many bytes.
func putN(t testing.TB, b store.Backend, queue string, first, last store.Seq, size int) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		body := fmt.Sprintf("%d %s", seq, strings.Repeat("x", size))
		if err := b.Write([]store.Record{{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: storetest.Message(t, queue, []byte(body))}}); err != nil {
			t.Fatalf("put %d: %v", seq, err)
		}
	}
}

// inOrder reads a queue page by page, and checks that it has the messages of putN.
func inOrder(t testing.TB, b store.Backend, queue string, first, last store.Seq) {
	t.Helper()
	for after, want := store.Seq(0), first; ; {
		rs, more, err := b.Read(nil, queue, after, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if n, _, _ := strings.Cut(string(r.Msg.Body()), " "); r.Seq != want || n != fmt.Sprint(want) {
				t.Fatalf("got %d: %.20s, want %d", r.Seq, r.Msg.Body(), want)
			}
			want++
			after = r.Seq
		}
		if !more {
			if want != last+1 {
				t.Fatalf("they end at %d, want %d", want-1, last)
			}
			return
		}
	}
}

// messageFiles counts the files of messages.
func messageFiles(t testing.TB, disk vfs.Tree) (n int) {
	t.Helper()
	folders, err := disk.Folders()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		names, err := disk.Folder(folder).List()
		if err != nil {
			t.Fatal(err)
		}
		n += len(names)
	}
	return n
}

// segments are the names of the segments of the log.
func segments(t testing.TB, disk vfs.Tree) (found []string) {
	t.Helper()
	names, err := disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "stompserver.redo") {
			found = append(found, name)
		}
	}
	return found
}

// TestChain has a backlog of many segments: it is read from them, before and after a crash, and they
// go when the messages have files.
func TestChain(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	const n = 400
	putN(t, f, "/queue/a", 1, n, 500)
	for range 2 {
		if got := len(segments(t, disk)); got < 30 || messageFiles(t, disk) > 0 {
			t.Fatalf("%d segments, %d files", got, messageFiles(t, disk))
		}
		inOrder(t, f, "/queue/a", 1, n)
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
		f = openWith(t, onMemory(disk))
	}
	for range 2 {
		if err := f.Tend(true); err != nil {
			t.Fatal(err)
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		if got := segments(t, disk); len(got) > 1 || messageFiles(t, disk) != n {
			t.Fatalf("there are %q and %d files", got, messageFiles(t, disk))
		}
		inOrder(t, f, "/queue/a", 1, n)
		disk = disk.Crash(rand.New(rand.NewPCG(1, 3)))
		f = openWith(t, onMemory(disk))
	}
	closed(t, f)
}

// TestCarriedOver: messages that stay while many others pass do not make the log longer and longer.
func TestCarriedOver(t *testing.T) {
	disk := &vfs.Memory{}
	cfg := onMemory(disk)
	cfg.RedoSize = 16 << 10
	f := openWith(t, cfg)
	const stay, pass = 50, 3000
	putN(t, f, "/queue/c", 1, stay, 300)
	for seq := store.Seq(1); seq <= pass; seq++ {
		putN(t, f, "/queue/a/b", seq, seq, 300)
		if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a/b", Seq: seq, Last: seq}}); err != nil {
			t.Fatal(err)
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		if got := segments(t, disk); len(got) > 8 {
			t.Fatalf("%d segments after %d messages: %q", len(got), seq, got)
		}
	}
	if n := messageFiles(t, disk); n > 0 {
		t.Errorf("%d files", n)
	}
	cfg.FS = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	f = openWith(t, cfg)
	inOrder(t, f, "/queue/c", 1, stay)
	for queue, want := range map[string]store.Info{
		"/queue/c":   {Name: "/queue/c", First: 1, Last: stay, Count: stay, Enqueued: stay},
		"/queue/a/b": {Name: "/queue/a/b", Last: pass, Enqueued: pass, Dequeued: pass},
	} {
		if got := info(t, f, queue); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	closed(t, f)
}

// TestMemory: however long the log is, it is not in memory.
func TestMemory(t *testing.T) {
	f := openWith(t, file.Config{Dir: t.TempDir(), NoSync: true, RedoSize: 1 << 20, Unattended: true})
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n, size = 3000, 20 << 10
	before := heap()
	putN(t, f, "/queue/a", 1, n, size)
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d MiB of messages take %d KiB of memory", n*size>>20, grown>>10)
	}
	inOrder(t, f, "/queue/a", 1, n)
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d MiB that were read take %d KiB of memory", n*size>>20, grown>>10)
	}
	closed(t, f)
}

// TestCloseKilled cuts the power while Close makes files of a long log: nothing is lost or doubled.
func TestCloseKilled(t *testing.T) {
	const n = 300
	full := &vfs.Memory{}
	f := openWith(t, onMemory(full))
	putN(t, f, "/queue/a", 1, n, 100)
	full = full.Crash(rand.New(rand.NewPCG(1, 1)))
	for cut := 0; ; cut += 17 {
		disk := full.Clone()
		f := openWith(t, onMemory(disk))
		left := cut
		disk.Fault = func(string, string) error {
			if left--; left < 0 {
				return vfs.ErrCrashed
			}
			return nil
		}
		err := f.Close()
		disk = disk.Crash(rand.New(rand.NewPCG(2, uint64(cut))))
		f = openWith(t, onMemory(disk))
		inOrder(t, f, "/queue/a", 1, n)
		closed(t, f)
		if got := messageFiles(t, disk); got != n {
			t.Fatalf("cut at %d: %d files", cut, got)
		}
		inOrder(t, openWith(t, onMemory(disk)), "/queue/a", 1, n)
		if err == nil {
			return
		}
	}
}

// TestLeave: who leaves, before Close or while it is at it, makes no files, and finds all in the log.
func TestLeave(t *testing.T) {
	for _, late := range []bool{false, true} {
		disk := &vfs.Memory{}
		f := openWith(t, onMemory(disk))
		const n = 300
		putN(t, f, "/queue/a", 1, n, 100)
		if !late {
			f.Leave()
		}
		disk.Fault = func(op, _ string) error {
			if op == "syncall" {
				f.Leave()
			}
			return nil
		}
		closed(t, f)
		disk.Fault = nil
		if got := messageFiles(t, disk); !late && got > 0 || late && (got == 0 || got == n) {
			t.Errorf("%d files", got)
		}
		f = openWith(t, onMemory(disk))
		inOrder(t, f, "/queue/a", 1, n)
		closed(t, f)
		if got := messageFiles(t, disk); got != n {
			t.Errorf("%d files", got)
		}
		f = openWith(t, onMemory(disk))
		f.Leave()
		closed(t, f) // there is nothing to do, and so it is done
		if got := segments(t, disk); len(got) > 0 {
			t.Errorf("there are %q", got)
		}
	}
}

// TestSparesAreRoom: on a full disk segments that are kept to be used again are given up for what cannot use them.
func TestSparesAreRoom(t *testing.T) {
	disk := &vfs.Memory{}
	cfg := onMemory(disk)
	cfg.RedoSize = 64 << 10
	f := openWith(t, cfg)
	putN(t, f, "/queue/a", 1, 200, 1000)
	ack(t, f, "/queue/a", 1, 190)
	if err := f.Tend(false); err != nil {
		t.Fatal(err)
	}
	spares, used := 0, int64(0)
	files, err := disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := disk.Open(name, false)
		if err != nil {
			t.Fatal(err)
		}
		size, err := file.Size()
		if err != nil {
			t.Fatal(err)
		}
		if used += size; strings.Contains(name, "spare") {
			spares++
		}
	}
	if spares != 2 {
		t.Fatalf("there are %q", files)
	}
	disk.Room = used + 4<<10
	putN(t, f, "/queue/a", 201, 201, 100<<10) // it needs a segment of its own
	disk.Room = 0                             // for its file
	closed(t, f)
}

// TestCloseNeedsNoRoom: there need not be room for the log and all files at the same time.
func TestCloseNeedsNoRoom(t *testing.T) {
	disk := &vfs.Memory{}
	cfg := onMemory(disk)
	cfg.RedoSize = 64 << 10
	f := openWith(t, cfg)
	const n = 500
	putN(t, f, "/queue/a", 1, n, 4000)
	disk.Room = 3 << 20
	closed(t, f)
	if got := messageFiles(t, disk); got != n {
		t.Errorf("%d files", got)
	}
	inOrder(t, openWith(t, cfg), "/queue/a", 1, n)
}

// fromDir is a disk with the files of a directory.
func fromDir(t *testing.T, dir string) *vfs.Memory {
	t.Helper()
	disk := &vfs.Memory{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || d.IsDir() {
			return errors.Join(err, disk.MakeFolder(rel))
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := disk.Open(filepath.ToSlash(rel), true)
		if err == nil {
			_, err = file.WriteAt(b, 0)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return disk.Clone()
}

// TestBefore opens what a kill left when there were two logs that took turns, with a power cut at
// each call.
func TestBefore(t *testing.T) {
	var want []string
	for seq := 1; seq <= 60; seq++ {
		if gone := seq <= 30 && seq%3 != 1 || seq == 1 || seq == 58; gone {
			continue
		}
		tries := 0
		if seq == 60 {
			tries = 3
		}
		want = append(want, fmt.Sprintf("%d message %d %d", seq, seq, tries))
	}
	original := fromDir(t, filepath.Join("testdata", "before"))
	for cut := 0; ; cut++ {
		disk := original.Clone()
		left := cut
		disk.Fault = func(string, string) error {
			if left--; left < 0 {
				return vfs.ErrCrashed
			}
			return nil
		}
		_, err := file.Open(onMemory(disk))
		disk = disk.Crash(rand.New(rand.NewPCG(2, uint64(cut))))
		for range 2 {
			f := openWith(t, onMemory(disk))
			holds(t, f, "/queue/a", want...)
			holds(t, f, "/queue/b", "7 other 0")
			// One of 22 acks is not counted: the file that it was about was gone, and it did not say how many.
			wantInfo := store.Info{Name: "/queue/a", First: 4, Last: 60, Count: len(want), Marked: 59, Enqueued: 60, Dequeued: 21}
			if got := info(t, f, "/queue/a"); got != wantInfo {
				t.Errorf("%+v, want %+v", got, wantInfo)
			}
			if names := segments(t, disk); slices.Contains(names, "stompserver.redo") || slices.Contains(names, "stompserver.redo2") {
				t.Errorf("there are %q", names)
			}
			closed(t, f)
		}
		if err == nil {
			return
		}
	}
}

// TestBeforeDamaged: a log of that time that is damaged is told of, and stays as it is.
func TestBeforeDamaged(t *testing.T) {
	disk := fromDir(t, filepath.Join("testdata", "before"))
	for _, name := range []string{"stompserver.redo", "stompserver.redo2"} {
		if err := disk.Damage(name, 100, 1); err != nil {
			t.Fatal(err)
		}
	}
	var damage *file.DamageError
	if _, err := file.Open(onMemory(disk)); !errors.As(err, &damage) {
		t.Fatalf("Open: %v", err)
	}
	if names := segments(t, disk); len(names) != 2 {
		t.Errorf("there are %q", names)
	}
	cfg := onMemory(disk)
	cfg.StartDamaged = true
	closed(t, openWith(t, cfg))
	closed(t, openWith(t, onMemory(disk)))
}

// TestManyQueues has more names in a group than are read at once.
func TestManyQueues(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	var rs []store.Record
	name := func(i int) string { return fmt.Sprintf("/queue/%d/%s", i, strings.Repeat("n", i)) }
	for i := range 300 {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: name(i), Seq: 1, Msg: message.Text(name(i), fmt.Sprint(i), 1)})
	}
	if err := f.Write(rs); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
		f = openWith(t, onMemory(disk))
		for i := range 300 {
			holds(t, f, name(i), fmt.Sprintf("1 %d 0", i))
		}
		if err := f.Tend(true); err != nil {
			t.Fatal(err)
		}
	}
}
