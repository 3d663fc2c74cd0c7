package broker

import (
	"cmp"
	"hash/maphash"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Messages of one group go to one consumer, in order: the first of them to whose turn it is, the
// others to the same as long as it is there and wants them. Another one has to wait until what that
// has is settled, and all wait behind a message that is to be delivered again at a later time.
// The first groups of a queue have a bucket each, those after them share these, so that their number
// costs nothing; a consumer has a bucket, with all its groups.

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
	first  map[uint64]uint16 // the buckets of the first groups, by the hashes of their names
	parked []parked          // kept back, leased, in their order
	moved  bool              // a bucket has another owner, or none any more, since it was looked who can have what
}

type parked struct {
	store.Delivery
	b *bucket
}

type bucket struct {
	owner  *Subscription
	out    int              // in flight, at whoever
	parked []store.Delivery // those of groups.parked that are its own
	paused []store.Delivery // those that wait for their time, in no order
}

// ahead reports whether a comes before b in their queue.
func ahead(a, b store.Seq) bool { return compareSeqs(a, b) < 0 }

func compareSeqs(a, b store.Seq) int {
	return cmp.Or(cmp.Compare(laneIndex(b), laneIndex(a)), cmp.Compare(a, b))
}

// inOrder sorts ds as they are in their queue.
func inOrder(ds []store.Delivery) {
	slices.SortFunc(ds, func(a, b store.Delivery) int { return compareSeqs(a.Seq, b.Seq) })
}

// grouped reports whether m belongs to a group.
func grouped(m *message.Message) bool { return m != nil && m.Special() && m.Options().Group != "" }

// anyParked reports whether something is kept back.
func (q *queue) anyParked() bool { return q.groups != nil && len(q.groups.parked) > 0 }

// bucketOf returns the bucket of m's group.
func (q *queue) bucketOf(m *message.Message) *bucket {
	if q.groups == nil {
		q.groups = &groups{seed: maphash.MakeSeed(), first: make(map[uint64]uint16)}
	}
	g := q.groups
	name := maphash.String(g.seed, m.Options().Group)
	at, ok := g.first[name]
	switch {
	case ok:
	case len(g.first) < buckets:
		at = uint16(len(g.first))
		g.first[name] = at
	default:
		at = uint16(name % buckets)
	}
	return &g.bucket[at]
}

// bars reports whether d, which is of a group, has to wait for another of it: for one that comes
// before it and waits for its time, or that s wants too and cannot have yet.
func (b *bucket) bars(s *Subscription, d store.Delivery) bool {
	group := d.Msg.Options().Group
	for _, p := range b.paused {
		if p.Msg.Options().Group == group && ahead(p.Seq, d.Seq) {
			return true
		}
	}
	for _, p := range b.parked {
		if ahead(p.Seq, d.Seq) && p.Msg.Options().Group == group && s.wants(p.Msg) {
			return true
		}
	}
	return false
}

// lets reports whether s may have d, which it wants: the bucket is its own, or nothing of it is in
// flight and it is of nobody who waits for d.
func (b *bucket) lets(s *Subscription, d store.Delivery) bool {
	return (b.owner == s || b.out == 0 && b.claimant(d.Msg) == nil) && !b.bars(s, d)
}

// claimant is the owner, if m is for it: it wants m, and is not kept out by one who is served alone.
func (b *bucket) claimant(m *message.Message) *Subscription {
	s := b.owner
	if s == nil || s.q.single.active != nil && s.q.single.active != s || !s.wants(m) {
		return nil
	}
	return s
}

// wants reports whether s takes m if it can.
func (s *Subscription) wants(m *message.Message) bool { return s.filter == nil || s.filter.Wants(m) }

// toGroup hands d to the consumer of its group, or parks it.
func (q *queue) toGroup(d store.Delivery, w *Wake) {
	b := q.bucketOf(d.Msg)
	q.unfind(d)
	if q.handGrouped(b, d, w) {
		return
	}
	g := q.groups
	at := len(g.parked)
	for at > 0 && ahead(d.Seq, g.parked[at-1].Seq) {
		at--
	}
	g.parked = slices.Insert(g.parked, at, parked{d, b})
	at = len(b.parked)
	for at > 0 && ahead(d.Seq, b.parked[at-1].Seq) {
		at--
	}
	b.parked = slices.Insert(b.parked, at, d)
}

// unlist notes that the message is parked no more.
func (b *bucket) unlist(seq store.Seq) {
	if b.parked = slices.DeleteFunc(b.parked, func(d store.Delivery) bool { return d.Seq == seq }); len(b.parked) == 0 {
		b.parked = nil
	}
}

// handGrouped hands d, which the queue holds, to the owner of its bucket, or to a new one, and
// reports whether it did.
func (q *queue) handGrouped(b *bucket, d store.Delivery, w *Wake) bool {
	s := b.claimant(d.Msg)
	if s == nil {
		s = q.takerOf(b, d)
	}
	if s == nil || !b.canHave(s, d) {
		return false
	}
	if s == q.next {
		q.next = s.ringNext
	}
	q.unfind(d)
	b.give(s, d, w)
	if s.taking && !s.able() {
		q.leave(s)
	}
	return true
}

