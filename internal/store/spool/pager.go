package spool

import (
	"cmp"
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
	q.win.skipTo(r.Seq)
	q.win.push(r.Msg)
	_, s := q.win.at(r.Seq)
	if s.attempt = r.Attempts; s.attempt == 0 && r.Seq <= t.told {
		s.attempt = 1
	}
	t.away--
	t.awayBytes -= n
	if l := t.findLate(r.Seq); l == nil {
		q.spool.bytes.Add(n)
	} else if l.held { // durable, and about to be shown
		s.state |= held
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
	// What the backend counted and does not have, if it ever came to that.
	q.live -= t.away
	q.bytes -= t.awayBytes
	t.split, t.away, t.awayBytes = false, 0, 0
}

// browseDisk lists what the backend holds, and what is in neither it nor the window.
func (q *queue) browseDisk(dst []store.Delivery, after store.Seq, n int) ([]store.Delivery, error) {
	from, begin, max := after, len(dst), len(dst)+n
	for more := true; more && n > 0; {
		var rs []store.Record
		var err error
		rs, more, err = q.spool.disk.cfg.Backend.Read(nil, q.name, after, min(n, pageRecords), pageBytes)
		if err != nil {
			return dst, err
		}
		for _, r := range rs {
			dst = append(dst, store.Delivery{Seq: r.Seq, Attempt: r.Attempts, Msg: r.Msg})
			after = r.Seq
			n--
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := 0; i < len(q.late) && n > 0; i++ {
		if l := &q.late[i]; l.seq > after && l.msg != nil {
			dst = append(dst, store.Delivery{Seq: l.seq, Msg: l.msg})
			n--
		}
	}
	if len(q.kept) == 0 {
		return dst, nil
	}
	for i := range q.kept {
		if l := &q.kept[i]; l.seq > from && l.msg != nil {
			dst = append(dst, store.Delivery{Seq: l.seq, Msg: l.msg})
		}
	}
	slices.SortFunc(dst[begin:], func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return dst[:min(len(dst), max)], nil
}
