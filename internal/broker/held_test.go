package broker_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"stompserver/internal/broker"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A held backend has those who read it wait, once it is told to.
type held struct {
	storetest.Reference
	gate    atomic.Pointer[chan struct{}]
	waiting atomic.Int32
}

func (h *held) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) ([]store.Record, bool, error) {
	if gate := h.gate.Load(); gate != nil {
		h.waiting.Add(1)
		<-*gate
		h.waiting.Add(-1)
	}
	return h.Reference.Read(dst, queue, after, max, size)
}

// hold has who reads wait until the result is called.
func (h *held) hold() (letGo func()) {
	gate := make(chan struct{})
	h.gate.Store(&gate)
	return func() {
		h.gate.Store(nil)
		close(gate)
	}
}

// stage is a broker in a bubble, on a backend that can be held.
type stage struct {
	*testing.T
	h  *held
	st store.Store
	b  *broker.Broker

	set []broker.Rule
}

func (s *stage) open() {
	s.Helper()
	var err error
	if s.st, err = spool.Open(spool.Config{Backend: s.h, Window: 32 << 10, Memory: 64 << 10}); err != nil {
		s.Fatal(err)
	}
	if s.b, err = broker.New(broker.Config{Store: s.st, Durable: true, MaxDeliveries: 1 << 20, Rules: s.set}); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) close() {
	s.Helper()
	s.b.Close()
	if err := s.st.Close(); err != nil {
		s.Error(err)
	}
}

func onStage(t *testing.T, play func(s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, h: &held{}}
		s.open()
		play(s)
		synctest.Wait()
		s.close()
	})
}

// confirmed sends on a goroutine of its own, and reports whether that was confirmed by the time that
// nobody has anything left to do.
func (s *stage) confirmed(dest, body string, headers ...string) bool {
	s.Helper()
	a, err := s.b.Address(dest)
	if err != nil {
		s.Fatal(err)
	}
	var done atomic.Bool
	m := newMessage(s, dest, body, headers...)
	go func() {
		var w broker.Wake
		a.Send(m, broker.NewOp(ownerFunc(func(err error) { done.Store(err == nil) })), &w)
		w.Run()
	}()
	synctest.Wait()
	return done.Load()
}

func (s *stage) depth(dest string) int {
	for _, q := range s.b.Queues() {
		if q.Name == dest {
			return q.Ready + q.Unacked
		}
	}
	return 0
}

func keyOf(i int) []string { return []string{"_AMQ_LVQ_NAME", "k" + strconv.Itoa(i)} }

