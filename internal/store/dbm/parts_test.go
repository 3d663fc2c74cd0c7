package dbm_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
)

// apart opens a file where bodies are taken into very small parts.
func apart(t testing.TB, dir string) store.Backend {
	b := open(t, dir).(*dbm.DBM)
	b.TakeApart(1, 100, 250)
	return b
}

// inParts opens a file where all bodies are taken apart. There are some of 10 MiB.
func inParts(t testing.TB, dir string) store.Backend {
	b := open(t, dir).(*dbm.DBM)
	b.TakeApart(1, 4000, 100_000)
	return b
}

func TestBackendInParts(t *testing.T) { storetest.RunBackend(t, inParts) }

func TestStoreInParts(t *testing.T) {
	spooled := func(t testing.TB, dir string) store.Store { return spooledOn(t, inParts(t, dir)) }
	storetest.Run(t, func(t testing.TB) store.Store { return spooled(t, t.TempDir()) })
	storetest.RunDurable(t, spooled)
}

func put(t testing.TB, queue string, seq store.Seq, body string) store.Record {
	return store.Record{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: storetest.Message(t, queue, []byte(body))}
}

func text(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] }

// holds checks what the queues a and b are, and that no part is without its message.
func holds(t *testing.T, b *dbm.DBM, parts int, want ...string) {
	t.Helper()
	var got []string
	for _, name := range []string{"/queue/a", "/queue/b"} {
		rs, _, err := b.Read(nil, name, 0, 1000, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			got = append(got, string(r.Msg.Body()))
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %.2000q, want %.2000q", got, want)
	}
	if n := b.Parts(); n != parts {
		t.Errorf("%d parts are there, want %d", n, parts)
	}
}

// errFull is what a write says that finds the disk full.
var errFull = &fs.PathError{Op: "write", Path: "queues.db", Err: syscall.ENOSPC}

// TestFullWithParts: whichever transaction of a Write finds the disk full, nothing is left of it, and
// what comes later passes.
func TestFullWithParts(t *testing.T) {
	for at := 1; ; at++ {
		b := apart(t, t.TempDir()).(*dbm.DBM)
		if err := b.Write([]store.Record{put(t, "/queue/a", 1, text(250))}); err != nil {
			t.Fatal(err)
		}
		n := 0
		b.FailAt(func() error {
			if n++; n == at {
				return errFull
			}
			return nil
		})
		rs := []store.Record{put(t, "/queue/a", 2, text(1010)), put(t, "/queue/b", 1, text(990))}
		err := b.Write(rs)
		if err == nil {
			holds(t, b, 3+11+10, text(250), text(1010), text(990))
			if at != 8 {
				t.Errorf("%d transactions for 2000 bytes", at-1)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
		holds(t, b, 3, text(250))
		if err := b.Write([]store.Record{put(t, "/queue/b", 1, text(120)), {Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 1}}); err != nil {
			t.Fatal(err)
		}
		holds(t, b, 2, text(120))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullForLong: a disk that stays full leaves parts behind, which are no later message's, and go
// when there is room.
func TestFullForLong(t *testing.T) {
	dir := t.TempDir()
	b := apart(t, dir).(*dbm.DBM)
	n := 0
	b.FailAt(func() error {
		if n++; n > 2 {
			return errFull
		}
		return nil
	})
	if err := b.Write([]store.Record{put(t, "/queue/a", 1, text(2000))}); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	holds(t, b, 6)
	n = 1 // once more it is full for sweeping, and then no more
	b.FailAt(func() error {
		if n++; n == 2 {
			return errFull
		}
		return nil
	})
	if err := b.Write([]store.Record{put(t, "/queue/a", 1, text(150))}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20)
		if err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != text(150) {
			t.Fatalf("%v, %v", rs, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = apart(t, dir).(*dbm.DBM)
	}
	holds(t, b, 2, text(150))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCrashesWithParts ends the process between two transactions, again and again: what was confirmed
// is there, of what was under way all or nothing, and no part without its message.
func TestCrashesWithParts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"/queue/a", "/queue/b"}
	w := &storetest.Writer{Rand: r, Names: names}
	sure, dir := storetest.State{}, t.TempDir()
	crashed := errors.New("crashed")
	for round := range 40 {
		b := apart(t, dir).(*dbm.DBM)
		left := r.IntN(60)
		b.FailAt(func() error {
			if left--; left < 0 {
				return crashed
			}
			return nil
		})
		for {
			rs, after := w.Group(t, sure)
			if err := b.Write(rs); errors.Is(err, crashed) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			sure = after
		}
		next := t.TempDir()
		file, err := os.ReadFile(filepath.Join(dir, "queues.db"))
		if err == nil {
			err = os.WriteFile(filepath.Join(next, "queues.db"), file, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		dir = next
		b = apart(t, dir).(*dbm.DBM)
		got, err := storetest.StateOf(b, names...)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != sure.String() {
			t.Fatalf("round %d: got\n%.3000s\nwant\n%.3000s", round, got, sure)
		}
		parts, seen := 0, make(map[string]bool)
		for _, q := range sure {
			for _, m := range q {
				body := m[:strings.LastIndex(m, ":")]
				if !seen[body] { // what is put into several queues is stored once
					parts += (len(body) + 99) / 100
				}
				seen[body] = true
			}
		}
		if n := b.Parts(); n != parts {
			t.Fatalf("round %d: %d parts, want %d", round, n, parts)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedParts: a body whose parts are not what was written, or not all there, is not read.
func TestDamagedParts(t *testing.T) {
	body := "needle" + text(500)
	for _, c := range []struct {
		name string
		harm func(t *testing.T, b *dbm.DBM, path string)
	}{
		{"a byte", func(t *testing.T, b *dbm.DBM, path string) {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.ReplaceAll(file, []byte("needle"), []byte("noodle")), 0); err != nil {
				t.Fatal(err)
			}
		}},
		{"the first part", func(t *testing.T, b *dbm.DBM, _ string) {
			if err := b.LoseParts(func(k []byte) bool { return k[19] == 0 }); err != nil {
				t.Fatal(err)
			}
		}},
		{"one part", func(t *testing.T, b *dbm.DBM, _ string) {
			if err := b.LoseParts(func(k []byte) bool { return k[19] == 2 }); err != nil {
				t.Fatal(err)
			}
		}},
		{"all parts", func(t *testing.T, b *dbm.DBM, _ string) {
			if err := b.LoseParts(func(k []byte) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := apart(t, dir).(*dbm.DBM)
			defer b.Close()
			if err := b.Write([]store.Record{put(t, "/queue/a", 1, body)}); err != nil {
				t.Fatal(err)
			}
			c.harm(t, b, filepath.Join(dir, "queues.db"))
			if rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("read were %d messages, %v", len(rs), err)
			}
			if err := b.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 1}}); err != nil {
				t.Fatal(err)
			}
			holds(t, b, 0)
		})
	}
}

// TestLargeInOnePiece: what was stored before there were parts is read, tried and acked.
func TestLargeInOnePiece(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir).(*dbm.DBM)
	b.TakeApart(1<<30, 1, 1)
	if err := b.Write([]store.Record{put(t, "/queue/a", 1, text(500)), put(t, "/queue/a", 2, text(700))}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = apart(t, dir).(*dbm.DBM)
	defer b.Close()
	if err := b.Write([]store.Record{{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 1, Attempts: 3}, put(t, "/queue/a", 3, text(300))}); err != nil {
		t.Fatal(err)
	}
	holds(t, b, 3, text(500), text(700), text(300))
	if err := b.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 3}}); err != nil {
		t.Fatal(err)
	}
	holds(t, b, 0)
}

// TestReadDoesNotWaitForWrite: who reads a backlog is not held up by the disk.
func TestReadDoesNotWaitForWrite(t *testing.T) {
	b := open(t, t.TempDir()).(*dbm.DBM)
	defer b.Close()
	if err := b.Write([]store.Record{put(t, "/queue/a", 1, "x")}); err != nil {
		t.Fatal(err)
	}
	writing, done := make(chan struct{}), make(chan struct{})
	b.FailAt(func() error {
		close(writing)
		<-done
		return nil
	})
	written := make(chan error)
	go func() { written <- b.Write([]store.Record{put(t, "/queue/a", 2, "y")}) }()
	<-writing
	if rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20); err != nil || len(rs) != 1 {
		t.Errorf("read were %d messages, %v", len(rs), err)
	}
	close(done)
	if err := <-written; err != nil {
		t.Error(err)
	}
}
