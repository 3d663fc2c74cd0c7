package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Crashes plays what becomes of a backend on a disk that fails.
type Crashes struct {
	Open  func(fs *vfs.Memory) (store.Backend, error)
	Names []string // of queues
	Seed  uint64

	// Check looks at a disk after a crash, before it is opened; it may be nil.
	Check func(fs *vfs.Memory) error
}

// A State is what a backend holds: by queue, what each message is and how often it was tried.
type State map[string]map[store.Seq]string

func (s State) clone() State {
	c := State{}
	for name, q := range s {
		c[name] = maps.Clone(q)
	}
	return c
}

func (s State) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for _, seq := range slices.Sorted(maps.Keys(s[name])) {
			all = append(all, fmt.Sprintf("%s %d %s", name, seq, s[name][seq]))
		}
	}
	return strings.Join(all, "\n")
}

// StateOf reads what b holds of these queues.
func StateOf(b store.Backend, names ...string) (State, error) {
	s := State{}
	for _, name := range names {
		rs, _, err := b.Read(nil, name, 0, 1<<20, 1<<40)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		for _, r := range rs {
			if s[name] == nil {
				s[name] = map[store.Seq]string{}
			}
			s[name][r.Seq] = fmt.Sprintf("%s:%d", r.Msg.Body(), r.Attempts)
		}
	}
	return s, nil
}

// A Writer makes random groups of records, and what they lead to.
type Writer struct {
	Rand  *rand.Rand
	Names []string

	next map[string]store.Seq
	n    int
}

// Group makes what a Write is given, and the state that it makes of before.
func (w *Writer) Group(t testing.TB, before State) ([]store.Record, State) {
	if w.next == nil {
		w.next = map[string]store.Seq{}
	}
	after := before.clone()
	var rs []store.Record
	for range 1 + w.Rand.IntN(6) {
		name := w.Names[w.Rand.IntN(len(w.Names))]
		q := after[name]
		seqs := slices.Sorted(maps.Keys(q))
		switch k := w.Rand.IntN(10); {
		case k < 5:
			w.next[name]++
			w.n++
			body := fmt.Sprintf("%d-%s", w.n, strings.Repeat("x", w.Rand.IntN(300)))
			switch w.Rand.IntN(100) {
			case 0, 1:
				body += strings.Repeat("y", 6000)
			case 2: // of which a group may be several writes
				body += strings.Repeat("z", vfs.ShareFrom)
			}
			m := Message(t, name, []byte(body))
			w.put(&rs, after, name, m)
			if w.Rand.IntN(3) == 0 { // it is put into others too, and into the same again
				for range 1 + w.Rand.IntN(4) {
					other := w.Names[w.Rand.IntN(len(w.Names))]
					w.next[other]++
					w.put(&rs, after, other, m)
				}
			}
		case len(q) == 0:
		case k < 9:
			at := 0
			if w.Rand.IntN(4) == 0 {
				at = w.Rand.IntN(len(seqs))
			}
			last := seqs[at] + store.Seq(w.Rand.IntN(6))
			rs = append(rs, store.Record{Kind: store.RecordAck, Queue: name, Seq: seqs[at], Last: last})
			for seq := seqs[at]; seq <= last; seq++ {
				delete(q, seq)
			}
		default:
			seq, n := seqs[w.Rand.IntN(len(seqs))], uint32(1+w.Rand.IntN(5))
			rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: seq, Attempts: n})
			body, _, _ := strings.Cut(q[seq], ":")
			q[seq] = fmt.Sprintf("%s:%d", body, n)
		}
	}
	return rs, after
}

// put adds a record and what it leads to.
func (w *Writer) put(rs *[]store.Record, after State, name string, m *message.Message) {
	*rs = append(*rs, store.Record{Kind: store.RecordPut, Queue: name, Seq: w.next[name], Msg: m})
	if after[name] == nil {
		after[name] = map[store.Seq]string{}
	}
	after[name][w.next[name]] = string(m.Body()) + ":0"
}

// Power cuts the power after a random one of so many calls, again and again on one disk: what was
// confirmed is there, and of what was under way all or nothing.
func (c *Crashes) Power(t *testing.T, rounds, calls int) {
	for disk := range 8 {
		r := rand.New(rand.NewPCG(c.Seed, uint64(disk)))
		fs := &vfs.Memory{}
		w := &Writer{Rand: r, Names: c.Names}
		sure := State{}
		for round := range rounds {
			left := r.IntN(calls)
			fs.Fault = func(string, string) error {
				if left--; left < 0 {
					return vfs.ErrCrashed
				}
				return nil
			}
			maybe, err := c.live(t, fs, w, &sure)
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("disk %d, round %d: %v", disk, round, err)
			}
			fs = fs.Crash(r)
			if c.Check != nil {
				if err := c.Check(fs.Clone()); err != nil {
					t.Fatalf("disk %d, round %d: %v", disk, round, err)
				}
			}
			got, err := c.found(fs.Clone(), sure)
			switch {
			case err != nil:
				t.Fatalf("disk %d, round %d: after the crash: %v", disk, round, err)
			case got.String() == sure.String():
			case got.String() == maybe.String():
				sure = maybe
			default:
				t.Fatalf("disk %d, round %d: after the crash, -what was sure +what is there\n%s\n-what was under way +what is there\n%s",
					disk, round, difference(sure, got), difference(maybe, got))
			}
		}
		if files, _ := fs.List(); len(files) > 200 {
			t.Errorf("%d files", len(files))
		}
	}
}

