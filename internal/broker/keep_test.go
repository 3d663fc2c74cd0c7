package broker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

func keeping(t testing.TB, b *broker.Broker, dest string, p broker.Properties) {
	t.Helper()
	match, err := pattern.Both.Parse(dest)
	if err != nil {
		t.Fatal(err)
	}
	p.NonDestructive = true
	b.SetRules([]broker.Rule{{Match: match, Properties: p}})
}

// A follower is a Consumer that checks what it gets: each number one above the last. It takes a few at
// a time, until it is told to go on.
type follower struct {
	t    *testing.T
	mu   sync.Mutex
	rnd  *rand.Rand
	sub  *broker.Subscription
	last store.Seq // that it got; 0: none
	gaps int
	more chan struct{}
}

func (f *follower) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gap, _ := d.Msg.Header("gap"); gap == "true" {
		f.gaps++
		if first, _ := d.Msg.Header("first-seq"); first != strconv.FormatUint(uint64(d.Seq), 10) {
			f.t.Errorf("message %d says that %s is the first", d.Seq, first)
		}
		f.last = d.Seq - 1
	}
	if f.last != 0 && d.Seq != f.last+1 {
		f.t.Errorf("message %d came behind %d", d.Seq, f.last)
	}
	f.last = d.Seq
	select {
	case f.more <- struct{}{}:
	default:
	}
	return f.rnd.IntN(4) != 0
}

func (f *follower) Lagging(int, broker.Slow) { f.t.Error("a message was dropped") }

