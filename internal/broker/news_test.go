package broker_test

import (
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/broker"
)

// What brings a topic something is done when that is out, not before: who has the RECEIPT of a transaction, or
// of a SEND behind one, finds what the topic keeps.
func TestDoneWhenOut(t *testing.T) {
	b := newBroker(t, broker.Config{})
	a, err := b.Address("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	live := subscribe(t, b, "/topic/a", broker.Auto, 0, 0)
	var news broker.News
	var done []string
	op := func(name string) *broker.Op {
		op := broker.NewOp(ownerFunc(func(err error) {
			if err != nil {
				t.Error(err)
			}
			done = append(done, name)
		}))
		op.News = &news
		return op
	}
	var w broker.Wake
	tx := b.Begin()
	tx.Send(&a, newMessage(t, "/topic/a", "1", "retain", "set"))
	tx.Commit(op("transaction"), &w)
	a.Send(newMessage(t, "/topic/a", "2"), op("plain"), &w)
	a.Send(newMessage(t, "/topic/a", "3", "retain", "set"), op("kept"), &w)
	wantBodies(t, "sent", live.bodies())
	wantBodies(t, "done before anything is out", done)
	w.Run()
	wantBodies(t, "out", live.bodies(), "1", "2", "3")
	wantBodies(t, "done", done, "transaction", "plain", "kept")
	wantBodies(t, "kept", subscribe(t, b, "/topic/a", broker.Auto, 0, 0).bodies(), "3")

	// With nothing on its way there is nothing to wait for.
	done = nil
	a.Send(newMessage(t, "/topic/a", "4", "retain", "set"), op("alone"), &w)
	wantBodies(t, "done at once", done, "alone")
}

// A duplicate is done when what it repeats is out.
func TestDuplicateDoneWhenOut(t *testing.T) {
	b := newBroker(t, broker.Config{DedupeWindow: time.Hour})
	a, err := b.Address("/topic/a")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	var done atomic.Int32
	for range 2 {
		op := broker.NewOp(ownerFunc(func(error) { done.Add(1) }))
		a.Send(newMessage(t, "/topic/a", "1", "retain", "set", "dedupe-id", "x"), op, &w)
	}
	if n := done.Load(); n > 0 {
		t.Errorf("%d are done before it is out", n)
	}
	w.Run()
	eventually(t, "both are done", func() bool { return done.Load() == 2 })
	wantBodies(t, "kept", subscribe(t, b, "/topic/a", broker.Auto, 0, 0).bodies(), "1")
}
