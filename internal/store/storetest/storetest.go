// Package storetest is the conformance suite of stores: one that passes Run is a store.
// Each runs it from its own test.
package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Run checks the stores that open makes, each of them empty. Run closes them.
func Run(t *testing.T, open func(testing.TB) store.Store) { run(t, open, true) }

// RunShort is Run without what takes very many writes one after another. It is for what is slow, and passes
// Run another time.
func RunShort(t *testing.T, open func(testing.TB) store.Store) { run(t, open, false) }

func run(t *testing.T, open func(testing.TB) store.Store, long bool) {
	for _, c := range []struct {
		name string
		run  func(*harness)
		long bool
	}{
		{"what is put first is handed out first", order, false},
		{"nothing is handed out twice", noneTwice, false},
		{"what is given back comes before the rest, and counts its tries", givenBack, false},
		{"what is acked is gone", ackedIsGone, false},
		{"a range of acks spares what is not there", ackRange, false},
		{"a batch changes several queues", batchOverQueues, false},
		{"batches are done once, in order", doneInOrder, false},
		{"a batch may be used again", batchReused, false},
		{"browsing takes nothing", browse, false},
		{"depth and counters", stats, false},
		{"odd names and bodies", oddities, true},
		{"an empty queue can be closed, and opened again", closeQueue, false},
		{"after Close everything fails", closeStore, false},
		{"one message that stays while many pass", oneStaysBehind, true},
		{"many at once", concurrent, false},
		{"a lease out of turn", outOfTurn, false},
		{"a random walk beside a model", walk, false},
	} {
		if c.long && !long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			st := open(t)
			c.run(newHarness(t, st))
			if err := st.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// patience is how long a store may take to do what it is bound to, on a machine that does much else.
const patience = 2 * time.Minute

// A harness is one store under test, with what the checks are spelt in.
type harness struct {
	*testing.T
	st    store.Store
	ready map[store.Queue]chan struct{} // signalled by the store
	tries atomic.Uint32
}

func newHarness(t *testing.T, st store.Store) *harness {
	return &harness{T: t, st: st, ready: make(map[store.Queue]chan struct{})}
}

// Message makes a message to dest with the given body.
func Message(t testing.TB, dest string, body []byte) *message.Message {
	t.Helper()
	m, err := message.New(&frame.Frame{Command: frame.Send, Body: body, Plain: true}, dest, message.At(1))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Volatile makes one that asks not to be stored.
func Volatile(t testing.TB, dest string, body []byte) *message.Message {
	t.Helper()
	f := &frame.Frame{Command: frame.Send, Body: body, Plain: true}
	f.Header.Add("persistent", "false")
	m, err := message.New(f, dest, message.At(1))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (h *harness) open(name string) store.Queue {
	h.Helper()
	ready := make(chan struct{}, 1)
	q, err := h.st.Queue(name, func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	if err != nil {
		h.Fatalf("Queue(%q): %v", name, err)
	}
	h.ready[q] = ready
	if q.Name() != name {
		h.Fatalf("queue %q says it is %q", name, q.Name())
	}
	return q
}

// commit waits until b is done.
func (h *harness) commit(b *store.Batch) {
	h.Helper()
	if err := h.try(b); err != nil {
		h.Fatalf("Commit: %v", err)
	}
}

func (h *harness) try(b *store.Batch) error {
	done := make(chan error, 1)
	b.Done = func(_ *store.Batch, err error) { done <- err }
	attended := h.tries.Add(1)%2 == 0
	b.Attended = attended
	h.st.Commit(b)
	if attended && h.st.Attend() {
		select {
		case err := <-done:
			return err
		default:
			h.Error("Attend returned true before Done")
		}
	}
	return <-done
}

func (h *harness) put(q store.Queue, bodies ...string) {
	h.Helper()
	var b store.Batch
	for _, body := range bodies {
		b.Put(q, Message(h, q.Name(), []byte(body)))
	}
	h.commit(&b)
}

func (h *harness) ack(q store.Queue, ds ...store.Delivery) {
	h.Helper()
	var b store.Batch
	for _, d := range ds {
		b.Ack(q, d.Seq)
	}
	h.commit(&b)
}

// fetch asks for max deliveries of which want are there, perhaps not at hand.
func (h *harness) fetch(q store.Queue, max, want int) []store.Delivery {
	h.Helper()
	var ds []store.Delivery
	for {
		before := len(ds)
		var err error
		if ds, err = q.Fetch(ds, max-before); err != nil {
			h.Fatalf("Fetch: %v", err)
		}
		if len(ds) > max {
			h.Fatalf("Fetch of %d gave %d", max-before, len(ds)-before)
		}
		if len(ds) >= want {
			return ds
		}
		select {
		case <-h.ready[q]:
		case <-time.After(patience):
			h.Fatalf("Fetch gave %d of %d, and nothing is ready: %q", len(ds), want, spell(ds))
		}
	}
}

// lease takes ds out of turn, of which want are free.
func (h *harness) lease(q store.Queue, ds []store.Delivery, want int) []store.Delivery {
	h.Helper()
	var got []store.Delivery
	for {
		var later bool
		if got, later = q.Lease(got, ds, h.tries.Add(1)%5 == 0); !later {
			if len(got) != want {
				h.Fatalf("Lease gave %d of %d: %q", len(got), want, spell(got))
			}
			return got
		}
		select {
		case <-h.ready[q]:
		case <-time.After(patience):
			h.Fatalf("Lease gave %d of %d, and nothing is ready: %q", len(got), want, spell(got))
		}
	}
}

// give fetches max deliveries and compares them with want, a line of body:attempt.
func (h *harness) give(q store.Queue, max int, want string) []store.Delivery {
	h.Helper()
	ds := h.fetch(q, max, len(strings.Fields(want)))
	if got := spell(ds); got != want {
		h.Fatalf("Fetch of %d gave %q, want %q", max, got, want)
	}
	return ds
}

func spell(ds []store.Delivery) string {
	var s []string
	for _, d := range ds {
		s = append(s, fmt.Sprintf("%s:%d", d.Msg.Body(), d.Attempt))
	}
	return strings.Join(s, " ")
}

func order(h *harness) {
	q := h.open("/queue/a")
	h.give(q, 10, "")
	h.put(q, "a")
	h.put(q, "b", "c")
	h.put(q, "d")
	ds := h.give(q, 3, "a:1 b:1 c:1")
	for i := 1; i < len(ds); i++ {
		if ds[i].Seq <= ds[i-1].Seq {
			h.Errorf("seq %d after %d", ds[i].Seq, ds[i-1].Seq)
		}
	}
	if ds[0].Seq == 0 {
		h.Error("a seq of 0")
	}
	h.give(q, 10, "d:1")
	dst, err := q.Fetch(ds[:1], 5)
	if err != nil || len(dst) != 1 || dst[0].Seq != ds[0].Seq {
		h.Errorf("Fetch does not append: %v, %v", dst, err)
	}
}

func noneTwice(h *harness) {
	q := h.open("/queue/a")
	for i := range 300 {
		h.put(q, fmt.Sprint(i))
	}
	seen := map[store.Seq]bool{}
	for len(seen) < 300 {
		ds := h.fetch(q, 7, 1)
		for _, d := range ds {
			if seen[d.Seq] {
				h.Fatalf("%d came twice", d.Seq)
			}
			seen[d.Seq] = true
		}
	}
	h.give(q, 7, "")
}

func givenBack(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "a", "b", "c", "d", "e")
	ds := h.give(q, 4, "a:1 b:1 c:1 d:1")
	q.Release([]store.Delivery{ds[2], ds[0]})
	ds2 := h.give(q, 1, "a:2")
	h.give(q, 5, "c:2 e:1")
	q.Release(ds2)
	unseen := h.give(q, 1, "a:3")
	unseen[0].Attempt-- // nobody can have seen it
	q.Release(unseen)
	h.give(q, 1, "a:3")
	q.Release([]store.Delivery{ds[3], ds[1]})
	h.give(q, 9, "b:2 d:2")
}

func ackedIsGone(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "a", "b", "c")
	ds := h.give(q, 3, "a:1 b:1 c:1")
	h.ack(q, ds[1])
	q.Release(ds) // of b as well: it is gone, and stays so
	h.give(q, 9, "a:2 c:2")
	if n := h.st.Bytes(); n <= 0 {
		h.Errorf("two messages cost %d bytes", n)
	}
	h.ack(q, ds[0], ds[2])
	if n := h.st.Bytes(); n != 0 {
		h.Errorf("none are left, of %d bytes", n)
	}
}

func ackRange(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "a", "b", "c", "d")
	ds := h.give(q, 3, "a:1 b:1 c:1")
	h.ack(q, ds[1])
	var b store.Batch
	b.AckRange(q, ds[0].Seq, ds[2].Seq)
	h.commit(&b)
	h.give(q, 9, "d:1")
	if s := q.Stats(); s.Dequeued != 3 || s.Leased != 1 || s.Ready != 0 {
		h.Errorf("%+v", s)
	}
}

func batchOverQueues(h *harness) {
	x, y := h.open("/queue/x"), h.open("/queue/y")
	h.put(x, "old")
	old := h.give(x, 1, "old:1")
	var b store.Batch
	b.Put(y, Message(h, "/queue/y", []byte("1")))
	b.Put(x, Message(h, "/queue/x", []byte("2")))
	b.Ack(x, old[0].Seq)
	b.Put(y, Message(h, "/queue/y", []byte("3")))
	h.commit(&b)
	for i, c := range b.Changes() {
		if c.Msg != nil && c.Seq == 0 {
			h.Errorf("change %d was put under no Seq", i)
		}
	}
	h.give(x, 9, "2:1")
	h.give(y, 9, "1:1 3:1")
	h.commit(&store.Batch{}) // an empty one is done as well
}

func doneInOrder(h *harness) {
	q := h.open("/queue/a")
	const n = 500
	var mu sync.Mutex
	var done []int
	all := make(chan struct{})
	for i := range n {
		b := &store.Batch{Context: i}
		b.Done = func(b *store.Batch, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.Errorf("batch %d: %v", b.Context, err)
			}
			if done = append(done, b.Context.(int)); len(done) == n {
				close(all)
			}
		}
		b.Put(q, Message(h, "/queue/a", nil))
		h.st.Commit(b)
	}
	<-all
	mu.Lock()
	defer mu.Unlock()
	for i, v := range done {
		if v != i {
			h.Fatalf("batch %d was done as number %d", v, i)
		}
	}
}

func batchReused(h *harness) {
	q := h.open("/queue/a")
	var b store.Batch
	for i := range 5 {
		b.Reset()
		if b.Len() != 0 {
			h.Fatal("a batch was reset and is not empty")
		}
		b.Put(q, Message(h, "/queue/a", fmt.Append(nil, i)))
		h.commit(&b)
	}
	h.give(q, 9, "0:1 1:1 2:1 3:1 4:1")
}

func browse(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "a", "b", "c", "d")
	ds := h.give(q, 2, "a:1 b:1")
	h.ack(q, ds[0])
	look := func(after store.Seq, max int, want ...string) []store.Delivery {
		h.Helper()
		got, err := q.Browse(nil, after, max)
		if err != nil {
			h.Fatal(err)
		}
		var bodies []string
		for _, d := range got {
			bodies = append(bodies, string(d.Msg.Body()))
		}
		if fmt.Sprint(bodies) != fmt.Sprint(want) {
			h.Fatalf("Browse after %d gave %q, want %q", after, bodies, want)
		}
		return got
	}
	page := look(0, 2, "b", "c")
	look(page[1].Seq, 9, "d")
	look(1<<40, 9)
	look(0, 0)
	for after, want := page[0].Seq-1, 3; ; want-- {
		got, more, err := q.Page(nil, after, 2, 1)
		if err != nil || more && len(got) == 0 || len(got) > 2 || len(got) > want {
			h.Fatalf("Page after %d gave %d, more %v, %v", after, len(got), more, err)
		}
		if len(got) == 0 {
			break
		}
		want -= len(got) - 1
		if after = got[len(got)-1].Seq; !more && want != 1 {
			h.Fatalf("Page ended %d before the end", want-1)
		}
	}
	h.give(q, 9, "c:1 d:1")
}

