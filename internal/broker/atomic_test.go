package broker_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A recorder is a broker on a backend that tells what each Write of it is.
type recorder struct {
	*broker.Broker
	mu     sync.Mutex
	writes [][]string // of each, the queues that it puts into and acks from
}

func record(t *testing.T, rules ...broker.Rule) *recorder {
	t.Helper()
	r := &recorder{}
	ref := &storetest.Reference{Before: func(rs []store.Record) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		var all []string
		for _, rec := range rs {
			switch rec.Kind {
			case store.RecordPut:
				all = append(all, "put "+rec.Queue)
			case store.RecordAck:
				if strings.HasPrefix(rec.Queue, "/queue/$") {
					continue // a row that another took the place of, which may be at any time
				}
				all = append(all, "ack "+rec.Queue)
			}
		}
		if len(all) > 0 {
			r.writes = append(r.writes, all)
		}
		return nil
	}}
	st, err := spool.Open(spool.Config{Backend: ref})
	if err != nil {
		t.Fatal(err)
	}
	if r.Broker, err = broker.New(broker.Config{Store: st, Durable: true, Rules: rules}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// confirmed does something, waits until it is confirmed, and returns what was written by then.
func (r *recorder) confirmed(t *testing.T, do func(op *broker.Op, w *broker.Wake)) [][]string {
	t.Helper()
	r.mu.Lock()
	r.writes = nil
	r.mu.Unlock()
	done := make(chan error, 1)
	var w broker.Wake
	do(broker.NewOp(ownerFunc(func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.writes = slices.Clone(r.writes)
		done <- err
	})), &w)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is not confirmed")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	written := r.writes
	w.Run()
	return written
}

func sends(t *testing.T, b *broker.Broker, dest string, headers ...string) func(op *broker.Op, w *broker.Wake) {
	a, err := b.Address(dest)
	if err != nil {
		t.Fatal(err)
	}
	return func(op *broker.Op, w *broker.Wake) { a.Send(newMessage(t, dest, "m", headers...), op, w) }
}

// wantOne makes sure that there was one Write of these.
func wantOne(t *testing.T, what string, got [][]string, want ...string) {
	t.Helper()
	if len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("%s: before it was confirmed there was written %q, want %q at once", what, got, want)
	}
}

// A transaction is one Write with all that it does: dead letters and what topics keep as well. No
// crash can leave a part of it.
func TestTransactionIsOneWrite(t *testing.T) {
	r := record(t)
	in := openSink(t, r.Broker, "/queue/in", 10, nil)
	r.confirmed(t, sends(t, r.Broker, "/topic/kept", "retain", "set"))
	r.confirmed(t, sends(t, r.Broker, "/queue/in"))
	r.confirmed(t, sends(t, r.Broker, "/queue/in"))
	var got []broker.Delivery
	for len(got) < 2 {
		got = append(got, await(t, in)...)
	}
	wantOne(t, "COMMIT", r.confirmed(t, func(op *broker.Op, w *broker.Wake) {
		tx := r.Begin()
		if err := tx.Nack(in.sub, broker.Ref{Tag: got[0].Tag}, broker.Refusal{Dead: true}, w); err != nil {
			t.Fatal(err)
		}
		if err := tx.Ack(in.sub, broker.Ref{Tag: got[1].Tag}, w); err != nil {
			t.Fatal(err)
		}
		for _, dest := range []string{"/queue/out", "/topic/kept"} {
			a, err := r.Address(dest)
			if err != nil {
				t.Fatal(err)
			}
			tx.Send(&a, newMessage(t, dest, "m", "retain", "remove"))
		}
		tx.Commit(op, w)
	}), "ack /queue/in", "put /queue/deadletter", "ack /queue/in", "put /queue/out", "put /queue/$retained")
}

// What is confirmed is stored: that a topic keeps nothing any more, that a message is a dead letter,
// and one that went there because its queue was full.
func TestConfirmedIsStored(t *testing.T) {
	small, err := pattern.Both.Parse("/queue/small")
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, broker.Rule{Match: small, Properties: broker.Properties{MaxMessages: 1, WhenFull: broker.DeadLetterIt}})
	r.confirmed(t, sends(t, r.Broker, "/topic/kept", "retain", "set"))
	wantOne(t, "retain:remove", r.confirmed(t, sends(t, r.Broker, "/topic/kept", "retain", "remove")), "put /queue/$retained")

	c := openSink(t, r.Broker, "/queue/in", 10, nil)
	r.confirmed(t, sends(t, r.Broker, "/queue/in"))
	d := await(t, c)[0]
	wantOne(t, "NACK", r.confirmed(t, func(op *broker.Op, w *broker.Wake) {
		if err := c.sub.Nack(broker.Ref{Tag: d.Tag}, broker.Refusal{Dead: true}, op, w); err != nil {
			t.Fatal(err)
		}
	}), "ack /queue/in", "put /queue/deadletter")

	r.confirmed(t, sends(t, r.Broker, "/queue/small"))
	full := r.confirmed(t, sends(t, r.Broker, "/queue/small"))
	if len(full) == 0 || !strings.HasPrefix(full[len(full)-1][0], "put /queue/deadletter") {
		t.Errorf("SEND to a full queue: before it was confirmed there was written %q, want the dead letter", full)
	}
}
