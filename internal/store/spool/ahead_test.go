package spool_test

import (
	"fmt"
	"slices"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// TestFarLeaseIsToldExactly leases messages far behind in a backlog, and one that is just put, and has
// the process be killed: those come again as tried before, and of the others none.
func TestFarLeaseIsToldExactly(t *testing.T) {
	for _, window := range []int64{64 << 10, 64 << 20} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			const count = 6000
			ref := &storetest.Reference{}
			ready := make(chan struct{}, 1)
			open := func() (store.Store, store.Queue) {
				st, err := spool.Open(spool.Config{Backend: ref, Window: window})
				if err != nil {
					t.Fatal(err)
				}
				q, err := st.Queue("/queue/a", func() {
					select {
					case ready <- struct{}{}:
					default:
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				return st, q
			}
			st, q := open()
			put := func(from, to int) <-chan error {
				t.Helper()
				done := make(chan error, 1)
				b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
				for i := from; i < to; i++ {
					b.Put(q, storetest.Message(t, q.Name(), fmt.Appendf(nil, "%4d", i)))
				}
				st.Commit(b)
				return done
			}
			lease := func(after store.Seq) {
				t.Helper()
				ds, err := q.Browse(nil, after, 1)
				if err != nil || len(ds) != 1 {
					t.Fatal(len(ds), err)
				}
				for {
					got, later := q.Lease(nil, ds, false)
					if len(got) == 1 {
						if ref.Forgets(q.Name(), got[0].Seq) {
							t.Errorf("a crash would forget that %d was handed out", got[0].Seq)
						}
						return
					}
					if !later {
						t.Fatalf("%d is not to be had", after+1)
					}
					<-ready
				}
			}
			if err := <-put(0, count); err != nil {
				t.Fatal(err)
			}
			want := []store.Seq{3000, 3001, 5500, count + 1}
			for _, seq := range want[:3] {
				lease(seq - 1)
			}
			done := put(count, count+1)
			lease(count) // which may be before it is stored, or after
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if ref.Forgets(q.Name(), count+1) {
				t.Errorf("a crash would forget that %d was handed out", count+1)
			}

			// The process is gone: nothing is closed.
			_, q = open()
			var again []store.Seq
			for n := 0; n <= count; {
				ds, err := q.Fetch(nil, 500)
				if err != nil {
					t.Fatal(err)
				}
				if len(ds) == 0 {
					<-ready
				}
				for _, d := range ds {
					if n++; d.Attempt > 1 {
						again = append(again, d.Seq)
					}
				}
			}
			if !slices.Equal(again, want) {
				t.Errorf("%d messages come as tried before, from %d to %d; want %d", len(again), again[0], again[len(again)-1], want)
			}
		})
	}
}
