package storetest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"

	"stompserver/internal/store"
)

var seedFlag = flag.Uint64("storetest.seed", 0, "of the random walks; 0 picks one")

// A model is what a queue should be: a slice.
type model struct {
	q      store.Queue
	held   []entry // in order
	leased []store.Delivery
}

type entry struct {
	seq      store.Seq // 0 until it was handed out
	body     string
	attempts uint32
	leased   bool
}

// walk plays random batches, fetches and releases on a store and on slices.
func walk(h *harness) {
	r := random(h)
	ms := make([]*model, 3)
	for i := range ms {
		ms[i] = &model{q: h.open(fmt.Sprintf("/queue/%d", i))}
	}
	for step := range 4000 {
		turn(h, r, ms, step)
	}
}

func random(h *harness) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	h.Logf("-storetest.seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// turn does one thing and looks whether store and model agree.
func turn(h *harness, r *rand.Rand, ms []*model, step int) {
	m := ms[r.IntN(len(ms))]
	switch r.IntN(5) {
	case 0:
		m.fetch(h, step, r.IntN(12))
	case 1:
		m.release(r)
	case 2:
		m.lease(h, r, step)
	default:
		change(h, r, ms, step)
	}
	m.check(h, step)
}

// fetch takes what was released first, then what was never seen: both in order, which is
// the order of held with those never seen at its end.
func (m *model) fetch(h *harness, step, n int) {
	ds := h.fetch(m.q, n, min(n, len(m.held)-len(m.leased)))
	i := 0
	for at := range m.held {
		e := &m.held[at]
		if e.leased || i == n {
			continue
		}
		if i >= len(ds) {
			h.Fatalf("step %d: Fetch of %d gave %d", step, n, len(ds))
		}
		d := ds[i]
		if i++; string(d.Msg.Body()) != e.body || d.Attempt != e.attempts+1 || e.seq != 0 && d.Seq != e.seq {
			h.Fatalf("step %d: got %s, try %d, want %s, try %d", step, d.Msg.Body(), d.Attempt, e.body, e.attempts+1)
		}
		e.seq, e.leased = d.Seq, true
		e.attempts++
		m.leased = append(m.leased, d)
	}
	if i != len(ds) {
		h.Fatalf("step %d: Fetch gave %d too many", step, len(ds)-i)
	}
}

// pages lists all there is by Page, which may end anywhere but not pass anything over.
func (m *model) pages(h *harness, r *rand.Rand, step int) (all []store.Delivery) {
	for after := store.Seq(0); ; {
		n, size := 1+r.IntN(20), r.Int64N(2000)
		ds, more, err := m.q.Page(nil, after, n, size)
		if err != nil || len(ds) > n || len(ds) == 0 && more && len(all) < len(m.held) {
			h.Fatalf("step %d: Page of %d, %d bytes, after %d of %d: %d, more %v, %v", step, n, size, len(all), len(m.held), len(ds), more, err)
		}
		if all = append(all, ds...); !more || len(ds) == 0 {
			break
		}
		after = ds[len(ds)-1].Seq
	}
	whole, err := m.q.Browse(nil, 0, len(m.held)+1)
	if err != nil || len(whole) != len(m.held) {
		h.Fatalf("step %d: Browse gives %d of %d: %v", step, len(whole), len(m.held), err)
	}
	if len(all) != len(whole) {
		h.Fatalf("step %d: pages give %d of %d", step, len(all), len(whole))
	}
	for i := range all {
		if all[i].Seq != whole[i].Seq {
			h.Fatalf("step %d: pages give %d at %d, Browse gives %d", step, all[i].Seq, i, whole[i].Seq)
		}
	}
	return all
}

// lease takes some of what nobody holds out of turn.
func (m *model) lease(h *harness, r *rand.Rand, step int) {
	all := m.pages(h, r, step)
	var want []store.Delivery
	free := 0
	for i, d := range all {
		if r.IntN(len(all)) >= 4 {
			continue
		}
		e := &m.held[i]
		if e.seq != 0 && e.seq != d.Seq {
			h.Fatalf("step %d: Browse gives %d at %d, want %d", step, d.Seq, i, e.seq)
		}
		want = append(want, d)
		if !e.leased {
			free++
		}
	}
	for _, d := range h.lease(m.q, want, free) {
		i := slices.IndexFunc(all, func(o store.Delivery) bool { return o.Seq == d.Seq })
		e := &m.held[i]
		if e.leased || string(d.Msg.Body()) != e.body || d.Attempt != e.attempts+1 {
			h.Fatalf("step %d: leased %s, try %d, want %s, try %d, held by somebody: %v", step, d.Msg.Body(), d.Attempt, e.body, e.attempts+1, e.leased)
		}
		e.seq, e.leased = d.Seq, true
		e.attempts++
		m.leased = append(m.leased, d)
	}
}

// some takes random deliveries out of those that are leased.
func (m *model) some(r *rand.Rand) (out []store.Delivery) {
	r.Shuffle(len(m.leased), func(i, j int) { m.leased[i], m.leased[j] = m.leased[j], m.leased[i] })
	n := r.IntN(min(len(m.leased), 6) + 1)
	out = slices.Clone(m.leased[:n])
	m.leased = m.leased[n:]
	return out
}

func (m *model) index(seq store.Seq) int {
	return slices.IndexFunc(m.held, func(e entry) bool { return e.seq == seq })
}

func (m *model) release(r *rand.Rand) {
	ds := m.some(r)
	for i := range ds {
		e := &m.held[m.index(ds[i].Seq)]
		e.leased = false
		if r.IntN(3) == 0 {
			ds[i].Attempt--
			e.attempts--
		}
	}
	m.q.Release(ds)
}

// change commits one batch over one queue or several.
func change(h *harness, r *rand.Rand, ms []*model, step int) {
	var b store.Batch
	for _, m := range ms[:1+r.IntN(len(ms))] {
		for i := range r.IntN(5) {
			body := fmt.Sprintf("%d.%d", step, i)
			b.Put(m.q, Message(h, m.q.Name(), []byte(body)))
			m.held = append(m.held, entry{body: body})
		}
		for _, d := range m.some(r) {
			b.Ack(m.q, d.Seq)
			at := m.index(d.Seq)
			m.held = slices.Delete(m.held, at, at+1)
		}
	}
	h.commit(&b)
}

func (m *model) check(h *harness, step int) {
	s := m.q.Stats()
	if s.Leased != len(m.leased) || s.Ready+s.Leased != len(m.held) {
		h.Fatalf("step %d: %+v, want %d held and %d of them leased", step, s, len(m.held), len(m.leased))
	}
	if shown := m.q.Shown(); shown != s.Last {
		h.Fatalf("step %d: all is durable, and shown up to %d of %d", step, shown, s.Last)
	}
	got, err := m.q.Browse(nil, 0, len(m.held)+1)
	if err != nil {
		h.Fatal(err)
	}
	if len(got) != len(m.held) {
		h.Fatalf("step %d: Browse gives %d of %d", step, len(got), len(m.held))
	}
	for i, d := range got {
		if string(d.Msg.Body()) != m.held[i].body {
			h.Fatalf("step %d: Browse gives %s at %d, want %s", step, d.Msg.Body(), i, m.held[i].body)
		}
	}
}
