package broker

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Clients may ask what waits for its time, and take it back.

// where returns the Seq that a schedule id stands for now.
func (s *schedule) where(id string) (store.Seq, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, idPrefix), 10, 64)
	if err != nil || n == 0 || !strings.HasPrefix(id, idPrefix) {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq, ok := s.again[store.Seq(n)]; ok {
		return seq, true
	}
	return store.Seq(n), true
}

// ErrNoSchedule is the error of a schedule id that names nothing that waits.
var ErrNoSchedule = errors.New("broker: nothing waits by that schedule id")

// cancel has op take what waits by that id out.
func (s *schedule) cancel(op *Op, id string) {
	seq, ok := s.where(id)
	if ok {
		ds, err := s.st.Browse(nil, seq-1, 1)
		if err != nil {
			op.Finish(err)
			return
		}
		if len(ds) > 0 && ds[0].Seq == seq {
			if got, _ := s.st.Lease(nil, ds, true); len(got) > 0 {
				s.mu.Lock()
				for first, now := range s.again {
					if now == seq {
						delete(s.again, first)
					}
				}
				s.mu.Unlock()
				op.batch.Ack(s.st, seq)
				s.b.store.Commit(&op.batch)
				return
			}
		}
	}
	op.Finish(ErrNoSchedule)
}

// A span is a part of time, in milliseconds since 1970, its ends included.
type span struct{ from, to int64 }

func (s span) has(at int64) bool { return s.from <= at && at <= s.to }

// pages calls f with what waits for a time in when, some at once, until f returns an error.
func (s *schedule) pages(when span, f func(ds []store.Delivery) error) error {
	for after := store.Seq(0); ; {
		ds, _, err := s.st.Page(nil, after, fireAtOnce, pageBytes)
		if err != nil || len(ds) == 0 {
			return err
		}
		after = ds[len(ds)-1].Seq
		ds = slices.DeleteFunc(ds, func(d store.Delivery) bool { return !when.has(d.Msg.Options().Due) })
		if err := f(ds); err != nil {
			return err
		}
	}
}

// cancelAll has op take out what waits for a time in when, and its receipt say how many these were. They are written in
// parts, of which a crash may leave some.
func (s *schedule) cancelAll(op *Op, when span) {
	c := &cancelling{s: s, op: op, when: when, upTo: s.st.Stats().Last, gone: make(map[store.Seq]bool)}
	c.parts.Add(1)
	if c.look() {
		c.end()
		return
	}
	s.b.wg.Go(func() { // ends when all is durable that came before, or with the broker
		tick := time.NewTicker(cancelEvery)
		defer tick.Stop()
		for !c.look() {
			select {
			case <-tick.C:
			case <-s.b.stop: // some of it stays
				c.failed.CompareAndSwap(nil, &store.ErrClosed)
				c.end()
				return
			}
		}
		c.end()
	})
}

// cancelEvery is how often it is looked for what was not durable yet.
const cancelEvery = 20 * time.Millisecond

// A cancelling takes out all that waits.
type cancelling struct {
	s    *schedule
	op   *Op
	when span
	upTo store.Seq          // what came later stays
	gone map[store.Seq]bool // was taken out

	parts  atomic.Int64 // that are not done, and who adds them
	failed atomic.Pointer[error]
}

// look takes out what there is, and reports whether that was all: what is of a batch that is not durable yet, and what
// stands behind that, cannot be had.
func (c *cancelling) look() (all bool) {
	all = true
	err := c.s.pages(c.when, func(ds []store.Delivery) error {
		n, _ := slices.BinarySearchFunc(ds, c.upTo+1, bySeq)
		got, later := c.s.st.Lease(nil, ds[:n], true)
		all = all && !later
		if len(got) == 0 {
			return nil
		}
		part := NewOp(nil)
		for _, d := range got {
			c.gone[d.Seq] = true
			part.batch.Ack(c.s.st, d.Seq)
		}
		c.parts.Add(1)
		part.Finally(c.done)
		c.s.b.store.Commit(&part.batch)
		return nil
	})
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
	return all || err != nil
}

// end says that no part is to come.
func (c *cancelling) end() {
	c.s.mu.Lock()
	for first, now := range c.s.again {
		if c.gone[now] {
			delete(c.s.again, first)
		}
	}
	c.s.mu.Unlock()
	c.op.Tell("cancelled", strconv.Itoa(len(c.gone)))
	c.done(nil)
}

// done is told of each part, and then of the end of all, and finishes.
func (c *cancelling) done(err error) {
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
	if c.parts.Add(-1) > 0 {
		return
	}
	if first := c.failed.Load(); first != nil {
		err = *first
	}
	c.op.Finish(err)
}

// list sends each message that waits for a time in when to an address, with its id and its time in headers.
func (s *schedule) list(op *Op, to *Address, when span, w *Wake) {
	replyTo := to.Name()
	err := s.pages(when, func(ds []store.Delivery) error {
		for _, d := range ds {
			to.Send(d.Msg.Redirect(replyTo, s.describe(d)...).Shown(), NewOp(nil), w)
		}
		return nil
	})
	if err == nil {
		s.answer(to, replyTo, w)
	}
	op.Finish(err)
}

// answer ends a list.
func (s *schedule) answer(to *Address, replyTo string, w *Wake) {
	f := &frame.Frame{Command: frame.Send}
	f.Header.Add("list", "end")
	m, err := message.New(f, replyTo, message.At(nowMilli()))
	if err != nil {
		panic(err) // the header is the broker's own
	}
	to.Send(m, NewOp(nil), w)
}

// describe are the headers by which a list tells what waits.
func (s *schedule) describe(d store.Delivery) []string {
	first, ok := d.Msg.Header(firstHeader)
	if !ok {
		first = strconv.FormatUint(uint64(d.Seq), 10)
	}
	target, _ := d.Msg.Header(targetHeader)
	return []string{ScheduleID, idPrefix + first, JobID, idPrefix + first,
		"original-destination", target, "scheduled-for", strconv.FormatInt(d.Msg.Options().Due, 10),
		targetHeader, "", firstHeader, "", "deliver-at", "", "delay", "", "x-delay", "", "_AMQ_SCHED_DELIVERY", "",
		"AMQ_SCHEDULED_DELAY", "", "AMQ_SCHEDULED_TIME", "", "AMQ_SCHEDULED_PERIOD", "", "AMQ_SCHEDULED_REPEAT", "", "AMQ_SCHEDULED_CRON", "",
		"expires", "", "ttl", "", "expiration", "", "priority", ""} // the list keeps its order
}