func (f *follower) at() store.Seq {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func follow(t *testing.T, b *broker.Broker, dest string, r *rand.Rand, how broker.Browse, after store.Seq) *follower {
	t.Helper()
	f := &follower{t: t, rnd: rand.New(rand.NewPCG(r.Uint64(), 2)), last: after, more: make(chan struct{}, 1)}
	how.Follow = true
	var err error
	if f.sub, err = b.Subscribe(dest, broker.Options{Consumer: f, Browse: &how, Budget: &broker.Budget{Limit: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	f.sub.Start(&w)
	w.Run()
	return f
}

// until lets f take more until it has got a message.
func (f *follower) until(seq store.Seq) {
	f.t.Helper()
	for f.at() < seq {
		var w broker.Wake
		f.sub.Resume(&w)
		w.Run()
		select {
		case <-f.more:
		case <-time.After(time.Minute):
			f.t.Fatalf("it has %d, and nothing more comes", f.at())
		}
	}
}

// TestFollowKeptTopic has some send to a topic that keeps everything, message by message and in
// transactions, while others come to it at any place, lose their connection and resume: each gets every
// message once and in order.
func TestFollowKeptTopic(t *testing.T) {
	for name, open := range map[string]func() *broker.Broker{
		"memory": func() *broker.Broker { return newBroker(t, broker.Config{}) },
		"paged":  func() *broker.Broker { return pagedBroker(t) },
	} {
		t.Run(name, func(t *testing.T) {
			const dest, senders, count = "/topic/a", 3, 3000
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			b := open()
			keeping(t, b, "/topic/#", broker.Properties{})
			var sent, ended sync.WaitGroup
			owner := ownerFunc(func(err error) {
				if err != nil {
					t.Error(err)
				}
				ended.Done()
			})
			for s := range senders {
				rnd := rand.New(rand.NewPCG(r.Uint64(), 3))
				sent.Go(func() {
					a, err := b.Address(dest)
					if err != nil {
						t.Error(err)
						return
					}
					var w broker.Wake
					for i := 0; i < count; {
						ended.Add(1)
						m := newMessage(t, dest, fmt.Sprint(s, ".", i))
						if n := rnd.IntN(6); n > 1 {
							tx := b.Begin()
							for range min(n, count-i) {
								tx.Send(&a, m)
								i++
							}
							tx.Commit(broker.NewOp(owner), &w)
						} else {
							a.Send(m, broker.NewOp(owner), &w)
							i++
						}
						w.Run()
					}
				})
			}
			var followers sync.WaitGroup
			const last = senders * count
			for range 4 {
				rnd := rand.New(rand.NewPCG(r.Uint64(), 4))
				followers.Go(func() {
					f := follow(t, b, dest, rnd, broker.Browse{}, 0)
					for {
						target := min(f.at()+store.Seq(rnd.IntN(last/4)+1), last)
						if f.until(target); target == last {
							return
						}
						var w broker.Wake
						f.sub.Close(0, &w)
						at := f.at()
						f = follow(t, b, dest, rnd, broker.Browse{From: at + 1}, at)
					}
				})
			}
			sent.Wait()
			followers.Wait()
			ended.Wait()
			f := follow(t, b, dest, r, broker.Browse{Last: 10}, last-10)
			f.until(last)
			if f.gaps > 0 {
				t.Errorf("%d gaps were told, and there is none", f.gaps)
			}
		})
	}
}

// TestSlowFollower checks that who is slower than what is kept is told so, and goes on.
func TestSlowFollower(t *testing.T) {
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			keeping(t, b, "/topic/a", broker.Properties{MaxMessages: 100, WhenFull: broker.DropHead})
			r := rand.New(rand.NewPCG(1, 2))
			f := follow(t, b, "/topic/a", r, broker.Browse{Skip: true}, 0)
			before := b.Stats().MemoryUsed
			last := store.Seq(0)
			for round := 1; round <= 5; round++ {
				send(t, b, "/topic/a", numbers(0, 5000)...)
				if used := b.Stats().MemoryUsed - before; used > 1<<20 {
					t.Fatalf("%d bytes are held for 100 messages", used)
				}
				last += 5000
				f.until(last)
				if f.gaps != round {
					t.Fatalf("%d gaps were told in round %d", f.gaps, round)
				}
			}
		})
	}
}

// TestKeptForAnAge checks that what is kept goes when it is old enough, after a restart too.
func TestKeptForAnAge(t *testing.T) {
	match, err := pattern.Both.Parse("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	cfg := broker.Config{Rules: []broker.Rule{{Match: match, Properties: broker.Properties{NonDestructive: true, MaxAge: time.Hour}}}}
	inBubble(t, cfg, func(x *bubble) {
		snapshot := func() []string {
			c := &sink{new: make(chan struct{}, 1)}
			sub, err := x.b.Subscribe("/topic/a", broker.Options{Consumer: c, Browse: &broker.Browse{}, Budget: &broker.Budget{Limit: 1 << 20}})
			if err != nil {
				x.Fatal(err)
			}
			var w broker.Wake
			sub.Start(&w)
			w.Run()
			time.Sleep(time.Second)
			sub.Close(0, &w)
			w.Run()
			var bodies []string
			for _, d := range c.take() {
				bodies = append(bodies, string(d.Msg.Body()))
			}
			return bodies[:len(bodies)-1] // the end
		}
		for _, body := range []string{"1", "2", "3"} {
			x.send("/topic/a", body)
			time.Sleep(20 * time.Minute)
		}
		time.Sleep(time.Second)
		wantBodies(t, "after an hour", snapshot(), "2", "3")
		x.restart()
		wantBodies(t, "after a restart", snapshot(), "2", "3")
		time.Sleep(30 * time.Minute)
		if n := kept(x.st); n != 1 {
			t.Errorf("%d messages are left, want 1", n)
		}
		time.Sleep(30 * time.Minute)
		wantBodies(t, "when all are old", snapshot())
		if n := kept(x.st); n != 0 {
			t.Errorf("%d messages are left", n)
		}
		// Numbers go on where they were: who resumes is told of the gap.
		time.Sleep(time.Hour)
		x.restart()
		x.send("/topic/a", "4")
		f := follow(x.T, x.b, "/topic/a", rand.New(rand.NewPCG(1, 2)), broker.Browse{From: 2}, 1)
		f.until(4)
		if f.gaps != 1 {
			t.Errorf("%d gaps were told, want 1", f.gaps)
		}
	})
}

// kept is how many messages the store has for topics.
func kept(st store.Store) (n int) {
	for name, s := range st.Queues() {
		if name == "/queue/$kept/topic/a" {
			n += s.Ready + s.Leased
		}
	}
	return n
}

// TestKeptTopicIsForgotten checks that a topic which a client had keep messages is one like any when the
// last has gone and nobody was there for a while, also for who sent to it before.
func TestKeptTopicIsForgotten(t *testing.T) {
	inBubble(t, broker.Config{DeleteIdleAfter: time.Minute}, func(x *bubble) {
		name, ok := x.b.KeptQueue("/topic/a")
		if !ok {
			x.Fatal("it cannot keep anything")
		}
		if same, err := x.b.Declare(name, broker.Properties{NonDestructive: true, MaxAge: time.Hour}, true); !same || err != nil {
			x.Fatal(same, err)
		}
		a, err := x.b.Address("/topic/a")
		if err != nil {
			x.Fatal(err)
		}
		var w broker.Wake
		a.Send(newMessage(x, "/topic/a", "1"), broker.NewOp(nil), &w)
		synctest.Wait()
		if kept(x.st) != 1 || !x.b.Keeps("/topic/a") {
			x.Fatal("it keeps nothing")
		}
		time.Sleep(2 * time.Hour)
		if x.b.Keeps("/topic/a") {
			x.Error("it is not forgotten")
		}
		a.Send(newMessage(x, "/topic/a", "2"), broker.NewOp(nil), &w)
		synctest.Wait()
		if kept(x.st) != 0 {
			x.Error("it keeps messages that nothing bounds")
		}
	})
}

// A remote is a backend whose storage goes away when the test says so.
type remote struct {
	storetest.Reference
	told func(error)
}

func (r *remote) Away(told func(error)) { r.told = told }
func (r *remote) Wait() error           { return nil }
func (r *remote) GiveUp()               {}

// TestKeptWhileAway checks that what a store refuses, whose numbers others get then, costs those nothing who
// listen, be it to the topic or to a pattern, and holds no memory.
func TestKeptWhileAway(t *testing.T) {
	r := &remote{}
	st, err := spool.Open(spool.Config{Backend: r})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Config{Store: st, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	keeping(t, b, "/topic/a", broker.Properties{})
	a, err := b.Address("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	listen := func(dest string) *taker {
		s := &taker{}
		if s.sub, err = b.Subscribe(dest, broker.Options{Consumer: s, Budget: &broker.Budget{Limit: 1 << 20}}); err != nil {
			t.Fatal(err)
		}
		s.sub.Start(&w)
		return s
	}
	all := []*taker{listen("/topic/a"), listen("/topic/*")}
	a.Send(newMessage(t, "/topic/a", "1"), broker.NewOp(nil), &w)
	before := b.Stats().MemoryUsed
	r.told(errors.New("it does not answer"))
	for range 100 {
		a.Send(newMessage(t, "/topic/a", "refused"), broker.NewOp(nil), &w)
	}
	if used := b.Stats().MemoryUsed - before; used > 0 {
		t.Errorf("%d bytes are held for what was refused", used)
	}
	r.told(nil)
	a.Send(newMessage(t, "/topic/a", "2"), broker.NewOp(nil), &w)
	a.Send(newMessage(t, "/topic/a", "3"), broker.NewOp(nil), &w)
	for _, s := range all {
		if got := s.bodies(); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("one has got %q", got)
		}
	}
}

// A slow backend has who reads wait while it is told to.
type slow struct {
	*storetest.Reference
	gate atomic.Pointer[chan struct{}]
}

func (s *slow) Read(dst []store.Record, queue string, after store.Seq, n int, size int64) ([]store.Record, bool, error) {
	if gate := s.gate.Load(); gate != nil {
		<-*gate
	}
	return s.Reference.Read(dst, queue, after, n, size)
}

// TestTableIsReadAtStart checks that what a topic has of each key, which is looked through before the next
// one takes the place of one of them, is so when the server starts: later it would hold up everybody.
func TestTableIsReadAtStart(t *testing.T) {
	r := &slow{Reference: &storetest.Reference{}}
	all, err := pattern.Both.Parse("/topic/table")
	if err != nil {
		t.Fatal(err)
	}
	run := func(do func(a *broker.Address)) {
		st, err := spool.Open(spool.Config{Backend: r})
		if err != nil {
			t.Fatal(err)
		}
		b, err := broker.New(broker.Config{Store: st, Durable: true, Rules: []broker.Rule{{Match: all, Properties: broker.Properties{NonDestructive: true, LastValue: true}}}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := b.Address("/topic/table")
		if err != nil {
			t.Fatal(err)
		}
		do(&a)
		b.Close()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var w broker.Wake
	put := func(a *broker.Address, key string) {
		a.Send(newMessage(t, "/topic/table", "x", "_AMQ_LVQ_NAME", key), broker.NewOp(nil), &w)
	}
	run(func(a *broker.Address) {
		put(a, "a")
		put(a, "b")
	})
	run(func(a *broker.Address) {
		gate := make(chan struct{})
		r.gate.Store(&gate)
		sent := make(chan struct{})
		go func() {
			put(a, "c")
			close(sent)
		}()
		select {
		case <-sent:
		case <-time.After(time.Minute):
			t.Error("one who sends waits for the disk, and holds up all others")
		}
		close(gate)
		<-sent
	})
}
