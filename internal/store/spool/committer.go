package spool

import (
	"errors"
	"fmt"
	"time"

	"stompserver/internal/store"
)

// A group is what one Write makes durable.
type group struct {
	id      uint64
	batches []*store.Batch
	marks   []*queue // that wished for one
	records []store.Record
	touched []*queue // each once
	failed  []bool   // of batches: those that are not in it after all
	first   []int    // of batches: where in records theirs begin, and one more
}

func (g *group) reset() {
	clear(g.batches)
	clear(g.marks)
	clear(g.records)
	clear(g.touched)
	g.batches, g.marks, g.records, g.touched = g.batches[:0], g.marks[:0], g.records[:0], g.touched[:0]
	g.failed, g.first = g.failed[:0], g.first[:0]
}

// commitAll is the committer's goroutine.
func (d *disk) commitAll() {
	var due <-chan time.Time
	if _, ok := d.cfg.Backend.(store.Syncer); ok && d.cfg.Checkpoint > 0 {
		tick := time.NewTicker(d.cfg.Checkpoint)
		defer tick.Stop()
		due = tick.C
	}
	for d.pending.next(due, d.sync) {
		d.writing.take()
		if d.pending.take(&d.group) {
			d.finishGroup()
		}
		d.writing.give()
		select {
		case <-due: // under load it never waits
			d.sync()
		default:
		}
	}
}

// attend is Spool.Attend: if nobody writes, and nothing waits but one batch, it is written
// here. That spares two changes of goroutine, each of which may take as long as the disk. Where
// the last group was of several, others are about to come, and they are better off together.
func (d *disk) attend() bool {
	if d.writing.tryTake() {
		defer d.writing.give()
		if !d.several && d.pending.takeOne(&d.group) {
			d.finishGroup()
			return true
		}
	}
	d.pending.kick()
	return false
}

// finishGroup makes the group durable that was taken up. Called by whose turn it is to write.
func (d *disk) finishGroup() {
	g := &d.group
	g.id++
	d.several = len(g.batches) > 1
	g.build()
	d.write(g)
	g.reset()
}

// A turn is had by one at a time.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

func (t turn) tryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// sync is the checkpoint.
func (d *disk) sync() {
	d.writing.take()
	defer d.writing.give()
	if d.failure.Load() != nil || !d.written {
		return
	}
	d.written = false
	if err := d.cfg.Backend.(store.Syncer).Sync(); err != nil {
		d.fail(fmt.Errorf("checkpoint: %w", err))
	}
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
		g.failed = append(g.failed, false)
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
		to := max(t.marking, t.wish)
		if t.putIn == g.id && (t.demand > 0 || q.win.fresh > t.before+1) {
			to = max(to, t.taken) // they may be out before anybody comes by to mark them
		}
		if to > t.marking {
			t.marking = to
			g.records = append(g.records, store.Record{Kind: store.RecordMark, Queue: q.name, Seq: to})
		}
		t.wish = 0
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
		q.putIn = g.id
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
		return false // it is late
	}
	_, s := q.win.at(seq)
	return s == nil || s.msg == nil
}

// write makes the group durable and tells everyone.
func (d *disk) write(g *group) {
	var err error
	if f := d.failure.Load(); f != nil {
		err = *f
	} else if len(g.records) > 0 {
		d.written = true
		err = d.cfg.Backend.Write(g.records)
		if errors.Is(err, store.ErrFull) {
			err = d.writeAcks(g, err)
		}
		if err != nil {
			d.fail(err)
		}
	}
	ready := g.settle(err)
	for i, b := range g.batches {
		switch {
		case err != nil:
			b.Finish(err)
		case g.failed[i]:
			b.Finish(store.ErrFull)
		default:
			b.Finish(nil)
		}
	}
	for _, q := range ready {
		q.ready()
	}
}

// writeAcks writes what makes room, and fails the batches that need some.
func (d *disk) writeAcks(g *group, full error) error {
	var acks []store.Record
	for i := range g.batches {
		of := g.records[g.first[i]:g.first[i+1]]
		for j := range of {
			g.failed[i] = g.failed[i] || of[j].Kind == store.RecordPut
		}
		if !g.failed[i] {
			acks = append(acks, of...)
		}
	}
	acks = append(acks, g.records[g.first[len(g.batches)]:]...)
	d.cfg.Log.Warn("no room left to store messages", "err", full)
	if len(acks) == 0 {
		return nil
	}
	return d.cfg.Backend.Write(acks)
}

// fail is for good.
func (d *disk) fail(err error) {
	if d.failure.CompareAndSwap(nil, &err) {
		d.cfg.Log.Error("storing failed for good", "err", err)
		go d.cfg.Failed(err) // as long as it likes
	}
}

// settle brings the queues up to date, and returns those that have news for a Fetch.
func (g *group) settle(err error) (ready []*queue) {
	for i, b := range g.batches {
		changes := b.Changes()
		failed := err != nil || g.failed[i]
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
		q.wrote()
		if t.demand > 0 && err == nil && (t.split || q.win.fresh < q.win.next || len(q.win.back) > 0) {
			ready = append(ready, q)
		}
		q.mu.Unlock()
	}
	return ready
}

// close ends the spool: everything pending is made durable, then the exact numbers of tries.
func (d *disk) close(all []*queue) error {
	d.pager.close()
	d.pending.close()
	d.wg.Wait()
	d.writing.take() // one that attends may be at it
	defer d.writing.give()
	var err error
	if f := d.failure.Load(); f != nil {
		err = *f
	} else {
		err = d.writeTries(all)
	}
	return errors.Join(err, d.cfg.Backend.Close())
}

// writeTries tells the backend how often each message was handed out, so that the marks can
// go.
func (d *disk) writeTries(all []*queue) error {
	var rs []store.Record
	for _, q := range all {
		if q.live == 0 {
			continue
		}
		rs = append(rs, store.Record{Kind: store.RecordMark, Queue: q.name, Seq: q.told})
		for seq := q.win.base; seq < q.win.next; seq++ {
			c, s := q.win.at(seq)
			if c == nil {
				seq |= chunkSize - 1
				continue
			}
			if s.msg != nil && s.attempt > 0 && !s.msg.Volatile() {
				rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: q.name, Seq: seq, Attempts: s.attempt})
			}
		}
	}
	if len(rs) == 0 {
		return nil
	}
	return d.cfg.Backend.Write(rs)
}
