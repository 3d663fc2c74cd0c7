package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A bubble is a broker whose time is the test's. Its store has a backend, most of what it holds
// is not at hand, and it can be opened anew.
type bubble struct {
	*testing.T
	backend *storetest.Reference
	cfg     broker.Config
	st      store.Store
	wrap    func(store.Store) store.Store // what the broker has for it from its next start on; nil: itself
	b       *broker.Broker
}

// inBubble runs f with one. Nothing of the broker is left running at its end.
func inBubble(t *testing.T, cfg broker.Config, f func(x *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		x := &bubble{T: t, backend: new(storetest.Reference), cfg: cfg}
		x.open()
		defer func() { x.close() }() // also when a check has failed
		f(x)
	})
}

func (x *bubble) open() {
	x.Helper()
	var err error
	if x.st, err = spool.Open(spool.Config{Backend: x.backend, Window: 8 << 10, Memory: 8 << 10}); err != nil {
		x.Fatal(err)
	}
	cfg := x.cfg
	cfg.Store, cfg.Durable = x.st, true
	if x.wrap != nil {
		cfg.Store = x.wrap(x.st)
	}
	if x.b, err = broker.New(cfg); err != nil {
		x.Fatal(err)
	}
}

func (x *bubble) close() {
	x.b.Close()
	if err := x.st.Close(); err != nil {
		x.Error(err)
	}
}

// restart stops the broker and starts it again.
func (x *bubble) restart() {
	x.close()
	x.open()
}

// send sends a message with headers.
func (x *bubble) send(dest, body string, headers ...string) {
	x.Helper()
	a, err := x.b.Address(dest)
	if err != nil {
		x.Fatal(err)
	}
	var w broker.Wake
	a.Send(x.message(dest, body, headers...), broker.NewOp(nil), &w)
	w.Run()
}

// message is one that arrives now.
func (x *bubble) message(dest, body string, headers ...string) *message.Message {
	x.Helper()
	f := &frame.Frame{Command: frame.Send, Body: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		f.Header.Add(headers[i], headers[i+1])
	}
	m, err := message.New(f, dest, message.At(time.Now().UnixMilli()))
	if err != nil {
		x.Fatal(err)
	}
	return m
}

// holds waits until all is quiet and compares how many messages a queue has.
func (x *bubble) holds(dest string, want int) {
	x.Helper()
	synctest.Wait()
	got := 0
	for _, q := range x.b.Queues() {
		if q.Name == dest {
			got = q.Ready + q.Unacked
		}
	}
	if got != want {
		x.Errorf("%s holds %d messages, want %d", dest, got, want)
	}
}

// got waits until all is quiet and compares what came.
func (x *bubble) got(c *sink, want ...string) []broker.Delivery {
	x.Helper()
	synctest.Wait()
	ds := c.take()
	if s := spell(ds); len(s)+len(want) > 0 && !equal(s, want) {
		x.Fatalf("got %q, want %q", s, want)
	}
	return ds
}

// take waits until all is quiet and returns what came.
func (x *bubble) take(c *sink) []broker.Delivery {
	synctest.Wait()
	return c.take()
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (x *bubble) at(after time.Duration) string {
	return strconv.FormatInt(time.Now().Add(after).UnixMilli(), 10)
}

// Messages go when their time has come, wherever they are in their queue and whether anybody
// is there or not, over a restart as well.
func TestExpiry(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		const count = 600 // most are not at hand
		for i := range count {
			x.send("/queue/a", strconv.Itoa(i), "expires", x.at(time.Duration(1+i%3)*time.Hour), "priority", strconv.Itoa(4+i%2))
			x.send("/queue/a", "stays")
		}
		x.holds("/queue/a", 2*count)
		time.Sleep(time.Hour)
		x.holds("/queue/a", 2*count-count/3)
		x.restart()
		time.Sleep(time.Hour)
		x.holds("/queue/a", 2*count-count*2/3)
		time.Sleep(time.Hour)
		x.holds("/queue/a", count)
		if n := x.b.Stats().Expired; n != count*2/3 {
			x.Errorf("%d expired since the restart", n)
		}
	})
}

