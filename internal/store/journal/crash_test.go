package journal_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var (
	seedFlag   = flag.Uint64("journal.seed", 0, "of the crash tests; 0 picks one")
	roundsFlag = flag.Int("journal.rounds", 40, "of the crash tests")
)

var names = []string{"/queue/a", "/queue/b", "/queue/c"}

func newSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-journal.seed %d", seed)
	return seed
}

// onMemory is a journal of small segments on a disk for tests: they roll, and are made anew of what is
// left, all the time.
func onMemory(fs *vfs.Memory) journal.Config {
	return journal.Config{FS: fs, SegmentSize: smallSegment}
}

func crashes(t *testing.T) *storetest.Crashes {
	return &storetest.Crashes{
		Open:  func(fs *vfs.Memory) (store.Backend, error) { return journal.Open(onMemory(fs)) },
		Names: names, Seed: newSeed(t),
		Check: func(fs *vfs.Memory) error {
			rep, err := journal.Check(onMemory(fs))
			if err == nil && len(rep.Problems) > 0 {
				err = fmt.Errorf("Check finds %q", rep.Problems)
			}
			return err
		},
	}
}

func TestCrash(t *testing.T) { crashes(t).Power(t, *roundsFlag, 60) }

func TestEachCall(t *testing.T) { crashes(t).EachCall(t) }

// TestFull has the disk fill up: what needs room fails, acks go on, and there is room again.
func TestFull(t *testing.T) {
	fs := &vfs.Memory{}
	cfg := journal.Config{FS: fs, SegmentSize: 64 << 10}
	j := open(t, cfg)
	fs.Room = 16 << 20
	body := make([]byte, 4000)
	var seq store.Seq
	for round := range 3 {
		first := seq + 1
		for {
			err := j.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq + 1, Msg: storetest.Message(t, "/queue/a", body)}})
			if errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if seq++; seq-first > 10000 {
				t.Fatal("the disk does not fill up")
			}
		}
		if seq-first < 100 {
			t.Fatalf("round %d: full after %d messages", round, seq-first)
		}
		if round == 1 { // a start on a full disk
			if err := j.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			j = open(t, cfg)
		}
		for ; first <= seq; first++ {
			if err := j.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: first, Last: first}}); err != nil {
				t.Fatalf("round %d: ack of %d: %v", round, first, err)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync is final: nothing is confirmed after it, though the disk says all is well
// again, and a start finds what was confirmed before.
func TestFailedSync(t *testing.T) {
	fs := &vfs.Memory{}
	cfg := journal.Config{FS: fs, SegmentSize: 64 << 10}
	j := open(t, cfg)
	put := func(seq store.Seq) error {
		return j.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq, Msg: storetest.Message(t, "/queue/a", nil)}})
	}
	if err := put(1); err != nil {
		t.Fatal(err)
	}
	broken := false
	fs.Fault = func(op, _ string) error {
		if op == "sync" && !broken {
			broken = true
			return syscall.EIO
		}
		return nil
	}
	for seq := store.Seq(2); seq < 5; seq++ {
		if err := put(seq); !errors.Is(err, syscall.EIO) {
			t.Errorf("put %d: %v", seq, err)
		}
	}
	if err := j.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
	fs.Fault = nil
	fs = fs.Crash(rand.New(rand.NewPCG(1, 1)))
	j = open(t, journal.Config{FS: fs, SegmentSize: 64 << 10})
	rs, _, err := j.Read(nil, "/queue/a", 0, 10, 1<<20)
	if err != nil || len(rs) < 1 || rs[0].Seq != 1 || len(rs) > 2 {
		t.Errorf("%d messages, %v", len(rs), err)
	}
}

// TestSegmentsComeBack checks that a queue that keeps up uses the same few files for ever,
// and that one message which stays does not keep what comes after it.
func TestSegmentsComeBack(t *testing.T) {
	fs := &vfs.Memory{}
	j := open(t, journal.Config{FS: fs, SegmentSize: 64 << 10})
	body := make([]byte, 1000)
	write := func(rs ...store.Record) {
		t.Helper()
		if err := j.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
	write(store.Record{Kind: store.RecordPut, Queue: "/queue/stays", Seq: 1, Msg: storetest.Message(t, "/queue/stays", []byte("here"))})
	most := 0
	for seq := store.Seq(1); seq < 3000; seq++ {
		write(
			store.Record{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq, Msg: storetest.Message(t, "/queue/a", body)},
			store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: seq - 5, Last: seq - 5},
		)
		files, err := fs.List()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(files))
	}
	if most > 16 {
		t.Errorf("%d files for a handful of messages", most)
	}
	rs, _, err := j.Read(nil, "/queue/stays", 0, 10, 1<<20)
	if err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != "here" {
		t.Errorf("what stayed: %v, %v", rs, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
