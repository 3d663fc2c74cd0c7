package journal_test

import (
	"fmt"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var crashFlags = storetest.CrashFlags("journal", 40)

var names = []string{"/queue/a", "/queue/b", "/queue/c"}

// onMemory is a journal of small segments on a disk for tests: they roll, and are made anew of what is
// left, all the time.
func onMemory(fs *vfs.Memory) journal.Config {
	return journal.Config{FS: fs, SegmentSize: smallSegment}
}

func crashes(t *testing.T) *storetest.Crashes {
	return &storetest.Crashes{
		Open:  func(fs *vfs.Memory) (store.Backend, error) { return journal.Open(onMemory(fs)) },
		Names: names, Seed: crashFlags.Seed(t),
		Check: func(fs *vfs.Memory) error {
			rep, err := journal.Check(onMemory(fs))
			if err == nil && len(rep.Problems) > 0 {
				err = fmt.Errorf("Check finds %q", rep.Problems)
			}
			return err
		},
	}
}

func TestCrash(t *testing.T) { crashes(t).Power(t, *crashFlags.Rounds, 60) }

func TestEachCall(t *testing.T) { crashes(t).EachCall(t) }

func rolling(fs *vfs.Memory) (store.Backend, error) {
	return journal.Open(journal.Config{FS: fs, SegmentSize: 64 << 10})
}

func TestFull(t *testing.T) { storetest.Full(t, 16<<20, rolling) }

func TestFailedSync(t *testing.T) { storetest.FailedSync(t, rolling) }

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