// TestLastValuesWaitForNoStore: who sends to a queue that keeps the last of each key does not wait for
// what the queue has to read for that.
func TestLastValuesWaitForNoStore(t *testing.T) {
	const dest, keys = "/queue/a", 3000
	fill := func(s *stage) {
		if _, err := s.b.Declare(dest, broker.Properties{LastValue: true}, true); err != nil {
			s.Fatal(err)
		}
		a, err := s.b.Address(dest)
		if err != nil {
			s.Fatal(err)
		}
		var w broker.Wake
		for i := range keys {
			a.Send(newMessage(s, dest, "first", keyOf(i)...), broker.NewOp(nil), &w)
		}
		w.Run()
		synctest.Wait()
	}
	consume := func(s *stage, n int) (bodies []string) {
		c := openSink(s, s.b, dest, n, nil)
		synctest.Wait()
		var w broker.Wake
		for _, d := range c.take() {
			bodies = append(bodies, string(d.Msg.Body()))
			if err := c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
				s.Fatal(err)
			}
		}
		c.sub.Close(1<<60, &w)
		w.Run()
		synctest.Wait()
		return bodies
	}
	t.Run("one far behind is overtaken", func(t *testing.T) {
		onStage(t, func(s *stage) {
			fill(s)
			letGo := s.h.hold()
			for i := keys - 10; i < keys; i++ {
				if !s.confirmed(dest, "second", keyOf(i)...) {
					t.Fatal("a sender waits")
				}
			}
			if s.h.waiting.Load() == 0 {
				t.Error("nobody reads the store")
			}
			letGo()
			synctest.Wait()
			if n := s.depth(dest); n != keys {
				t.Errorf("it holds %d messages, want %d", n, keys)
			}
		})
	})
	t.Run("keys are forgotten", func(t *testing.T) {
		onStage(t, func(s *stage) {
			fill(s)
			for left := keys; left > 1200; {
				left -= len(consume(s, 600))
			}
			letGo := s.h.hold()
			for i := range 10 {
				if !s.confirmed(dest, "second", keyOf(i)...) {
					t.Fatal("a sender waits")
				}
			}
			if s.h.waiting.Load() == 0 {
				t.Error("nobody reads the store")
			}
			letGo()
			synctest.Wait()
			for i := keys - 10; i < keys; i++ { // these were not forgotten
				s.confirmed(dest, "second", keyOf(i)...)
			}
			if n := s.depth(dest); n != 1200+10 {
				t.Errorf("it holds %d messages, want %d", n, 1200+10)
			}
		})
	})
	t.Run("keys are learnt", func(t *testing.T) {
		onStage(t, func(s *stage) {
			fill(s)
			s.close()
			s.open()
			letGo := s.h.hold()
			if !s.confirmed(dest, "second", keyOf(7)...) || !s.confirmed(dest, "second", keyOf(keys-7)...) || !s.confirmed(dest, "third", keyOf(7)...) {
				t.Error("a sender waits")
			}
			if s.h.waiting.Load() == 0 {
				t.Error("nobody reads the store")
			}
			c := openSink(s, s.b, dest, 10, nil)
			look := &sink{new: make(chan struct{}, 1)}
			sub, err := s.b.Subscribe(dest, broker.Options{Consumer: look, Browse: &broker.Browse{}, Budget: &broker.Budget{Limit: 1 << 30}})
			if err != nil {
				t.Fatal(err)
			}
			var lw broker.Wake
			sub.Start(&lw)
			lw.Run()
			synctest.Wait()
			if got := append(c.take(), look.take()...); len(got) > 0 {
				t.Errorf("%s is given out, and may be overtaken", got[0].Msg.Body())
			}
			letGo()
			synctest.Wait()
			if got := look.take(); len(got) != keys+1 { // and the end
				t.Errorf("a browser sees %d messages, want the last of %d keys", len(got)-1, keys)
			}
			if got := c.take(); len(got) != 10 {
				t.Errorf("%d messages come", len(got))
			}
			var w broker.Wake
			c.sub.Close(0, &w)
			w.Run()
			s.confirmed(dest, "fourth", keyOf(8)...) // which has what was found dropped
			var all []string
			for s.depth(dest) > 0 {
				all = append(all, consume(s, 600)...)
			}
			slices.Sort(all)
			counts := map[string]int{}
			for _, body := range all {
				counts[body]++
			}
			if want := "map[first:2997 fourth:1 second:1 third:1]"; fmt.Sprint(counts) != want {
				t.Errorf("taken are %v, want %s", counts, want)
			}
		})
	})
}

// A counted store tells how much its queues are asked for at once.
type counted struct {
	store.Store
	mu sync.Mutex
	countedCalls
}

type countedCalls struct {
	peeked int // the most that a Peek gave
	paged  int // and a Page
	calls  int
	run    int // what was looked at since the last Page
	most   int // the most
}

type countedQueue struct {
	store.Queue
	s *counted
}

func (s *counted) Queue(name string, ready func()) (store.Queue, error) {
	q, err := s.Store.Queue(name, ready)
	if err != nil {
		return nil, err
	}
	return &countedQueue{q, s}, nil
}

func (s *counted) Commit(b *store.Batch) {
	changes := b.Changes()
	for i := range changes {
		if q, ok := changes[i].Queue.(*countedQueue); ok {
			changes[i].Queue = q.Queue
		}
	}
	s.Store.Commit(b)
}

