package broker_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// Nobody is shown what a transaction sends before that is durable, nor ever if it fails: neither who browses
// a queue, nor who follows what a queue or a topic keeps. What is sent behind it comes behind it.
func TestBrowsersSeeWhatIsDurable(t *testing.T) {
	for _, test := range []struct {
		name, dest string
		keeps      bool
		priority   string
		window     int64
	}{
		{name: "queue", dest: "/queue/a"},
		{name: "queue in pages", dest: "/queue/a", window: 1},
		{name: "queue with priorities", dest: "/queue/a", priority: "7"},
		{name: "queue that keeps", dest: "/queue/a", keeps: true},
		{name: "topic that keeps", dest: "/topic/a", keeps: true},
		{name: "topic that keeps, in pages", dest: "/topic/a", keeps: true, window: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan error)
				st, err := spool.Open(spool.Config{Window: test.window, Backend: &storetest.Reference{Before: func(rs []store.Record) error {
					if slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut }) {
						return <-gate
					}
					return nil
				}}})
				if err != nil {
					t.Fatal(err)
				}
				cfg := broker.Config{Store: st, Durable: true, DeleteIdleAfter: -1}
				if test.keeps {
					all, _ := pattern.Both.Parse(test.dest)
					cfg.Rules = []broker.Rule{{Match: all, Properties: broker.Properties{NonDestructive: true}}}
				}
				b, err := broker.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				a, err := b.Address(test.dest)
				if err != nil {
					t.Fatal(err)
				}
				var headers []string
				if test.priority != "" {
					headers = []string{"priority", test.priority}
				}
				send := func(bodies ...string) {
					var w broker.Wake
					if len(bodies) == 1 {
						a.Send(newMessage(t, test.dest, bodies[0], headers...), broker.NewOp(nil), &w)
					} else {
						tx := b.Begin()
						for _, body := range bodies {
							tx.Send(&a, newMessage(t, test.dest, body, headers...))
						}
						tx.Commit(broker.NewOp(nil), &w)
					}
					w.Run()
					synctest.Wait()
				}
				browse := func(how broker.Browse) *taker {
					s := &taker{}
					if s.sub, err = b.Subscribe(test.dest, broker.Options{Consumer: s, Browse: &how, Budget: &broker.Budget{Limit: 1 << 20}}); err != nil {
						t.Fatal(err)
					}
					var w broker.Wake
					s.sub.Start(&w)
					w.Run()
					synctest.Wait()
					return s
				}
				write := func(err error) {
					gate <- err
					synctest.Wait()
				}
				want := func(s *taker, bodies ...string) {
					t.Helper()
					if got := s.bodies(); !slices.Equal(got, bodies) {
						t.Errorf("a browser has got %q, want %q", got, bodies)
					}
				}
				early := browse(broker.Browse{Follow: true})
				send("1", "2")
				late, once := browse(broker.Browse{Follow: true}), browse(broker.Browse{})
				for _, s := range []*taker{early, late, once} {
					want(s)
				}
				write(nil)
				want(early, "1", "2")
				want(late, "1", "2")
				want(once, "1", "2", "")
				send("3", "4")
				send("5")
				once = browse(broker.Browse{})
				want(once, "1", "2")
				write(store.ErrFull)
				write(nil)
				want(early, "5")
				want(late, "5")
				want(once, "5", "")
				close(gate)
				b.Close()
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A queue that goes when nobody was there for a while does so too when the last who was there browsed, and one that
// goes with its last consumer when that followed what it keeps.
func TestQueueGoesAfterBrowsers(t *testing.T) {
	for name, p := range map[string]broker.Properties{
		"idle":                  {IdleAfter: time.Minute},
		"idle, keeps":           {IdleAfter: time.Minute, NonDestructive: true},
		"deletes itself, keeps": {AutoDelete: true, NonDestructive: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, broker.Config{}, func(x *bubble) {
				if _, err := x.b.Declare("/queue/a", p, true); err != nil {
					x.Fatal(err)
				}
				x.send("/queue/a", "1")
				s := &taker{}
				var err error
				if s.sub, err = x.b.Subscribe("/queue/a", broker.Options{Consumer: s, Browse: &broker.Browse{Follow: true}}); err != nil {
					x.Fatal(err)
				}
				var w broker.Wake
				s.sub.Start(&w)
				time.Sleep(2 * time.Minute)
				if !x.b.Exists("/queue/a") {
					x.Error("it is gone while somebody browses it")
				}
				s.sub.Close(0, &w)
				w.Run()
				time.Sleep(2 * time.Minute)
				if x.b.Exists("/queue/a") {
					x.Error("it is still there")
				}
			})
		})
	}
}
