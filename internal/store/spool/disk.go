package spool

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A disk is what makes a spool durable: the backend, and who speaks with it.
type disk struct {
	cfg     Config
	failure atomic.Pointer[error] // final
	away    atomic.Pointer[error] // the backend does not answer at present
	pending pending
	pager   pager
	wg      sync.WaitGroup // committer and pager

	writing   turn // of the one who calls the backend's Write and Sync; guards what follows
	group     group
	gathering gathering
	several   bool // the last group was of several batches
	written   bool // since the last checkpoint
	numbers   numbers
}

func newDisk(cfg Config) *disk {
	d := &disk{cfg: cfg, writing: newTurn()}
	d.pending.wake = make(chan struct{}, 1)
	d.pending.full = make(chan struct{}, 1)
	d.pager.wake = make(chan struct{}, 1)
	if r, ok := cfg.Backend.(store.Remote); ok {
		r.Away(d.tellAway)
	}
	return d
}

// A tail is what a queue with a backend has to know on top. It is guarded by queue.mu.
//
// A queue that keeps up is whole in the window. Once that is full the queue is split:
// messages from win.next on are with the backend alone, those not written yet in late.
// The pager brings them in as they are wanted, and joins the two when nothing is between.
//
// Four marks run ahead of each other: written ≤ taken ≤ last are the puts that are
// durable, that the committer has taken up, and all; marked ≤ marking say up to where it
// is durable, or will be with the group under way, that messages were handed out.
type tail struct {
	ready  func()
	demand int // what the last Fetch lacked

	last, taken, written store.Seq
	marking, marked      store.Seq
	known                store.Seq // the highest Seq that the backend knows of
	wish                 store.Seq // what a Fetch wants marked; 0: nothing
	told                 store.Seq // up to here a process before this may have handed out messages
	group                uint64    // the last group that took something of it
	before               store.Seq // taken, when that group began
	putIn                uint64    // the last group that writes a put of it

	split     bool
	late      []late
	kept      []late      // volatile ones of a split queue: in memory until they are in the window
	away      int         // messages not in the window, late ones included
	awayBytes int64       // of those
	paging    bool        // the pager is at it, or will be
	err       error       // of the last page
	leasing   bool        // a Lease waits for a mark, or somebody for what is held
	holding   holding     // what is held
	outOfTurn store.Seq   // up to here messages were leased out of turn, near those whose turn it is
	tell      []store.Seq // the backend is to know of these that they were handed out
	telling   []store.Seq // and will, with the group under way
	ahead     ahead
}

// A late is a message of a split queue that is not known to be written.
type late struct {
	seq  store.Seq
	msg  *message.Message
	held bool
}

// smallWindow is what every queue may hold in memory, however full that is.
const smallWindow = 64 << 10

// aheadOf is how far a mark goes beyond what is wanted now, so that few are written.
const aheadOf = 1024

// restore has q begin where the backend ended, and go on behind last.
func (q *queue) restore(i store.Info, last store.Seq, ready func()) {
	t := &tail{ready: ready, last: last, taken: last, written: last, known: i.Last}
	t.marking, t.marked, t.told = i.Marked, i.Marked, i.Marked
	q.tail = t
	q.enqueued, q.dequeued = i.Enqueued, i.Dequeued
	if i.Count == 0 {
		q.win.init(last + 1)
		return
	}
	q.win.init(i.First)
	q.live, q.bytes = i.Count, i.Bytes
	t.split, t.away, t.awayBytes = true, i.Count, i.Bytes
}

// commit is Spool.Commit for a spool with a backend.
func (d *disk) commit(b *store.Batch) {
	if err := d.failure.Load(); err != nil {
		b.Finish(*err)
		return
	}
	changes := b.Changes()
	if err := d.away.Load(); err != nil && putsOnly(changes) {
		b.Finish(*err)
		return
	}
	if len(changes) == 1 {
		q := changes[0].Queue.(*queue)
		q.mu.Lock()
		ok := !q.closed
		if ok {
			q.take(&changes[0], false)
			ok = d.pending.add(b, b.Attended && d.cfg.Brief)
		}
		q.mu.Unlock()
		if !ok {
			b.Finish(store.ErrClosed)
		}
		return
	}
	qs, ok := lockAll(changes)
	if ok {
		whole := isWhole(changes)
		for i := range changes {
			changes[i].Queue.(*queue).take(&changes[i], whole)
		}
		ok = d.pending.add(b, b.Attended && d.cfg.Brief)
	}
	unlockAll(qs)
	if !ok {
		b.Finish(store.ErrClosed)
	}
}

// isWhole reports whether changes must be durable before any of them shows: there are
// several, and not acks alone.
func isWhole(changes []store.Change) bool {
	if len(changes) < 2 {
		return false
	}
	for i := range changes {
		if changes[i].Msg != nil {
			return true
		}
	}
	return false
}

// take makes one change in memory, the backend's part being pending. If it is part of a
// whole it does not show yet. Called with mu held.
func (q *queue) take(c *store.Change, whole bool) {
	if c.Msg != nil {
		q.takePut(c, whole)
		return
	}
	if !whole {
		q.apply(c)
		return
	}
	for seq := c.Seq; seq <= c.Last; seq++ {
		if s := q.slotOf(seq); s != nil && s.state&leased != 0 {
			s.state |= leaving
		}
	}
}

