package file_test

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
	"stompserver/internal/store/file"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var (
	seedFlag   = flag.Uint64("file.seed", 0, "of the crash tests; 0 picks one")
	roundsFlag = flag.Int("file.rounds", 100, "of the crash tests")
)

// onMemory is a directory on a disk for tests; one call comes after the other there.
func onMemory(fs *vfs.Memory) file.Config {
	return file.Config{Dir: "/storage", FS: fs, RedoSize: 4 << 10, Syncs: 1}
}

// A state is what a backend should hold: by queue, what each message is and how often it was
// tried.
type state map[string]map[store.Seq]string

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

// Two of them share a folder.
var names = []string{"/queue/a/b", "/queue/a_b", "/queue/c"}

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
		case len(q) == 0:
			continue
		case k < 9:
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
			seqs := slices.Sorted(maps.Keys(q))
			seq, n := seqs[w.r.IntN(len(seqs))], uint32(1+w.r.IntN(5))
			rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: seq, Attempts: n})
			body, _, _ := strings.Cut(q[seq], ":")
			q[seq] = fmt.Sprintf("%s:%d", body, n)
		}
	}
	return rs, after
}

func newSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-file.seed %d", seed)
	return seed
}

// TestCrash cuts the power after a random call, again and again on one disk: what was
// confirmed is there, and of what was under way all or nothing.
func TestCrash(t *testing.T) {
	seed := newSeed(t)
	for disk := range 8 {
		r := rand.New(rand.NewPCG(seed, uint64(disk)))
		fs := &vfs.Memory{}
		w := &writer{r: r, next: map[string]store.Seq{}}
		sure := state{}
		for round := range *roundsFlag {
			left := r.IntN(120)
			fs.Fault = func(string, string) error {
				if left--; left < 0 {
					return vfs.ErrCrashed
				}
				return nil
			}
			maybe := sure
			f, err := file.Open(onMemory(fs))
			for err == nil {
				var rs []store.Record
				rs, maybe = w.group(t, sure)
				if err = f.Write(rs); err == nil {
					sure = maybe
				}
				switch {
				case err != nil:
				case r.IntN(60) == 0:
					if err = f.Close(); err == nil {
						f, err = file.Open(onMemory(fs))
					}
				case r.IntN(60) == 0:
					err = f.Sync()
				}
			}
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("disk %d, round %d: %v", disk, round, err)
			}
			fs = fs.Crash(r)
			f = openWith(t, onMemory(fs.Clone()))
			infos, err := f.Queues()
			if err != nil {
				t.Fatal(err)
			}
			top := map[string]store.Seq{}
			for _, i := range infos {
				top[i.Name] = i.Last
				if rs, _, err := f.Read(nil, i.Name, 0, 1<<20, 1<<40); err != nil || len(rs) != i.Count {
					t.Fatalf("disk %d, round %d: %s has %d messages, told are %d, %v", disk, round, i.Name, len(rs), i.Count, err)
				}
			}
			for name, q := range sure {
				for seq := range q {
					if seq > max(top[name], top[""]) {
						t.Fatalf("disk %d, round %d: the last of %s is told as %d, there is %d", disk, round, name, top[name], seq)
					}
				}
			}
			switch got := stateOf(t, f); got.String() {
			case sure.String():
			case maybe.String():
				sure = maybe
			default:
				t.Fatalf("disk %d, round %d: after the crash, -what was sure +what is there\n%s\n-what was under way +what is there\n%s", disk, round,
					cmp.Diff(strings.Split(sure.String(), "\n"), strings.Split(got.String(), "\n")), cmp.Diff(strings.Split(maybe.String(), "\n"), strings.Split(got.String(), "\n")))
			}
		}
	}
}

// TestEachCall has every single call fail once, with an error of the disk, with no room left,
// and with the power gone.
func TestEachCall(t *testing.T) {
	seed := newSeed(t)
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, vfs.ErrCrashed} {
		t.Run(fault.Error(), func(t *testing.T) {
			for n := 0; ; n++ {
				if !playOnce(t, seed, fault, n) {
					if n < 60 {
						t.Errorf("there were only %d calls", n)
					}
					return
				}
			}
		})
	}
}

