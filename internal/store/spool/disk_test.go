package spool_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// on makes a durable store of r with a small window.
func on(t testing.TB, r *storetest.Reference) store.Store {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: r, Brief: true, Window: 1 << 20, Memory: 4 << 20, Failed: func(err error) { t.Errorf("the store failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestDurable(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return on(t, &storetest.Reference{}) })
	places := map[string]*storetest.Reference{}
	storetest.RunDurable(t, func(t testing.TB, place string) store.Store {
		r := places[place]
		if r == nil {
			r = &storetest.Reference{}
			places[place] = r
		}
		return on(t, r)
	})
}

func BenchmarkDurable(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store { return on(t, &storetest.Reference{}) })
}

// A scene is a durable store whose backend does as the test says.
type scene struct {
	*testing.T
	ref  *storetest.Reference
	st   store.Store
	gate chan error // each Write takes its fate from it, if it is not nil
	seen chan []store.Record
	q    store.Queue
}

func newScene(t *testing.T, gated bool) *scene {
	s := &scene{T: t, ref: &storetest.Reference{}, seen: make(chan []store.Record, 100)}
	if gated {
		s.gate = make(chan error)
	}
	s.ref.Before = func(rs []store.Record) error {
		s.seen <- slices.Clone(rs)
		if s.gate != nil {
			return <-s.gate
		}
		return nil
	}
	var err error
	if s.st, err = spool.Open(spool.Config{Backend: s.ref, Brief: true}); err != nil {
		t.Fatal(err)
	}
	if s.q, err = s.st.Queue("/queue/a", func() {}); err != nil {
		t.Fatal(err)
	}
	return s
}

// commit returns where the result of a batch will come.
func (s *scene) commit(fill func(b *store.Batch)) <-chan error {
	done := make(chan error, 1)
	b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
	fill(b)
	s.st.Commit(b)
	return done
}

func (s *scene) put(bodies ...string) <-chan error {
	return s.commit(func(b *store.Batch) {
		for _, body := range bodies {
			b.Put(s.q, storetest.Message(s, s.q.Name(), []byte(body)))
		}
	})
}

func (s *scene) ack(ds ...store.Delivery) <-chan error {
	return s.commit(func(b *store.Batch) {
		for _, d := range ds {
			b.Ack(s.q, d.Seq)
		}
	})
}

func (s *scene) fetch(want string) []store.Delivery {
	s.Helper()
	ds, err := s.q.Fetch(nil, 10)
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for _, d := range ds {
		got = append(got, fmt.Sprintf("%s:%d", d.Msg.Body(), d.Attempt))
	}
	if g := strings.Join(got, " "); g != want {
		s.Fatalf("got %q, want %q", g, want)
	}
	return ds
}

// spelt is what a Write was given.
func spelt(rs []store.Record) string {
	var all []string
	for _, r := range rs {
		switch r.Kind {
		case store.RecordPut:
			all = append(all, "put "+string(r.Msg.Body()))
		case store.RecordAck:
			all = append(all, fmt.Sprintf("ack %d-%d", r.Seq, r.Last))
		case store.RecordMark:
			all = append(all, fmt.Sprintf("mark %d", r.Seq))
		case store.RecordAttempts:
			all = append(all, fmt.Sprintf("tries %d:%d", r.Seq, r.Attempts))
		}
	}
	return strings.Join(all, ", ")
}

func (s *scene) written(want string) {
	s.Helper()
	select {
	case rs := <-s.seen:
		if got := spelt(rs); got != want {
			s.Fatalf("written: %s; want: %s", got, want)
		}
	case <-time.After(10 * time.Second):
		s.Fatalf("nothing is written, want: %s", want)
	}
}

func (s *scene) pending(done <-chan error) {
	s.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		s.Fatalf("done before it is durable: %v", err)
	default:
	}
}

func (s *scene) close() {
	s.Helper()
	s.ref.Before = nil
	if err := s.st.Close(); err != nil {
		s.Error(err)
	}
}

