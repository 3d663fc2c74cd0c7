package spool_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

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

// A lingering backend returns from a Write some time after it was made.
type lingering struct {
	*storetest.Reference
	linger func()
}

func (b *lingering) Write(rs []store.Record) error {
	err := b.Reference.Write(rs)
	b.linger()
	return err
}

// TestPassedBeforeSettled has the window come by a message that was leased ahead of it and is acked in a transaction,
// when that is written and not settled yet: it is counted as gone once.
func TestPassedBeforeSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 1000 // more than a page, and no more than one mark is for
		written, on := make(chan struct{}), make(chan struct{})
		lingers := false
		b := &lingering{Reference: &storetest.Reference{}, linger: func() {
			if lingers {
				written <- struct{}{}
				<-on
			}
		}}
		st, err := spool.Open(spool.Config{Backend: b, Window: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		l := &life{t, st}
		q, other := l.queue("/queue/a"), l.queue("/queue/b")
		for range count {
			l.put(q)
		}
		fetch := func(n int) (all []store.Delivery) {
			for len(all) < n {
				ds, err := q.Fetch(nil, n-len(all))
				if err != nil {
					t.Fatal(err)
				}
				if all = append(all, ds...); len(ds) == 0 {
					return all
				}
				synctest.Wait()
			}
			return all
		}
		held := fetch(1) // which has all be marked as handed out
		ds, err := q.Browse(nil, count-10, 1)
		if err != nil || len(ds) != 1 {
			t.Fatal(ds, err)
		}
		got, later := q.Lease(nil, ds, false)
		for later {
			synctest.Wait() // it is to be marked before
			got, later = q.Lease(nil, ds, false)
		}
		if len(got) != 1 {
			t.Fatal("it is not to be had")
		}
		done := make(chan error, 1)
		tx := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
		tx.Ack(q, got[0].Seq)
		tx.Put(other, storetest.Message(t, other.Name(), nil))
		lingers = true
		st.Commit(tx)
		<-written
		held = append(held, fetch(count)...)
		lingers = false
		on <- struct{}{}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		held = append(held, fetch(count)...)
		if s := q.Stats(); len(held) != count-1 || s.Leased != len(held) || s.Ready != 0 || s.Dequeued != 1 {
			t.Errorf("%d are held, %+v", len(held), s)
		}
		for _, d := range held {
			a := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
			a.Ack(q, d.Seq)
			st.Commit(a)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if s := q.Stats(); s.Leased != 0 || s.Ready != 0 || s.Bytes != 0 || s.Dequeued != count {
			t.Errorf("at last %+v", s)
		}
		l.end()
	})
}

// A slow reader returns from a Read some time after it was made.
type slowReader struct {
	*storetest.Reference
	linger func()
}

func (b *slowReader) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) ([]store.Record, bool, error) {
	rs, more, err := b.Reference.Read(dst, queue, after, max, size)
	if linger := b.linger; linger != nil {
		b.linger = nil
		linger()
	}
	return rs, more, err
}

// TestPassedWhileRead has the window come by messages that are read to be listed: those that were acked meanwhile
// are not listed, of the others it is told how often they were handed out, and none is left out.
func TestPassedWhileRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 1000
		b := &slowReader{Reference: &storetest.Reference{}}
		st, err := spool.Open(spool.Config{Backend: b, Window: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		l := &life{t, st}
		q := l.queue("/queue/a")
		const from, to, acked = 500, 520, 510 // what is listed, and up to where it is acked
		for i := range store.Seq(count) {
			if i+1 != to-1 {
				l.put(q)
				continue
			}
			b := &store.Batch{} // of one that the backend never has
			b.Put(q, storetest.Volatile(t, q.Name(), nil))
			st.Commit(b)
			synctest.Wait()
		}
		b.linger = func() {
			ds, err := q.Browse(nil, from, acked-from)
			if err != nil {
				t.Error(err)
			}
			got, _ := q.Lease(nil, ds, true)
			if len(got) != acked-from {
				t.Errorf("%d of %d are to be had", len(got), acked-from)
			}
			done := make(chan error, 1)
			acks := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
			for _, d := range got {
				acks.Ack(q, d.Seq)
			}
			st.Commit(acks)
			if err := <-done; err != nil {
				t.Error(err)
			}
			for ; q.Stats().Ready > 0; synctest.Wait() {
				if _, err := q.Fetch(nil, count); err != nil {
					t.Error(err)
					return
				}
			}
		}
		ds, err := q.Browse(nil, from, to-from)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range ds {
			if d.Seq != acked+store.Seq(i)+1 || d.Attempt != 1 {
				t.Errorf("listed is %d at attempt %d", d.Seq, d.Attempt)
			}
		}
		if len(ds) < to-acked {
			t.Errorf("%d are listed", len(ds))
		}
		if s := q.Stats(); s.Leased != count-(acked-from) {
			t.Errorf("%+v", s)
		}
		l.end()
	})
}
