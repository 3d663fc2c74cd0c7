package spool

import "stompserver/internal/store"

// A group is what one Write makes durable.
type group struct {
	id      uint64
	batches []*store.Batch
	awaited int      // of batches: those that somebody waits for
	marks   []*queue // that wished for one
	records []store.Record
	touched []*queue  // each once
	errs    []error   // of batches: why they are not in it after all
	top     store.Seq // the highest that was given
	first   []int     // of batches: where in records theirs begin, and one more
}

func (g *group) reset() {
	clear(g.batches)
	clear(g.marks)
	clear(g.records)
	clear(g.touched)
	g.batches, g.marks, g.records, g.touched = g.batches[:0], g.marks[:0], g.records[:0], g.touched[:0]
	clear(g.errs)
	g.awaited = 0
	g.errs, g.first = g.errs[:0], g.first[:0]
}

// build takes up the batches: what is put and acked already is no record at all.
func (g *group) build() {
	for _, q := range g.marks {
		q.mu.Lock()
		g.touch(q)
		q.mu.Unlock()
	}
	for _, b := range g.batches {
		g.first = append(g.first, len(g.records))
		g.errs = append(g.errs, nil)
		changes := b.Changes()
		whole := isWhole(changes)
		for i := range changes {
			q := changes[i].Queue.(*queue)
			q.mu.Lock()
			g.touch(q)
			g.add(q, &changes[i], whole)
			q.mu.Unlock()
		}
	}
	g.first = append(g.first, len(g.records))
	for _, q := range g.touched {
		q.mu.Lock()
		t := q.tail
		g.top = max(g.top, t.taken)
		to := max(t.marking, t.wish)
		if t.putIn == g.id && (t.demand > 0 || q.win.fresh > t.before+1 || t.outOfTurn > t.before) {
			to = max(to, t.taken) // they may be out before anybody comes by to mark them
		}
		if to > t.marking {
			t.marking = to
			g.records = append(g.records, store.Record{Kind: store.RecordMark, Queue: q.name, Seq: to})
		}
		t.wish = 0
		if len(t.tell) > 0 {
			g.records = q.tellTries(g.records)
		}
		q.mu.Unlock()
	}
}

// touch notes that the group has to do with q, whose lock is held.
func (g *group) touch(q *queue) {
	if q.group != g.id {
		q.group, q.before = g.id, q.taken
		g.touched = append(g.touched, q)
	}
}

// add makes the record of one change, if it needs one. Called with q.mu held.
func (g *group) add(q *queue, c *store.Change, whole bool) {
	if c.Msg != nil {
		q.taken = c.Seq
		if c.Msg.Volatile() || !whole && q.isGone(c.Seq) {
			return
		}
		q.putIn, q.known = g.id, c.Seq
		g.records = append(g.records, store.Record{Kind: store.RecordPut, Queue: q.name, Seq: c.Seq, Msg: c.Msg})
		return
	}
	last := c.Last
	if !whole {
		last = min(last, q.before) // the puts behind it are of this group, and were left out
	}
	if c.Seq <= last {
		g.records = append(g.records, store.Record{Kind: store.RecordAck, Queue: q.name, Seq: c.Seq, Last: last})
	}
}

// isGone reports whether a put was acked before it was taken up.
func (q *queue) isGone(seq store.Seq) bool {
	if seq >= q.win.next {
		return q.ahead.isGone(seq) // else it is late
	}
	_, s := q.win.at(seq)
	return s == nil || s.msg == nil
}

// failPuts fails the batches that need room, and reports whether there are any.
func (g *group) failPuts() (some bool) {
	for i := range g.batches {
		for _, r := range g.records[g.first[i]:g.first[i+1]] {
			if r.Kind == store.RecordPut {
				g.errs[i], some = store.ErrFull, true
			}
		}
	}
	return some
}

// leaveOut drops the records of batches that failed.
func (g *group) leaveOut() {
	kept := g.records[:0]
	for i := range g.batches {
		rs := g.records[g.first[i]:g.first[i+1]]
		g.first[i] = len(kept)
		if g.errs[i] == nil {
			kept = append(kept, rs...)
		}
	}
	marks := g.records[g.first[len(g.batches)]:]
	g.first[len(g.batches)] = len(kept)
	kept = append(kept, marks...)
	clear(g.records[len(kept):])
	g.records = kept
}

// unknown notes that the backend knows nothing of puts that failed.
func (g *group) unknown(changes []store.Change) {
	for i := range changes {
		if c := &changes[i]; c.Msg != nil {
			q := c.Queue.(*queue)
			q.mu.Lock()
			q.known = 0
			q.mu.Unlock()
		}
	}
}

// settle brings the queues up to date, and returns those that have news for a Fetch.
func (g *group) settle(err error) (ready []*queue) {
	for i, b := range g.batches {
		changes := b.Changes()
		failed := err != nil || g.errs[i] != nil
		if failed {
			g.unknown(changes)
		}
		if !failed && !isWhole(changes) {
			continue
		}
		for j := range changes {
			c := &changes[j]
			q := c.Queue.(*queue)
			q.mu.Lock()
			q.settled(c, !failed)
			q.mu.Unlock()
		}
	}
	for _, q := range g.touched {
		q.mu.Lock()
		t := q.tail
		t.written = t.taken
		t.marked = max(t.marked, t.marking)
		if len(t.telling) > 0 {
			q.toldTries()
		}
		q.wrote()
		if t.leasing && err == nil {
			t.leasing = false
			ready = append(ready, q)
		} else if t.demand > 0 && err == nil && (t.split || q.win.fresh < q.win.next || len(q.win.back) > 0) {
			ready = append(ready, q)
		}
		q.mu.Unlock()
	}
	return ready
}