func difference(a, b State) string {
	return cmp.Diff(strings.Split(a.String(), "\n"), strings.Split(b.String(), "\n"))
}

// live plays until something fails. It keeps in sure what was confirmed, and returns what was under way.
func (c *Crashes) live(t *testing.T, fs *vfs.Memory, w *Writer, sure *State) (maybe State, err error) {
	maybe = *sure
	b, err := c.Open(fs)
	for err == nil {
		if w.Rand.IntN(60) == 0 {
			if got, err := StateOf(b, c.Names...); err != nil || got.String() != sure.String() {
				t.Fatalf("it holds, %v\n%s\nwant\n%s", err, got, *sure)
			}
		}
		var rs []store.Record
		rs, maybe = w.Group(t, *sure)
		if err = b.Write(rs); err != nil {
			break
		}
		*sure = maybe
		s, syncs := b.(store.Syncer)
		switch k := w.Rand.IntN(120); {
		case k < 2:
			if err = b.Close(); err == nil {
				b, err = c.Open(fs)
			}
		case k < 4 && syncs:
			err = s.Sync()
		}
	}
	return maybe, err
}

// found opens what a crash left, and looks whether what it tells of its queues is so.
func (c *Crashes) found(fs *vfs.Memory, sure State) (State, error) {
	b, err := c.Open(fs)
	if err != nil {
		return nil, err
	}
	infos, err := b.Queues()
	if err != nil {
		return nil, err
	}
	top := map[string]store.Seq{}
	for _, i := range infos {
		top[i.Name] = i.Last
		if rs, _, err := b.Read(nil, i.Name, 0, 1<<20, 1<<40); err != nil || len(rs) != i.Count {
			return nil, fmt.Errorf("%s has %d messages, told are %d, %w", i.Name, len(rs), i.Count, err)
		}
	}
	for name, q := range sure {
		for seq := range q {
			if seq > max(top[name], top[""]) {
				return nil, fmt.Errorf("the last of %s is told as %d, there is %d", name, top[name], seq)
			}
		}
	}
	return StateOf(b, c.Names...)
}

// EachCall has every call of the file system fail in turn, until a life passes untouched: with an
// error that goes away, with a full disk, and with a power cut, the first start included.
func (c *Crashes) EachCall(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, vfs.ErrCrashed} {
		t.Run(fault.Error(), func(t *testing.T) {
			for n := 0; ; n++ {
				if !c.once(t, fault, n) {
					if n < 60 {
						t.Errorf("there were only %d calls", n)
					}
					return
				}
			}
		})
	}
}

// once plays a short life in which call n fails, then a power cut. It reports whether there was
// such a call.
func (c *Crashes) once(t *testing.T, fault error, n int) (failed bool) {
	r := rand.New(rand.NewPCG(c.Seed, 7))
	w := &Writer{Rand: r, Names: c.Names}
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
	sure := State{}
	maybe := sure
	var err error
	for life := 0; life < 2 && err == nil; life++ {
		var b store.Backend
		if b, err = c.Open(fs); err != nil {
			break
		}
		for range 25 {
			before := maps.Clone(w.next)
			rs, after := w.Group(t, sure)
			if err = b.Write(rs); errors.Is(err, store.ErrFull) {
				w.next, err = before, nil
				if got, e := StateOf(b, c.Names...); e != nil || got.String() != sure.String() {
					t.Fatalf("call %d: after a Write that found no room left, %v\n%s\nwant\n%s", n, e, got, sure)
				}
				continue
			}
			if maybe = after; err != nil {
				break
			}
			sure = after
		}
		if e := b.Close(); err == nil && !errors.Is(e, store.ErrFull) {
			err = e
		}
	}
	if err != nil && !errors.Is(err, fault) {
		t.Fatalf("call %d: %v", n, err)
	}
	fs.Fault = nil
	fs = fs.Crash(rand.New(rand.NewPCG(c.Seed, uint64(n))))
	b, err := c.Open(fs)
	if err != nil {
		t.Fatalf("call %d failed, and then the start: %v", n, err)
	}
	got, err := StateOf(b, c.Names...)
	if err != nil || got.String() != sure.String() && got.String() != maybe.String() {
		t.Fatalf("call %d failed; there is, %v\n%s\nsure was\n%s\nunder way\n%s", n, err, got, sure, maybe)
	}
	if err := b.Close(); err != nil {
		t.Fatalf("call %d: Close: %v", n, err)
	}
	return failed
}