// canHave reports whether s can take d now and b lets it.
func (b *bucket) canHave(s *Subscription, d store.Delivery) bool {
	return s.able() && s.wants(d.Msg) && b.lets(s, d)
}

// takerOf is whose turn it is to have d; nil: nobody can.
func (q *queue) takerOf(b *bucket, d store.Delivery) *Subscription {
	i := 0
	for ; i < len(q.sifters) && (q.next == nil || q.sifters[i].priority > q.priority); i++ {
		if b.canHave(q.sifters[i], d) {
			return q.sifters[i]
		}
	}
	if q.next != nil && b.canHave(q.next, d) {
		return q.next
	}
	for ; i < len(q.sifters); i++ {
		if b.canHave(q.sifters[i], d) {
			return q.sifters[i]
		}
	}
	return nil
}

// give hands d to s, which b lets have it.
func (b *bucket) give(s *Subscription, d store.Delivery, w *Wake) {
	shown := d.Msg
	if b.owner != s {
		shown = shown.Redirect(shown.Destination(), firstOfGroup, "true")
	}
	end := d.Msg.Options().GroupEnd
	if b.owner != nil && b.owner != s || end {
		s.q.groups.moved = true
	}
	if b.owner = s; end {
		b.owner = nil
	}
	if s.mode != Auto {
		b.out++
	}
	s.show(d, shown, w)
}

// unpark hands out what was parked, as far as that is possible now.
func (q *queue) unpark(w *Wake) {
	g := q.groups
	if q.lanes != nil && q.passed() {
		q.unparkAll()
		return
	}
	kept := g.parked[:0]
	for _, p := range g.parked {
		if s := p.b.claimant(p.Msg); s != nil && !s.able() || !q.ended(p.Delivery, w) && !q.handGrouped(p.b, p.Delivery, w) {
			kept = append(kept, p)
			continue
		}
		p.b.unlist(p.Seq)
	}
	g.keep(len(kept))
}

// ended has d go, which the queue holds, if it has expired or is the last of its key no more.
func (q *queue) ended(d store.Delivery, w *Wake) bool {
	return (q.expiry != nil || q.last != nil) && len(q.endAll([]store.Delivery{d}, w)) == 0
}

// keep has the first n of what was parked be all.
func (g *groups) keep(n int) {
	clear(g.parked[n:])
	if g.parked = g.parked[:n]; n == 0 {
		g.parked = nil
	}
}

// unparkThese takes those of ds, which have a tag, out of what is parked.
func (q *queue) unparkThese(ds []store.Delivery, tag store.Seq) (taken []store.Delivery) {
	if !q.anyParked() {
		return nil
	}
	g := q.groups
	kept := g.parked[:0]
	for _, p := range g.parked {
		if _, is := slices.BinarySearchFunc(ds, p.Seq&^tag, bySeq); !is || tag != p.Seq&^laneMask {
			kept = append(kept, p)
			continue
		}
		p.b.unlist(p.Seq)
		taken = append(taken, p.Delivery)
	}
	g.keep(len(kept))
	return taken
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
	if q.subs == 0 {
		q.unparkAll()
	}
}

// passed reports whether the store has something that comes before some of what is parked.
func (q *queue) passed() bool {
	lowest := laneIndex(q.groups.parked[len(q.groups.parked)-1].Seq)
	for _, p := range q.lanes.down {
		if p <= lowest {
			break
		}
		if q.lanes.st[p].Stats().Ready > 0 {
			return true
		}
	}
	return false
}

// unparkAll gives back what is parked.
func (q *queue) unparkAll() {
	g := q.groups
	var all []store.Delivery
	for _, p := range g.parked {
		p.b.unlist(p.Seq)
		all = append(all, p.Delivery)
	}
	g.keep(0)
	if len(all) > 0 {
		q.unseen(all)
	}
}

// leftGroup notes that m is in flight no more.
func (s *Subscription) leftGroup(m *message.Message) {
	if s.q != nil && s.q.groups != nil && grouped(m) {
		b := s.q.bucketOf(m)
		b.out = max(b.out-1, 0)
	}
}

// withParked adds to ds, which go back to the store, what is parked behind them: it must not
// overtake them.
func (q *queue) withParked(ds []store.Delivery) []store.Delivery {
	first := ds[0].Seq
	for _, d := range ds {
		if ahead(d.Seq, first) {
			first = d.Seq
		}
	}
	g := q.groups
	n := len(g.parked)
	for n > 0 && ahead(first, g.parked[n-1].Seq) {
		n--
	}
	all := slices.Clip(ds)
	for _, p := range g.parked[n:] {
		p.b.unlist(p.Seq)
		p.Attempt--
		all = append(all, p.Delivery)
	}
	g.keep(n)
	return all
}

// pausing notes that d waits for its time, and resumed that it does so no more.
func (q *queue) pausing(d store.Delivery) {
	if grouped(d.Msg) {
		b := q.bucketOf(d.Msg)
		b.paused = append(b.paused, d)
	}
}

func (q *queue) resumed(d store.Delivery) {
	if grouped(d.Msg) {
		b := q.bucketOf(d.Msg)
		b.paused = slices.DeleteFunc(b.paused, func(p store.Delivery) bool { return p.Seq == d.Seq })
		if len(b.paused) == 0 {
			b.paused = nil
		}
	}
}
