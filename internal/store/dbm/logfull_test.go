package dbm_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
)

// TestFullBehindTheLog has the disk be too full, now and then, for what the log holds: messages are refused, acks are
// not, nothing is lost or torn, and all goes on once there is room, or after a start in the middle of it.
func TestFullBehindTheLog(t *testing.T) {
	seed := crashFlags.Seed(t)
	for disk := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, disk))
		var full atomic.Bool
		dir := t.TempDir()
		cfg := inDir(dir).SmallLog(48<<10, 24<<10, 40_000).FailAt(func() error {
			if full.Load() {
				return errFull
			}
			return nil
		})
		w := &storetest.Writer{Rand: rnd, Names: queues}
		b := openLogged(t, cfg)
		sure, refused, acks, starts := storetest.State{}, 0, 0, 0
		check := func() {
			t.Helper()
			if got, err := storetest.StateOf(b, queues...); err != nil || got.String() != sure.String() {
				t.Fatalf("it holds, %v\n%.3000s\nwant\n%.3000s", err, got, sure)
			}
		}
		for i := range 1500 {
			if rnd.IntN(100) == 0 {
				full.Store(!full.Load())
			}
			rs, after := w.Group(t, sure)
			switch err := b.Write(rs); {
			case err == nil:
				sure = after
			case errors.Is(err, store.ErrFull):
				if !full.Load() {
					t.Fatalf("write %d: there is room: %v", i, err)
				}
				refused++
				if rs, after := onlyAcks(rs, sure); len(rs) > 0 {
					if err := b.Write(rs); err == nil {
						sure = after
						acks++
					} else if !errors.Is(err, store.ErrFull) {
						t.Fatal(err)
					}
				}
			default:
				t.Fatal(err)
			}
			if i%40 == 0 {
				if err := b.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if i%50 == 0 {
				check()
			}
			switch rnd.IntN(300) {
			case 0:
				b.Abandon()
				b = openLogged(t, cfg)
				starts++
				check()
			case 1:
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				b = openLogged(t, cfg)
				starts++
				check()
			}
		}
		if full.Store(false); refused == 0 || acks == 0 || starts == 0 {
			t.Errorf("%d refused, %d acks, %d starts", refused, acks, starts)
		}
		rs, after := w.Group(t, sure)
		write(t, b, rs...)
		sure = after
		check()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if names := logsIn(t, dir); len(names) > 0 {
			t.Errorf("%q are left", names)
		}
		last, err := dbm.Open(inDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := storetest.StateOf(last, queues...); err != nil || got.String() != sure.String() {
			t.Fatalf("at last it holds, %v\n%.3000s\nwant\n%.3000s", err, got, sure)
		}
		_ = last.Close()
	}
}

// TestFullAtTheEnd has the disk become too full when the database has all: the log stays, as where it has not.
func TestFullAtTheEnd(t *testing.T) {
	var full atomic.Bool
	dir := t.TempDir()
	cfg := inDir(dir).FailAt(func() error {
		if full.Load() {
			return errFull
		}
		return nil
	})
	b := openLogged(t, cfg)
	write(t, b, put(t, "/queue/a", 1, "one"))
	if err := b.Drain(); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	full.Store(false)
	b = openLogged(t, cfg)
	if rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<20); err != nil || len(rs) != 1 {
		t.Errorf("%d messages, %v", len(rs), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if names := logsIn(t, dir); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
}

// TestRoomByAcks: where the disk is full, what acks make free within the file is room for messages at once, also if
// all of it came by one transaction and there is no other behind it.
func TestRoomByAcks(t *testing.T) {
	b := openLogged(t, inDir(t.TempDir()))
	const n = 120
	for seq := store.Seq(1); seq <= n; seq++ {
		write(t, b, put(t, "/queue/a", seq, text(200<<10)))
	}
	if err := b.Drain(); err != nil {
		t.Fatal(err)
	}
	b.NoReserve()
	if err := b.Write([]store.Record{put(t, "/queue/a", n+1, "one more")}); !errors.Is(err, store.ErrFull) {
		t.Fatalf("a message on a full disk: %v", err)
	}
	write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: n})
	if err := b.Drain(); err != nil {
		t.Fatal(err)
	}
	write(t, b, put(t, "/queue/a", n+1, "one more"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// onlyAcks is what of a Write puts nothing, and what it leads to, where that is about messages that are there.
func onlyAcks(rs []store.Record, before storetest.State) (acks []store.Record, after storetest.State) {
	after = storetest.State{}
	for name, q := range before {
		after[name] = make(map[store.Seq]string)
		for seq, m := range q {
			after[name][seq] = m
		}
	}
	for _, r := range rs {
		if r.Kind == store.RecordAck {
			acks = append(acks, r)
			for seq := r.Seq; seq <= r.Last; seq++ {
				delete(after[r.Queue], seq)
			}
		}
	}
	return acks, after
}
