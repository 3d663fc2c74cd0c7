package broker_test

import (
	"errors"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
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

// A durable subscription that is asked to take a pattern which is none stays what it was.
func TestBindToNoPattern(t *testing.T) {
	b := newBroker(t, broker.Config{})
	if err := b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/a"}, broker.NewOp(nil)); err != nil {
		t.Fatal(err)
	}
	if err := b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/>.a"}, broker.NewOp(nil)); !errors.Is(err, broker.ErrWildcard) {
		t.Errorf("a pattern that is none: %v", err)
	}
	send(t, b, "/topic/a", "1")
	wantBodies(t, "what it got", subscribe(t, b, "/dsub/d", broker.Auto, 0, 0).bodies(), "1")
}

// A durable subscription whose pattern is none where names are split elsewhere does not keep the broker from
// starting. It keeps what it holds, and is itself again where they are split as they were.
func TestDurableOfOtherSeparators(t *testing.T) {
	const dest = "/topic/a.>.b/c"
	inBubble(t, broker.Config{Separators: pattern.Slashes}, func(x *bubble) {
		if err := x.b.Bind(broker.Durable{Queue: "/dsub/d", Topic: dest}, broker.NewOp(nil)); err != nil {
			t.Fatal(err)
		}
		x.send(dest, "1")
		x.cfg.Separators = pattern.Both
		x.restart()
		x.send("/topic/a.b.c", "not it")
		x.holds("/dsub/d", 1)
		x.cfg.Separators = pattern.Slashes
		x.restart()
		x.send(dest, "2")
		x.got(openSink(t, x.b, "/dsub/d", 10, nil), "1:1", "2:1")
	})
}
