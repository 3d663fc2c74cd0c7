// Package transfer carries stored messages from one place to another: between backends, and
// to and from a dump, which is text. Order, sequence numbers and delivery counts are kept.
// Nobody serves either place meanwhile.
package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

const (
	// A group is as much as is read, and written, at a time.
	groupRecords = 512
	groupBytes   = 4 << 20
)

// A Source yields stored messages, those of one queue in order.
type Source struct {
	// Queues are what is known beforehand; nil for a dump.
	Queues []store.Info

	// No queue that is empty had a Seq above it.
	Floor store.Seq

	// Messages yields a RecordPut for each, with Attempts. After an error it ends.
	Messages iter.Seq2[store.Record, error]
}

// Count is the number of messages that Queues tell of.
func (s Source) Count() int {
	n := 0
	for _, i := range s.Queues {
		n += i.Count
	}
	return n
}

// Of makes a Source of b, queue by queue in the order of their names.
func Of(b store.Backend) (Source, error) {
	infos, err := b.Queues()
	if err != nil {
		return Source{}, err
	}
	floor := store.Seq(0)
	infos = slices.DeleteFunc(slices.Clone(infos), func(i store.Info) bool {
		empty := i.Name == "" || i.Count == 0
		if empty {
			floor = max(floor, i.Last)
		}
		return empty
	})
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	return Source{Queues: infos, Floor: floor, Messages: func(yield func(store.Record, error) bool) {
		for _, i := range infos {
			if !walk(b, i, yield) {
				return
			}
		}
	}}, nil
}

func walk(b store.Backend, i store.Info, yield func(store.Record, error) bool) bool {
	var rs []store.Record
	after := store.Seq(0)
	for more := true; more; {
		var err error
		if rs, more, err = b.Read(rs[:0], i.Name, after, groupRecords, groupBytes); err != nil {
			yield(store.Record{}, fmt.Errorf("%s, behind message %d: %w", i.Name, after, err))
			return false
		}
		for _, r := range rs {
			after = r.Seq
			if !yield(r, nil) {
				return false
			}
		}
	}
	return true
}

// A Summary tells what of a queue was carried, or is there.
type Summary struct {
	Queue    string
	Messages int
	Bytes    int64 // of the bodies
	Tried    int   // messages that were handed out before, as far as that is counted
	Resumed  int   // of Messages: were there already
}

// summaries adds up by queue.
type summaries struct {
	list  []Summary
	index map[string]int
}

func (s *summaries) of(queue string) *Summary {
	i, ok := s.index[queue]
	if !ok {
		if s.index == nil {
			s.index = make(map[string]int)
		}
		i = len(s.list)
		s.index[queue] = i
		s.list = append(s.list, Summary{Queue: queue})
	}
	return &s.list[i]
}

func (s *summaries) add(r *store.Record) *Summary {
	sum := s.of(r.Queue)
	sum.Messages++
	sum.Bytes += int64(len(r.Msg.Body()))
	if r.Attempts > 0 {
		sum.Tried++
	}
	return sum
}

// Look reads all that from has, and calls tell, which may be nil, with the number of messages
// so far.
func Look(ctx context.Context, from Source, tell func(n int)) ([]Summary, error) {
	var sums summaries
	n := 0
	for r, err := range from.Messages {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return sums.list, err
		}
		sums.add(&r)
		if n++; tell != nil {
			tell(n)
		}
	}
	return sums.list, nil
}

// ErrNotEmpty is returned by Copy when the destination holds something else than the first
// part of what is to be copied.
var ErrNotEmpty = errors.New("the destination is not empty, and what it holds is not the beginning of this")

// Copy writes what from has into to. A copy that was broken off may be begun again: what is
// there is compared with its source where it begins and ends, and not written twice. On an error what
// was written stays.
func Copy(ctx context.Context, to store.Backend, from Source, tell func(n int)) ([]Summary, error) {
	c := copier{to: to, there: make(map[string]store.Info), known: make(map[string]store.Info), last: make(map[string]store.Seq)}
	infos, err := to.Queues()
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		switch {
		case i.Count > 0:
			c.there[i.Name] = i
		case i.Last > 0 && i.Last != from.Floor: // else a copy before this one came to its end
			return nil, fmt.Errorf("%w: it was in use, and its sequence numbers would come twice", ErrNotEmpty)
		}
	}
	for _, i := range from.Queues {
		c.known[i.Name] = i
		c.floor = max(c.floor, i.Last)
	}
	n := 0
	for r, err := range from.Messages {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = c.add(r)
		}
		if err != nil {
			return c.sums.list, errors.Join(err, c.flush())
		}
		if n++; tell != nil {
			tell(n)
		}
	}
	for name, i := range c.there {
		if c.sums.of(name).Resumed != i.Count {
			return c.sums.list, c.foreign(name)
		}
	}
	return c.sums.list, c.finish(from.Floor)
}

