package spool_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A crowd is clients that put a message, wait until it is durable, and need a while until they
// put the next, on a disk that takes a while for each write.
type crowd struct {
	clients     int
	write, away time.Duration
	once        bool // each puts one message only
}

// run says how many messages a write had, and how long one waited at most.
func (c crowd) run(t *testing.T) (perWrite float64, longest time.Duration) {
	var mu sync.Mutex
	var writes, puts int
	ref := &storetest.Reference{Before: func(rs []store.Record) error {
		time.Sleep(c.write)
		mu.Lock()
		defer mu.Unlock()
		writes++
		puts += len(rs)
		return nil
	}}
	st, err := spool.Open(spool.Config{Backend: ref, Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	q, err := st.Queue("/queue/a", func() {})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var all sync.WaitGroup
	for i := range c.clients {
		rnd := rand.New(rand.NewPCG(1, uint64(i))) // the same each time, as the least there may be is near
		all.Go(func() {
			for time.Since(begin) < time.Second {
				// Some answer a little later than others.
				time.Sleep(c.away + time.Duration(rnd.Int64N(int64(c.away/4+1))))
				done := make(chan error, 1)
				b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
				b.Put(q, storetest.Message(t, q.Name(), []byte("x")))
				at := time.Now()
				st.Commit(b)
				if err := <-done; err != nil {
					t.Error(err)
				}
				mu.Lock()
				longest = max(longest, time.Since(at))
				mu.Unlock()
				if c.once {
					return
				}
			}
		})
	}
	all.Wait()
	mu.Lock()
	perWrite = float64(puts) / float64(writes)
	mu.Unlock()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	return perWrite, longest
}

// TestGather checks that those who wait for their receipts share their writes, whether or not
// they are back at once, and that nobody waits long for those who are not.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name    string
		crowd   crowd
		atLeast float64       // messages a write
		longest time.Duration // that one waits
	}{
		{"back at once", crowd{64, time.Millisecond, 100 * time.Microsecond, false}, 60, 2600 * time.Microsecond},
		{"back within half a write", crowd{64, time.Millisecond, 350 * time.Microsecond, false}, 56, 2600 * time.Microsecond},
		{"two of them", crowd{2, time.Millisecond, 100 * time.Microsecond, false}, 1.9, 2600 * time.Microsecond},
		{"back later", crowd{64, time.Millisecond, 900 * time.Microsecond, false}, 25, 2600 * time.Microsecond},
		{"not back", crowd{64, time.Millisecond, 100 * time.Microsecond, true}, 16, 2600 * time.Microsecond},
		{"a fast disk", crowd{64, 40 * time.Microsecond, 100 * time.Microsecond, false}, 10, 90 * time.Microsecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				per, longest := tt.crowd.run(t)
				t.Logf("%.1f messages a write, %v at the longest", per, longest)
				if per < tt.atLeast {
					t.Errorf("%.1f messages a write, want %.0f at least", per, tt.atLeast)
				}
				if longest > tt.longest {
					t.Errorf("one waited for %v, want %v at most", longest, tt.longest)
				}
			})
		})
	}
}