// TestDoneIsDurable checks that a lone message may be handed out before it is durable, that
// one which came with others may not, nor what is behind it, and that what comes while a
// Write is under way is the next Write together.
func TestDoneIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		a := s.put("a")
		s.written("put a")
		s.pending(a)
		s.fetch("") // it is being written, and nothing says yet that it was handed out
		bc, d := s.put("b", "c"), s.put("d")
		s.pending(a)
		s.gate <- nil
		if err := <-a; err != nil {
			t.Error(err)
		}
		s.written("put b, put c, put d, mark 4")
		s.fetch("")
		s.pending(bc)
		s.pending(d)
		s.gate <- nil
		<-bc
		<-d
		ds := s.fetch("a:1 b:1 c:1 d:1")
		e := s.put("e")
		s.written("put e, mark 5") // somebody waits for messages: it may go out at once
		s.fetch("e:1")
		done := s.ack(ds...)
		s.gate <- nil
		<-e
		s.written("ack 1-1, ack 2-2, ack 3-3, ack 4-4")
		s.pending(done)
		s.gate <- nil
		<-done
		f := s.commit(func(b *store.Batch) {
			b.Lazy = true // taken up in a moment
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("f")))
		})
		s.fetch("f:1")
		s.written("put f, mark 6")
		s.gate <- nil
		<-f
		s.close()
	})
}

// TestPairsAreNotWritten checks that what is acked before it was written never is.
func TestPairsAreNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, false)
		const n = 5000
		done := make(chan error, 2*n)
		var ds []store.Delivery
		for range n {
			s.st.Commit(lazy(done, func(b *store.Batch) { b.Put(s.q, storetest.Message(s, "/queue/a", nil)) }))
			var err error
			if ds, err = s.q.Fetch(ds[:0], 1); err != nil || len(ds) != 1 {
				t.Fatalf("%d deliveries, %v", len(ds), err)
			}
			s.st.Commit(lazy(done, func(b *store.Batch) { b.Ack(s.q, ds[0].Seq) }))
		}
		for range 2 * n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if writes, puts := s.ref.Writes(); writes != 0 {
			t.Errorf("%d writes of %d messages", writes, puts)
		}
		s.close()
	})
}

func lazy(done chan error, fill func(*store.Batch)) *store.Batch {
	b := &store.Batch{Lazy: true, Done: func(_ *store.Batch, err error) { done <- err }}
	fill(b)
	return b
}

// TestFull checks that a full backend fails what needs room and nothing else, that the input
// of a failed transaction comes back, and that all goes on when there is room.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		first := s.put("a", "b")
		s.written("put a, put b")
		s.gate <- nil
		<-first
		s.fetch("")
		s.written("mark 2")
		s.gate <- nil
		synctest.Wait()
		ds := s.fetch("a:1 b:1")
		held := s.put("x")
		s.written("put x, mark 3")
		put, ack := s.put("c"), s.ack(ds[0])
		move := s.commit(func(b *store.Batch) {
			b.Ack(s.q, ds[1].Seq)
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("d")))
		})
		last := s.put("e")
		s.gate <- nil
		<-held
		s.written("put c, ack 1-1, ack 2-2, put d, put e, mark 6")
		s.gate <- fmt.Errorf("the disk: %w", store.ErrFull)
		s.written("ack 1-1, mark 6")
		s.gate <- nil
		for name, done := range map[string]<-chan error{"put": put, "transaction": move, "last": last} {
			if err := <-done; !errors.Is(err, store.ErrFull) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := <-ack; err != nil {
			t.Errorf("ack: %v", err)
		}
		ds = s.fetch("b:2 x:1")
		again := s.put("f")
		s.written("put f, mark 7")
		s.gate <- nil
		if err := <-again; err != nil {
			t.Error(err)
		}
		ds = append(ds, s.fetch("f:1")...)
		if st := s.q.Stats(); st.Ready != 0 || st.Leased != 3 {
			t.Errorf("%+v", st)
		}
		acked := s.ack(ds...)
		s.written("ack 2-2, ack 3-3, ack 7-7")
		s.gate <- nil
		<-acked
		if n := s.st.Bytes(); n != 0 {
			t.Errorf("%d bytes of nothing", n)
		}
		s.close()
	})
}

// TestFullForAcks: a backend that has no room for acks either has them wait. SENDs are refused meanwhile,
// and all goes on when there is room.
func TestFullForAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		first := s.put("a", "b")
		s.written("put a, put b")
		s.gate <- nil
		<-first
		s.fetch("")
		s.written("mark 2")
		s.gate <- nil
		synctest.Wait()
		ds := s.fetch("a:1 b:1")
		ack := s.ack(ds[0])
		s.written("ack 1-1")
		full := fmt.Errorf("the disk: %w", store.ErrFull)
		for range 3 {
			waits := s.put("c")
			s.gate <- full
			if err := <-waits; !errors.Is(err, store.ErrFull) {
				t.Errorf("a put that waited: %v", err)
			}
			if err := <-s.put("d"); !errors.Is(err, store.ErrFull) {
				t.Errorf("a put: %v", err)
			}
			s.written("ack 1-1")
			s.pending(ack)
		}
		s.gate <- nil
		if err := <-ack; err != nil {
			t.Errorf("ack: %v", err)
		}
		put := s.put("e")
		s.written("put e, mark 4")
		s.gate <- nil
		if err := <-put; err != nil {
			t.Errorf("a put when there is room: %v", err)
		}
		last := s.ack(ds[1], s.fetch("e:1")[0])
		s.written("ack 2-2, ack 4-4")
		s.gate <- full
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- s.st.Close() }()
		s.written("ack 2-2, ack 4-4")
		s.gate <- full
		if err := <-closed; !errors.Is(err, store.ErrFull) {
			t.Errorf("Close: %v", err)
		}
		if err := <-last; !errors.Is(err, store.ErrFull) {
			t.Errorf("the last ack: %v", err)
		}
	})
}