// playOnce plays a short life in which call n fails. It reports whether there was one.
func playOnce(t *testing.T, seed uint64, fault error, n int) (failed bool) {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &writer{r: r, next: map[string]store.Seq{}}
	fs := &vfs.Memory{}
	calls := 0
	fs.Fault = func(string, string) error {
		calls++
		if calls == n+1 || calls > n && fault == vfs.ErrCrashed {
			failed = true
			return fault
		}
		return nil
	}
	sure := state{}
	maybe := sure
	var f *file.File
	var err error
	for range 2 {
		if f, err = file.Open(onMemory(fs)); err != nil {
			break
		}
		for range 25 {
			var rs []store.Record
			before := maps.Clone(w.next)
			rs, maybe = w.group(t, sure)
			if err = f.Write(rs); errors.Is(err, store.ErrFull) {
				w.next = before
				if got := stateOf(t, f); got.String() != sure.String() {
					t.Fatalf("call %d: a Write that found no room left\n%s\nwant\n%s", n, got, sure)
				}
				err = nil
				continue
			}
			if err != nil {
				break
			}
			sure = maybe
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, store.ErrFull) {
			break
		}
	}
	if err != nil && !errors.Is(err, fault) {
		t.Fatalf("call %d: %v", n, err)
	}
	fs.Fault = nil
	after := fs.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
	f = openWith(t, onMemory(after))
	if got := stateOf(t, f).String(); got != sure.String() && got != maybe.String() {
		t.Fatalf("call %d: there is\n%s\nwant\n%s\nor\n%s", n, got, sure, maybe)
	}
	if err := f.Close(); err != nil {
		t.Fatalf("call %d: Close: %v", n, err)
	}
	return failed
}

// TestNoSync cuts the power while nothing waits for the disk: what there is is whole Writes,
// in order, and all that a Sync confirmed is among it.
func TestNoSync(t *testing.T) {
	seed := newSeed(t)
	for disk := range *roundsFlag {
		r := rand.New(rand.NewPCG(seed, uint64(disk)))
		fs := &vfs.Memory{}
		left := 30 + r.IntN(300)
		fs.Fault = func(string, string) error {
			if left--; left < 0 {
				return vfs.ErrCrashed
			}
			return nil
		}
		cfg := onMemory(fs)
		cfg.NoSync = true
		f, err := file.Open(cfg)
		w := &writer{r: r, next: map[string]store.Seq{}}
		states, now := []string{""}, state{}
		for err == nil {
			var rs []store.Record
			rs, now = w.group(t, now)
			states = append(states, now.String())
			if err = f.Write(rs); err == nil && r.IntN(10) == 0 {
				if err = f.Sync(); err == nil {
					states = states[len(states)-1:]
				}
			}
		}
		after := fs.Crash(r)
		cfg = onMemory(after)
		f = openWith(t, cfg)
		if got := stateOf(t, f).String(); !slices.Contains(states, got) {
			t.Fatalf("disk %d: after the crash there is\n%s\nwhich is none of %d states since the last Sync", disk, got, len(states))
		}
	}
}

// TestFull has the disk fill up: what needs room fails, acks go on, and there is room again.
func TestFull(t *testing.T) {
	fs := &vfs.Memory{}
	cfg := file.Config{Dir: "/storage", FS: fs, RedoSize: 64 << 10}
	f := openWith(t, cfg)
	fs.Room = 4 << 20
	body := make([]byte, 4000)
	var seq store.Seq
	for round := range 3 {
		first := seq + 1
		for {
			err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq + 1, Msg: storetest.Message(t, "/queue/a", body)}})
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
			if err := f.Close(); err != nil && !errors.Is(err, store.ErrFull) {
				t.Fatalf("Close: %v", err)
			}
			f = openWith(t, cfg)
		}
		for ; first <= seq; first++ {
			if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: first, Last: first}}); err != nil {
				t.Fatalf("round %d: ack of %d: %v", round, first, err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if folders, _ := fs.Folders(); len(folders) > 0 {
		t.Errorf("the folders %q are left", folders)
	}
}

// TestFailedSync is final: nothing is confirmed after it, though the disk says all is well
// again, and a start finds what was confirmed before.
func TestFailedSync(t *testing.T) {
	fs := &vfs.Memory{}
	f := openWith(t, onMemory(fs))
	put := func(seq store.Seq) error {
		return f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/c", Seq: seq, Msg: storetest.Message(t, "/queue/c", nil)}})
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
	if err := f.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
	fs.Fault = nil
	f = openWith(t, onMemory(fs.Crash(rand.New(rand.NewPCG(1, 1)))))
	rs, _, err := f.Read(nil, "/queue/c", 0, 10, 1<<20)
	if err != nil || len(rs) < 1 || rs[0].Seq != 1 || len(rs) > 2 {
		t.Errorf("%d messages, %v", len(rs), err)
	}
}
