package broker_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A slowpoke is a Consumer that takes a few messages at a time, until it is told to go on.
type slowpoke struct {
	t      *testing.T
	sub    *broker.Subscription
	mu     sync.Mutex
	rnd    *rand.Rand // nil: it takes none
	next   int        // the number that must come now
	missed int
	told   int  // how often it was told that it is slow
	any    bool // it does not look at numbers
}

func (c *slowpoke) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := number(d.Msg); {
	case c.any:
	case n < c.next || n > c.next && c.missed == 0:
		c.t.Errorf("got %d, want %d", n, c.next)
		fallthrough
	default:
		c.next = n + 1
	}
	return c.rnd != nil && c.rnd.IntN(50) != 0
}

func (c *slowpoke) Lagging(n int, _ broker.Slow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed += n
	c.told++
}

func (c *slowpoke) at() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

func (c *slowpoke) resume() {
	var w broker.Wake
	c.sub.Resume(&w)
	w.Run()
}

func subscribeSlowly(t *testing.T, b *broker.Broker, dest string, r *rand.Rand, s broker.Slowness) *slowpoke {
	t.Helper()
	c := &slowpoke{t: t, rnd: r}
	var err error
	if c.sub, err = b.Subscribe(dest, broker.Options{Consumer: c, Budget: &broker.Budget{Limit: 32 << 10}, Slow: s}); err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	c.sub.Start(&w)
	w.Run()
	return c
}

// spilled is how many messages the store has of slow subscriptions, and in how many queues.
func spilled(b *broker.Broker, st *spool.Spool) (messages, queues int) {
	for name, s := range st.Queues() {
		if strings.HasPrefix(name, "/queue/$spill/") {
			messages += s.Ready + s.Leased
			queues++
		}
	}
	return messages, queues
}

