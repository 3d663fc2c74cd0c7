package broker_test

import (
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/message"
)

// A probe is a Filter that looks at something while a broker asks it.
type probe func()

func (p probe) Wants(*message.Message) bool { p(); return true }

// A durable subscription whose topic has a retained message is given that when it is made. Whoever looks for
// idle queues meanwhile must not wait for it, with the queue locked that the message goes to.
func TestBindWhileQueuesAreReaped(t *testing.T) {
	b := newBroker(t, broker.Config{DeleteIdleAfter: time.Millisecond})
	a, err := b.Address("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	a.Send(newMessage(t, "/topic/a", "kept", "retain", "set"), broker.NewOp(nil), &w)
	seen := probe(func() {
		if _, err := b.Address("/queue/idle"); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(time.Minute); b.Exists("/queue/idle"); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody deletes idle queues any more")
			}
		}
	})
	if err := b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/a", Filter: seen, Selector: "x"}, broker.NewOp(nil)); err != nil {
		t.Fatal(err)
	}
	s := &taker{}
	if s.sub, err = b.Subscribe("/dsub/d", broker.Options{Mode: broker.Client, Prefetch: 1, Consumer: s}); err != nil {
		t.Fatal(err)
	}
	s.sub.Start(&w)
	if got := s.bodies(); len(got) != 1 || got[0] != "kept" {
		t.Fatalf("got %q", got)
	}
}