func stats(h *harness) {
	q := h.open("/queue/a")
	check := func(ready, leased int, in, out uint64) {
		h.Helper()
		s := q.Stats()
		if s.Ready != ready || s.Leased != leased || s.Enqueued != in || s.Dequeued != out {
			h.Errorf("%+v, want %d ready, %d leased, %d in, %d out", s, ready, leased, in, out)
		}
		if (s.Bytes == 0) != (ready+leased == 0) || s.Bytes < 0 {
			h.Errorf("%d messages cost %d bytes", ready+leased, s.Bytes)
		}
	}
	check(0, 0, 0, 0)
	before := q.Stats().Last
	h.put(q, "a", "b", "c")
	check(3, 0, 3, 0)
	if last := q.Stats().Last; last != before+3 {
		h.Errorf("the last Seq of three puts is %d, behind %d", last, before)
	}
	ds := h.fetch(q, 2, 2)
	check(1, 2, 3, 0)
	if ds[1].Seq != before+2 {
		h.Errorf("the second message has the Seq %d, behind %d", ds[1].Seq, before)
	}
	h.ack(q, ds[0])
	check(1, 1, 3, 1)
	q.Release(ds[1:])
	check(2, 0, 3, 1)
	found := false
	for name, s := range h.st.Queues() {
		if name == "/queue/a" && s.Ready == 2 {
			found = true
		}
	}
	if !found {
		h.Error("the store does not list the queue")
	}
}

