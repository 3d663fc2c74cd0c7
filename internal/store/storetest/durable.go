package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"stompserver/internal/store"
)

// RunDurable checks what is on top for stores that keep messages over a restart: open opens
// the same place again.
func RunDurable(t *testing.T, open func(t testing.TB, place string) store.Store) {
	for _, c := range []struct {
		name string
		run  func(*restarter)
	}{
		{"what is not acked survives", survives},
		{"tries are told exactly after a clean stop", triesSurvive},
		{"a Seq is not used twice", seqsGoOn},
		{"a backlog far beyond the window", backlog},
		{"a backlog that grows while it is eaten", eaten},
		{"a lease out of turn in a backlog", outOfTurnFar},
		{"volatile messages are not stored", volatiles},
		{"volatile messages keep their place in a backlog", volatileBacklog},
		{"volatile messages are not taken for later ones", volatileSeqs},
		{"restarts beside a model", walkAndRestart},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := t.TempDir()
			r := &restarter{open: func() store.Store { return open(t, place) }}
			r.harness = newHarness(t, r.open())
			c.run(r)
			if err := r.st.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

type restarter struct {
	*harness
	open func() store.Store
}

// restart stops and starts the store.
func (r *restarter) restart() {
	r.Helper()
	if err := r.st.Close(); err != nil {
		r.Fatalf("Close: %v", err)
	}
	r.harness = newHarness(r.T, r.open())
}

func (r *restarter) queue(name string) store.Queue { return r.harness.open(name) }

func survives(r *restarter) {
	q, other := r.queue("/queue/a"), r.queue("/queue/b")
	r.put(q, "a", "b", "c", "", "\x00\xff")
	r.put(other, "gone")
	ds := r.give(q, 2, "a:1 b:1")
	r.ack(q, ds[0])
	r.ack(other, r.give(other, 1, "gone:1")...)
	r.restart()
	for name, s := range r.st.Queues() {
		if name != "/queue/a" || s.Ready != 4 {
			r.Errorf("the store lists %s with %+v", name, s)
		}
	}
	q, other = r.queue("/queue/a"), r.queue("/queue/b")
	if s := q.Stats(); s.Ready != 4 || s.Leased != 0 {
		r.Errorf("%+v", s)
	}
	r.give(other, 1, "")
	ds = r.give(q, 9, "b:2 c:1 :1 \x00\xff:1")
	if d := ds[1].Msg; d.Destination() != "/queue/a" {
		r.Errorf("destination %q", d.Destination())
	}
	r.ack(q, ds...)
	r.restart()
	r.give(r.queue("/queue/a"), 9, "")
}

func triesSurvive(r *restarter) {
	q := r.queue("/queue/a")
	r.put(q, "a", "b", "c", "d")
	for range 3 {
		q.Release(r.fetch(q, 2, 2))
	}
	unseen := r.fetch(q, 1, 1)
	unseen[0].Attempt -= 2
	q.Release(unseen)
	r.restart()
	q = r.queue("/queue/a")
	q.Release(r.give(q, 9, "a:3 b:4 c:1 d:1"))
	r.restart()
	r.restart()
	r.give(r.queue("/queue/a"), 9, "a:4 b:5 c:2 d:2")
}

func seqsGoOn(r *restarter) {
	var last store.Seq
	for range 3 {
		q := r.queue("/queue/a")
		r.put(q, "x")
		ds := r.give(q, 1, "x:1")
		if ds[0].Seq <= last {
			r.Errorf("Seq %d after %d", ds[0].Seq, last)
		}
		last = ds[0].Seq
		r.ack(q, ds...)
		r.restart()
	}
}

// backlog fills a queue with a hundred windows of 1 MiB or more, which open should set, and
// empties it again.
func backlog(r *restarter) {
	const count, size, window = 30000, 4 << 10, 2 << 20
	q := r.queue("/queue/a")
	m := make([]byte, size)
	fill := func(from, to int) {
		for from < to {
			var b store.Batch
			for ; from < to && b.Len() < 500; from++ {
				b.Put(q, Message(r, "/queue/a", fmt.Appendf(m[:0:size], "%d", from)[:size]))
			}
			r.commit(&b)
		}
	}
	eat := func(from, to int) {
		for from < to {
			ds := r.fetch(q, min(100, to-from), 1)
			var b store.Batch
			for _, d := range ds {
				var n int
				if _, err := fmt.Sscan(string(d.Msg.Body()[:8]), &n); err != nil || n != from {
					r.Fatalf("got %q, want %d", d.Msg.Body()[:8], from)
				}
				from++
				b.AckRange(q, d.Seq, d.Seq)
			}
			r.commit(&b)
			if used := r.st.Bytes(); used > 8*window {
				r.Fatalf("%d bytes in memory", used)
			}
		}
	}
	for i := range m {
		m[i] = ' '
	}
	fill(0, count/2)
	if used := r.st.Bytes(); used > 8*window {
		r.Fatalf("%d bytes in memory", used)
	}
	eat(0, 1000)
	r.restart()
	q = r.queue("/queue/a")
	if n := q.Stats().Ready; n != count/2-1000 {
		r.Fatalf("%d messages, want %d", n, count/2-1000)
	}
	fill(count/2, count)
	eat(1000, count)
	r.give(q, 9, "")
	if s := q.Stats(); s.Ready != 0 || s.Leased != 0 || s.Bytes != 0 {
		r.Errorf("%+v", s)
	}
	if used := r.st.Bytes(); used != 0 {
		r.Errorf("%d bytes in memory of an empty store", used)
	}
}

// eaten has the pager catch up with a producer again and again.
func eaten(r *restarter) {
	q := r.queue("/queue/a")
	body := make([]byte, 64<<10)
	put, got := 0, 0
	rnd := rand.New(rand.NewPCG(1, 2))
	for got < 3000 {
		if put < 3000 && rnd.IntN(3) > 0 {
			var b store.Batch
			for range rnd.IntN(40) {
				b.Put(q, Message(r, "/queue/a", append(fmt.Appendf(nil, "%d ", put), body[:rnd.IntN(len(body))]...)))
				put++
			}
			r.commit(&b)
			continue
		}
		if put == got {
			put++
			r.put(q, fmt.Sprintf("%d ", put-1))
		}
		ds := r.fetch(q, 1+rnd.IntN(30), 1)
		for _, d := range ds {
			var n int
			if _, err := fmt.Sscan(string(d.Msg.Body()[:min(8, len(d.Msg.Body()))]), &n); err != nil || n != got {
				r.Fatalf("got %q, want %d", d.Msg.Body()[:8], got)
			}
			got++
		}
		r.ack(q, ds...)
	}
}

// outOfTurnFar leases what is far behind in a backlog, acks some of it, and has the rest given
// back or kept over a restart.
func outOfTurnFar(r *restarter) {
	const count = 3000
	q := r.queue("/queue/a")
	body := strings.Repeat("x", 1000)
	for i := range count {
		var b store.Batch
		b.Put(q, Message(r, q.Name(), []byte(fmt.Sprintf("%d %s", i, body))))
		r.commit(&b)
	}
	var mine []store.Delivery
	for after := store.Seq(0); ; {
		page, err := q.Browse(nil, after, 100)
		if err != nil {
			r.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Seq
		for _, d := range page {
			if number(r, d)%10 == 7 {
				mine = append(mine, r.lease(q, []store.Delivery{d}, 1)...)
			}
		}
	}
	if len(mine) != count/10 {
		r.Fatalf("%d were leased, want %d", len(mine), count/10)
	}
	for i, d := range mine {
		switch i % 3 {
		case 0:
			r.ack(q, d)
		case 1:
			q.Release([]store.Delivery{d})
		}
	}
	check := func(restarted bool) {
		for i := range count {
			ours, third := i%10 == 7, i/10%3
			if ours && third == 0 || ours && third == 2 && !restarted {
				continue
			}
			d := r.fetch(q, 1, 1)[0]
			want := uint32(1)
			if restarted || ours {
				want = 2
			}
			if n := number(r, d); n != i || !restarted && d.Attempt != want || d.Attempt < want {
				r.Fatalf("got %d, try %d, want %d, try %d", n, d.Attempt, i, want)
			}
		}
		if s := q.Stats(); s.Ready != 0 {
			r.Fatalf("%+v after all were fetched", s)
		}
	}
	check(false)
	r.restart()
	q = r.queue("/queue/a")
	check(true)
}

func volatiles(r *restarter) {
	q := r.queue("/queue/a")
	var b store.Batch
	b.Put(q, Message(r, "/queue/a", []byte("a")))
	b.Put(q, Volatile(r, "/queue/a", []byte("b")))
	b.Put(q, Message(r, "/queue/a", []byte("c")))
	r.commit(&b)
	for _, body := range []string{"d", "e"} {
		var b store.Batch
		b.Put(q, Volatile(r, "/queue/a", []byte(body)))
		r.commit(&b)
	}
	ds := r.give(q, 9, "a:1 b:1 c:1 d:1 e:1")
	r.ack(q, ds[3])
	q.Release(ds[1:3])
	q.Release(ds[4:])
	r.ack(q, ds[0])
	r.give(q, 9, "b:2 c:2 e:2")
	r.restart()
	q = r.queue("/queue/a")
	r.give(q, 9, "c:3")
	if s := q.Stats(); s.Ready != 0 || s.Leased != 1 {
		r.Errorf("%+v", s)
	}
}

// volatileSeqs has volatile messages be delivered, of which the store is told nothing, and then others in
// another process: these were never delivered.
func volatileSeqs(r *restarter) {
	for _, name := range []string{"/queue/empty", "/queue/used"} {
		q := r.queue(name)
		if name == "/queue/used" {
			r.put(q, "first")
			r.ack(q, r.give(q, 1, "first:1")...)
		}
		var b store.Batch
		for range 3 {
			b.Put(q, Volatile(r, name, []byte("v")))
		}
		r.commit(&b)
		r.ack(q, r.fetch(q, 3, 3)...)
		r.restart()
		r.put(r.queue(name), "a", "b")
		r.restart()
		r.give(r.queue(name), 9, "a:1 b:1")
	}
}

// volatileBacklog mixes both kinds in a queue far beyond its window, in batches of one and
// of several, and eats it while it grows.
func volatileBacklog(r *restarter) {
	q := r.queue("/queue/a")
	rnd := rand.New(rand.NewPCG(3, 4))
	body := make([]byte, 32<<10)
	put, got := 0, 0
	const count = 1500
	for got < count {
		if put < count && (put == got || rnd.IntN(4) > 0) {
			var b store.Batch
			for range 1 + rnd.IntN(3) {
				kind := Message
				if rnd.IntN(3) == 0 {
					kind = Volatile
				}
				b.Put(q, kind(r, "/queue/a", append(fmt.Appendf(nil, "%d ", put), body[:rnd.IntN(len(body))]...)))
				put++
			}
			r.commit(&b)
			continue
		}
		if rnd.IntN(8) == 0 {
			all, err := q.Browse(nil, 0, put)
			if err != nil || len(all) != put-got {
				r.Fatalf("Browse lists %d, %v, want %d", len(all), err, put-got)
			}
			for i, d := range all {
				if n := number(r, d); n != got+i {
					r.Fatalf("Browse lists %d in place %d, want %d", n, i, got+i)
				}
			}
		}
		ds := r.fetch(q, 1+rnd.IntN(30), 1)
		for _, d := range ds {
			if n := number(r, d); n != got {
				r.Fatalf("got %d, want %d", n, got)
			}
			got++
		}
		r.ack(q, ds...)
	}
	if s := q.Stats(); s.Ready != put-got || s.Leased != 0 {
		r.Errorf("%+v", s)
	}
}

func number(r *restarter, d store.Delivery) (n int) {
	r.Helper()
	if _, err := fmt.Sscan(string(d.Msg.Body()[:min(8, len(d.Msg.Body()))]), &n); err != nil {
		r.Fatal(err)
	}
	return n
}

// walkAndRestart is the random walk with restarts in between.
func walkAndRestart(r *restarter) {
	rnd := random(r.harness)
	names := []string{"/queue/0", "/queue/1", "/queue/2"}
	ms := make([]*model, len(names))
	for i := range ms {
		ms[i] = &model{q: r.queue(names[i])}
	}
	for step := range 1500 {
		turn(r.harness, rnd, ms, step)
		if rnd.IntN(100) > 0 {
			continue
		}
		r.restart()
		for i, m := range ms {
			m.q = r.queue(names[i])
			m.leased = nil
			for j := range m.held {
				m.held[j].leased = false
			}
			m.check(r.harness, step)
		}
	}
}