// TestSpill has somebody send faster than two others take it, one of them by a pattern, and then slower:
// each gets every message in order, memory is bounded, and in the end nothing is left in the store.
func TestSpill(t *testing.T) {
	for name, backend := range map[string]*storetest.Reference{"memory": nil, "paged": {}} {
		t.Run(name, func(t *testing.T) {
			st := spool.New()
			if backend != nil {
				var err error
				if st, err = spool.Open(spool.Config{Backend: backend, Window: 64 << 10, Memory: 256 << 10}); err != nil {
					t.Fatal(err)
				}
			}
			b, err := broker.New(broker.Config{Store: st})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				b.Close()
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			slow := broker.Slowness{Policy: broker.SlowSpill}
			cs := []*slowpoke{
				subscribeSlowly(t, b, "/topic/a", rand.New(rand.NewPCG(seed, 1)), slow),
				subscribeSlowly(t, b, "/topic/>", rand.New(rand.NewPCG(seed, 2)), slow),
			}
			a, err := b.Address("/topic/a")
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 3))
			const count = 20000
			var sent atomic.Int64
			var consumers sync.WaitGroup
			for _, c := range cs {
				consumers.Go(func() { // well behind, then close behind
					for c.at() < count && !t.Failed() {
						if n := sent.Load(); n > count/2 || n%5000 > 4000 {
							c.resume()
						} else {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			var w broker.Wake
			for i := range count {
				m := newMessage(t, "/topic/a", numbers(i, i+1)[0], "filler", strings.Repeat("x", 200), "persistent", []string{"true", "false"}[i%2])
				for op := broker.NewOp(nil); ; {
					op.Patient = true
					if a.Send(m, op, &w) {
						break
					}
					time.Sleep(time.Millisecond)
				}
				w.Run()
				sent.Store(int64(i + 1))
				if used := b.Stats().MemoryUsed; backend != nil && used > 16<<20 {
					t.Fatalf("%d bytes of memory are used", used)
				}
				if i > count/2 && r.IntN(100) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			consumers.Wait()
			for _, c := range cs {
				if c.missed > 0 || c.told == 0 {
					t.Errorf("it missed %d messages, and was told %d times that it is slow", c.missed, c.told)
				}
				if n, _ := spilled(b, st); n > 0 {
					t.Errorf("%d messages are left in the store", n)
				}
				c.sub.Close(0, &w)
			}
			until(t, "the queues are gone", func() bool { _, n := spilled(b, st); return n == 0 })
			if used := b.Stats().MemoryUsed; used > 4<<10 {
				t.Errorf("%d bytes of memory are used at the end", used)
			}
		})
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestSpillIsBounded checks that past the bound the oldest go.
func TestSpillIsBounded(t *testing.T) {
	b := newBroker(t, broker.Config{})
	c := subscribeSlowly(t, b, "/topic/a", nil, broker.Slowness{Policy: broker.SlowSpill, Pending: 500})
	send(t, b, "/topic/a", numbers(0, 5000)...)
	if want := 5000 - 500 - 1; c.missed != want { // one it has
		t.Errorf("it missed %d messages, want %d", c.missed, want)
	}
	c.mu.Lock()
	c.rnd = rand.New(rand.NewPCG(1, 2))
	if c.next = 4500; c.missed == 0 {
		t.Fatal("nothing was dropped")
	}
	c.missed = 0 // from here on all must come
	c.mu.Unlock()
	for c.at() < 5000 && !t.Failed() {
		c.resume()
	}
}

// TestSpillAfterACrash checks that what a subscription had in the store goes if the broker did not live
// to see its end.
func TestSpillAfterACrash(t *testing.T) {
	backend := &storetest.Reference{}
	open := func() (*broker.Broker, *spool.Spool) {
		st, err := spool.Open(spool.Config{Backend: backend, Window: 32 << 10, Memory: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		b, err := broker.New(broker.Config{Store: st, Durable: true})
		if err != nil {
			t.Fatal(err)
		}
		return b, st
	}
	b, st := open()
	c := subscribeSlowly(t, b, "/topic/a", nil, broker.Slowness{Policy: broker.SlowSpill})
	send(t, b, "/topic/a", numbers(0, 5000)...)
	if n, _ := spilled(b, st); n == 0 || c.missed > 0 {
		t.Fatalf("%d messages are in the store, %d were missed", n, c.missed)
	}
	b.Close() // the subscription is never closed
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	b, st = open()
	until(t, "the store is empty", func() bool { _, n := spilled(b, st); return n == 0 })
	b.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBlock checks that a slow subscription holds back who sends to its topic, and nobody else.
func TestBlock(t *testing.T) {
	b := newBroker(t, broker.Config{})
	c := subscribeSlowly(t, b, "/topic/a", nil, broker.Slowness{Policy: broker.SlowBlock})
	pattern := subscribeSlowly(t, b, "/topic/b.*", nil, broker.Slowness{Policy: broker.SlowBlock})
	other := subscribe(t, b, "/topic/c", broker.Auto, 0, 0)
	try := func(dest string, patient bool) bool {
		a, err := b.Address(dest)
		if err != nil {
			t.Fatal(err)
		}
		var w broker.Wake
		op := broker.NewOp(nil)
		op.Patient = patient
		defer w.Run()
		return a.Send(newMessage(t, dest, "0"), op, &w)
	}
	fill := func(dest string) (n int) {
		for try(dest, true) {
			if n++; n > 10000 {
				t.Fatalf("%s takes all", dest)
			}
		}
		return n
	}
	c.any, pattern.any = true, true
	if n := fill("/topic/a"); n < 50 {
		t.Errorf("only %d fit", n)
	}
	if !try("/topic/b.x", true) || !try("/topic/c", true) || len(other.take()) != 1 {
		t.Error("another topic is held back")
	}
	fill("/topic/b.x")
	if try("/topic/b.y", true) {
		t.Error("a topic that the pattern matches is not held back")
	}
	tx := b.Begin()
	a, err := b.Address("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	tx.Send(&a, newMessage(t, "/topic/a", "0"))
	var w broker.Wake
	op := broker.NewOp(nil)
	op.Patient = true
	if tx.Commit(op, &w) {
		t.Error("a transaction is not held back")
	}
	tx.Abort()
	if !try("/topic/a", false) {
		t.Error("who cannot wait is held back")
	}
	c.mu.Lock()
	c.rnd = rand.New(rand.NewPCG(1, 2))
	c.mu.Unlock()
	for c.sub.Jams() {
		c.resume()
	}
	if !try("/topic/a", true) {
		t.Error("it is held back when there is room again")
	}
	pattern.sub.Close(0, &w)
	if !try("/topic/b.y", true) {
		t.Error("it is held back by who is gone")
	}
}
