package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/message"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// pagedBroker has a store of which little is at hand.
func pagedBroker(t testing.TB) *broker.Broker {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: &storetest.Reference{}, Window: 32 << 10, Memory: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Config{Store: st, Durable: true, MaxDeliveries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// every wants the messages whose body is a multiple of it.
type every int

func number(m *message.Message) int {
	n, err := strconv.Atoi(string(m.Body()))
	if err != nil {
		panic(err)
	}
	return n
}

func (e every) Wants(m *message.Message) bool { return number(m)%int(e) == 0 }

// A sink is a Consumer that hands on what it gets.
type sink struct {
	sub *broker.Subscription
	mu  sync.Mutex
	got []broker.Delivery
	new chan struct{}
}

func (c *sink) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.mu.Lock()
	c.got = append(c.got, d)
	c.mu.Unlock()
	select {
	case c.new <- struct{}{}:
	default:
	}
	return true
}

func (c *sink) Lagging(int, broker.Slow) {}

func (c *sink) take() []broker.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

func openSink(t testing.TB, b *broker.Broker, dest string, prefetch int, f broker.Filter) *sink {
	t.Helper()
	c := &sink{new: make(chan struct{}, 1)}
	var err error
	c.sub, err = b.Subscribe(dest, broker.Options{Mode: broker.ClientIndividual, Prefetch: prefetch, Consumer: c, Filter: f, Budget: &broker.Budget{Limit: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	c.sub.Start(&w)
	w.Run()
	return c
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// Who has looked through all there was goes on when much has come meanwhile and it can take more.
func TestSelectorGoesOn(t *testing.T) {
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			c := openSink(t, b, "/queue/a", 1, every(3000))
			for range 3 {
				send(t, b, "/queue/a", numbers(1, 9001)...)
				for want := 3000; want <= 9000; want += 3000 {
					got := await(t, c)
					if len(got) != 1 || number(got[0].Msg) != want {
						t.Fatalf("got %v, want %d", spell(got), want)
					}
					var w broker.Wake
					if err := c.sub.Ack(broker.Ref{Tag: got[0].Tag}, broker.NewOp(nil), &w); err != nil {
						t.Fatal(err)
					}
					w.Run()
				}
			}
		})
	}
}

// A match deep in a backlog is found, whether that is at hand or not, with a credit of one, and
// nothing else is touched.
func TestSelectorInABacklog(t *testing.T) {
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			const count = 20000
			send(t, b, "/queue/a", numbers(1, count+1)...)
			c := openSink(t, b, "/queue/a", 1, every(500))
			for want := 500; want <= count; want += 500 {
				got := await(t, c)
				if len(got) != 1 || number(got[0].Msg) != want {
					t.Fatalf("got %v, want %d", spell(got), want)
				}
				var w broker.Wake
				if err := c.sub.Ack(broker.Ref{Tag: got[0].Tag}, broker.NewOp(nil), &w); err != nil {
					t.Fatal(err)
				}
				w.Run()
			}
			all := openSink(t, b, "/queue/a", broker.MaxPrefetch, nil)
			next := 1
			for next < count {
				for _, d := range await(t, all) {
					if next%500 == 0 {
						next++
					}
					if number(d.Msg) != next {
						t.Fatalf("got %d, want %d", number(d.Msg), next)
					}
					next++
				}
			}
		})
	}
}

func spell(ds []broker.Delivery) (s []string) {
	for _, d := range ds {
		s = append(s, fmt.Sprintf("%s:%d", d.Msg.Body(), d.Attempt))
	}
	return s
}

func await(t testing.TB, c *sink) []broker.Delivery {
	t.Helper()
	for {
		if got := c.take(); len(got) > 0 {
			return got
		}
		select {
		case <-c.new:
		case <-time.After(time.Minute):
			t.Fatal("nothing comes")
		}
	}
}