func oddities(h *harness) {
	huge := strings.Repeat("x", 10<<20)
	for _, name := range []string{
		"/queue/", "/queue/a b", "/queue/ä/../b", "/queue/a:b\\c", "/queue/%2e", "/queue/A", "/queue/a",
		"/queue/" + strings.Repeat("n", 248),
	} {
		q := h.open(name)
		h.put(q, "", "\x00\r\n\xff", huge)
		ds := h.fetch(q, 3, 3)
		for i, want := range []string{"", "\x00\r\n\xff", huge} {
			if string(ds[i].Msg.Body()) != want {
				h.Errorf("%q: body %d is another", name, i)
			}
		}
		if d := ds[0].Msg.Destination(); d != name {
			h.Errorf("%q comes as %q", name, d)
		}
		h.ack(q, ds...)
	}
}

func closeQueue(h *harness) {
	q := h.open("/queue/a")
	if _, err := h.st.Queue("/queue/a", func() {}); err == nil {
		h.Error("a queue was opened twice")
	}
	h.put(q, "a")
	if q.Close() {
		h.Fatal("a queue that holds a message was closed")
	}
	ds := h.give(q, 1, "a:1")
	if q.Close() {
		h.Fatal("a queue with a message in flight was closed")
	}
	h.ack(q, ds...)
	if !q.Close() {
		h.Fatal("an empty queue was not closed")
	}
	if _, err := q.Fetch(nil, 1); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Fetch of a closed queue: %v", err)
	}
	var b store.Batch
	b.Put(q, Message(h, "/queue/a", nil))
	if err := h.try(&b); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Put into a closed queue: %v", err)
	}
	last := ds[0].Seq
	q = h.open("/queue/a")
	h.put(q, "b")
	if ds := h.fetch(q, 9, 1); spell(ds) != "b:1" || ds[0].Seq <= last {
		h.Errorf("got %s as %d, behind %d", spell(ds), ds[0].Seq, last)
	}
}

