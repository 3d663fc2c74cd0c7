package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

// TestLastValue has a client take, acknowledge and give back what is overtaken all the while: in
// the end there is the last value of each key that it did not acknowledge, and nothing else.
func TestLastValue(t *testing.T) {
	for name, open := range map[string]func() *broker.Broker{
		"memory": func() *broker.Broker { return newBroker(t, broker.Config{MaxDeliveries: 1 << 20}) },
		"paged":  func() *broker.Broker { return pagedBroker(t) },
	} {
		for _, keys := range []int{3, 4000} { // of which some are far behind what is at hand
			t.Run(fmt.Sprint(name, " ", keys), func(t *testing.T) { playLastValue(t, open(), keys) })
		}
	}
}

func playLastValue(t *testing.T, b *broker.Broker, keys int) {
	const dest, count = "/queue/a", 20000
	if _, err := b.Declare(dest, broker.Properties{LastValue: true}, true); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	a, err := b.Address(dest)
	if err != nil {
		t.Fatal(err)
	}
	c := openSink(t, b, dest, 20, nil)
	last, acked := make(map[string]string), make(map[string]bool)
	var sent sync.WaitGroup
	owner := ownerFunc(func(err error) {
		if err != nil {
			t.Error(err)
		}
		sent.Done()
	})
	var w broker.Wake
	for i := range count {
		key := fmt.Sprint(rnd.IntN(keys))
		body := fmt.Sprint(key, ":", i)
		last[key] = body
		sent.Add(1)
		a.Send(newMessage(t, dest, body, "_AMQ_LVQ_NAME", key), broker.NewOp(owner), &w)
		w.Run()
		if i%7 != 0 {
			continue
		}
		for _, d := range c.take() {
			ref, op := broker.Ref{Tag: d.Tag}, broker.NewOp(nil)
			switch rnd.IntN(3) {
			case 0:
				acked[string(d.Msg.Body())] = true
				err = c.sub.Ack(ref, op, &w)
			default:
				err = c.sub.Nack(ref, broker.Refusal{}, op, &w)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.Run()
	}
	sent.Wait()
	c.sub.Close(1<<60, &w)
	w.Run()
	send(t, b, dest, "end:")

	c = openSink(t, b, dest, 1000, nil)
	for end := false; !end; {
		for _, d := range await(t, c) {
			body := string(d.Msg.Body())
			key, _, _ := strings.Cut(body, ":")
			switch {
			case key == "end":
				end = true
			case last[key] != body:
				t.Fatalf("%s came, or came again; the last is %q", body, last[key])
			default:
				delete(last, key)
			}
			if err := c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
				t.Fatal(err)
			}
		}
		w.Run()
	}
	for _, body := range last {
		if !acked[body] {
			t.Errorf("%s is lost", body)
		}
	}
}

// The last value of a key is the one that came last, over a crash too, while somebody has the one before:
// also where that has another priority, and where it was sent later than a transaction in which the last came.
func TestLastValueAfterCrash(t *testing.T) {
	all, err := pattern.Both.Parse("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	rule := broker.Rule{Match: all, Properties: broker.Properties{LastValue: true}}
	for _, priority := range []string{"4", "9", "1"} {
		t.Run("priority "+priority, func(t *testing.T) {
			inBubble(t, broker.Config{Rules: []broker.Rule{rule}}, func(x *bubble) {
				tx := x.b.Begin()
				a, err := x.b.Address("/queue/a")
				if err != nil {
					t.Fatal(err)
				}
				tx.Send(&a, x.message("/queue/a", "last", "last-value-key", "k", "ttl", "3600000"))
				time.Sleep(time.Minute)
				c := openSink(t, x.b, "/queue/a", 10, nil)
				x.send("/queue/a", "before", "last-value-key", "k", "priority", priority)
				x.got(c, "before:1")
				var w broker.Wake
				tx.Commit(broker.NewOp(nil), &w)
				w.Run()
				x.got(c, "last:1")
				killed := *x
				defer killed.close()
				x.open() // with what there is
				c = openSink(t, x.b, "/queue/a", 10, nil)
				if d := x.got(c, "last:2")[0]; d.Msg.Expires()-time.Now().UnixMilli() != (time.Hour - time.Minute).Milliseconds() {
					t.Errorf("it expires in %d ms", d.Msg.Expires()-time.Now().UnixMilli())
				}
			})
		})
	}
}

// TestLastValuesArriveWhenTheyDo: many messages of one key in one moment, with one priority, stay as they were sent, also where
// another priority is in use.
func TestLastValuesArriveWhenTheyDo(t *testing.T) {
	match, err := pattern.Both.Parse("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, broker.Config{Rules: []broker.Rule{{Match: match, Properties: broker.Properties{LastValue: true}}}}, func(x *bubble) {
		x.send("/queue/a", "other", "priority", "9", "last-value-key", "other")
		for i := range 1000 {
			x.send("/queue/a", strconv.Itoa(i), "last-value-key", "k", "ttl", "60000")
		}
		synctest.Wait()
		c := openSink(t, x.b, "/queue/a", 10, nil)
		ds := x.got(c, "other:1", "999:1")
		m := ds[1].Msg
		if ttl, _ := m.Header("ttl"); ttl != "60000" {
			t.Errorf("its ttl is %q", ttl)
		}
		if ahead := m.Arrived() - time.Now().UnixMilli(); ahead > 0 {
			t.Errorf("it arrives in %d ms", ahead)
		}
	})
}
