package broker

import (
	"cmp"
	"slices"

	"stompserver/internal/store"
)

// A subscription to a queue with a filter takes messages out of turn. It has a cursor that
// passes over each message once, however often the queue hands out messages meanwhile: what
// is at hand is looked at in the queue's own run, what is not by a goroutine, with no lock
// held. What comes back behind the cursor is looked at when it does.

const (
	siftAtOnce  = 256       // messages looked at in one run with the queue's lock held
	siftPage    = 64        // and read at once from what is not at hand, at first
	siftPageMax = 1024      // at most
	siftBytes   = 256 << 10 // so many bytes of messages are aimed at
)

// A sift is what a subscription knows of its queue's messages. It is guarded by queue.mu.
type sift struct {
	lanes [priorities]siftLane
	page  int  // how many to read at once
	again bool // something may have come since a page was asked for
}

type siftLane struct {
	cursor store.Seq        // all up to here were looked at
	found  []store.Delivery // of these, what is wanted and was not got yet, in order
	barred int              // how many of these are of groups that are not for it now
	end    bool             // nothing follows that is not at hand, and nothing has come since that was seen
}

// addSifter makes s, which has a filter, one of those that the queue's messages are shown.
// Called with q.mu held.
func (q *queue) addSifter(s *Subscription) {
	i := 0
	for i < len(q.sifters) && q.sifters[i].priority >= s.priority {
		i++
	}
	q.sifters = slices.Insert(q.sifters, i, s)
}

func (q *queue) removeSifter(s *Subscription) {
	if i := slices.Index(q.sifters, s); i >= 0 {
		if q.sifters = slices.Delete(q.sifters, i, i+1); len(q.sifters) == 0 {
			q.sifters = nil
		}
	}
	s.sift.lanes = [priorities]siftLane{}
}

// siftAll has all of that priority, or a higher one, that can take more look for it. Who got
// something goes behind its equals.
func (q *queue) siftAll(least int, w *Wake) {
	for i := 0; i < len(q.sifters) && q.sifters[i].priority >= least; {
		end := i + 1
		for end < len(q.sifters) && q.sifters[end].priority == q.sifters[i].priority {
			end++
		}
		for range end - i { // those who got nothing are before i in the end
			s := q.sifters[i]
			if !s.able() || !q.sift(s, w) {
				i++
				continue
			}
			copy(q.sifters[i:], q.sifters[i+1:end])
			q.sifters[end-1] = s
		}
		i = end
	}
}

// sift hands s what it wants of what is at hand, and reports whether there was anything. If
// there may be more elsewhere, a goroutine looks. Called with q.mu held.
func (q *queue) sift(s *Subscription, w *Wake) (some bool) {
	for p := range s.sift.lanes {
		s.sift.lanes[p].end = false
	}
	some, more := q.siftNear(s, w)
	if more {
		s.sift.again = true
		for p := range s.sift.lanes {
			s.sift.lanes[p].end = false // it was, perhaps, before much came
		}
		if !q.sifting {
			q.sifting = true
			q.b.wg.Go(q.siftFar) // ends by itself, or with the broker
		}
	}
	return some
}

// siftNear is sift without the goroutine.
func (q *queue) siftNear(s *Subscription, w *Wake) (some, more bool) {
	if q.learns() || q.trimming > trimOwed { // what it would find may be about to go
		return false, false
	}
	var room [siftAtOnce]store.Delivery
	left := siftAtOnce
	for p := priorities - 1; p >= 0 && s.able(); p-- {
		st := q.laneOf(uint8(p))
		if st == nil {
			continue
		}
		l := &s.sift.lanes[p]
		for s.able() {
			got, waits := q.obtain(s, st, uint8(p), w)
			some = some || got
			had := len(l.found)
			if waits {
				return some, false // what has a lower priority must not come first
			}
			if !s.able() || had >= maxParked {
				break
			}
			ds, whole := st.Peek(room[:0], l.cursor, left)
			left -= len(ds)
			l.look(s.filter, ds)
			clear(ds)
			if len(l.found) > had {
				continue
			}
			if !whole && !l.end {
				return some, s.able()
			}
			break
		}
	}
	return some, false
}

// laneOf is the store's queue of a priority, or nil.
func (q *queue) laneOf(p uint8) store.Queue {
	switch {
	case q.lanes != nil:
		return q.lanes.st[p]
	case laneTag(p) == 0:
		return q.st
	}
	return nil
}

// look notes what the filter wants of ds, which follow the cursor.
func (l *siftLane) look(f Filter, ds []store.Delivery) {
	for i := range ds {
		if f.Wants(ds[i].Msg) {
			l.found = append(l.found, ds[i])
		}
		l.cursor = ds[i].Seq
	}
}

// obtain hands s what was found, as far as it can take it and nobody else has it. Waits says
// that the store has to do something first; it calls ready.
func (q *queue) obtain(s *Subscription, st store.Queue, p uint8, w *Wake) (some, waits bool) {
	l := &s.sift.lanes[p]
	tag := laneTag(p)
	for s.able() {
		chosen := q.choose(s, l, tag)
		if len(chosen) == 0 {
			break
		}
		ds, later := st.Lease(q.scratch[:0], chosen, false)
		q.scratch = ds[:0]
		waits = later
		l.found = without(l.found, chosen, ds, later)
		if later {
			st.Foretell(l.found[:min(len(l.found), fetchAtOnce)]) // or each would wait for the store anew
		}
		for i := range ds {
			ds[i].Seq |= tag
		}
		ds = q.endAll(ds, w)
		for i, d := range ds {
			switch {
			case !s.able():
				q.unseen(ds[i:])
			case q.overLimit(d):
				q.bury(d, death{reason: "delivery_limit"}, w)
				continue
			case grouped(d.Msg):
				b := q.bucketOf(d.Msg)
				q.unfind(d)
				b.give(s, d, w)
				some = true
				continue
			default:
				s.hand(d, w)
				some = true
				continue
			}
			break
		}
		clear(ds)
		if waits {
			break
		}
	}
	return some, waits
}

