package spool_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A life is a spool over a backend that outlives it.
type life struct {
	*testing.T
	st store.Store
}

func begin(t *testing.T, ref store.Backend) *life { return beginWith(t, spool.Config{Backend: ref}) }

func beginWith(t *testing.T, cfg spool.Config) *life {
	t.Helper()
	st, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() }) // what a kill would not do: it comes when all is over
	return &life{t, st}
}

func (l *life) queue(name string) store.Queue {
	l.Helper()
	q, err := l.st.Queue(name, func() {})
	if err != nil {
		l.Fatal(err)
	}
	return q
}

// put stores one message and returns its Seq.
func (l *life) put(q store.Queue) store.Seq {
	done := make(chan error, 1)
	b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
	b.Put(q, storetest.Message(l, q.Name(), nil))
	l.st.Commit(b)
	if err := <-done; err != nil {
		l.Fatal(err)
	}
	return b.Changes()[0].Seq
}

// passThrough puts a message that is acked before it is stored, and returns its Seq. It is for a bubble: what
// nobody waits for is stored after a while, and there no time passes while anybody is at work.
func (l *life) passThrough(q store.Queue) store.Seq {
	l.Helper()
	b := &store.Batch{Lazy: true}
	b.Put(q, storetest.Message(l, q.Name(), nil))
	l.st.Commit(b)
	ds, err := q.Fetch(nil, 1)
	if err != nil || len(ds) != 1 {
		l.Fatal(ds, err)
	}
	done := make(chan error, 1)
	a := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
	a.Ack(q, ds[0].Seq)
	l.st.Commit(a)
	if err := <-done; err != nil {
		l.Fatal(err)
	}
	return ds[0].Seq
}

func (l *life) end() {
	l.Helper()
	if err := l.st.Close(); err != nil {
		l.Fatal(err)
	}
}

// TestNumbersExact: after a clean stop Seqs go on as if there had been none, also those of messages
// that were never stored.
func TestNumbersExact(t *testing.T) { synctest.Test(t, numbersExact) }

func numbersExact(t *testing.T) {
	ref := &storetest.Reference{}
	for i := range store.Seq(4) {
		l := begin(t, ref)
		q := l.queue("/queue/a")
		for j := range store.Seq(3) {
			if seq := l.passThrough(q); seq != 3*i+j+1 {
				t.Errorf("life %d: got %d", i, seq)
			}
		}
		if i == 2 {
			l.queue("/queue/other").Close()
		}
		l.end()
	}
	if infos, _ := ref.Queues(); len(infos) == 0 {
		t.Error("nothing is left of the numbers")
	}
}

// TestNumbersLeaveNothing: where all was stored a clean stop leaves no row.
func TestNumbersLeaveNothing(t *testing.T) {
	ref := &storetest.Reference{}
	l := begin(t, ref)
	l.put(l.queue("/queue/a"))
	l.end()
	infos, _ := ref.Queues()
	for _, i := range infos {
		if i.Name != "/queue/a" && i.Count > 0 {
			t.Errorf("%s holds %d", i.Name, i.Count)
		}
	}
}

// TestNumbersNeverTwice: after a stop that is not clean no Seq comes that any queue had, whatever of it
// was stored; after a clean stop of that life they go on from there.
func TestNumbersNeverTwice(t *testing.T) { synctest.Test(t, numbersNeverTwice) }

func numbersNeverTwice(t *testing.T) {
	ref := &storetest.Reference{}
	last := map[string]store.Seq{}
	for i := range 6 {
		l := begin(t, ref)
		stored, passed := l.queue("/queue/stored"), l.queue("/queue/passed")
		made := l.queue(fmt.Sprint("/queue/made", i))
		for range 3 {
			for _, q := range []store.Queue{stored, passed, made} {
				seq := store.Seq(0)
				if q == stored {
					seq = l.put(q)
				} else {
					seq = l.passThrough(q)
				}
				if seq <= last[q.Name()] {
					t.Errorf("life %d: %s gets %d after %d", i, q.Name(), seq, last[q.Name()])
				}
				if i == 3 && q != made && seq != last[q.Name()]+1 { // the one before ended well
					t.Errorf("life %d: %s gets %d after %d", i, q.Name(), seq, last[q.Name()])
				}
				last[q.Name()] = seq
			}
		}
		for name := range l.st.Queues() {
			if _, known := last[name]; !known {
				t.Errorf("there is a queue %s", name)
			}
		}
		if made.Close(); i == 2 || i == 5 {
			l.end()
		}
	}
	l := begin(t, ref) // of names that were forgotten, too
	for i := range 6 {
		name := fmt.Sprint("/queue/made", i)
		if seq := l.passThrough(l.queue(name)); seq <= last[name] {
			t.Errorf("%s gets %d again", name, seq)
		}
	}
	l.end()
}

