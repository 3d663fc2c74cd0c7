package broker_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// TestTopicThatIsToKeepNothingAnyMore has some send to a topic all the time, while it is told to keep nothing any
// more: who follows it, near or far behind, gets every message once and in order, and when all have it, or are
// gone, only what was kept before is there.
func TestTopicThatIsToKeepNothingAnyMore(t *testing.T) {
	for name, backend := range map[string]store.Backend{"memory": nil, "paged": &storetest.Reference{}} {
		t.Run(name, func(t *testing.T) {
			const dest, senders, count = "/topic/a", 3, 2000
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			st := spool.New()
			if backend != nil {
				var err error
				if st, err = spool.Open(spool.Config{Backend: backend, Window: 16 << 10}); err != nil {
					t.Fatal(err)
				}
			}
			b, err := broker.New(broker.Config{Store: st})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				b.Close()
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}()
			keeping(t, b, dest, broker.Properties{})
			kept := func() (all store.Stats) {
				for name, s := range st.Queues() {
					if name == "/queue/$kept/topic/a" {
						all = s
					}
				}
				return all
			}
			var sent, ended sync.WaitGroup
			owner := ownerFunc(func(err error) {
				if err != nil {
					t.Error(err)
				}
				ended.Done()
			})
			half := make(chan struct{}, senders)
			for s := range senders {
				rnd := rand.New(rand.NewPCG(r.Uint64(), 3))
				sent.Go(func() {
					a, err := b.Address(dest)
					if err != nil {
						t.Error(err)
						return
					}
					var w broker.Wake
					for i := 0; i < count; i++ {
						if i == count/2 {
							half <- struct{}{}
						}
						m := newMessage(t, dest, fmt.Sprint(s, ".", i))
						ended.Add(1)
						if rnd.IntN(3) == 0 {
							tx := b.Begin()
							tx.Send(&a, m)
							tx.Commit(broker.NewOp(owner), &w)
						} else {
							a.Send(m, broker.NewOp(owner), &w)
						}
						w.Run()
					}
				})
			}
			all := []*follower{
				follow(t, b, dest, r, broker.Browse{}, 0),
				follow(t, b, dest, r, broker.Browse{From: 1}, 0),
				follow(t, b, dest, r, broker.Browse{Skip: true}, 0),
			}
			<-half
			b.SetRules(nil)
			before := kept().Ready
			sent.Wait()
			ended.Wait()
			for _, f := range all {
				f.until(senders * count)
			}
			if all[0].gaps != 0 {
				t.Errorf("%d gaps", all[0].gaps)
			}
			var w broker.Wake
			for _, f := range all {
				f.sub.Close(0, &w)
			}
			w.Run()
			until(t, "what all have is dropped", func() bool { return kept().Ready <= before && kept().Leased == 0 })
			if n := kept().Ready; n < senders*count/20 {
				t.Errorf("what was kept before was dropped too: %d of %d are there", n, before)
			}
			last := kept().Last
			a, err := b.Address(dest)
			if err != nil {
				t.Fatal(err)
			}
			ended.Add(1)
			a.Send(newMessage(t, dest, "gone"), broker.NewOp(owner), &w)
			w.Run()
			if got := kept().Last; got != last {
				t.Errorf("nobody follows, and the topic keeps number %d", got)
			}
		})
	}
}
