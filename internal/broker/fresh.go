package broker

import (
	"strconv"
	"sync/atomic"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Who follows the queue behind a topic is handed what comes by who sends it, out of what the queue has
// at hand of the newest messages; only who is behind these reads the store, on a goroutine, with no
// lock held. What a transaction sends is handed to nobody before it is durable, nor is what came behind it.

const (
	// StreamOffset is the header of a message that has its order number in what its topic keeps.
	StreamOffset = "x-stream-offset"

	gapHeader      = "gap"       // true: messages before this one are not kept any more
	firstSeqHeader = "first-seq" // and the first that is

	// How much is kept at hand at most for those who are close behind.
	freshMessages = 1024
	freshBytes    = 256 << 10
)

// A kept is what a queue knows that is behind a topic. It is guarded by queue.mu.
type kept struct {
	topic   string
	to      Address   // the topic
	items   []*fresh  // the newest messages, in order
	from    store.Seq // all from this one on are in items
	size    int       // bytes of items
	batch   store.Seq // how many were put by the batch being made
	relayed store.Seq // up to here those were told who do not follow
	trimmed store.Seq // up to here messages went, some of them or all
	past    store.Seq // up to here all went, for their age or to make room
	head    store.Seq // up to here all have made room
	stuck   bool      // one that was to make room could not yet
	ending  *ending   // nil: the topic keeps what it is sent

	first  int64 // when the first of this process came; 0: none did
	latest int64 // when the last one came, or one before that a little later
}

// A fresh message is one of the newest.
type fresh struct {
	seq   store.Seq
	msg   *message.Message
	state atomic.Uint32
}

// The states of a fresh message.
const (
	freshReady  = iota
	freshHeld   // of a transaction that is not durable
	freshWanted // likewise, and somebody waits for it
	freshFailed // it never came to be
)

func (f *fresh) failed() bool { return f.state.Load() == freshFailed }

// waits reports whether f is to be handed to nobody yet. Then the queue is looked at again when it may.
func (f *fresh) waits() bool {
	for {
		switch f.state.Load() {
		case freshWanted:
			return true
		case freshHeld:
			if f.state.CompareAndSwap(freshHeld, freshWanted) {
				return true
			}
		default:
			return false
		}
	}
}

// note has m, which op is about to put, be one of the newest. Whole says that op is a transaction.
// Called with q.mu held.
func (q *queue) note(op *Op, m *message.Message, whole bool) {
	k := q.kept
	k.batch++
	it := &fresh{seq: q.st.Stats().Last + k.batch, msg: m}
	k.came(q, m, it.seq)
	if whole {
		it.state.Store(freshHeld)
	}
	if len(k.items) == 0 {
		k.from = it.seq
	}
	k.items = append(k.items, it)
	k.size += m.Size()
	q.b.Hold(m)
	op.Finally(func(err error) {
		now := uint32(freshReady)
		if err != nil {
			now = freshFailed
		}
		if it.state.Swap(now) == freshWanted {
			go q.ready() // which takes locks that may be held here; it ends by itself
		}
	})
}

// follow hands what is at hand to those who follow. Called with q.mu held.
func (q *queue) follow(w *Wake) {
	k := q.kept
	k.batch = 0
	k.relay(w)
	for _, s := range q.browsers {
		q.browse(s, w)
	}
	k.forget(q)
	if k.ending != nil {
		q.dropPassed()
	}
}

// forget lets go of messages at hand that nobody near has still to get, or that are too many.
func (k *kept) forget(q *queue) {
	low := k.relayed
	for _, s := range q.browsers {
		if t := s.browser; !t.over && k.near(t) {
			low = min(low, t.place())
		}
	}
	n := 0
	for n < len(k.items) {
		it := k.items[n]
		if s := it.state.Load(); s == freshHeld || s == freshWanted {
			break
		}
		if !it.failed() {
			if it.seq > k.relayed || it.seq > low && len(k.items)-n <= freshMessages && k.size <= freshBytes {
				break
			}
			k.from = it.seq + 1
		}
		k.size -= it.msg.Size()
		q.b.Drop(it.msg)
		n++
	}
	if n == 0 {
		return
	}
	rest := copy(k.items, k.items[n:])
	clear(k.items[rest:])
	if k.items = k.items[:rest]; rest == 0 && cap(k.items) > 64 {
		k.items = nil
	}
}

// clear lets go of all that is at hand, for a queue that is forgotten.
func (k *kept) clear(q *queue) {
	for _, it := range k.items {
		q.b.Drop(it.msg)
	}
	k.items, k.size = nil, 0
}

// near reports whether all that t has to get is at hand.
func (k *kept) near(t *browser) bool { return t.place()+1 >= k.from || t.nearFrom == k.from }

// held is the first message that is to be handed to nobody yet.
func (k *kept) held() store.Seq {
	for _, it := range k.items {
		if it.waits() {
			return it.seq
		}
	}
	return 1 << retainedShift
}

// serve hands s, which is near, what is at hand. Called with q.mu held.
func (k *kept) serve(s *Subscription, w *Wake) {
	t := s.browser
	now := nowMilli()
	for _, it := range k.items {
		if it.seq <= t.place() {
			continue
		}
		if !s.able() || t.over || it.waits() {
			return
		}
		if it.failed() || it.msg == t.retained {
			continue
		}
		if after := max(t.place(), max(t.nearFrom, 1)-1); t.exact && after+1 < it.seq && after < k.trimmed {
			t.missed = true
		}
		t.pass(s, store.Delivery{Seq: it.seq, Attempt: 1, Msg: it.msg}, now, w)
	}
	if s.able() && !t.over && !t.Follow {
		t.end(s, w)
	}
}

// place is the last message that t has passed, of the default priority.
func (t *browser) place() store.Seq { return t.cursor[message.DefaultPriority] }

// start has s, which browses what a topic keeps, begin where it wants to. Called with q.mu held.
func (k *kept) start(s *Subscription, st store.Stats) {
	t := s.browser
	t.exact = s.q.last == nil
	at := &t.cursor[message.DefaultPriority]
	t.last = st.Last
	switch {
	case t.Skip:
		*at = st.Last
	case t.From > st.Last+1: // which a store had that is gone, with its numbers
		*at, t.missed = 0, t.exact
	case t.From > 0:
		*at = t.From - 1
	default:
		t.exact = false // until it has seen one
		t.seeks = t.Last > 0 || t.Since > 0
	}
	t.begun = t.Skip
}

// begin has t begin behind what has gone, some of which may still be at hand for who is slow. Called once that is
// sure, with q.mu held.
func (k *kept) begin(t *browser) {
	if t.begun {
		return
	}
	t.begun, t.past = true, k.past
	if at := &t.cursor[message.DefaultPriority]; *at < k.past {
		*at, t.missed = k.past, t.missed || t.exact
	}
}

// readKept is the goroutine of a browser that is behind what is at hand.
func (s *Subscription) readKept() {
	q, t, k := s.q, s.browser, s.q.kept
	var w Wake
	err := t.seek(q)
	for {
		q.mu.Lock()
		if err != nil {
			q.b.cfg.Log.Error("browse failed", "destination", k.topic, "err", err)
			t.over = true
		}
		near := k.near(t)
		if near || q.trimming > trimOwed || !s.able() || t.over || s.b.stopped() {
			t.reading = false
			if near {
				k.serve(s, &w)
			}
			q.mu.Unlock()
			w.Run()
			return
		}
		after, from, exact := t.place(), k.from, t.exact
		q.mu.Unlock()
		w.Run()
		shown := q.st.Shown() // before it is read: what is held by then may never be
		ds, first := []store.Delivery(nil), store.Seq(0)
		if ds, _, err = q.st.Page(nil, after, browsePage, pageBytes); err != nil {
			continue
		}
		if exact && (len(ds) == 0 || ds[0].Seq > after+1) {
			if first, err = q.first(); err != nil {
				continue
			}
		}
		q.mu.Lock()
		n, held, now := 0, min(k.held(), shown+1), nowMilli()
		for n < len(ds) && ds[n].Seq < held {
			n++
		}
		switch {
		case n == 0 && from != k.from: // look again
		case n == 0:
			t.missed = t.missed || exact && after+1 < from && first > after+1
			t.nearFrom = k.from
		default:
			t.missed = t.missed || exact && first > after+1
			for _, d := range ds[:n] {
				if !s.able() || t.over {
					break
				}
				d.Attempt = 1
				t.pass(s, d, now, &w)
			}
		}
		q.mu.Unlock()
		w.Run()
	}
}

// first is the oldest message that the queue behind a topic keeps; a number above all, if it keeps none.
func (q *queue) first() (store.Seq, error) {
	ds, err := q.st.Browse(nil, 0, 1)
	if err != nil || len(ds) == 0 {
		return 1 << retainedShift, err
	}
	return ds[0].Seq, nil
}

// pass hands d on, if it is wanted, and tells the end. Called with q.mu held.
func (t *browser) pass(s *Subscription, d store.Delivery, now int64, w *Wake) {
	p := t.reads(s.q)
	t.cursor[p] = d.Seq
	if t.skip > 0 {
		t.skip--
		return
	}
	if t.old > 0 && d.Msg.Arrived() <= t.old {
		t.missed = t.missed || t.exact
		return
	}
	if t.missed && t.firstSeq == 0 {
		t.firstSeq = d.Seq
	}
	if s.q.kept != nil {
		t.exact = s.q.last == nil
	}
	if d.Msg.Arrived() < t.Since || expired(d.Msg, now) || s.filter != nil && !s.filter.Wants(d.Msg) {
		return
	}
	if s.q.doom != nil && s.q.condemned(store.Delivery{Seq: d.Seq | laneTag(p)}) {
		return // it is of what ended
	}
	if s.q.last != nil && (s.q.kept == nil || d.Seq <= t.last) && s.q.overtaken(store.Delivery{Seq: d.Seq | laneTag(p), Msg: d.Msg}) {
		return // it is to be dropped, or a client has it; who follows is told of what comes, each time
	}
	if t.missed {
		d.Msg = d.Msg.Redirect(d.Msg.Destination(), gapHeader, "true", firstSeqHeader, decimal(t.firstSeq))
		t.missed, t.firstSeq = false, 0
	}
	d.Seq |= laneTag(p)
	if s.q.kept != nil {
		s.b.counts.published.Add(1)
	}
	s.hand(d, w)
	if t.seen++; t.seen == t.Limit {
		t.end(s, w)
	}
}

// reads is the priority whose messages t is at.
func (t *browser) reads(q *queue) uint8 {
	if q.kept != nil {
		return message.DefaultPriority
	}
	return uint8(t.lane)
}

func decimal(seq store.Seq) string { return strconv.FormatUint(uint64(seq), 10) }