// TestNumbersDamaged: a row that is damaged, and so left out, costs no number a second meaning, and a
// clean stop after that ends it.
func TestNumbersDamaged(t *testing.T) { synctest.Test(t, numbersDamaged) }

func numbersDamaged(t *testing.T) {
	ref := &storetest.Reference{}
	l := begin(t, ref)
	l.put(l.queue("/queue/stored"))
	a, last := l.queue("/queue/a"), store.Seq(0)
	for range 3 {
		last = l.passThrough(a)
	}
	// It is killed, and its row is damaged.
	const row = "/queue/$numbers"
	rs, _, err := ref.Read(nil, row, 0, 1, 1<<20)
	if err != nil || len(rs) != 1 {
		t.Fatal(rs, err)
	}
	if err := ref.Write([]store.Record{{Kind: store.RecordAck, Queue: row, Seq: rs[0].Seq, Last: rs[0].Seq}}); err != nil {
		t.Fatal(err)
	}
	for life := range 3 {
		l = beginWith(t, spool.Config{Backend: ref, Damaged: true})
		seq := l.passThrough(l.queue("/queue/a"))
		if life == 0 && seq <= last || life > 0 && seq != last+1 {
			t.Errorf("life %d: %d after %d", life, seq, last)
		}
		last = seq
		l.end()
	}
}

// TestGap: a queue with messages on both sides of many gaps costs little memory, and hands all out
// in order.
func TestGap(t *testing.T) {
	ref := &storetest.Reference{}
	const lives, queues = 5, 200
	for range lives {
		l := begin(t, ref)
		for i := range queues {
			q := l.queue(fmt.Sprint("/queue/", i))
			l.put(q)
		}
	}
	l := begin(t, ref)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	opened, held := make([]store.Queue, queues), make([][]store.Delivery, queues)
	for i := range queues {
		q := l.queue(fmt.Sprint("/queue/", i))
		opened[i] = q
		l.put(q)
		var all []store.Delivery
		for len(all) <= lives {
			ds, err := q.Fetch(nil, 10)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, ds...)
			runtime.Gosched()
		}
		for j, d := range all {
			if j > 0 && d.Seq <= all[j-1].Seq {
				t.Errorf("%d comes after %d", d.Seq, all[j-1].Seq)
			}
		}
		q.Release(all[2:4])
		ds, err := q.Fetch(nil, 10)
		if err != nil || len(ds) != 2 || ds[0].Seq != all[2].Seq || ds[1].Seq != all[3].Seq {
			t.Errorf("got %v, want %v again", ds, all[2:4])
		}
		if ds, err := q.Browse(nil, all[0].Seq, 10); err != nil || len(ds) != lives || ds[0].Seq != all[1].Seq {
			t.Errorf("a browser sees %v, %v", ds, err)
		}
		held[i] = all
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > queues*60<<10 {
		t.Errorf("%d queues cost %d bytes", queues, n)
	}
	for i, q := range opened {
		all := held[i]
		for _, d := range []int{1, 0, 5, 3, 2, 4} {
			b := &store.Batch{}
			b.Ack(q, all[d].Seq)
			l.st.Commit(b)
			if s := q.Stats(); d == 4 && s.Leased+s.Ready != 0 {
				t.Errorf("%+v is left", s)
			}
		}
	}
	l.end()
}

