package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stompserver/internal/store"
)

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
		d.gather()
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
	if g.top+roomAhead/2 > d.numbers.ceiling && d.failure.Load() == nil {
		if err := d.raise(g.top); err != nil {
			d.fail(err)
		}
	}
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

// write makes the group durable and tells everyone.
func (d *disk) write(g *group) {
	var err error
	if f := d.failure.Load(); f != nil {
		err = *f
	} else if len(g.records) > 0 {
		d.written = true
		begin := time.Now()
		err = d.store(g)
		d.gathering.wrote(g.awaited+d.pending.waiting(), time.Since(begin))
		if err != nil {
			d.fail(err)
		}
	}
	ready := g.settle(err)
	for i, b := range g.batches {
		if err != nil {
			b.Finish(err)
		} else {
			b.Finish(g.errs[i])
		}
	}
	for _, q := range ready {
		q.ready()
	}
}

// store writes what the backend takes: messages that it can never hold are left out, and if it
// is full all of them, so that acks make room. If it has none for those either they wait.
func (d *disk) store(g *group) error {
	waits := false
	defer func() {
		if waits {
			d.away.Store(nil)
		}
	}()
	for {
		err := d.cfg.Backend.Write(g.records)
		var refused *store.RefusedError
		switch {
		case errors.As(err, &refused):
			d.cfg.Log.Warn("a message cannot be stored", "destination", g.records[refused.Records[0]].Queue, "err", refused.Err)
			for _, i := range refused.Records {
				behind, _ := slices.BinarySearch(g.first, i+1)
				g.errs[behind-1] = refused
			}
		case errors.Is(err, store.ErrFull):
			if !waits {
				d.cfg.Log.Warn("no room left to store messages", "err", err)
			}
			if g.failPuts() {
				break
			}
			waits = true
			d.away.Store(&err)
			d.refuse(d.pending.takePuts(), err)
			if d.pending.isClosed() {
				return err
			}
			time.Sleep(roomPause)
		case errors.Is(err, store.ErrAway):
			d.refuse(g.takePuts(), err)
			if err := d.cfg.Backend.(store.Remote).Wait(); err != nil {
				return err
			}
		default:
			return err
		}
		if g.leaveOut(); len(g.records) == 0 {
			return nil
		}
	}
}

// roomPause is between two tries of a write that found not even the room for acks.
const roomPause = 100 * time.Millisecond

// fail is for good.
func (d *disk) fail(err error) {
	if d.failure.CompareAndSwap(nil, &err) {
		d.cfg.Log.Error("storing failed for good", "err", err)
		go d.cfg.Failed(err) // as long as it likes
	}
}

// close ends the spool: everything pending is made durable, then the exact numbers of tries.
func (d *disk) close(s *Spool, all []*queue) error {
	d.pager.close()
	d.pending.close()
	if r, ok := d.cfg.Backend.(store.Remote); ok {
		r.GiveUp()
	}
	d.wg.Wait()
	d.writing.take() // one that attends may be at it
	defer d.writing.give()
	var err error
	if f := d.failure.Load(); f != nil {
		err = *f
	} else if err = d.writeTries(all); err == nil {
		err = s.leaveNumbers(all)
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
		for seq, s := range q.ahead.slots {
			if l := q.findLate(seq); (s.attempt > 0 || s.state&told != 0) && (l == nil || l.msg == nil || !l.msg.Volatile()) {
				rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: q.name, Seq: seq, Attempts: s.attempt})
			}
		}
		for seq := q.win.base; seq < q.win.next; seq++ {
			c, s := q.win.at(seq)
			if c == nil {
				seq = q.win.hop(seq) - 1
				continue
			}
			if s.msg != nil && (s.attempt > 0 || s.state&told != 0) && !s.msg.Volatile() {
				rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: q.name, Seq: seq, Attempts: s.attempt})
			}
		}
	}
	if len(rs) == 0 {
		return nil
	}
	return d.cfg.Backend.Write(rs)
}