// choose takes of what was found what s may have now, as much as it can take.
func (q *queue) choose(s *Subscription, l *siftLane, tag store.Seq) []store.Delivery {
	most := min(s.credit, fetchAtOnce)
	n := 0
	for n < len(l.found) && n < most && !grouped(l.found[n].Msg) {
		n++
	}
	if l.barred = 0; n == most || n == len(l.found) {
		return l.found[:n]
	}
	chosen := slices.Clone(l.found[:n])
	barred := make(map[string]bool) // groups of which one was passed over, so that the next must be too
	for p := laneIndex(tag|1) + 1; p < priorities; p++ {
		for _, d := range s.sift.lanes[p].found {
			if grouped(d.Msg) {
				barred[d.Msg.Options().Group] = true
			}
		}
	}
	for _, d := range l.found[n:] {
		if len(chosen) == most {
			break
		}
		if grouped(d.Msg) {
			o := d.Msg.Options()
			b := q.bucketOf(d.Msg)
			at := d
			at.Seq |= tag
			if barred[o.Group] || !b.lets(s, at) {
				barred[o.Group] = true
				l.barred++
				continue
			}
			barred[o.Group] = o.GroupEnd
		}
		chosen = append(chosen, d)
	}
	return chosen
}

// without takes those that were chosen out of found, or of these ds alone.
func without(found, chosen, ds []store.Delivery, alone bool) []store.Delivery {
	kept, n := found[:0], 0
	for _, d := range found {
		if n < len(chosen) && chosen[n].Seq == d.Seq {
			if n++; !alone || slices.ContainsFunc(ds, func(o store.Delivery) bool { return o.Seq == d.Seq }) {
				continue
			}
		}
		kept = append(kept, d)
	}
	clear(found[len(kept):])
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// resift shows what was given back to those whose cursor has passed it. Called with q.mu held.
func (q *queue) resift(ds []store.Delivery) {
	for _, s := range q.sifters {
		for _, d := range ds {
			l := &s.sift.lanes[laneIndex(d.Seq)]
			d.Seq &= laneMask
			if d.Seq > l.cursor || d.Msg == nil || !s.filter.Wants(d.Msg) {
				continue
			}
			i, there := slices.BinarySearchFunc(l.found, d.Seq, bySeq)
			if !there {
				l.found = slices.Insert(l.found, i, d)
			}
		}
	}
}

// unfind takes d, which is of a group and has gone to somebody, from what others found: they must
// not have the next of its group wait for it.
func (q *queue) unfind(d store.Delivery) {
	if q.sifters != nil && grouped(d.Msg) {
		q.unfindSeq(d.Seq)
	}
}

// unfindSeq reports whether somebody had found it.
func (q *queue) unfindSeq(seq store.Seq) (found bool) {
	p := laneIndex(seq)
	seq &= laneMask
	for _, s := range q.sifters {
		l := &s.sift.lanes[p]
		if i, there := slices.BinarySearchFunc(l.found, seq, bySeq); there {
			l.found = slices.Delete(l.found, i, i+1)
			found = true
		}
	}
	return found
}

func bySeq(d store.Delivery, seq store.Seq) int { return cmp.Compare(d.Seq, seq) }

// siftFar looks through what is not at hand, for all who wait for it, and ends when there is
// nothing more to look at.
func (q *queue) siftFar() {
	for !q.b.stopped() {
		var w Wake
		s, st, p, after, n := q.far(&w)
		w.Run()
		if s == nil {
			return
		}
		ds, more, err := st.Page(nil, after, n, pageBytes)
		if err != nil {
			q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			q.mu.Lock()
			q.sifting = false
			q.mu.Unlock()
			return
		}
		q.mu.Lock()
		if l := &s.sift.lanes[p]; !s.detached && l.cursor == after {
			l.end = !more && !s.sift.again
			l.look(s.filter, ds)
			s.sift.size(ds)
			if q.siftNear(s, &w); q.groups != nil && q.groups.moved {
				q.dispatch(&w)
			}
		}
		q.mu.Unlock()
		w.Run()
	}
}

// far picks what siftFar looks at next; s is nil if there is nothing, and siftFar ends.
func (q *queue) far(w *Wake) (s *Subscription, st store.Queue, p uint8, after store.Seq, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for more := true; more; {
		for _, s := range q.sifters {
			if !s.able() {
				continue
			}
			for p := priorities - 1; p >= 0; p-- {
				st := q.laneOf(uint8(p))
				if st == nil {
					continue
				}
				l := &s.sift.lanes[p]
				if ds, whole := st.Peek(nil, l.cursor, 1); len(ds) == 0 && whole || l.end || len(l.found) > l.barred || l.barred >= maxParked {
					continue
				}
				s.sift.again = false
				return s, st, uint8(p), l.cursor, max(s.sift.page, siftPage)
			}
		}
		// What was waited for may be at hand by now.
		more = false
		for _, s := range q.sifters {
			if s.able() {
				_, again := q.siftNear(s, w)
				more = more || again
			}
		}
	}
	q.sifting = false
	return nil, nil, 0, 0, 0
}

// size chooses how many messages to read at once, by those that were read.
func (t *sift) size(ds []store.Delivery) {
	bytes := 1
	for i := range ds {
		bytes += ds[i].Msg.Size()
	}
	t.page = min(max(siftBytes*max(len(ds), 1)/bytes, siftPage), siftPageMax)
}