// TestGapIsNotMarked: who waits behind the last message of before a gap has no mark written for each
// stretch of the gap.
func TestGapIsNotMarked(t *testing.T) {
	for lives := 1; lives <= 3; lives++ {
		synctest.Test(t, func(t *testing.T) {
			ref := &storetest.Reference{}
			for range lives {
				l := begin(t, ref)
				q := l.queue("/queue/a")
				l.put(q)
				l.put(q)
				synctest.Wait()
			}
			l := begin(t, ref)
			q := l.queue("/queue/a")
			marks := 0
			ref.Before = func(rs []store.Record) error {
				for i := range rs {
					if rs[i].Kind == store.RecordMark {
						marks++
					}
				}
				return nil
			}
			fetch := func() (n int) {
				for range 100 {
					ds, err := q.Fetch(nil, 10)
					if err != nil {
						t.Fatal(err)
					}
					n += len(ds)
					synctest.Wait() // then what was asked for is written
				}
				return n
			}
			if n := fetch(); n != 2*lives {
				t.Errorf("got %d messages, want %d", n, 2*lives)
			}
			l.put(q)
			if n := fetch(); n != 1 {
				t.Errorf("got %d messages behind the gap", n)
			}
			if marks > 2*lives {
				t.Errorf("%d lives: %d marks", lives, marks)
			}
			l.end()
		})
	}
}

// TestNumbersForget: names that come once, and never again, do not gather for ever; what is forgotten
// of them is made up for.
func TestNumbersForget(t *testing.T) { synctest.Test(t, numbersForget) }

func numbersForget(t *testing.T) {
	ref := &storetest.Reference{}
	last := map[string]store.Seq{}
	const lives, names = 12, 2000
	for i := range lives {
		l := begin(t, ref)
		stays := l.queue("/queue/stays")
		if seq := l.passThrough(stays); seq != last[stays.Name()]+1 {
			t.Errorf("life %d: %s gets %d after %d", i, stays.Name(), seq, last[stays.Name()])
		} else {
			last[stays.Name()] = seq
		}
		for j := range names {
			q := l.queue(fmt.Sprint("/queue/once", i, "-", j))
			last[q.Name()] = l.passThrough(q)
		}
		l.end()
	}
	infos, err := ref.Queues()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Bytes > 4*names*24 {
			t.Errorf("%s takes %d bytes", i.Name, i.Bytes)
		}
	}
	l := begin(t, ref)
	for name, seq := range last {
		if again := l.passThrough(l.queue(name)); again <= seq {
			t.Fatalf("%s gets %d after %d", name, again, seq)
		}
	}
	l.end()
}

// TestLasts: what writes to a backend beside the spool goes on behind all Seqs that there were.
func TestLasts(t *testing.T) { synctest.Test(t, lasts) }

func lasts(t *testing.T) {
	ref := &storetest.Reference{}
	given := map[string]store.Seq{}
	for i := range 4 {
		l := begin(t, ref)
		q := l.queue("/queue/passed")
		for range 3 {
			given[q.Name()] = l.passThrough(q)
		}
		stored := l.queue("/queue/stored")
		given[stored.Name()] = max(l.put(stored), l.passThrough(l.queue(fmt.Sprint("/queue/", i))))
		if i%2 == 0 { // else it is killed
			l.end()
		}
		last, err := spool.Lasts(ref)
		if err != nil {
			t.Fatal(err)
		}
		for name, seq := range given {
			if got := last(name); got < seq {
				t.Errorf("life %d: %s had %d, and goes on behind %d", i, name, seq, got)
			}
		}
		if last("/queue/another") < given["/queue/passed"] {
			t.Errorf("life %d: a queue that was not there begins before others", i)
		}
	}
}

// TestForetoldIsNotTried: what was foretold, so that the backend heard of it alone, and was never handed
// out counts as that after a clean stop.
func TestForetoldIsNotTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ref := &storetest.Reference{}
		l := begin(t, ref)
		q := l.queue("/queue/a")
		const messages = 3000
		for range messages {
			l.put(q)
		}
		ds, err := q.Browse(nil, messages-2, 2) // far behind what was handed out
		if err != nil || len(ds) != 2 {
			t.Fatal(ds, err)
		}
		q.Foretell(ds)
		synctest.Wait()
		if ds, later := q.Lease(nil, ds[:1], false); len(ds) != 1 || later {
			t.Fatal(ds, later)
		}
		l.end()
		l = begin(t, ref)
		q = l.queue("/queue/a")
		var all []store.Delivery
		for len(all) < messages {
			if all, err = q.Fetch(all, messages); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i, want := range []uint32{1, 2, 1} {
			if d := all[messages-3+i]; d.Attempt != want {
				t.Errorf("message %d comes for time %d, want %d", d.Seq, d.Attempt, want)
			}
		}
		l.end()
	})
}
