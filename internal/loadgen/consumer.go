package loadgen

import (
	"fmt"
	"sync/atomic"
)

// A consumer receives on one connection.
type consumer struct {
	run   *run
	link  *link
	dests []int // what it subscribes to
	ready chan<- struct{}

	unconfirmed int
	seen        []*seen // by stream; owned by loop until the run is over
	given       []int64 // by destination: received since the last flush
	acks        []byte
	last        event // the newest one not yet acked, in the cumulative mode
	lat         latencies

	received atomic.Int64
	foreign  atomic.Int64 // messages of other runs
	lastAt   atomic.Int64 // when the last of received came
}

// subscribe asks for the consumer's destinations; loop waits for the confirmations.
func (c *consumer) subscribe() error {
	var b []byte
	for _, d := range c.dests {
		b = c.run.proto.subscribe(b, d, c.run.cfg.destination(d))
	}
	c.unconfirmed = len(c.dests)
	_, err := c.link.conn.Write(b)
	return err
}

// probe asks once more for the confirmations, in a way that works with every broker. Those
// that come twice do no harm.
func (c *consumer) probe() error {
	var b []byte
	for _, d := range c.dests {
		b = c.run.proto.probe(b, d)
	}
	_, err := c.link.conn.Write(b)
	return err
}

// loop takes what comes until the connection ends. Counters, acks and the gates are
// served once a read, not once a message.
func (c *consumer) loop() error {
	var now int64
	for {
		var ev event
		ok, err := c.link.next(&ev)
		if err != nil {
			return err
		}
		if !ok {
			if err := c.flush(now); err != nil {
				return err
			}
			if err := c.link.fill(); err != nil {
				return err
			}
			now = clock()
			continue
		}
		switch ev.kind {
		case message:
			c.take(&ev, now)
		case c.run.proto.confirms():
			if c.unconfirmed--; c.unconfirmed == 0 {
				c.ready <- struct{}{}
			}
		case ping:
			c.acks = append(c.acks, c.run.proto.pong()...)
		case refusal:
			return &Refusal{ev.text}
		}
	}
}

func (c *consumer) take(ev *event, now int64) {
	switch c.run.cfg.Ack {
	case "client-individual":
		c.acks = c.run.proto.ack(c.acks, ev)
	case "client":
		if c.last.kind != nothing && c.last.dest != ev.dest {
			c.acks = c.run.proto.ack(c.acks, &c.last)
		}
		c.last.kind, c.last.dest = message, ev.dest
		c.last.ack = append(c.last.ack[:0], ev.ack...)
	}
	st, ok := parseStamp(ev.body)
	if !ok || st.tag != c.run.cfg.tag || st.stream >= len(c.run.streams) {
		c.foreign.Add(1)
		return
	}
	c.seen[st.stream].add(st.seq, ev.redelivered)
	c.given[c.run.streams[st.stream].dest]++
	c.lat.add(c.run, st.time, now)
}

func (c *consumer) flush(now int64) error {
	var n int64
	for d, k := range c.given {
		if k > 0 {
			c.run.gates[d].give(k)
			c.given[d] = 0
			n += k
		}
	}
	if n > 0 {
		c.received.Add(n)
		c.lastAt.Store(now)
		c.lat.flush()
	}
	if c.last.kind != nothing {
		c.acks = c.run.proto.ack(c.acks, &c.last)
		c.last.kind = nothing
	}
	if len(c.acks) > 0 {
		if _, err := c.link.conn.Write(c.acks); err != nil {
			return fmt.Errorf("acknowledging: %w", err)
		}
		c.acks = c.acks[:0]
	}
	return nil
}
