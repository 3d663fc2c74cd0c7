package spool

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"stompserver/internal/store"
)

const (
	// A page is as many messages as are read at a time, so much that it is seldom done,
	// so little that one queue does not keep others waiting.
	pageRecords = 512
	pageBytes   = 4 << 20
)

// A pager reads pages for the queues that want one, in turn.
type pager struct {
	mu     sync.Mutex
	queues []*queue
	closed bool
	wake   chan struct{}
}

func (p *pager) add(q *queue) {
	p.mu.Lock()
	p.queues = append(p.queues, q)
	p.mu.Unlock()
	signal(p.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next waits for a queue that wants a page; it returns nil when all is over.
func (p *pager) next() *queue {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil
		}
		if len(p.queues) > 0 {
			q := p.queues[0]
			p.queues = append(p.queues[:0], p.queues[1:]...)
			p.mu.Unlock()
			return q
		}
		p.mu.Unlock()
		<-p.wake
	}
}

func (p *pager) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	signal(p.wake)
}

// pageAll is the pager's goroutine.
func (d *disk) pageAll(s *Spool) {
	var page []store.Record
	for {
		q := d.pager.next()
		if q == nil {
			return
		}
		page = q.page(page[:0])
		clear(page)
	}
}

// page reads what follows the window. It returns its buffer.
func (q *queue) page(buf []store.Record) []store.Record {
	q.mu.Lock()
	after := q.win.next - 1
	q.mu.Unlock()
	rs, more, err := q.spool.disk.cfg.Backend.Read(buf, q.name, after, pageRecords, pageBytes)
	q.mu.Lock()
	t := q.tail
	t.paging = false
	if t.err = err; err != nil {
		q.spool.disk.cfg.Log.Error("queue cannot be read", "destination", q.name, "after", uint64(after), "err", err)
	} else {
		for i := range rs {
			q.bringIn(&rs[i])
		}
		if !more {
			q.join()
		}
		q.passed(q.win.next)
	}
	q.wrote()
	wanted := t.demand > 0
	q.mu.Unlock()
	if wanted {
		t.ready()
	}
	return rs
}

// bringIn puts a message that was read into the window. Called with mu held.
func (q *queue) bringIn(r *store.Record) {
	t := q.tail
	n := int64(r.Msg.Size())
	q.bringKept(r.Seq)
	if t.ahead.isGone(r.Seq) {
		q.win.skipTo(r.Seq + 1)
	} else {
		q.win.skipTo(r.Seq)
		q.win.push(r.Msg)
		_, s := q.win.at(r.Seq)
		if s.attempt = r.Attempts; s.attempt == 0 && r.Seq <= t.told {
			s.attempt = 1
		}
		t.away--
		t.awayBytes -= n
		q.spool.keep(r.Msg)
		l := t.findLate(r.Seq)
		if l != nil && l.msg != nil { // it was in memory already
			q.spool.leave(l.msg)
		}
		if l != nil && l.held { // durable, and about to be shown
			s.state |= held
		}
		q.enter(r.Seq)
	}
	i := 0
	for i < len(t.late) && t.late[i].seq <= r.Seq {
		i++
	}
	drop(&t.late, i)
}

// bringKept puts the volatile messages before seq into the window.
func (q *queue) bringKept(seq store.Seq) {
	n := 0
	for n < len(q.kept) && q.kept[n].seq < seq {
		q.bringLate(&q.kept[n])
		n++
	}
	drop(&q.kept, n)
}

// bringLate puts a message that is late, or volatile, into the window.
func (q *queue) bringLate(l *late) {
	if l.seq < q.win.next || l.msg == nil {
		return
	}
	q.win.skipTo(l.seq)
	q.win.push(l.msg)
	q.away--
	q.awayBytes -= int64(l.msg.Size())
	if l.held {
		_, s := q.win.at(l.seq)
		s.state |= held
	}
	q.enter(l.seq)
}

// join makes the queue whole again: the backend holds nothing that is not in the window or
// late. Called with mu held.
func (q *queue) join() {
	t := q.tail
	for i := range t.late {
		q.bringKept(t.late[i].seq)
		q.bringLate(&t.late[i])
	}
	drop(&t.late, len(t.late))
	q.bringKept(t.last + 1)
	q.win.skipTo(t.last + 1)
	q.passed(q.win.next)
	// What the backend counted and does not have, if it ever came to that.
	q.live -= t.away
	q.bytes -= t.awayBytes
	t.split, t.away, t.awayBytes = false, 0, 0
}