// What ends in one moment is dead in the order in which it would have been delivered: so also what of a group
// waits for somebody, and what is more than is looked at in one go.
func TestExpiryInOrder(t *testing.T) {
	inBubble(t, broker.Config{DeadLetterExpired: true}, func(x *bubble) {
		const count = 1200
		c := openSink(x, x.b, "/queue/a", 1, nil)
		end := x.at(time.Hour)
		var want []string
		for _, priority := range []int{4, 9, 1} {
			for i := range count {
				x.send("/queue/a", fmt.Sprint(priority, "-", i), "expires", end, "priority", strconv.Itoa(priority), "message-group", []string{"x", "", "y"}[i%3])
			}
		}
		for _, priority := range []int{9, 4, 1} {
			for i := range count {
				want = append(want, fmt.Sprint(priority, "-", i, ":1"))
			}
		}
		x.got(c, "4-0:1")
		other := openSink(x, x.b, "/queue/a", 1, nil) // which gets what is of no group, and past whom the others wait
		synctest.Wait()
		time.Sleep(time.Hour)
		held := append(spell(x.take(other)), "4-0:1")
		want = slices.DeleteFunc(want, func(s string) bool { return slices.Contains(held, s) })
		dead := openSink(x, x.b, "/queue/deadletter", 3*count, nil)
		x.got(dead, want...)
	})
}

// What somebody has is his, also when it ends meanwhile; given back it goes.
func TestExpiryInFlight(t *testing.T) {
	inBubble(t, broker.Config{DeadLetterExpired: true}, func(x *bubble) {
		x.send("/queue/a", "1", "expires", x.at(time.Second))
		x.send("/queue/a", "2", "expires", x.at(time.Second))
		c := openSink(x, x.b, "/queue/a", 10, nil)
		ds := x.got(c, "1:1", "2:1")
		time.Sleep(time.Minute)
		x.holds("/queue/a", 2)
		var w broker.Wake
		if err := c.sub.Ack(broker.Ref{Tag: ds[0].Tag}, broker.NewOp(nil), &w); err != nil {
			t.Fatal(err)
		}
		c.sub.Close(100, &w)
		w.Run()
		x.holds("/queue/a", 0)
		x.holds("/queue/deadletter", 1)
		dead := openSink(x, x.b, "/queue/deadletter", 10, nil)
		m := x.got(dead, "2:1")[0].Msg
		for name, want := range map[string]string{"x-death-reason": "expired", "original-destination": "/queue/a", "x-death-count": "1"} {
			if v, _ := m.Header(name); v != want {
				x.Errorf("%s is %q, want %q", name, v, want)
			}
		}
		if m.Expires() != 0 {
			x.Error("a dead letter expires")
		}
	})
}

// Who is not there when a topic's message ends never gets it.
func TestExpiryOfTopics(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		c := openSink(x, x.b, "/topic/a", 10, nil)
		x.send("/topic/a", "1", "expires", x.at(-time.Second))
		x.send("/topic/a", "2", "expires", x.at(time.Second))
		x.got(c, "2:1")
	})
}

