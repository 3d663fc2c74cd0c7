package broker

import (
	"cmp"
	"hash/maphash"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Messages of one group go to one consumer, in order: the first of them to whose turn it is, the
// others to the same as long as it is there. When it has left, the next one waits until what it
// had is settled. Groups share buckets, so that their number costs nothing; a consumer has a
// bucket, with all its groups.

const (
	buckets   = 1024
	maxParked = 1024 // messages kept back for consumers that cannot take them; then the queue waits
)

// firstOfGroup is the header of the first message of a group that goes to a consumer.
const firstOfGroup = "JMSXGroupFirstForConsumer"

// groups is what a queue knows of its messages' groups. It is guarded by queue.mu.
type groups struct {
	seed   maphash.Seed
	bucket [buckets]bucket
	parked int
	full   []int // buckets with parked messages
}

type bucket struct {
	owner  *Subscription
	out    int              // in flight, at whoever
	parked []store.Delivery // leased, by Seq
}

// grouped reports whether m belongs to a group.
func grouped(m *message.Message) bool { return m != nil && m.Special() && m.Options().Group != "" }

// bucketOf returns the bucket of m's group.
func (q *queue) bucketOf(m *message.Message) (*bucket, int) {
	if q.groups == nil {
		q.groups = &groups{seed: maphash.MakeSeed()}
	}
	i := int(maphash.String(q.groups.seed, m.Options().Group) % buckets)
	return &q.groups.bucket[i], i
}

// toGroup hands d to the consumer of its group, or parks it.
func (q *queue) toGroup(d store.Delivery, w *Wake) {
	b, i := q.bucketOf(d.Msg)
	if len(b.parked) == 0 && q.handGrouped(b, d, w) {
		return
	}
	if len(b.parked) == 0 {
		q.groups.full = append(q.groups.full, i)
	}
	at, _ := slices.BinarySearchFunc(b.parked, d.Seq, func(o store.Delivery, seq store.Seq) int { return cmp.Compare(o.Seq, seq) })
	b.parked = slices.Insert(b.parked, at, d)
	q.groups.parked++
}

// handGrouped hands d to the owner of its bucket, or to a new one, and reports whether it did.
func (q *queue) handGrouped(b *bucket, d store.Delivery, w *Wake) bool {
	first := false
	if b.owner == nil {
		if b.out > 0 || q.next == nil {
			return false
		}
		b.owner, first = q.next, true
		q.next = q.next.ringNext
	}
	s := b.owner
	if !s.taking {
		return false
	}
	if s.mode != Auto {
		b.out++
	}
	if d.Msg.Options().GroupEnd {
		b.owner = nil
	}
	if first {
		d.Msg = d.Msg.Redirect(d.Msg.Destination(), firstOfGroup, "true")
	}
	s.hand(d, w)
	if !s.able() {
		q.leave(s)
	}
	return true
}

// unpark hands out what was parked, as far as that is possible now.
func (q *queue) unpark(w *Wake) {
	g := q.groups
	kept := g.full[:0]
	for _, i := range g.full {
		b := &g.bucket[i]
		n := 0
		for n < len(b.parked) && q.handGrouped(b, b.parked[n], w) {
			n++
		}
		if b.parked = slices.Delete(b.parked, 0, n); len(b.parked) > 0 {
			kept = append(kept, i)
		} else {
			b.parked = nil
		}
		g.parked -= n
	}
	g.full = kept
}

// disown has the groups of s, which leaves, look for another consumer.
func (q *queue) disown(s *Subscription) {
	if q.groups == nil {
		return
	}
	for i := range q.groups.bucket {
		if b := &q.groups.bucket[i]; b.owner == s {
			b.owner = nil
		}
	}
	if q.subs > 0 {
		return
	}
	var all []store.Delivery
	for _, i := range q.groups.full {
		all = append(all, q.groups.bucket[i].parked...)
		q.groups.bucket[i].parked = nil
	}
	q.groups.parked, q.groups.full = 0, nil
	q.unseen(all)
}

// leftGroup notes that m is in flight no more.
func (s *Subscription) leftGroup(m *message.Message) {
	if s.q != nil && s.q.groups != nil && s.sift == nil && grouped(m) {
		b, _ := s.q.bucketOf(m)
		b.out = max(b.out-1, 0)
	}
}

// withParked adds to ds, which go back to the store, what is parked behind them: they must come
// first when they come again.
func (q *queue) withParked(ds []store.Delivery) []store.Delivery {
	all := ds
	for _, d := range ds {
		if !grouped(d.Msg) {
			continue
		}
		b, i := q.bucketOf(d.Msg)
		if len(b.parked) == 0 {
			continue
		}
		all = slices.Clip(all)
		for _, p := range b.parked {
			p.Attempt--
			all = append(all, p)
		}
		q.groups.parked -= len(b.parked)
		b.parked = nil
		if at := slices.Index(q.groups.full, i); at >= 0 {
			q.groups.full = slices.Delete(q.groups.full, at, at+1)
		}
	}
	return all
}