// Consumers with and without selectors come, acknowledge, refuse and leave; each message is
// acknowledged once, by one who wants it.
func TestSelectorsBesideAModel(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	r := rand.New(rand.NewPCG(s, 1))
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{MaxDeliveries: 1 << 20}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			const count = 6000
			acked := make(map[int]bool)
			filters := []broker.Filter{every(2), every(3), every(7), every(1), nil}
			sinks := make([]*sink, len(filters))
			sent := 0
			deadline := time.Now().Add(60 * time.Second)
			for len(acked) < count {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d were acknowledged", len(acked), count)
				}
				if sent < count && r.IntN(3) == 0 {
					n := min(1+r.IntN(400), count-sent)
					send(t, b, "/queue/a", numbers(sent, sent+n)...)
					sent += n
				}
				i := r.IntN(len(sinks))
				if sinks[i] == nil {
					if filters[i] != nil && i < 3 || sent == count && r.IntN(8) == 0 {
						sinks[i] = openSink(t, b, "/queue/a", 1+r.IntN(20), filters[i])
					}
					continue
				}
				c := sinks[i]
				var w broker.Wake
				if r.IntN(40) == 0 {
					c.sub.Close(1<<62, &w)
					w.Run()
					sinks[i] = nil
					continue
				}
				for _, d := range c.take() {
					n := number(d.Msg)
					if filters[i] != nil && !filters[i].Wants(d.Msg) {
						t.Fatalf("%d went to %v", n, filters[i])
					}
					if acked[n] {
						t.Fatalf("%d comes again after it was acknowledged", n)
					}
					ref, err := broker.Ref{Tag: d.Tag}, error(nil)
					if r.IntN(5) == 0 {
						err = c.sub.Nack(ref, broker.Refusal{}, broker.NewOp(nil), &w)
					} else {
						acked[n] = true
						err = c.sub.Ack(ref, broker.NewOp(nil), &w)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				w.Run()
			}
			var w broker.Wake
			for _, c := range sinks {
				if c != nil {
					c.sub.Close(1<<62, &w)
				}
			}
			w.Run()
			if st := b.Queues(); len(st) > 0 && st[0].Ready+st[0].Unacked != 0 {
				t.Errorf("left over: %+v", st[0])
			}
		})
	}
}

// A browser sees every message once, in order, while others send, consume and leave.
func TestBrowseABacklog(t *testing.T) {
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			const count = 20000
			send(t, b, "/queue/a", numbers(0, count)...)
			busy := openSink(t, b, "/queue/a", 1000, nil)
			defer func() {
				var w broker.Wake
				busy.sub.Close(0, &w)
				w.Run()
			}()
			c := &sink{new: make(chan struct{}, 1)}
			var err error
			c.sub, err = b.Subscribe("/queue/a", broker.Options{Consumer: c, Browse: &broker.Browse{Follow: true}})
			if err != nil {
				t.Fatal(err)
			}
			var w broker.Wake
			c.sub.Start(&w)
			w.Run()
			sent := count
			for want := 0; want < count+1000; {
				if want >= sent/2 && sent < count+1000 {
					send(t, b, "/queue/a", numbers(sent, sent+100)...)
					sent += 100
				}
				for _, d := range await(t, c) {
					if d.Tag != 0 || number(d.Msg) != want {
						t.Fatalf("got %d, want %d", number(d.Msg), want)
					}
					want++
				}
			}
			c.sub.Close(0, &w)
			if st := b.Queues(); st[0].Ready+st[0].Unacked != count+1000 {
				t.Errorf("%+v", st[0])
			}
		})
	}
}

// That one consumer with a selector gets something does not make the next one wait.
func TestSelectorsTakeTurns(t *testing.T) {
	b := newBroker(t, broker.Config{})
	threes, twos := openSink(t, b, "/queue/a", 10, every(3)), openSink(t, b, "/queue/a", 10, every(2))
	var w broker.Wake
	a, err := b.Address("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	tx := b.Begin()
	for _, body := range []string{"3", "2", "6", "4"} {
		tx.Send(&a, newMessage(t, "/queue/a", body))
	}
	tx.Commit(broker.NewOp(nil), &w)
	w.Run()
	wantBodies(t, "threes", spell(threes.take()), "3:1", "6:1")
	wantBodies(t, "twos", spell(twos.take()), "2:1", "4:1")
}