// browseDisk lists what the backend holds, and what is in neither it nor the window. Written
// is how much of the queue the backend had when the window was looked at. Once size bytes were read
// it ends, and reports that more may follow.
func (q *queue) browseDisk(dst []store.Delivery, after store.Seq, n int, size int64, written store.Seq) (_ []store.Delivery, more bool, _ error) {
	from, begin, end := after, len(dst), len(dst)+n
	for more = true; ; {
		if more && len(dst) < end {
			rs, m, err := q.spool.disk.cfg.Backend.Read(nil, q.name, after, min(end-len(dst), pageRecords), min(size, pageBytes))
			if err != nil {
				return dst, false, err
			}
			if more = m; len(rs) > 0 {
				after = rs[len(rs)-1].Seq
			}
			for i := range rs {
				size -= int64(rs[i].Msg.Size())
			}
			q.mu.Lock()
			dst = q.appendThere(dst, rs)
		} else {
			q.mu.Lock()
		}
		switch {
		case len(dst) == end:
		case more && size <= 0 && len(dst) > begin:
		case more:
			size = max(size, 1) // all that was read is gone meanwhile
			q.mu.Unlock()
			continue
		case q.written != written: // what was late when the backend was read may be so no more
			more, written = true, q.written
			q.mu.Unlock()
			continue
		}
		break
	}
	defer q.mu.Unlock()
	dst = q.sinceCome(dst, begin, from, n)
	upTo := store.Seq(math.MaxUint64)
	if more && len(dst) < end {
		upTo = after // what lies behind it comes next
	}
	for i := behind(q.late, after); i < len(q.late) && q.late[i].seq <= upTo && len(dst) < end; i++ {
		if l := &q.late[i]; l.msg != nil {
			dst = append(dst, store.Delivery{Seq: l.seq, Msg: l.msg, Attempt: q.tries(l.seq, 0)})
		}
	}
	if len(q.kept) > 0 {
		for i, left := behind(q.kept, from), n; i < len(q.kept) && q.kept[i].seq <= upTo && left > 0; i++ {
			if l := &q.kept[i]; l.msg != nil {
				dst = append(dst, store.Delivery{Seq: l.seq, Msg: l.msg, Attempt: q.tries(l.seq, 0)})
				left--
			}
		}
		slices.SortFunc(dst[begin:], func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
		dst = dst[:min(len(dst), end)]
	}
	return dst, more || len(dst) == end, nil
}

// sinceCome has the window say what is there of where it has come by since from was behind it: it knows of all
// that, of what was in neither it nor the backend, too.
func (q *queue) sinceCome(dst []store.Delivery, begin int, from store.Seq, n int) []store.Delivery {
	if q.win.next-1 <= from {
		return dst
	}
	at, _ := slices.BinarySearchFunc(dst[begin:], q.win.next, bySeq)
	beyond := slices.Clone(dst[begin+at:])
	dst = append(q.win.browse(dst[:begin], from, n), beyond...)
	return dst[:min(len(dst), begin+n)]
}

func bySeq(d store.Delivery, seq store.Seq) int { return cmp.Compare(d.Seq, seq) }

// behind is where in a list the first is that follows after.
func behind(list []late, after store.Seq) int {
	i, _ := slices.BinarySearchFunc(list, after+1, func(l late, seq store.Seq) int { return cmp.Compare(l.seq, seq) })
	return i
}

// appendThere appends what was read and is still there. The window may have come by it meanwhile.
func (q *queue) appendThere(dst []store.Delivery, rs []store.Record) []store.Delivery {
	for i := range rs {
		r := &rs[i]
		switch {
		case r.Seq < q.win.next:
			if _, s := q.win.at(r.Seq); s != nil && s.msg != nil {
				dst = append(dst, store.Delivery{Seq: r.Seq, Attempt: s.attempt, Msg: s.msg})
			}
		case !q.ahead.isGone(r.Seq):
			dst = append(dst, store.Delivery{Seq: r.Seq, Attempt: q.tries(r.Seq, r.Attempts), Msg: r.Msg})
		}
	}
	return dst
}

// tries is how often a message ahead of the window was handed out.
func (q *queue) tries(seq store.Seq, stored uint32) uint32 {
	if s := q.ahead.slots[seq]; s != nil {
		return s.attempt
	}
	return stored
}
