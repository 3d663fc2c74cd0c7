package spool_test

import (
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

func open(testing.TB) store.Store { return spool.New() }

func TestMemory(t *testing.T) { storetest.Run(t, open) }

func BenchmarkMemory(b *testing.B) { storetest.Bench(b, open) }

// TestNoAllocation has the way of a message through the store of a broker that keeps up.
func TestNoAllocation(t *testing.T) {
	st := spool.New()
	q, err := st.Queue("/queue/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := storetest.Message(t, "/queue/a", nil)
	var b store.Batch
	var ds []store.Delivery
	pass := func() {
		for range 1000 {
			b.Put(q, m)
			st.Commit(&b)
			b.Reset()
			ds, _ = q.Fetch(ds[:0], 1)
			b.Ack(q, ds[0].Seq)
			st.Commit(&b)
			b.Reset()
		}
	}
	pass()
	if n := testing.AllocsPerRun(10, pass); n > allocations {
		t.Errorf("%v allocations for a thousand messages", n)
	}
}
