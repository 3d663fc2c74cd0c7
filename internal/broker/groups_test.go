package broker_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"stompserver/internal/broker"
)

// Consumers come, work in the order of what they get, and leave in the middle; the messages of
// each group are done in order, each once.
func TestGroupsBesideAModel(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	for name, b := range map[string]*broker.Broker{"memory": newBroker(t, broker.Config{MaxDeliveries: 1 << 20}), "paged": pagedBroker(t)} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(s, 3))
			const count, groupCount = 5000, 40
			a, err := b.Address("/queue/a")
			if err != nil {
				t.Fatal(err)
			}
			last, done, sent := map[string]int{}, 0, 0
			sinks := make([]*sink, 5)
			had := make([][]broker.Delivery, len(sinks)) // and not acknowledged
			deadline := time.Now().Add(60 * time.Second)
			for done < count {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d are done", done, count)
				}
				var w broker.Wake
				if sent < count && r.IntN(3) == 0 {
					for range min(1+r.IntN(200), count-sent) {
						group := strconv.Itoa(r.IntN(groupCount))
						m := newMessage(t, "/queue/a", strconv.Itoa(sent), "message-group", group)
						if r.IntN(50) == 0 {
							m = newMessage(t, "/queue/a", strconv.Itoa(sent), "message-group", group, "message-group-seq", "-1")
						}
						a.Send(m, broker.NewOp(nil), &w)
						sent++
					}
					w.Run()
				}
				i := r.IntN(len(sinks))
				c := sinks[i]
				switch {
				case c == nil:
					sinks[i] = openSink(t, b, "/queue/a", 1+r.IntN(30), nil)
					continue
				case r.IntN(30) == 0:
					c.sub.Close(1<<62, &w)
					w.Run()
					sinks[i], had[i] = nil, nil
					continue
				}
				had[i] = append(had[i], c.take()...)
				for len(had[i]) > 0 && r.IntN(8) > 0 {
					d := had[i][0]
					had[i] = had[i][1:]
					group, n := d.Msg.Options().Group, number(d.Msg)
					if n < last[group] {
						t.Fatalf("group %s: %d is done after %d", group, n, last[group])
					}
					last[group] = n
					done++
					if err := c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
						t.Fatal(err)
					}
				}
				w.Run()
			}
			for _, c := range sinks {
				if c != nil {
					var w broker.Wake
					c.sub.Close(1<<62, &w)
					w.Run()
				}
			}
			if st := b.Queues(); len(st) > 0 && st[0].Ready+st[0].Unacked != 0 {
				t.Errorf("left over: %+v", st[0])
			}
		})
	}
}

// What a consumer in mode auto has of a group has another with a selector wait for the next of it, until the
// socket took it.
func TestGroupWaitsForSocket(t *testing.T) {
	b := newBroker(t, broker.Config{})
	first := &sink{new: make(chan struct{}, 1)}
	var err error
	if first.sub, err = b.Subscribe("/queue/a", broker.Options{Mode: broker.Auto, Consumer: first, Filter: every(2)}); err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	first.sub.Start(&w)
	a, err := b.Address("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"2", "3"} {
		a.Send(newMessage(t, "/queue/a", body, "message-group", "x"), broker.NewOp(nil), &w)
	}
	w.Run()
	d := first.take()
	wantBodies(t, "first", spell(d), "2:1")
	second := openSink(t, b, "/queue/a", 1, every(1))
	first.sub.Settle(d[0].Seq, d[0].Seq, &w)
	w.Run()
	wantBodies(t, "second", spell(second.take()), "3:1")
}

// TestGroupGoesOnBehindTheExpired: of a group that one consumer has comes what both want, and is over when that one is asked,
// and behind it what only the other wants, who was asked before. It need not wait for anything.
func TestGroupGoesOnBehindTheExpired(t *testing.T) {
	b := newBroker(t, broker.Config{})
	x, y := openSink(t, b, "/queue/a", 10, every(2)), openSink(t, b, "/queue/a", 10, every(3))
	a, err := b.Address("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	a.Send(newMessage(t, "/queue/a", "3", "message-group", "g"), broker.NewOp(nil), &w)
	w.Run()
	had := y.take()
	wantBodies(t, "who has the group", spell(had), "3:1")
	if err := y.sub.Ack(broker.Ref{Tag: had[0].Tag}, broker.NewOp(nil), &w); err != nil {
		t.Fatal(err)
	}
	tx := b.Begin()
	tx.Send(&a, newMessage(t, "/queue/a", "6", "message-group", "g", "expires", "2")) // in 1970
	tx.Send(&a, newMessage(t, "/queue/a", "2", "message-group", "g"))
	tx.Commit(broker.NewOp(nil), &w)
	w.Run()
	wantBodies(t, "what is over", spell(y.take()))
	wantBodies(t, "what is behind it", spell(x.take()), "2:1")
}

// TestGroupsAreDealtInTurn: each of a thousand groups goes to whose turn it is, whatever its name.
func TestGroupsAreDealtInTurn(t *testing.T) {
	const count = 1000
	b := newBroker(t, broker.Config{})
	var consumers []*taker
	for range count {
		consumers = append(consumers, subscribe(t, b, "/queue/a", broker.ClientIndividual, 10, 0))
	}
	a, err := b.Address("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	for range 2 {
		for i := range count {
			a.Send(newMessage(t, "/queue/a", strconv.Itoa(i), "message-group", strconv.Itoa(i)), broker.NewOp(nil), &w)
		}
	}
	w.Run()
	for i, c := range consumers {
		var got []string
		for _, d := range c.take() {
			first, _ := d.Msg.Header("JMSXGroupFirstForConsumer")
			got = append(got, string(d.Msg.Body())+first)
		}
		if want := []string{strconv.Itoa(i) + "true", strconv.Itoa(i)}; !slices.Equal(got, want) {
			t.Fatalf("consumer %d: got %q, want %q", i, got, want)
		}
	}
}