func closeStore(h *harness) {
	q, empty := h.open("/queue/a"), h.open("/queue/b")
	h.put(q, "a")
	if err := h.st.Close(); err != nil {
		h.Fatal(err)
	}
	var b store.Batch
	b.Put(empty, Message(h, "/queue/b", nil))
	b.Put(q, Message(h, "/queue/a", nil))
	if err := h.try(&b); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Commit: %v", err)
	}
	if _, err := q.Fetch(nil, 1); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Fetch: %v", err)
	}
	if _, err := q.Browse(nil, 0, 1); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Browse: %v", err)
	}
	if _, err := h.st.Queue("/queue/c", func() {}); !errors.Is(err, store.ErrClosed) {
		h.Errorf("Queue: %v", err)
	}
}

func oneStaysBehind(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "first")
	first := h.give(q, 1, "first:1")
	for i := range 5000 {
		body := fmt.Sprint(i)
		h.put(q, body)
		h.ack(q, h.give(q, 1, body+":1")...)
	}
	q.Release(first)
	h.give(q, 9, "first:2")
}

// concurrent has producers and consumers on two queues: every message is acked once.
func concurrent(h *harness) {
	const producers, each = 4, 500
	qs := []store.Queue{h.open("/queue/a"), h.open("/queue/b")}
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				var b store.Batch
				for _, q := range qs {
					b.Put(q, Message(h, q.Name(), fmt.Appendf(nil, "%d-%d", p, i)))
				}
				if err := h.try(&b); err != nil {
					h.Errorf("Commit: %v", err)
				}
			}
		})
	}
	for _, q := range qs {
		var mu sync.Mutex
		seen := map[string]int{}
		for range 2 {
			wg.Go(func() {
				for {
					mu.Lock()
					n := len(seen)
					mu.Unlock()
					if n == producers*each {
						return
					}
					ds, err := q.Fetch(nil, 3)
					if err != nil {
						h.Errorf("Fetch: %v", err)
						return
					}
					if len(ds) > 2 {
						q.Release(ds[2:])
						ds = ds[:2]
					}
					var b store.Batch
					for _, d := range ds {
						b.Ack(q, d.Seq)
						mu.Lock()
						if seen[string(d.Msg.Body())]++; seen[string(d.Msg.Body())] > 1 {
							h.Errorf("%s came again", d.Msg.Body())
						}
						mu.Unlock()
					}
					if err := h.try(&b); err != nil {
						h.Errorf("Commit: %v", err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// outOfTurn leases what is in the middle: Fetch passes it over, and gives it when it is its
// turn and it was given back.
func outOfTurn(h *harness) {
	q := h.open("/queue/a")
	h.put(q, "1", "2", "3", "4", "5")
	all, err := q.Browse(nil, 0, 10)
	if err != nil || len(all) != 5 {
		h.Fatal(all, err)
	}
	got := h.lease(q, all[1:4:4], 3)
	if spell(got) != "2:1 3:1 4:1" {
		h.Fatalf("Lease gave %q", spell(got))
	}
	h.lease(q, all[1:4:4], 0) // they are held
	h.give(q, 1, "1:1")
	q.Release(got[1:2])
	h.ack(q, got[0])
	h.lease(q, all[1:2], 0) // it is gone
	h.give(q, 9, "3:2 5:1")
	if s := q.Stats(); s.Leased != 4 || s.Ready != 0 {
		h.Errorf("%+v", s)
	}
}
