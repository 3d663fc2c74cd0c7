package session

import (
	"sync"
	"time"

	"stompserver/internal/broker"
)

// Flush implements broker.Flusher: it writes what is waiting as far as that goes without
// waiting, and leaves the rest to a goroutine that lives until the outbox is empty.
func (s *session) Flush(w *broker.Wake, first bool) {
	o := &s.out
	o.mu.Lock()
	o.flagged = false
	if o.writing || o.closed || o.size == 0 || o.holding {
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.take()
	o.mu.Unlock()
	if first {
		n, ok, err := s.c.tryWrite(o.out, o.pos)
		if err != nil {
			s.lost(err)
			return
		}
		if ok && o.wrote(n) && !s.next(w) {
			return
		}
	}
	s.srv.writers.Go(s.writeLoop) // ended by an empty outbox or a lost connection; the server waits for it
}

// writeLoop writes until nothing is left.
func (s *session) writeLoop() {
	var w broker.Wake
	for {
		n, err := s.c.write(s.out.out, s.out.pos)
		if n > 0 {
			s.beat.sent()
		}
		if err != nil {
			s.out.wrote(n)
			s.lost(err)
			return
		}
		if s.out.wrote(n) {
			more := s.next(&w)
			w.Run()
			if !more {
				return
			}
		}
	}
}

// next settles what was written and takes what came meanwhile; it reports false, and that
// nobody writes any more, if that is nothing.
func (s *session) next(w *broker.Wake) bool {
	s.beat.sent()
	o := &s.out
	var acked uint32       // in mode auto
	var sent [kinds]uint32 // in the others
	for i := range o.sent {
		r := &o.sent[i]
		if r.tag == 0 {
			r.sub.bs.Settle(r.first, r.last, w)
			acked += uint32(r.last-r.first) + 1
		} else {
			sent[r.sub.kind] += uint32(r.tag - r.sub.written.Swap(r.tag))
		}
	}
	clear(o.sent)
	o.sent = o.sent[:0]
	add(&s.tally.acked[Queue], acked)
	s.tally.wrote(acked+sent[Queue], sent[Topic])

	o.mu.Lock()
	if len(o.held) > 0 && o.size < s.cfg.highWater()/2 {
		held := o.held
		o.held = nil
		o.mu.Unlock()
		for _, sub := range held {
			sub.bs.Resume(w)
		}
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.size > 0 && !o.holding {
		o.take()
		s.nudge()
		return true
	}
	o.writing = false
	o.shrink()
	o.signal()
	s.nudge()
	return false
}

// lost ends writing after an error; what was not written is given back when the reader
// comes by.
func (s *session) lost(err error) {
	s.trace("write failed", "err", err)
	o := &s.out
	o.mu.Lock()
	o.writing, o.closed = false, true
	o.signal()
	o.mu.Unlock()
	s.nudge()
	_ = s.sock.Close()
}

// poke starts a flush from a goroutine that must not do it itself, such as a store's.
// Called with out.mu held.
func (s *session) poke() {
	if s.out.burst || s.out.attended || s.out.writing || s.out.flagged || s.out.closed {
		return // somebody will flush
	}
	s.out.flagged = true
	s.srv.writers.Go(func() {
		var w broker.Wake
		s.Flush(&w, true)
		w.Run()
	})
}

// highWater is how many bytes may wait for the socket before queues hold back.
func (c *Config) highWater() int { return min(highWater, c.Limits.Outbox) }

// A receipts list holds the receipts asked for, in the order of the frames; they are sent
// in that order.
type receipts struct {
	head, tail *receipt
	size       int // bytes that those asked for and not sent will need
}

type receipt struct {
	id        []byte
	more      []byte // further header lines, each with the LF before it; nil: none
	done      bool
	refusable bool   // it tells a refusal too
	failed    *Error // what is sent in its place; nil: nothing
	next      *receipt
}

var receiptPool = sync.Pool{New: func() any { return new(receipt) }}

// expect notes that a receipt is to be sent. The reader calls it once the frame is
// understood.
func (s *session) expect(id []byte) *receipt {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	l := &o.receipts
	r := receiptPool.Get().(*receipt)
	r.done, r.next = false, nil
	r.id = append(r.id[:0], id...)
	l.size += receiptSize(id)
	if l.tail == nil {
		l.head = r
	} else {
		l.tail.next = r
	}
	l.tail = r
	if s.unlike {
		r.more = append(r.more, "\nx-declared:mismatch"...)
	}
	s.owe()
	return r
}

// owe has the reader wait once the client is owed too much that it asked for: one that asks
// for more and more receipts and reads none is not listened to. What queues and topics bring
// has bounds of its own, below highWater. Called by the reader with out.mu held.
func (s *session) owe() {
	if s.out.owed() > s.cfg.Limits.Outbox+s.cfg.highWater() {
		s.owing = true
	}
}

// confirm says that the frame of r was processed. Called from any goroutine.
func (s *session) confirm(r *receipt) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	r.done = true
	l := &o.receipts
	sent := false
	for l.head != nil && l.head.done {
		r := l.head
		if l.head = r.next; l.head == nil {
			l.tail = nil
		}
		l.size -= receiptSize(r.id)
		if !o.closed {
			if r.failed != nil {
				o.frame(r.failed.frame(), s.version)
			} else {
				o.receipt(r, s.version)
			}
			sent = true
		}
		if cap(r.id) <= 64 && !r.refusable && r.more == nil {
			receiptPool.Put(r)
		}
	}
	if sent {
		s.poke()
	}
}

// sinceStart is a moment as the time since the server's start.
func (s *session) sinceStart(t time.Time) int64 { return int64(t.Sub(s.srv.epoch)) }
