package journal_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var (
	seedFlag   = flag.Uint64("journal.seed", 0, "of the crash tests; 0 picks one")
	roundsFlag = flag.Int("journal.rounds", 40, "of the crash tests")
)

// A state is what a backend should hold.
type state map[string]map[store.Seq]string // by queue: what each message is and how often it was tried

func (s state) clone() state {
	c := state{}
	for name, q := range s {
		c[name] = maps.Clone(q)
	}
	return c
}

func (s state) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for _, seq := range slices.Sorted(maps.Keys(s[name])) {
			all = append(all, fmt.Sprintf("%s %d %s", name, seq, s[name][seq]))
		}
	}
	return strings.Join(all, "\n")
}

func stateOf(t *testing.T, b store.Backend) state {
	t.Helper()
	s := state{}
	for _, name := range names {
		rs, _, err := b.Read(nil, name, 0, 1<<20, 1<<40)
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		for _, r := range rs {
			if s[name] == nil {
				s[name] = map[store.Seq]string{}
			}
			s[name][r.Seq] = fmt.Sprintf("%s:%d", r.Msg.Body(), r.Attempts)
		}
	}
	return s
}

var names = []string{"/queue/a", "/queue/b", "/queue/c"}

// A writer makes random groups, and what they lead to.
type writer struct {
	r    *rand.Rand
	next map[string]store.Seq
	n    int
}

func (w *writer) group(t *testing.T, before state) ([]store.Record, state) {
	after := before.clone()
	var rs []store.Record
	for range 1 + w.r.IntN(6) {
		name := names[w.r.IntN(len(names))]
		q := after[name]
		switch k := w.r.IntN(10); {
		case k < 5:
			w.next[name]++
			w.n++
			body := fmt.Sprintf("%d-%s", w.n, strings.Repeat("x", w.r.IntN(300)))
			if w.r.IntN(50) == 0 {
				body += strings.Repeat("y", 6000)
			}
			rs = append(rs, store.Record{Kind: store.RecordPut, Queue: name, Seq: w.next[name], Msg: storetest.Message(t, name, []byte(body))})
			if q == nil {
				q = map[store.Seq]string{}
				after[name] = q
			}
			q[w.next[name]] = body + ":0"
		case k < 9:
			if len(q) == 0 {
				continue
			}
			seqs := slices.Sorted(maps.Keys(q))
			at := 0
			if w.r.IntN(4) == 0 {
				at = w.r.IntN(len(seqs))
			}
			last := seqs[at] + store.Seq(w.r.IntN(6))
			rs = append(rs, store.Record{Kind: store.RecordAck, Queue: name, Seq: seqs[at], Last: last})
			for seq := seqs[at]; seq <= last; seq++ {
				delete(q, seq)
			}
		default:
			if len(q) == 0 {
				continue
			}
			seqs := slices.Sorted(maps.Keys(q))
			seq, n := seqs[w.r.IntN(len(seqs))], uint32(1+w.r.IntN(5))
			rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: seq, Attempts: n})
			body, _, _ := strings.Cut(q[seq], ":")
			q[seq] = fmt.Sprintf("%s:%d", body, n)
		}
	}
	return rs, after
}

// TestCrash cuts the power after a random call, again and again on one disk: what was
// confirmed is there, of what was under way all or nothing, and Check finds no damage.
func TestCrash(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-journal.seed %d", seed)
	for disk := range 8 {
		r := rand.New(rand.NewPCG(seed, uint64(disk)))
		fs := &vfs.Memory{}
		w := &writer{r: r, next: map[string]store.Seq{}}
		sure := state{}
		for round := range *roundsFlag {
			left := r.IntN(60)
			fs.Fault = func(string, string) error {
				if left--; left < 0 {
					return vfs.ErrCrashed
				}
				return nil
			}
			cfg := journal.Config{FS: fs, SegmentSize: 16 << 10}
			maybe := sure
			j, err := journal.Open(cfg)
			for err == nil {
				if got := stateOf(t, j); round%20 == 0 && got.String() != sure.String() {
					t.Fatalf("disk %d, round %d: the journal holds\n%s\nwant\n%s", disk, round, got, sure)
				}
				var rs []store.Record
				rs, maybe = w.group(t, sure)
				if err = j.Write(rs); err == nil {
					sure = maybe
				}
				if r.IntN(200) == 0 {
					if err = j.Close(); err == nil {
						j, err = journal.Open(cfg)
					}
				}
			}
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("disk %d, round %d: %v", disk, round, err)
			}
			fs = fs.Crash(r)
			rep, err := journal.Check(journal.Config{FS: fs.Clone(), SegmentSize: 16 << 10})
			if err != nil || len(rep.Problems) > 0 {
				t.Fatalf("disk %d, round %d: Check: %v, problems %q", disk, round, err, rep.Problems)
			}
			j, err = journal.Open(journal.Config{FS: fs.Clone(), SegmentSize: 16 << 10})
			if err != nil {
				t.Fatalf("disk %d, round %d: after the crash: %v", disk, round, err)
			}
			switch got := stateOf(t, j); got.String() {
			case sure.String():
			case maybe.String():
				sure = maybe
			default:
				t.Fatalf("disk %d, round %d: after the crash, -what was sure +what is there\n%s\n-what was under way +what is there\n%s", disk, round,
					cmp.Diff(strings.Split(sure.String(), "\n"), strings.Split(got.String(), "\n")), cmp.Diff(strings.Split(maybe.String(), "\n"), strings.Split(got.String(), "\n")))
			}
		}
		if files, _ := fs.List(); len(files) > 200 {
			t.Errorf("%d files", len(files))
		}
	}
}

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