func (q *countedQueue) note(n *int, got int) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	*n = max(*n, got)
	q.s.calls++
	if n == &q.s.paged { // which is called without the queue's lock
		q.s.run = 0
	}
}

func (q *countedQueue) Peek(dst []store.Delivery, after store.Seq, max int) ([]store.Delivery, bool) {
	ds, whole := q.Queue.Peek(dst, after, max)
	q.note(&q.s.peeked, len(ds)-len(dst))
	return ds, whole
}

func (q *countedQueue) Page(dst []store.Delivery, after store.Seq, max int, size int64) ([]store.Delivery, bool, error) {
	ds, more, err := q.Queue.Page(dst, after, max, size)
	q.note(&q.s.paged, len(ds)-len(dst))
	return ds, more, err
}

// A counter is a consumer that counts what it is handed, and filters likewise what they look at.
type counter struct {
	s    *counted
	n    atomic.Int64
	over atomic.Bool
}

func (c *counter) step() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.run++
	c.s.most = max(c.s.most, c.s.run)
}

func (c *counter) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.step()
	c.n.Add(1)
	if _, end := d.Msg.Header(broker.EndOfBrowse); end {
		c.over.Store(true)
	}
	return true
}

func (c *counter) Lagging(int, broker.Slow) {}

// TestLooksAreShort: whoever looks through a queue, with its lock held, looks at so few messages at once
// that nobody who sends feels it, however many there are.
func TestLooksAreShort(t *testing.T) {
	const dest, count = "/queue/a", 20_000
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return spool.New() },
		"paged": func(t *testing.T) store.Store {
			st, err := spool.Open(spool.Config{Backend: &storetest.Reference{}, Window: 1 << 20, Memory: 4 << 20})
			if err != nil {
				t.Fatal(err)
			}
			return st
		},
	} {
		for _, as := range []struct {
			name string
			how  broker.Options
			most int // messages looked at with the lock held
		}{
			{"browser", broker.Options{Browse: &broker.Browse{}}, 64},
			{"selector", broker.Options{Filter: every(count - 1)}, 1024 + 256},
		} {
			t.Run(name+" "+as.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st := &counted{Store: open(t)}
					b, err := broker.New(broker.Config{Store: st, Durable: name == "paged"})
					if err != nil {
						t.Fatal(err)
					}
					send(t, b, dest, numbers(1, count)...)
					synctest.Wait()
					st.countedCalls = countedCalls{}
					c := &counter{s: st}
					as.how.Consumer, as.how.Prefetch, as.how.Mode, as.how.Budget = c, 10, broker.ClientIndividual, &broker.Budget{Limit: 1 << 30}
					if f := as.how.Filter; f != nil {
						as.how.Filter = counts{f, c}
					}
					sub, err := b.Subscribe(dest, as.how)
					if err != nil {
						t.Fatal(err)
					}
					var w broker.Wake
					sub.Start(&w)
					w.Run()
					synctest.Wait()
					if want := map[bool]int64{true: count, false: 1}[as.how.Browse != nil]; c.n.Load() != want {
						t.Errorf("%d came, want %d", c.n.Load(), want)
					}
					t.Logf("%d looks, at most %d messages by Peek and %d by Page, and %d with the lock held", st.calls, st.peeked, st.paged, st.most)
					if st.peeked > 256 || st.paged > 1024 || st.most > as.most || st.most < 64 {
						t.Errorf("want at most 256 by Peek, 1024 by Page, and %d with the lock held", as.most)
					}
					sub.Close(0, &w)
					w.Run()
					b.Close()
					if err := st.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// counts is a filter whose looks are counted.
type counts struct {
	broker.Filter
	c *counter
}

func (f counts) Wants(m *message.Message) bool {
	f.c.step()
	return f.Filter.Wants(m)
}
