package storetest

import (
	"fmt"
	"sync"
	"testing"

	"stompserver/internal/store"
)

// Bench measures the stores that open makes: messages that pass through at once, from 1 to
// 64 producers, and a backlog that is filled and then emptied.
func Bench(b *testing.B, open func(testing.TB) store.Store) {
	body := make([]byte, 1024)
	for _, producers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("pass/%d", producers), func(b *testing.B) {
			st := open(b)
			var wg sync.WaitGroup
			for p := range producers {
				q, err := st.Queue(fmt.Sprintf("/queue/%d", p), func() {})
				if err != nil {
					b.Fatal(err)
				}
				m := Message(b, q.Name(), body)
				n := b.N / producers
				if p < b.N%producers {
					n++
				}
				wg.Go(func() { pass(b, st, q, n, func(batch *store.Batch) { batch.Put(q, m) }) })
			}
			wg.Wait()
			closed(b, st)
		})
	}
	b.Run("backlog", func(b *testing.B) {
		st := open(b)
		ready := make(chan struct{}, 1)
		q, err := st.Queue("/queue/a", func() {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		m := Message(b, q.Name(), body)
		var batch store.Batch
		done := make(chan error, 1)
		batch.Done = func(_ *store.Batch, err error) { done <- err }
		commit := func() {
			st.Commit(&batch)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
		for i := range b.N {
			batch.Put(q, m)
			if batch.Len() == 100 || i == b.N-1 {
				commit()
			}
		}
		var ds []store.Delivery
		for left := b.N; left > 0; left -= len(ds) {
			if ds, err = q.Fetch(ds[:0], 100); err != nil {
				b.Fatal(err)
			}
			if len(ds) == 0 {
				<-ready
				continue
			}
			for _, d := range ds {
				batch.Ack(q, d.Seq)
			}
			commit()
		}
		closed(b, st)
	})
}

// pass sends n messages through q, one at a time, each acked beside the put of the next.
func pass(b *testing.B, st store.Store, q store.Queue, n int, put func(*store.Batch)) {
	done := make(chan error, 1)
	batch := store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
	var ds []store.Delivery
	for range n {
		put(&batch)
		st.Commit(&batch)
		err := <-done
		if err == nil {
			ds, err = q.Fetch(ds[:0], 1)
		}
		if err != nil {
			b.Error(err)
			return
		}
		batch.Reset()
		for _, d := range ds {
			batch.Ack(q, d.Seq)
		}
	}
	st.Commit(&batch)
	if err := <-done; err != nil {
		b.Error(err)
	}
}

func closed(b *testing.B, st store.Store) {
	b.StopTimer()
	defer b.StartTimer()
	if err := st.Close(); err != nil {
		b.Error(err)
	}
}