// Append writes what from has behind what to has. Last tells which Seq a queue of that may have come to.
// It is not to be begun again.
func Append(ctx context.Context, to store.Backend, last func(queue string) store.Seq, from Source, tell func(n int)) ([]Summary, error) {
	c := copier{to: to, last: make(map[string]store.Seq)}
	n := 0
	for r, err := range from.Messages {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			if _, ok := c.last[r.Queue]; !ok {
				c.last[r.Queue] = last(r.Queue)
			}
			r.Seq = 0
			err = c.add(r)
		}
		if err != nil {
			return c.sums.list, errors.Join(err, c.flush())
		}
		if n++; tell != nil {
			tell(n)
		}
	}
	return c.sums.list, c.flush()
}

type copier struct {
	to    store.Backend
	there map[string]store.Info // in to, before
	known map[string]store.Info // of the source
	last  map[string]store.Seq  // by queue: the Seq that came last
	floor store.Seq             // the highest of known
	group []store.Record
	bytes int
	sums  summaries
}

func (c *copier) add(r store.Record) error {
	if last := c.last[r.Queue]; r.Seq == 0 {
		r.Seq = last + 1
	} else if r.Seq <= last {
		return fmt.Errorf("%s: message %d comes after %d", r.Queue, r.Seq, last)
	}
	c.last[r.Queue] = r.Seq
	sum := c.sums.add(&r)
	there := c.there[r.Queue]
	if r.Seq <= there.Last {
		if sum.Resumed == 0 && r.Seq != there.First {
			return c.foreign(r.Queue)
		}
		sum.Resumed++
		if r.Seq == there.First || r.Seq == there.Last {
			return c.compare(r)
		}
		return nil
	}
	if sum.Resumed != there.Count {
		return c.foreign(r.Queue)
	}
	c.put(r)
	if len(c.group) >= groupRecords || c.bytes >= groupBytes {
		return c.flush()
	}
	return nil
}

func (c *copier) foreign(queue string) error {
	return fmt.Errorf("%w: %s has messages of its own", ErrNotEmpty, queue)
}

func (c *copier) put(r store.Record) {
	attempts := r.Attempts
	r.Kind, r.Attempts = store.RecordPut, 0
	c.group = append(c.group, r)
	c.bytes += r.Msg.Size()
	if attempts > 0 {
		c.group = append(c.group, store.Record{Kind: store.RecordAttempts, Queue: r.Queue, Seq: r.Seq, Attempts: attempts})
	}
}

// compare looks whether r is what the destination has in its place.
func (c *copier) compare(r store.Record) error {
	rs, _, err := c.to.Read(nil, r.Queue, r.Seq-1, 1, 1)
	if err != nil {
		return err
	}
	if len(rs) != 1 || rs[0].Seq != r.Seq || !same(rs[0].Msg, r.Msg) {
		return fmt.Errorf("%w: %s has another message %d", ErrNotEmpty, r.Queue, r.Seq)
	}
	return nil
}

// same compares all but the time, which a dump need not tell.
func same(a, b *message.Message) bool {
	fields := func(m *message.Message) (fs [][2]string) {
		for name, value := range m.Fields {
			if name != "timestamp" {
				fs = append(fs, [2]string{name, value})
			}
		}
		return fs
	}
	return a.Destination() == b.Destination() && bytes.Equal(a.Body(), b.Body()) && slices.Equal(fields(a), fields(b))
}

func (c *copier) flush() error {
	if len(c.group) == 0 {
		return nil
	}
	err := c.to.Write(c.group)
	clear(c.group)
	c.group, c.bytes = c.group[:0], 0
	return err
}

// finish writes what holds for whole queues: up to where messages may have been handed out,
// and which Seqs were used beyond those of the messages. Floor is the highest of queues that are empty.
func (c *copier) finish(floor store.Seq) error {
	for _, s := range c.sums.list {
		i, ok := c.known[s.Queue]
		if !ok {
			continue
		}
		if last := c.last[s.Queue]; i.Last > last && c.there[s.Queue].Last < i.Last {
			c.used(s.Queue, i.Last)
		}
		if i.Marked > 0 {
			c.group = append(c.group, store.Record{Kind: store.RecordMark, Queue: s.Queue, Seq: i.Marked})
		}
	}
	if floor > c.floor && floor > c.there[numbersQueue].Last {
		c.used(numbersQueue, floor)
	}
	return c.flush()
}

// numbersQueue is where the spool keeps what it knows of Seqs.
const numbersQueue = destination.QueuePrefix + "$numbers"

// used notes that a queue went up to seq.
func (c *copier) used(queue string, seq store.Seq) {
	c.group = append(c.group,
		store.Record{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: message.Text(queue, "", 0)},
		store.Record{Kind: store.RecordAck, Queue: queue, Seq: seq, Last: seq})
}