// A rule has some queues wait otherwise than the rest, or not at all.
func TestRedeliveryOfRules(t *testing.T) {
	rule := func(match string, r broker.Redelivery) broker.Rule {
		p, err := pattern.Both.Parse(match)
		if err != nil {
			t.Fatal(err)
		}
		return broker.Rule{Match: p, Properties: broker.Properties{Redelivery: r}}
	}
	cfg := broker.Config{Redelivery: broker.Redelivery{Delay: time.Minute, Multiplier: 2}, Rules: []broker.Rule{
		rule("/queue/slow", broker.Redelivery{Delay: time.Hour}), rule("/queue/never", broker.Redelivery{Delay: -1}),
		rule("/queue/even", broker.Redelivery{Multiplier: 1}), rule("/queue/capped", broker.Redelivery{Max: 90 * time.Second})}}
	inBubble(t, cfg, func(x *bubble) {
		for queue, waits := range map[string][]time.Duration{
			"/queue/slow": {time.Hour, 2 * time.Hour}, "/queue/never": {0, 0}, "/queue/even": {time.Minute, time.Minute},
			"/queue/capped": {time.Minute, 90 * time.Second}, "/queue/other": {time.Minute, 2 * time.Minute},
		} {
			x.send(queue, "1")
			c := openSink(x, x.b, queue, 1, nil)
			d := x.got(c, "1:1")[0]
			for i, wait := range waits {
				var w broker.Wake
				if err := c.sub.Nack(broker.Ref{Tag: d.Tag}, broker.Refusal{Delay: -1}, broker.NewOp(nil), &w); err != nil {
					x.Fatal(err)
				}
				w.Run()
				if wait > 0 {
					time.Sleep(wait - time.Millisecond)
					x.got(c)
					time.Sleep(time.Millisecond)
				}
				d = x.got(c, fmt.Sprint("1:", i+2))[0]
			}
		}
	})
}

// What is given back comes again after a while, longer each time, and then is dead.
func TestRedeliveryDelay(t *testing.T) {
	cfg := broker.Config{MaxDeliveries: 4, Redelivery: broker.Redelivery{Delay: time.Second, Multiplier: 10, Max: time.Minute}}
	inBubble(t, cfg, func(x *bubble) {
		x.send("/queue/a", "1")
		x.send("/queue/a", "2")
		c := openSink(x, x.b, "/queue/a", 1, nil)
		refuse := func(d broker.Delivery, r broker.Refusal) {
			x.Helper()
			var w broker.Wake
			if err := c.sub.Nack(broker.Ref{Tag: d.Tag}, r, broker.NewOp(nil), &w); err != nil {
				x.Fatal(err)
			}
			w.Run()
		}
		own := broker.Refusal{Delay: -1}
		refuse(x.got(c, "1:1")[0], own)
		second := x.got(c, "2:1")[0] // others go on meanwhile
		time.Sleep(time.Second - time.Millisecond)
		x.got(c)
		var w broker.Wake
		if err := c.sub.Ack(broker.Ref{Tag: second.Tag}, broker.NewOp(nil), &w); err != nil {
			x.Fatal(err)
		}
		x.got(c)
		time.Sleep(time.Millisecond)
		refuse(x.got(c, "1:2")[0], own)
		time.Sleep(10*time.Second - time.Millisecond)
		x.got(c)
		time.Sleep(time.Millisecond)
		refuse(x.got(c, "1:3")[0], broker.Refusal{Delay: 5 * time.Minute}) // the client knows better
		time.Sleep(5*time.Minute - time.Millisecond)
		x.got(c)
		time.Sleep(time.Millisecond)
		refuse(x.got(c, "1:4")[0], own)
		x.holds("/queue/a", 0)
		x.holds("/queue/deadletter", 1)
	})
}

// A delivery that is not settled in time comes again, unless its client says that it is at work.
func TestAckTimeout(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		for i := range 3 {
			x.send("/queue/a", strconv.Itoa(i))
		}
		c := &sink{new: make(chan struct{}, 1)}
		var err error
		c.sub, err = x.b.Subscribe("/queue/a", broker.Options{Mode: broker.ClientIndividual, Prefetch: 3, Consumer: c, Timeout: time.Minute})
		if err != nil {
			x.Fatal(err)
		}
		var w broker.Wake
		c.sub.Start(&w)
		ds := x.got(c, "0:1", "1:1", "2:1")
		ack := func(d broker.Delivery) error {
			return c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w)
		}
		time.Sleep(30 * time.Second)
		if err := c.sub.Extend(broker.Ref{Tag: ds[1].Tag}, 10*time.Minute); err != nil {
			x.Fatal(err)
		}
		if err := ack(ds[0]); err != nil {
			x.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		again := x.got(c, "2:2")
		if err := ack(ds[2]); err != nil {
			x.Errorf("a late ACK: %v", err)
		}
		if err := ack(ds[2]); err != broker.ErrUnknown {
			x.Errorf("the same ACK again: %v", err)
		}
		if err := ack(again[0]); err != nil {
			x.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		x.got(c)
		time.Sleep(time.Minute)
		x.got(c, "1:2")
		if n := x.b.Stats().TimedOut; n != 2 {
			x.Errorf("%d timed out, want 2", n)
		}
	})
}

