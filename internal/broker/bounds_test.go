package broker_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
)

// A resumer is a topic's consumer that is written out, and resumed, before Deliver's no has
// come back to the publisher: a session's writer does the same, between the unlock of the
// outbox in subscr.Deliver and the lock in Subscription.offer.
type resumer struct {
	mu  sync.Mutex
	sub *broker.Subscription
	got []string
}

func (c *resumer) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.mu.Lock()
	c.got = append(c.got, string(d.Msg.Body()))
	first := len(c.got) == 1
	c.mu.Unlock()
	if !first {
		return true
	}
	done := make(chan struct{})
	go func() { // the writer
		defer close(done)
		var w broker.Wake
		c.sub.Resume(&w)
		w.Run()
	}()
	select {
	case <-done: // it overtook the publisher
	case <-time.After(200 * time.Millisecond): // it is held back by a lock, which is as good
	}
	return false
}

func (c *resumer) Lagging(int, broker.Slow) {}

func TestResumeThatOvertakesThePublisherIsNotLost(t *testing.T) {
	b := newBroker(t, broker.Config{})
	c := &resumer{}
	sub, err := b.Subscribe("/topic/a", broker.Options{Mode: broker.Auto, Consumer: c, Budget: &broker.Budget{Limit: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	c.sub = sub
	var w broker.Wake
	sub.Start(&w)
	send(t, b, "/topic/a", "1", "2", "3")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 3 {
		t.Errorf("got %q: the subscription is blocked for ever", c.got)
	}
}

// TestAckOfWhatATransactionHolds: what an open transaction acknowledged is not there for
// anybody else, neither for another transaction nor outside of any.
func TestAckOfWhatATransactionHolds(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.Client, 10, 0)
	send(t, b, "/queue/a", "1", "2")
	got := x.take()
	ref := broker.Ref{Tag: got[1].Tag}
	var w broker.Wake
	one, two := b.Begin(), b.Begin()
	if err := one.Ack(x.sub, ref, &w); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ACK in a transaction":  two.Ack(x.sub, ref, &w),
		"NACK in a transaction": two.Nack(x.sub, ref, broker.Refusal{}, &w),
		"ACK":                   x.sub.Ack(ref, broker.NewOp(nil), &w),
		"ACK by Seq":            x.sub.Ack(broker.Ref{Seq: got[1].Seq}, broker.NewOp(nil), &w),
		"NACK":                  x.sub.Nack(ref, broker.Refusal{}, broker.NewOp(nil), &w),
	} {
		if err != broker.ErrUnknown {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
	}
	one.Abort()
	if err := x.sub.Ack(ref, broker.NewOp(nil), &w); err != nil {
		t.Error("after ABORT:", err)
	}
}

// TestOneMessageThatStaysInFlight: the memory of a subscription must not grow with every
// message that passes while one is not acknowledged.
func TestOneMessageThatStaysInFlight(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x := subscribe(t, b, "/queue/a", broker.ClientIndividual, 10, 0)
	send(t, b, "/queue/a", "stays")
	x.take()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const n = 200_000
	var w broker.Wake
	a, _ := b.Address("/queue/a")
	m := newMessage(t, "/queue/a", "x")
	for range n {
		a.Send(m, broker.NewOp(nil), &w)
		for _, d := range x.take() {
			if err := x.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
				t.Fatal(err)
			}
		}
		w.Run()
	}
	grown := heap() - before
	if grown > 1<<20 {
		t.Errorf("grew by %d bytes, %.1f for each message that passed", grown, float64(grown)/n)
	}
	runtime.KeepAlive(x)
}
