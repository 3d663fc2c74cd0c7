package spool

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// No Seq names two messages, also of those that were handed out and never stored, because their ack
// came first. While the store is open a row in a queue of its own says up to which Seq any queue may
// have gone: it is written at the start, and again when a queue comes near. A start that finds such a
// row was not preceded by a clean stop, and all queues go on behind it. A clean stop leaves in its
// place what the backend does not know of the queues, or nothing.

const (
	numbersQueue = destination.QueuePrefix + "$numbers"

	// roomAhead is how far the row is ahead of what was given when it is written. It is much more than
	// can be put into a queue before the next group is written, which renews it.
	roomAhead = 1 << 24
)

// The headers of the row.
const (
	ceilingHeader = "ceiling" // up to here any queue may have gone; missing after a clean stop
	floorHeader   = "floor"   // all queues go on behind it
	freshHeader   = "fresh"   // queues that are made begin behind it
)

// numbers are what a durable spool knows of its row. What the start does not set is guarded by the turn
// to write.
type numbers struct {
	first, row store.Seq // the rows that there are; 0: there is none
	last       store.Seq // of all that there ever were
	floor      store.Seq
	ceiling    store.Seq            // 0: none was written yet
	lasts      map[string]store.Seq // of queues that are not open: more than the backend knows; guarded by Spool.mu
	known      store.Seq            // the highest Seq that the backend knew of at the start
}

// recall reads what the process before left, and has what is stored go on where that says.
func (s *Spool) recall(b store.Backend) error {
	n := &s.disk.numbers
	n.known, n.lasts = s.floor, make(map[string]store.Seq)
	info := s.stored[numbersQueue]
	delete(s.stored, numbersQueue) // it is nobody else's business
	n.last = max(info.Last, info.Marked)
	if info.Count == 0 {
		return nil
	}
	rs, _, err := b.Read(nil, numbersQueue, 0, info.Count+1, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, r := range rs { // one, but where others were imported
		if n.first == 0 {
			n.first = r.Seq
		}
		n.row = r.Seq
		n.floor = max(n.floor, number(r.Msg, floorHeader), number(r.Msg, ceilingHeader))
		s.floor = max(s.floor, n.floor, number(r.Msg, freshHeader))
		for line := range strings.Lines(string(r.Msg.Body())) {
			last, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			seq, err := strconv.ParseUint(last, 10, 64)
			if !ok || err != nil {
				return fmt.Errorf("spool: %s is damaged: %q", numbersQueue, line)
			}
			n.lasts[name] = max(n.lasts[name], store.Seq(seq))
			s.floor = max(s.floor, store.Seq(seq))
		}
	}
	return nil
}

// missNumbers has all queues go on behind what any may have come to, if there was no row that says so:
// it may have been there, and damaged. The next clean stop leaves one.
func (s *Spool) missNumbers() {
	n := &s.disk.numbers
	if n.row != 0 || n.known == 0 {
		return
	}
	n.floor = (n.known/roomAhead + 2) * roomAhead
	s.floor = max(s.floor, n.floor)
}

func number(m *message.Message, header string) store.Seq {
	v, _ := m.Header(header)
	n, _ := strconv.ParseUint(v, 10, 64) // of the spool's own
	return store.Seq(n)
}

// goOn is what is known of a queue that is opened now. Called with mu held.
func (s *Spool) goOn(name string) (info store.Info, last store.Seq) {
	n := &s.disk.numbers
	info, stored := s.stored[name]
	last, left := n.lasts[name]
	delete(s.stored, name)
	delete(n.lasts, name)
	info.Name = name
	if !stored && !left {
		last = s.floor
	}
	return info, max(last, n.floor, info.Last, info.Marked) // a mark may be of what was not stored
}

// raise writes a row that is ahead of seq, and of all before. Called by whose turn it is to write. An
// error is final.
func (d *disk) raise(seq store.Seq) error {
	n := &d.numbers
	ceiling := (max(seq, n.floor, n.known)/roomAhead + 2) * roomAhead
	err := d.replaceRow(rowOf(nil, ceilingHeader, ceiling, floorHeader, n.floor))
	if mayPass(err) {
		return nil // it is tried again with the next group
	}
	if s, ok := d.cfg.Backend.(store.Syncer); ok && err == nil && d.cfg.Checkpoint > 0 {
		if err = s.Sync(); err == nil {
			d.written = false
		}
	}
	if err == nil {
		n.ceiling = ceiling
	}
	return err
}

// replaceRow has m be the only row, or none if it is nil.
func (d *disk) replaceRow(m *message.Message) error {
	n := &d.numbers
	var rs []store.Record
	if m != nil {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: numbersQueue, Seq: n.last + 1, Msg: m})
	}
	if n.row != 0 {
		rs = append(rs, store.Record{Kind: store.RecordAck, Queue: numbersQueue, Seq: n.first, Last: n.row})
	}
	if len(rs) == 0 {
		return nil
	}
	if err := d.cfg.Backend.Write(rs); err != nil {
		return err
	}
	d.written = true
	if n.first, n.row = 0, 0; m != nil {
		n.last++
		n.first, n.row = n.last, n.last
	}
	return nil
}

// mayPass reports whether another Write may succeed.
func mayPass(err error) bool {
	var refused *store.RefusedError
	return errors.As(err, &refused) || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrAway)
}

// leaveNumbers replaces the row at a clean stop. If that cannot be, the next start goes on as after
// another one.
func (s *Spool) leaveNumbers(open []*queue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.disk.numbers
	if n.ceiling == 0 {
		return nil // there is none of this process
	}
	s.forgetNumbers()
	known := max(n.known, n.floor)
	for _, q := range open {
		known = max(known, q.known)
		if q.last > max(q.known, n.floor) {
			n.lasts[q.name] = q.last
		}
	}
	var body []byte
	for _, name := range slices.Sorted(maps.Keys(n.lasts)) {
		body = fmt.Appendf(body, "%d %s\n", n.lasts[name], name)
		known = max(known, n.lasts[name])
	}
	var row *message.Message
	fresh := s.floor
	if fresh <= known {
		fresh = 0
	}
	if len(body) > 0 || n.floor > 0 || fresh > 0 {
		row = rowOf(body, floorHeader, n.floor, freshHeader, fresh)
	}
	if err := s.disk.replaceRow(row); !mayPass(err) {
		return err
	}
	return nil
}

// mostLeft is for how many queues that were not opened since the start a clean stop says where they were.
const mostLeft = 4096

// forgetNumbers has names that are not used any more not gather for ever: where there are many, such
// a queue begins behind all others if it ever comes back. Called with mu held.
func (s *Spool) forgetNumbers() {
	n := &s.disk.numbers
	if len(n.lasts) <= mostLeft {
		return
	}
	for name, last := range n.lasts {
		if _, stored := s.stored[name]; !stored { // else it goes on behind what the backend has
			s.floor = max(s.floor, last)
			delete(n.lasts, name)
		}
	}
}

// rowOf is a row with headers of that many numbers.
func rowOf(body []byte, headers ...any) *message.Message {
	f := &frame.Frame{Command: frame.Send, Body: body}
	for i := 0; i < len(headers); i += 2 {
		if n := headers[i+1].(store.Seq); n > 0 {
			f.Header.Add(headers[i].(string), strconv.FormatUint(uint64(n), 10))
		}
	}
	m, err := message.New(f, numbersQueue, message.At(time.Now().UnixMilli()))
	if err != nil {
		panic(err) // the headers are the spool's own
	}
	return m
}