// What is to come later does so at its time, to queues and topics, over a restart too.
func TestSchedule(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		const count = 300 // most are not at hand
		for i := range count {
			x.send("/queue/a", strconv.Itoa(i), "delay", strconv.Itoa(3600_000+1000*i), "filler", string(make([]byte, 100)))
		}
		x.send("/topic/t", "7", "deliver-at", x.at(30*time.Minute))
		x.send("/queue/a", "past", "deliver-at", x.at(-time.Second))
		x.holds("/queue/a", 1)
		c := openSink(x, x.b, "/queue/a", 1000, nil)
		topic := openSink(x, x.b, "/topic/t", 10, nil)
		x.got(c, "past:1")
		time.Sleep(30 * time.Minute)
		x.got(topic, "7:1")
		time.Sleep(30*time.Minute - time.Millisecond)
		x.got(c)
		for i := range count / 2 {
			time.Sleep(time.Millisecond)
			d := x.got(c, strconv.Itoa(i)+":1")[0]
			if v, _ := d.Msg.Header("scheduledJobId"); v == "" {
				x.Fatal("it has no id")
			}
			for _, name := range []string{"delay", "deliver-at", "$target"} {
				if v, ok := d.Msg.Header(name); ok {
					x.Fatalf("it has %s:%s", name, v)
				}
			}
			time.Sleep(time.Second - time.Millisecond)
		}
		var w broker.Wake
		c.sub.Close(0, &w)
		topic.sub.Close(0, &w)
		x.restart()
		time.Sleep(time.Hour)
		x.holds("/queue/a", count+1)
	})
}

// The life of what comes later begins when it comes.
func TestScheduleLife(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		end := x.at(time.Hour + time.Second)
		x.send("/queue/a", "1", "delay", "3600000", "ttl", "1000")
		x.send("/queue/b", "2", "delay", "3600000", "ttl", "1000")
		time.Sleep(time.Hour)
		c := openSink(x, x.b, "/queue/a", 1000, nil)
		m := x.got(c, "1:1")[0].Msg
		if got, _ := m.Header("expires"); got != end {
			x.Errorf("it expires at %s, want %s", got, end)
		}
		if _, ok := m.Header("ttl"); ok {
			x.Error("it has a ttl")
		}
		time.Sleep(time.Second - time.Millisecond)
		x.holds("/queue/b", 1)
		time.Sleep(time.Minute)
		x.holds("/queue/b", 0)
		var w broker.Wake
		c.sub.Close(0, &w)
	})
}

// What waits to be handled until its time has come was scheduled all the same: it has an id, repeats, and reaches
// who is to have it.
func TestScheduleOverdue(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		c := openSink(x, x.b, "/queue/a", 1000, nil)
		if err := x.b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/t"}, broker.NewOp(nil)); err != nil {
			x.Fatal(err)
		}
		durable := openSink(x, x.b, "/dsub/d", 1000, nil)
		late := func(dest, body string, headers ...string) (*broker.Address, *message.Message) {
			a, err := x.b.Address(dest)
			if err != nil {
				x.Fatal(err)
			}
			m := x.message(dest, body, append(headers, "delay", "20")...)
			time.Sleep(time.Minute)
			return &a, m
		}
		told := new(toldOf)
		var w broker.Wake
		a, m := late("/queue/a", "r", "AMQ_SCHEDULED_PERIOD", "60000", "AMQ_SCHEDULED_REPEAT", "1")
		a.Send(m, broker.NewOp(told), &w)
		w.Run()
		d := x.got(c, "r:1")[0]
		if v, ok := d.Msg.Header("delay"); ok {
			x.Errorf("it has delay:%s", v)
		}
		time.Sleep(time.Hour)
		x.got(c, "r:1")
		tx := x.b.Begin()
		tx.Send(late("/topic/t", "t"))
		tx.Commit(broker.NewOp(told), &w)
		w.Run()
		x.got(durable, "t:1")
		if want := []string{broker.ScheduleID, "scheduled-1", broker.ScheduleID, "scheduled-3"}; !slices.Equal(*told, want) {
			x.Errorf("told %q, want %q", *told, want)
		}
		c.sub.Close(0, &w)
		durable.sub.Close(0, &w)
	})
}

