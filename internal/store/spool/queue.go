package spool

import (
	"math"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue is a store.Queue.
type queue struct {
	spool *Spool
	name  string
	id    uint64

	mu       sync.Mutex // guards what follows
	win      window
	leased   int
	live     int
	bytes    int64
	enqueued uint64
	dequeued uint64
	closed   bool

	*tail // nil: the memory store
}

// Name implements store.Queue.
func (q *queue) Name() string { return q.name }

// apply makes one change. Called with mu held.
func (q *queue) apply(c *store.Change) {
	if c.Msg != nil {
		c.Seq = q.win.push(c.Msg)
		n := int64(c.Msg.Size())
		q.live++
		q.enqueued++
		q.bytes += n
		q.spool.keep(c.Msg)
		return
	}
	gone, free, stored := int64(0), int64(0), false
	for seq := c.Seq; seq <= c.Last; seq++ {
		m := q.win.remove(seq, leased) // where nearly all are
		if m == nil {
			if m = q.settleAhead(seq, leased); m == nil {
				continue
			}
		}
		gone += int64(m.Size())
		free += cost(m, m.Leave())
		stored = stored || !m.Volatile()
		q.live--
		q.leased--
		q.dequeued++
	}
	q.win.trim()
	q.bytes -= gone
	q.spool.bytes.Add(-free)
	if !stored && q.tail != nil {
		c.Seq, c.Last = 1, 0 // there is nothing for the backend to do
	}
}

// Fetch implements store.Queue.
func (q *queue) Fetch(dst []store.Delivery, n int) ([]store.Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return dst, store.ErrClosed
	}
	if q.tail != nil {
		return q.fetch(dst, n)
	}
	before := len(dst)
	dst = q.win.fetch(dst, n, q.win.next)
	q.leased += len(dst) - before
	return dst, nil
}

// Release implements store.Queue.
func (q *queue) Release(ds []store.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range ds {
		q.giveBack(d.Seq, d.Attempt)
	}
	if len(q.win.back) > 64 && len(q.win.back) > 2*q.live {
		q.win.weed()
	}
}

// giveBack ends the lease of one message, if it has one. Called with mu held.
func (q *queue) giveBack(seq store.Seq, attempt uint32) {
	if q.releaseAhead(seq, attempt) {
		q.leased--
		return
	}
	if !q.win.release(seq, attempt) {
		return
	}
	q.leased--
	if _, s := q.win.at(seq); s.state&doomed != 0 {
		q.gone(q.win.remove(seq, doomed))
	}
}

// remove takes a message out, wherever it is, if it is in the state only, and returns it.
func (q *queue) remove(seq store.Seq, only state) *message.Message {
	if m := q.win.remove(seq, only); m != nil {
		return m
	}
	return q.settleAhead(seq, only)
}

// Peek implements store.Queue.
func (q *queue) Peek(dst []store.Delivery, after store.Seq, n int) ([]store.Delivery, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(dst)
	dst = q.win.browse(dst, after, n)
	return dst, len(dst)-before < n && (q.tail == nil || !q.split)
}

// Browse implements store.Queue. Without a backend it does not wait.
func (q *queue) Browse(dst []store.Delivery, after store.Seq, n int) ([]store.Delivery, error) {
	ds, _, err := q.Page(dst, after, n, math.MaxInt64)
	return ds, err
}

// Page implements store.Queue. What is at hand is in memory as it is, and none of size.
func (q *queue) Page(dst []store.Delivery, after store.Seq, n int, size int64) (_ []store.Delivery, more bool, _ error) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return dst, false, store.ErrClosed
	}
	before := len(dst)
	dst = q.win.browse(dst, after, n)
	found := len(dst) - before
	if q.tail == nil || !q.split || found == n || found > 0 && size < math.MaxInt64 {
		more = found == n || q.tail != nil && q.split
		q.mu.Unlock()
		return dst, more, nil
	}
	after = max(after, q.win.next-1)
	written := q.written
	q.mu.Unlock()
	return q.browseDisk(dst, after, n-found, size, written)
}

// Shown implements store.Queue.
func (q *queue) Shown() store.Seq {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tail == nil || q.holding.empty() {
		return q.lastSeq()
	}
	q.leasing = true
	return q.holding.first() - 1
}

// Stats implements store.Queue.
func (q *queue) Stats() store.Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return store.Stats{
		Ready: q.live - q.leased, Leased: q.leased, Bytes: q.bytes,
		Enqueued: q.enqueued, Dequeued: q.dequeued, Last: q.lastSeq(),
	}
}

// lastSeq is the highest Seq that a put got. Called with mu held.
func (q *queue) lastSeq() store.Seq {
	if q.tail != nil {
		return q.last
	}
	return q.win.next - 1
}

// Close implements store.Queue.
func (q *queue) Close() bool {
	q.spool.mu.Lock()
	defer q.spool.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.live > 0 {
		return false
	}
	q.closed = true
	q.spool.floor = max(q.spool.floor, q.lastSeq())
	if q.spool.queues[q.name] == q {
		delete(q.spool.queues, q.name)
	}
	return true
}
