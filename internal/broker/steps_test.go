package broker_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// TestFromTimeWhenTheClockWasSetBack: who asks for what came at some time or later gets all of it, and nothing
// else, though the clock was set back meanwhile, twice while the server ran and once while it did not.
func TestFromTimeWhenTheClockWasSetBack(t *testing.T) {
	r := &storetest.Reference{}
	topic, err := pattern.Both.Parse("/topic/log")
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, do func(b *broker.Broker)) {
		st, err := spool.Open(spool.Config{Backend: r})
		if err != nil {
			t.Fatal(err)
		}
		b, err := broker.New(broker.Config{Store: st, Durable: true, Rules: []broker.Rule{{Match: topic, Properties: broker.Properties{NonDestructive: true}}}})
		if err != nil {
			t.Fatal(err)
		}
		do(b)
		b.Close()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const hour, minute = 3_600_000, 60_000
	var came []int64
	put := func(t *testing.T, b *broker.Broker, from int64, n int) {
		a, err := b.Address("/topic/log")
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			at := from + int64(i)*minute
			m, err := message.New(&frame.Frame{Command: frame.Send}, "/topic/log", message.At(at))
			if err != nil {
				t.Fatal(err)
			}
			var w broker.Wake
			a.Send(m, broker.NewOp(nil), &w)
			w.Run()
			came = append(came, at)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		run(t, func(b *broker.Broker) {
			put(t, b, 100*hour, 60)
			put(t, b, 99*hour, 30)   // set back by two hours
			put(t, b, 98*hour, 20)   // and again
			put(t, b, 100*hour, 100) // and right again
		})
		run(t, func(b *broker.Broker) {
			put(t, b, 90*hour, 40) // set back while it was down
			synctest.Wait()
			put(t, b, 101*hour, 60)
		})
		run(t, func(b *broker.Broker) {
			for _, since := range []int64{1, 89 * hour, 90*hour + 5*minute, 98*hour + 10*minute, 99 * hour, 100*hour + 30*minute, 101*hour + 59*minute, 200 * hour} {
				c := &times{}
				sub, err := b.Subscribe("/topic/log", broker.Options{Consumer: c, Browse: &broker.Browse{Follow: true, Since: since}, Budget: &broker.Budget{Limit: 1 << 20}})
				if err != nil {
					t.Fatal(err)
				}
				var w broker.Wake
				sub.Start(&w)
				w.Run()
				synctest.Wait()
				want := slices.DeleteFunc(slices.Clone(came), func(at int64) bool { return at < since })
				if !slices.Equal(c.at, want) {
					t.Errorf("since %d: got %d messages, want %d", since, len(c.at), len(want))
				}
				sub.Close(0, &w)
				w.Run()
			}
		})
	})
}

// times is a Consumer that notes when its messages came.
type times struct{ at []int64 }

func (c *times) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.at = append(c.at, d.Msg.Arrived())
	return true
}

func (c *times) Lagging(int, broker.Slow) {}