// A toldOf gathers what operations tell.
type toldOf []string

func (t *toldOf) Done(op *broker.Op, _ error) { *t = append(*t, op.Told()...) }

// What repeats comes so often, or by its time table until it is cancelled.
func TestScheduleRepeats(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		c := openSink(x, x.b, "/queue/a", 1000, nil)
		x.send("/queue/a", "r", "AMQ_SCHEDULED_DELAY", "1000", "AMQ_SCHEDULED_PERIOD", "60000", "AMQ_SCHEDULED_REPEAT", "2")
		for _, wait := range []time.Duration{time.Second, time.Minute, time.Minute} {
			time.Sleep(wait - time.Millisecond)
			x.got(c)
			time.Sleep(time.Millisecond)
			x.got(c, "r:1")
		}
		time.Sleep(time.Hour)
		x.got(c)
		// Synctest's clock begins at midnight of January 1st, 2000, UTC.
		x.send("/queue/a", "cron", "AMQ_SCHEDULED_CRON", "30 * * * *", "AMQ_SCHEDULED_PERIOD", "1000", "AMQ_SCHEDULED_REPEAT", "1")
		time.Sleep(time.Hour)
		id, _ := x.got(c, "cron:1", "cron:1")[0].Msg.Header("scheduledJobId")
		time.Sleep(time.Hour)
		x.got(c, "cron:1", "cron:1")
		x.send("/queue/$schedule", "", "action", "cancel", "schedule-id", id)
		time.Sleep(24 * time.Hour)
		x.got(c)
		var w broker.Wake
		c.sub.Close(0, &w)
	})
}

// A name is taken once for each destination, for a while, over a restart as well.
func TestDedupe(t *testing.T) {
	inBubble(t, broker.Config{DedupeWindow: time.Minute}, func(x *bubble) {
		x.send("/queue/a", "1", "dedupe-id", "x")
		x.send("/queue/a", "again", "dedupe-id", "x")
		x.send("/queue/b", "other", "dedupe-id", "x")
		x.holds("/queue/a", 1)
		x.holds("/queue/b", 1)
		x.restart()
		x.send("/queue/a", "again", "dedupe-id", "x")
		x.holds("/queue/a", 1)
		time.Sleep(time.Minute + 2*time.Second)
		x.send("/queue/a", "2", "dedupe-id", "x")
		x.holds("/queue/a", 2)
		const count = 1000
		for i := range count {
			x.send("/queue/c", strconv.Itoa(i), "dedupe-id", strconv.Itoa(i))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if infos, _ := x.backend.Queues(); true {
			for _, i := range infos {
				if i.Name == "/queue/$dedupe" && i.Count > 0 {
					x.Errorf("%d names are left in the store", i.Count)
				}
			}
		}
	})
}

// A second SEND that comes before the first is durable has the first one's fate.
func TestDedupeWaits(t *testing.T) {
	inBubble(t, broker.Config{DedupeWindow: time.Minute}, func(x *bubble) {
		var full atomic.Bool
		full.Store(true)
		x.backend.Before = func(rs []store.Record) error {
			for _, r := range rs {
				if full.Load() && r.Kind == store.RecordPut {
					return store.ErrFull
				}
			}
			return nil
		}
		x.send("/queue/a", "1", "dedupe-id", "x")
		x.send("/queue/a", "2", "dedupe-id", "x")
		x.holds("/queue/a", 0)
		full.Store(false)
		x.send("/queue/a", "3", "dedupe-id", "x")
		x.send("/queue/a", "4", "dedupe-id", "x")
		x.holds("/queue/a", 1)
		x.got(openSink(x, x.b, "/queue/a", 1, nil), "3:1")
	})
}

// A queue that nobody consumes from for too long goes with what it holds, also when that time is
// over after a restart; one that is used stays.
func TestIdleQueueGoes(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		if _, err := x.b.Declare("/queue/a", broker.Properties{IdleAfter: time.Minute}, true); err != nil {
			x.Fatal(err)
		}
		x.send("/queue/a", "1")
		time.Sleep(50 * time.Second)
		x.holds("/queue/a", 1)
		c := openSink(x, x.b, "/queue/a", 1, nil)
		time.Sleep(time.Hour)
		x.got(c, "1:1")
		var w broker.Wake
		c.sub.Close(0, &w)
		w.Run()
		time.Sleep(59 * time.Second)
		x.holds("/queue/a", 1)
		x.restart()
		x.holds("/queue/a", 1)
		time.Sleep(61 * time.Second)
		x.holds("/queue/a", 0)
		x.send("/queue/a", "2") // a queue like any other
		time.Sleep(time.Hour)
		x.holds("/queue/a", 1)
	})
}

