package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store/spool"
)

type nobody struct{}

func (nobody) Deliver(Delivery, *Wake) bool { return true }
func (nobody) Lagging(int, Slow)            {}

// TestForgottenQueuesRingNoAlarm: of a queue that is forgotten nothing is left that waits for a time, which clients
// say and which can be weeks away.
func TestForgottenQueuesRingNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Config{Store: spool.New(), DeleteIdleAfter: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		var w Wake
		month := 30 * 24 * time.Hour
		for _, p := range []Properties{{Consumers: 2, DispatchAfter: month}, {IdleAfter: month}, {NonDestructive: true, MaxAge: month}} {
			if _, err := b.Declare("/queue/a", p, true); err != nil {
				t.Fatal(err)
			}
			s, err := b.Subscribe("/queue/a", Options{Mode: Auto, Consumer: nobody{}})
			if err != nil {
				t.Fatal(err)
			}
			s.Start(&w)
			s.Detach(&w)
			s.Close(0, &w)
			w.Run()
			time.Sleep(10 * time.Minute)
			if b.Exists("/queue/a") {
				t.Errorf("%+v: the queue is still there", p)
			}
			b.clock.mu.Lock()
			if n := len(b.clock.alarms); n > 0 {
				t.Errorf("%+v: %d alarms are left", p, n)
			}
			b.clock.mu.Unlock()
		}
	})
}
