package broker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
)

var seed = flag.Uint64("seed", 0, "of the random tests; 0 picks one")

func newBroker(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	st := spool.New()
	cfg.Store = st
	b, err := broker.New(cfg)
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

// A taker is a Consumer that keeps what it gets.
type taker struct {
	got    []broker.Delivery
	full   int // answers no once it holds so many; 0: never
	missed int
	sub    *broker.Subscription

	bodiless bool // it keeps nothing
}

func (c *taker) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	if !c.bodiless {
		c.got = append(c.got, d)
	}
	return c.full == 0 || len(c.got) < c.full
}

func (c *taker) Lagging(n int, _ broker.Slow) { c.missed += n }

// take empties what it has got.
func (c *taker) take() []broker.Delivery {
	got := c.got
	c.got = nil
	return got
}

func (c *taker) bodies() (all []string) {
	for _, d := range c.take() {
		all = append(all, string(d.Msg.Body()))
	}
	return all
}

func newMessage(t testing.TB, dest, body string, headers ...string) *message.Message {
	t.Helper()
	f := &frame.Frame{Command: frame.Send, Body: []byte(body), Plain: true}
	for i := 0; i < len(headers); i += 2 {
		f.Header.Add(headers[i], headers[i+1])
	}
	m, err := message.New(f, dest, message.At(1))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func send(t testing.TB, b *broker.Broker, dest string, bodies ...string) {
	t.Helper()
	a, err := b.Address(dest)
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	for _, body := range bodies {
		a.Send(newMessage(t, dest, body), broker.NewOp(nil), &w)
	}
	w.Run()
}

func subscribe(t testing.TB, b *broker.Broker, dest string, mode broker.AckMode, prefetch, full int) *taker {
	t.Helper()
	c := &taker{full: full}
	sub, err := b.Subscribe(dest, broker.Options{Mode: mode, Prefetch: prefetch, Consumer: c, Budget: &broker.Budget{Limit: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	c.sub = sub
	var w broker.Wake
	sub.Start(&w)
	w.Run()
	return c
}

func wantBodies(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestCompetingConsumersTakeTurns(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.ClientIndividual, 2, 0)
	y := subscribe(t, b, "/queue/a", broker.ClientIndividual, 10, 0)
	z := subscribe(t, b, "/queue/a", broker.Auto, 0, 0)
	send(t, b, "/queue/a", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	wantBodies(t, "credit of two", x.bodies(), "1", "4")
	wantBodies(t, "credit of ten", y.bodies(), "2", "5", "7", "9")
	wantBodies(t, "auto", z.bodies(), "3", "6", "8")
}

func TestConsumerThatIsFullIsPassedOver(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.Auto, 0, 1)
	send(t, b, "/queue/a", "1", "2", "3")
	wantBodies(t, "first", x.bodies(), "1")
	var w broker.Wake
	x.full = 2
	x.sub.Resume(&w)
	wantBodies(t, "after Resume", x.bodies(), "2", "3")
}

func TestWhatIsReleasedComesBackInItsPlace(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.Client, 3, 0)
	send(t, b, "/queue/a", "1", "2", "3", "4", "5")
	got := x.take()
	y := subscribe(t, b, "/queue/a", broker.Client, 10, 0)
	wantBodies(t, "the other", y.bodies(), "4", "5")
	var w broker.Wake
	// The client saw the first two; the third never left the server.
	x.sub.Close(got[1].Tag, &w)
	var attempts []uint32
	var bodies []string
	for _, d := range y.take() {
		attempts, bodies = append(attempts, d.Attempt), append(bodies, string(d.Msg.Body()))
	}
	wantBodies(t, "released", bodies, "1", "2", "3")
	if !slices.Equal(attempts, []uint32{2, 2, 1}) {
		t.Errorf("attempts %v: what the client cannot have seen is no redelivery", attempts)
	}
}

func TestPoisonGoesToDeadLetters(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.ClientIndividual, 1, 0)
	send(t, b, "/queue/a", "bad", "good")
	var w broker.Wake
	for n := 1; n <= 20; n++ {
		got := x.take()
		if len(got) != 1 || string(got[0].Msg.Body()) != "bad" || got[0].Attempt != uint32(n) {
			t.Fatalf("delivery %d: got %v", n, got)
		}
		if err := x.sub.Nack(broker.Ref{Tag: got[0].Tag}, broker.Refusal{}, broker.NewOp(nil), &w); err != nil {
			t.Fatal(err)
		}
		w.Run()
	}
	wantBodies(t, "after twenty", x.bodies(), "good")
	dlq := subscribe(t, b, "/queue/deadletter", broker.ClientIndividual, 1, 0)
	for range 25 { // there is no limit there
		got := dlq.take()
		if len(got) != 1 {
			t.Fatalf("got %v", got)
		}
		if from, _ := got[0].Msg.Header("original-destination"); from != "/queue/a" || got[0].Msg.Destination() != "/queue/deadletter" {
			t.Errorf("came from %q to %q", from, got[0].Msg.Destination())
		}
		if err := dlq.sub.Nack(broker.Ref{Tag: got[0].Tag}, broker.Refusal{}, broker.NewOp(nil), &w); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Stats().DeadLettered; n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestSlowTopicSubscriberMissesTheOldest(t *testing.T) {
	b := newBroker(t, broker.Config{})
	slow := &taker{full: 1}
	size := int64(newMessage(t, "/topic/a", "1").Size())
	sub, err := b.Subscribe("/topic/a", broker.Options{Consumer: slow, Budget: &broker.Budget{Limit: 2 * size}})
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	sub.Start(&w)
	quick := subscribe(t, b, "/topic/a", broker.Auto, 0, 0)
	send(t, b, "/topic/a", "1", "2", "3", "4", "5")
	wantBodies(t, "quick", quick.bodies(), "1", "2", "3", "4", "5")
	wantBodies(t, "slow at first", slow.bodies(), "1")
	slow.full = 10
	sub.Resume(&w)
	wantBodies(t, "slow later", slow.bodies(), "4", "5")
	if slow.missed != 2 || b.Stats().Dropped != 2 {
		t.Errorf("missed %d, counted %d", slow.missed, b.Stats().Dropped)
	}
	send(t, b, "/topic/a", "6")
	wantBodies(t, "then on", slow.bodies(), "6")
	sub.Detach(&w)
	if used := b.Stats().MemoryUsed; used != 0 {
		t.Errorf("%d bytes held by nobody", used)
	}
}

func TestTopicsExistOnlyWhileHeard(t *testing.T) {
	b := newBroker(t, broker.Config{})
	for i := range 100 {
		send(t, b, fmt.Sprintf("/topic/%d", i), "x")
	}
	var w broker.Wake
	var all []*taker
	for range 10 {
		all = append(all, subscribe(t, b, "/topic/a", broker.Auto, 0, 0))
	}
	for i, c := range all {
		send(t, b, "/topic/a", "x")
		if got := len(c.take()); got != i+1 {
			t.Errorf("subscriber %d got %d", i, got)
		}
		c.sub.Detach(&w)
	}
	if st := b.Stats(); st.Topics != 0 || st.Unwanted != 100 {
		t.Errorf("%+v", st)
	}
}

func TestIdleQueueIsForgotten(t *testing.T) {
	b := newBroker(t, broker.Config{DeleteIdleAfter: time.Millisecond})
	a, err := b.Address("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	send(t, b, "/queue/full", "stays")
	for b.Stats().Queues > 1 { // until the reaper was here
		time.Sleep(time.Millisecond)
	}
	var w broker.Wake
	a.Send(newMessage(t, "/queue/a", "1"), broker.NewOp(nil), &w) // by an address from before
	wantBodies(t, "after it", subscribe(t, b, "/queue/a", broker.Auto, 0, 0).bodies(), "1")
	wantBodies(t, "the other", subscribe(t, b, "/queue/full", broker.Auto, 0, 0).bodies(), "stays")
}

func TestTransactionIsOneStep(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/in", broker.Client, 2, 0)
	top := subscribe(t, b, "/topic/t", broker.Auto, 0, 0)
	send(t, b, "/queue/in", "1", "2", "3", "4")
	got := x.take()
	var w broker.Wake
	tx := b.Begin()
	if err := tx.Ack(x.sub, broker.Ref{Tag: got[1].Tag}, &w); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, "credit is back while the transaction is open", x.bodies(), "3", "4")
	for _, dest := range []string{"/queue/out", "/queue/also", "/topic/t"} {
		a, err := b.Address(dest)
		if err != nil {
			t.Fatal(err)
		}
		tx.Send(&a, newMessage(t, dest, "r"))
	}
	out := subscribe(t, b, "/queue/out", broker.Auto, 0, 0)
	wantBodies(t, "before COMMIT", append(out.bodies(), top.bodies()...))
	done := 0
	tx.Commit(broker.NewOp(ownerFunc(func(err error) {
		if err != nil {
			t.Error(err)
		}
		done++
	})), &w)
	w.Run()
	wantBodies(t, "queue", out.bodies(), "r")
	wantBodies(t, "topic", top.bodies(), "r")
	if done != 1 {
		t.Errorf("done %d times", done)
	}
	x.sub.Close(1<<60, &w)
	wantBodies(t, "what was acked is gone", subscribe(t, b, "/queue/in", broker.Auto, 0, 0).bodies(), "3", "4")
}

func TestAbortPutsAcksBackInFlight(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/in", broker.ClientIndividual, 1, 0)
	send(t, b, "/queue/in", "1", "2", "3")
	one := x.take()[0]
	var w broker.Wake
	tx := b.Begin()
	if err := tx.Ack(x.sub, broker.Ref{Tag: one.Tag}, &w); err != nil {
		t.Fatal(err)
	}
	two := x.take()[0]
	tx.Abort()
	if err := x.sub.Ack(broker.Ref{Tag: two.Tag}, broker.NewOp(nil), &w); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, "one is in flight again: no credit", x.bodies())
	if err := x.sub.Ack(broker.Ref{Tag: one.Tag}, broker.NewOp(nil), &w); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, "credit", x.bodies(), "3")
}

type ownerFunc func(err error)

func (f ownerFunc) Done(_ *broker.Op, err error) { f(err) }

// TestModel plays random actions on one queue and checks after each that nothing is held
// twice, in flight beyond the prefetch, or out of order, and in the end that every message
// was settled once or is still there.
func TestModel(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	rnd := rand.New(rand.NewPCG(s, 0))
	for round := range 200 {
		playModel(t, rnd, round)
		if t.Failed() {
			t.Fatalf("round %d of seed %d", round, s)
		}
	}
}

type modelConsumer struct {
	*taker
	mode     broker.AckMode
	prefetch int
	most     int               // more than prefetch after an ABORT, whose ACKs gave credit
	held     []broker.Delivery // in the order they came
	written  uint64
}

func playModel(t *testing.T, rnd *rand.Rand, round int) {
	b := newBroker(t, broker.Config{MaxDeliveries: 1 << 30})
	var w broker.Wake
	var consumers []*modelConsumer
	sent, settled := 0, map[store.Seq]bool{}
	fresh := store.Seq(0)
	collect := func() {
		holders := map[store.Seq]bool{}
		for _, c := range consumers {
			for _, d := range c.take() {
				if d.Attempt == 1 && d.Seq > fresh {
					fresh = d.Seq
				}
				if settled[d.Seq] {
					t.Errorf("%d was settled and came again", d.Seq)
				}
				c.held = append(c.held, d)
			}
			for _, d := range c.held {
				if holders[d.Seq] {
					t.Errorf("%d is held twice", d.Seq)
				}
				holders[d.Seq] = true
			}
			if c.mode != broker.Auto && len(c.held) > c.most {
				t.Errorf("%d in flight of %d", len(c.held), c.most)
			}
		}
		for seq := store.Seq(1); seq <= fresh; seq++ {
			if len(consumers) > 0 && !holders[seq] && !settled[seq] && roomLeft(consumers) {
				t.Errorf("%d waits though a later one is out and there is credit", seq)
			}
		}
	}
	for range 60 {
		switch action := rnd.IntN(10); {
		case action < 4:
			n := 1 + rnd.IntN(5)
			for range n {
				sent++
				send(t, b, "/queue/m", fmt.Sprint(sent))
			}
		case action < 5:
			mode := broker.AckMode(rnd.IntN(3))
			prefetch := 1 + rnd.IntN(4)
			c := &modelConsumer{taker: subscribe(t, b, "/queue/m", mode, prefetch, 0), mode: mode, prefetch: prefetch, most: prefetch}
			consumers = append(consumers, c)
		case len(consumers) == 0:
		default:
			i := rnd.IntN(len(consumers))
			c := consumers[i]
			if action == 9 {
				// It leaves; of mode auto some were written, the rest goes back.
				consumers = slices.Delete(consumers, i, i+1)
				cut := 0
				if len(c.held) > 0 {
					cut = rnd.IntN(len(c.held) + 1)
				}
				for _, d := range c.held[:cut] {
					if c.mode == broker.Auto {
						c.sub.Settle(d.Seq, d.Seq, &w)
						settled[d.Seq] = true
					} else {
						c.written = d.Tag
					}
				}
				if c.mode == broker.Auto {
					c.sub.Detach(&w)
					for _, d := range c.held[cut:] {
						c.sub.Return(d.Seq, d.Seq, d.Attempt, rnd.IntN(2) == 0, &w)
					}
				}
				c.sub.Close(c.written, &w)
				break
			}
			if len(c.held) == 0 {
				break
			}
			j := rnd.IntN(len(c.held))
			d := c.held[j]
			ref := broker.Ref{Tag: d.Tag}
			if rnd.IntN(2) == 0 {
				ref = broker.Ref{Seq: d.Seq}
			}
			from := j
			if c.mode == broker.Client {
				from = 0
			}
			covered := slices.Clone(c.held[from : j+1])
			if c.mode == broker.Auto {
				c.sub.Settle(d.Seq, d.Seq, &w)
				settled[d.Seq] = true
				c.held = slices.Delete(c.held, from, j+1)
				break
			}
			c.held = slices.Delete(c.held, from, j+1)
			var err error
			switch {
			case action < 7:
				err = c.sub.Ack(ref, broker.NewOp(nil), &w)
				for _, d := range covered {
					settled[d.Seq] = true
				}
			case action < 8:
				err = c.sub.Nack(ref, broker.Refusal{}, broker.NewOp(nil), &w)
			default:
				tx := b.Begin()
				if err = tx.Ack(c.sub, ref, &w); err == nil && rnd.IntN(2) == 0 {
					tx.Commit(broker.NewOp(nil), &w)
					for _, d := range covered {
						settled[d.Seq] = true
					}
				} else {
					tx.Abort()
					c.held = slices.Insert(c.held, from, covered...)
					c.most += len(covered) // it may have been sent that many more meanwhile
				}
			}
			if err != nil {
				t.Errorf("%v: %v", ref, err)
			}
		}
		w.Run()
		collect()
		if t.Failed() {
			return
		}
	}
	for _, c := range consumers {
		c.sub.Detach(&w)
	}
	for _, c := range consumers {
		if c.mode == broker.Auto {
			for _, d := range c.held {
				c.sub.Return(d.Seq, d.Seq, d.Attempt, true, &w)
			}
		}
		c.sub.Close(0, &w)
	}
	rest := subscribe(t, b, "/queue/m", broker.Auto, 0, 0).take()
	if !slices.IsSortedFunc(rest, func(a, b broker.Delivery) int { return int(a.Seq) - int(b.Seq) }) {
		t.Error("what is left comes out of order")
	}
	if len(rest)+len(settled) != sent {
		t.Errorf("sent %d, settled %d, left %d", sent, len(settled), len(rest))
	}
}

func roomLeft(consumers []*modelConsumer) bool {
	for _, c := range consumers {
		if c.mode == broker.Auto || len(c.held) < c.prefetch {
			return true
		}
	}
	return false
}

// TestTopicIsLeftByAllAtOnce has subscribers come and go together: none is forgotten on the
// list of the topic, and none is taken off it twice.
func TestTopicIsLeftByAllAtOnce(t *testing.T) {
	b := newBroker(t, broker.Config{})
	for range 2000 {
		var wg sync.WaitGroup
		for range 4 {
			sub, err := b.Subscribe("/topic/a", broker.Options{Consumer: &taker{}})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				var w broker.Wake
				sub.Detach(&w)
				w.Run()
			})
		}
		wg.Wait()
		if n := b.Stats().Topics; n != 0 {
			t.Fatalf("%d topics without a subscriber", n)
		}
	}
}