// TestFailureIsFinal checks that nothing is confirmed after an error of the backend.
func TestFailureIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 2)
		broken := errors.New("the disk is gone")
		ref := &storetest.Reference{Before: func([]store.Record) error { return broken }}
		st, err := spool.Open(spool.Config{Backend: ref, Failed: func(err error) { failed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{T: t, ref: ref, st: st}
		if s.q, err = st.Queue("/queue/a", func() {}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-s.put("a"); !errors.Is(err, broken) {
				t.Errorf("put: %v", err)
			}
			if err := <-s.put("b", "c"); !errors.Is(err, broken) {
				t.Errorf("puts: %v", err)
			}
		}
		if err := <-failed; !errors.Is(err, broken) {
			t.Error(err)
		}
		if err := st.Close(); !errors.Is(err, broken) {
			t.Errorf("Close: %v", err)
		}
		if len(failed) > 0 {
			t.Error("told twice")
		}
	})
}

// TestHandedOutIsMarked checks at each Fetch and behind each Write that a crash at that
// moment would not forget what was handed out.
func TestHandedOutIsMarked(t *testing.T) {
	ref := &storetest.Reference{}
	st, err := spool.Open(spool.Config{Backend: ref, Window: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	q, err := st.Queue("/queue/a", func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	out := map[store.Seq]bool{}
	check := func() {
		mu.Lock()
		defer mu.Unlock()
		for seq := range out {
			if ref.Forgets("/queue/a", seq) {
				t.Errorf("message %d was handed out, and nothing stored says so", seq)
				delete(out, seq)
			}
		}
	}
	const count = 3000
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for i := 0; i < count; {
			b := &store.Batch{Lazy: r.IntN(2) == 0}
			done := make(chan error, 1)
			b.Done = func(_ *store.Batch, err error) { done <- err }
			for range min(1+r.IntN(3), count-i) {
				b.Put(q, storetest.Message(t, "/queue/a", make([]byte, r.IntN(100))))
				i++
			}
			st.Commit(b)
			if r.IntN(10) == 0 {
				<-done
				check()
			}
		}
	})
	for got := 0; got < count; {
		mu.Lock()
		ds, err := q.Fetch(nil, 20)
		for _, d := range ds {
			out[d.Seq] = true
		}
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		check()
		if got += len(ds); len(ds) == 0 {
			<-ready
			continue
		}
		done := make(chan error, 1)
		b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
		for i, d := range ds {
			if i%3 > 0 {
				b.Ack(q, d.Seq)
			}
		}
		st.Commit(b)
		<-done
		mu.Lock()
		for i, d := range ds {
			if i%3 > 0 {
				delete(out, d.Seq)
			}
		}
		mu.Unlock()
	}
	wg.Wait()
	check()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// TestReference has the reference pass what it is to judge others by.
func TestReference(t *testing.T) {
	places := map[string]*storetest.Reference{}
	storetest.RunBackend(t, func(t testing.TB, place string) store.Backend {
		if places[place] == nil {
			places[place] = &storetest.Reference{}
		}
		return places[place]
	})
}

// A syncing backend counts its checkpoints.
type syncing struct {
	storetest.Reference
	syncs atomic.Int32
}

func (s *syncing) Sync() error { s.syncs.Add(1); return nil }

// TestCheckpoint checks that a backend is synced once in each interval in which something
// was written, and not otherwise.
func TestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &syncing{}
		st, err := spool.Open(spool.Config{Backend: b, Checkpoint: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{T: t, ref: &b.Reference, st: st}
		if s.q, err = st.Queue("/queue/a", func() {}); err != nil {
			t.Fatal(err)
		}
		start := b.syncs.Load() // of what it writes there
		for i, want := range []int32{0, 1, 2, 2, 3} {
			if n := b.syncs.Load() - start; n != want {
				t.Errorf("after %d intervals: %d syncs, want %d", i, n, want)
			}
			if i != 2 {
				<-s.put("a")
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		s.close()
	})
}
