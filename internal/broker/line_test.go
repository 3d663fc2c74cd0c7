package broker_test

import (
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
)

// TestLine has senders wait for room in a queue: they are served as they came, each alone is
// called, and one that gives up makes way.
func TestLine(t *testing.T) {
	p, err := pattern.Both.Parse("/queue/small")
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, broker.Config{Rules: []broker.Rule{{Match: p, Properties: broker.Properties{MaxMessages: 1, WhenFull: broker.Block}}}})
	c := subscribe(t, b, "/queue/small", broker.ClientIndividual, 10, 0)
	var w broker.Wake
	to := func() *broker.Address {
		a, err := b.Address("/queue/small")
		if err != nil {
			t.Fatal(err)
		}
		return &a
	}
	called := func(op *broker.Op) bool {
		select {
		case <-op.Room():
			return true
		default:
			return false
		}
	}
	patient := func() *broker.Op {
		op := broker.NewOp(nil)
		op.Patient = true
		return op
	}
	if !to().Send(message.Text("/queue/small", "0", 1), patient(), &w) {
		t.Fatal("the first had to wait")
	}
	var ops [4]*broker.Op
	var tries [4]func() bool
	for i := range ops {
		op, m := patient(), message.Text("/queue/small", string(rune('1'+i)), 1)
		ops[i] = op
		if i == 1 { // a transaction waits in the same line
			tx := b.Begin()
			tx.Send(to(), m)
			tries[i] = func() bool { return tx.Commit(op, &w) }
		} else {
			a := to()
			tries[i] = func() bool { return a.Send(m, op, &w) }
		}
		if tries[i]() {
			t.Fatalf("%d did not wait", i)
		}
	}
	ack := func(body string) {
		t.Helper()
		got := c.take()
		if len(got) != 1 || string(got[0].Msg.Body()) != body {
			t.Fatalf("got %v, want %q", got, body)
		}
		if err := c.sub.Ack(broker.Ref{Tag: got[0].Tag}, broker.NewOp(nil), &w); err != nil {
			t.Fatal(err)
		}
	}
	ack("0")
	for i := range ops {
		if got := called(ops[i]); got != (i == 0) {
			t.Errorf("%d is called: %v", i, got)
		}
	}
	for _, i := range []int{1, 2} {
		if tries[i]() {
			t.Fatalf("%d passed those before it", i)
		}
	}
	if late := patient(); to().Send(message.Text("/queue/small", "late", 1), late, &w) {
		t.Fatal("who came last passed the line")
	} else {
		late.Finish(nil)
	}
	if !tries[0]() {
		t.Fatal("there is no room for who is first")
	}
	if !called(ops[1]) || called(ops[2]) {
		t.Error("the next is to be called, and nobody else")
	}
	if tries[1]() {
		t.Fatal("there is no room yet")
	}
	ack("1")
	if !called(ops[1]) || !tries[1]() {
		t.Fatal("the transaction is next")
	}
	ops[2].Finish(nil) // gives up
	ack("2")
	if !called(ops[3]) || !tries[3]() {
		t.Fatal("the last has its turn when the one before has given up")
	}
	ack("4")
}