func (q *queue) takePut(c *store.Change, whole bool) {
	t := q.tail
	n := int64(c.Msg.Size())
	// What somebody waits for goes out at once, and is not sent round by the disk.
	if cfg := &q.spool.disk.cfg; t.demand == 0 && (q.bytes > cfg.Window || q.bytes > smallWindow && q.spool.Bytes() > cfg.Memory) {
		t.split = true
	}
	t.last++
	if whole {
		t.holding.add(t.last)
	}
	if !t.split {
		q.win.skipTo(t.last)
		q.apply(c)
		if whole {
			_, s := q.win.at(c.Seq)
			s.state |= held
		}
		return
	}
	c.Seq = t.last
	list := &t.late
	if c.Msg.Volatile() {
		list = &t.kept
	}
	*list = append(*list, late{seq: c.Seq, msg: c.Msg, held: whole})
	t.away++
	t.awayBytes += n
	q.live++
	q.enqueued++
	q.bytes += n
	q.spool.keep(c.Msg)
}

// limit is the first Seq that may not be handed out yet, because a crash would forget that
// it was: it is durable, and not marked.
func (t *tail) limit(fresh store.Seq) store.Seq {
	for e := fresh; ; {
		switch {
		case e <= t.marked:
			e = t.marked + 1
		case e > t.written && e <= t.marking: // becomes durable together with its mark
			e = t.marking + 1
		case e > t.taken: // will be marked when it is taken up
			return t.last + 1
		default:
			return e
		}
	}
}

// fetch is Queue.Fetch for a queue with a backend. Called with mu held.
func (q *queue) fetch(dst []store.Delivery, n int) ([]store.Delivery, error) {
	t := q.tail
	before := len(dst)
	limit := t.limit(q.win.fresh)
	dst = q.win.fetch(dst, n, limit)
	got := len(dst) - before
	q.leased += got
	t.demand = n - got
	// Where there is none for long, fresh is behind limit by now.
	if fresh := q.win.fresh; t.demand > 0 && fresh >= limit && fresh < q.win.next && t.wish < fresh {
		t.wish = min(fresh+aheadOf, t.taken)
		q.spool.disk.pending.mark(q)
	}
	if t.split && !t.paging && n > 0 && t.err != nil && got == 0 && q.wantsPage() {
		err := t.err
		t.err = nil // the next Fetch tries again
		return dst, err
	}
	if n > 0 {
		q.pageIfLow()
	}
	return dst, nil
}

// pageIfLow has the pager read on where the window of a split queue runs low.
func (q *queue) pageIfLow() {
	if t := q.tail; t.split && !t.paging && q.wantsPage() {
		t.paging = true
		q.spool.disk.pager.add(q)
	}
}

// wantsPage reports whether the window of a split queue runs low.
func (q *queue) wantsPage() bool {
	t := q.tail
	if left := int64(q.win.next - q.win.fresh); left > pageRecords/2 {
		return false
	}
	return t.demand > 0 || q.bytes-t.awayBytes < q.spool.disk.cfg.Window
}

// settled is called for each change of a whole when it is durable, or has failed. Called
// with mu held.
func (q *queue) settled(c *store.Change, ok bool) {
	if c.Msg != nil {
		q.holding.remove(c.Seq)
		if ok {
			q.show(c.Seq)
		} else {
			q.forget(c.Seq)
		}
		return
	}
	for seq := c.Seq; seq <= c.Last; seq++ {
		s := q.slotOf(seq)
		switch {
		case s == nil || s.state&leaving == 0:
		case ok:
			q.gone(q.remove(seq, leaving))
			q.leased--
			q.dequeued++
		default: // whoever acked it has let go of it
			s.state &^= leaving
			q.giveBack(seq, s.attempt)
		}
	}
	q.win.trim()
}

// show lets a message that was held be handed out.
func (q *queue) show(seq store.Seq) {
	if _, s := q.win.at(seq); s != nil && s.msg != nil {
		s.state &^= held
	} else if l := q.tail.findLate(seq); l != nil {
		l.held = false
	}
}

// forget takes back a put that failed. If it was handed out it stays until it is settled.
func (q *queue) forget(seq store.Seq) {
	s := q.slotOf(seq)
	switch {
	case s != nil && s.state&leased != 0:
		s.state |= doomed
		return
	case seq < q.win.next && s != nil:
		q.gone(q.win.remove(seq, 0))
		q.win.trim()
	default:
		l := q.tail.findLate(seq)
		if l == nil || l.msg == nil {
			return
		}
		q.tail.away--
		q.tail.awayBytes -= int64(l.msg.Size())
		q.gone(l.msg)
		l.msg = nil
		delete(q.ahead.slots, seq)
		q.ahead.setGone(seq)
	}
	q.enqueued--
}

// gone takes m, which is in the queue no more, off the books.
func (q *queue) gone(m *message.Message) {
	n := int64(m.Size())
	q.live--
	q.bytes -= n
	q.spool.leave(m)
}

func (t *tail) findLate(seq store.Seq) *late {
	for _, list := range [][]late{t.late, t.kept} {
		if i, ok := slices.BinarySearchFunc(list, seq, func(l late, seq store.Seq) int { return cmp.Compare(l.seq, seq) }); ok {
			return &list[i]
		}
	}
	return nil
}

// wrote lets go of late messages that the backend has by now.
func (q *queue) wrote() {
	t := q.tail
	if t.paging || len(t.late) == 0 {
		return // the pager may be about to join them to the window
	}
	n := 0
	for n < len(t.late) && t.late[n].seq <= t.written && !t.late[n].held {
		if m := t.late[n].msg; m != nil {
			q.spool.leave(m)
		}
		n++
	}
	drop(&t.late, n)
}

// drop removes the first n of a list.
func drop(list *[]late, n int) {
	l := *list
	rest := copy(l, l[n:])
	clear(l[rest:])
	if *list = l[:rest]; rest == 0 && cap(l) > 1024 {
		*list = nil
	}
}
