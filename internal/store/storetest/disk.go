package storetest

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Full has the disk fill up, with so much room on it: what needs room fails, acks go on, and there is
// room again; a start on a full disk among it.
func Full(t *testing.T, room int64, open func(fs *vfs.Memory) (store.Backend, error)) (fs *vfs.Memory) {
	fs = &vfs.Memory{}
	b := opened(t, fs, open)
	fs.Room = room
	body := make([]byte, 4000)
	var seq store.Seq
	for round := range 3 {
		first := seq + 1
		for {
			err := b.Write([]store.Record{putOf(t, seq+1, body)})
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
		if round == 1 {
			if err := b.Close(); err != nil && !errors.Is(err, store.ErrFull) {
				t.Fatalf("Close: %v", err)
			}
			b = opened(t, fs, open)
		}
		for ; first <= seq; first++ {
			if err := b.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: first, Last: first}}); err != nil {
				t.Fatalf("round %d: ack of %d: %v", round, first, err)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

// FailedSync is final: nothing is confirmed after it, though the disk says all is well again, and a
// start finds what was confirmed before.
func FailedSync(t *testing.T, open func(fs *vfs.Memory) (store.Backend, error)) {
	fs := &vfs.Memory{}
	b := opened(t, fs, open)
	if err := b.Write([]store.Record{putOf(t, 1, nil)}); err != nil {
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
		if err := b.Write([]store.Record{putOf(t, seq, nil)}); !errors.Is(err, syscall.EIO) {
			t.Errorf("put %d: %v", seq, err)
		}
	}
	if err := b.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
	fs.Fault = nil
	b = opened(t, fs.Crash(rand.New(rand.NewPCG(1, 1))), open)
	rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20)
	if err != nil || len(rs) < 1 || rs[0].Seq != 1 || len(rs) > 2 {
		t.Errorf("%d messages, %v", len(rs), err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func opened(t *testing.T, fs *vfs.Memory, open func(fs *vfs.Memory) (store.Backend, error)) store.Backend {
	t.Helper()
	b, err := open(fs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putOf(t *testing.T, seq store.Seq, body []byte) store.Record {
	return store.Record{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq, Msg: Message(t, "/queue/a", body)}
}