// TestCancelAll takes back what was on its way to the disk as well, and nothing that came later.
func TestCancelAll(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		a, err := x.b.Address("/queue/a")
		if err != nil {
			t.Fatal(err)
		}
		x.send("/queue/a", "before", "delay", "3600000")
		gate := make(chan struct{})
		x.backend.Before = func([]store.Record) error { <-gate; return nil }
		var w broker.Wake
		tx := x.b.Begin()
		for range 2 {
			tx.Send(&a, x.message("/queue/a", "both", "delay", "3600000"))
		}
		tx.Commit(broker.NewOp(nil), &w)
		a.Send(x.message("/queue/a", "behind", "delay", "3600000"), broker.NewOp(nil), &w)
		control, err := x.b.Address("/queue/$schedule")
		if err != nil {
			t.Fatal(err)
		}
		told := new(toldOf)
		control.Send(x.message("/queue/$schedule", "", "action", "cancel-all"), broker.NewOp(told), &w)
		a.Send(x.message("/queue/a", "later", "delay", "3600000"), broker.NewOp(nil), &w)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(*told) > 0 {
			t.Errorf("told %q before it is durable", *told)
		}
		close(gate)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"cancelled", "4"}; !slices.Equal(*told, want) {
			t.Errorf("told %q, want %q", *told, want)
		}
		time.Sleep(time.Hour)
		x.got(openSink(t, x.b, "/queue/a", 10, nil), "later:1")
	})
}

// TestCancelAllAtStop: what a stop keeps from being taken back is not confirmed.
func TestCancelAllAtStop(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		a, err := x.b.Address("/queue/a")
		if err != nil {
			t.Fatal(err)
		}
		control, err := x.b.Address("/queue/$schedule")
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		x.backend.Before = func([]store.Record) error { <-gate; return nil }
		var w broker.Wake
		tx := x.b.Begin()
		for range 2 {
			tx.Send(&a, x.message("/queue/a", "both", "delay", "3600000"))
		}
		tx.Commit(broker.NewOp(nil), &w)
		done := make(chan error, 1)
		control.Send(x.message("/queue/$schedule", "", "action", "cancel-all"), broker.NewOp(ownerFunc(func(err error) { done <- err })), &w)
		time.AfterFunc(time.Minute, func() { close(gate) }) // the broker ends before, the store then
		x.restart()
		if err := <-done; !errors.Is(err, store.ErrClosed) {
			t.Errorf("the end of it is %v", err)
		}
		time.Sleep(time.Hour)
		x.got(openSink(t, x.b, "/queue/a", 10, nil), "both:1", "both:1")
	})
}
