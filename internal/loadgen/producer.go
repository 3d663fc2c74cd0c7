package loadgen

import (
	"fmt"
	"math"
	"sync/atomic"
)

// batchBytes is about what a producer writes at once; more gains nothing, and less shows
// in the system calls.
const (
	batchBytes = 64 << 10
	batchCount = 512
)

// A stream is one producer's messages to one destination: a block of copies of the frame,
// of which any number can be stamped and written.
type stream struct {
	id, dest  int
	block     []byte
	frame     int // bytes of one frame
	count     int // frames in block
	body      int // where in a frame its body begins
	receiptID int // and the digits of the receipt id
	next      int64
	sent      atomic.Int64 // written to the connection
	gate      *gate
}

func newStream(c *Config, p protocol, id, dest int, g *gate) *stream {
	one, body, rid := p.send(nil, c.destination(dest), c.Size)
	s := &stream{id: id, dest: dest, frame: len(one), body: body, receiptID: rid, gate: g}
	s.count = max(1, min(batchCount, batchBytes/s.frame))
	s.block = make([]byte, 0, s.count*s.frame)
	for range s.count {
		st := stamp{tag: c.tag, stream: id}
		st.put(one[body:])
		s.block = append(s.block, one...)
	}
	return s
}

// A producer sends on one connection.
type producer struct {
	run     *run
	link    *link
	streams []*stream
	quota   int64 // messages it may send
	issued  int64 // receipts asked for
	window  *gate // of receipts; nil without

	answered atomic.Int64
	times    []atomic.Int64 // when the SENDs without receipt were sent, by receipt id
	lat      latencies
}

// loop sends until quota or time are used up. The open loop sends what is due at once,
// each with the time it was due.
func (p *producer) loop() error {
	r := p.run
	var every float64 // ns between two messages
	next := float64(r.started)
	if r.cfg.Rate > 0 {
		every = 1e9 * float64(r.cfg.Producers) / r.cfg.Rate
		next += every * float64(p.streams[0].id) / float64(r.cfg.Producers) // not all at the same time
	}
	pace := newPacer()
	defer pace.close()
	for turn := 0; p.quota > 0 && !r.over(); turn++ {
		s := p.streams[turn%len(p.streams)]
		n := min(int64(s.count), p.quota)
		now := clock()
		if every > 0 {
			due := int64(math.Floor((float64(now)-next)/every)) + 1
			if due < 1 {
				pace.until(int64(math.Ceil(next)))
				turn--
				continue
			}
			n = min(n, due)
		}
		unit := r.deliveries
		n = s.gate.take(n*unit, unit, r.stop) / unit
		if n == 0 {
			return nil
		}
		if p.window != nil {
			m := p.window.take(n, 1, r.stop)
			s.gate.give((n - m) * unit)
			if n = m; n == 0 {
				return nil
			}
		}
		if every == 0 {
			now = clock() // the gates may have taken their time
		}
		for i := range n {
			at := now
			if every > 0 {
				at = int64(next)
				next += every
			}
			f := s.block[int(i)*s.frame:]
			putSeqTime(f[s.body:], s.next, at)
			s.next++
			if s.receiptID > 0 {
				p.times[p.issued%int64(len(p.times))].Store(at)
				putHex(f[s.receiptID:s.receiptID+8], uint64(p.issued))
				p.issued++
			}
		}
		p.quota -= n
		s.sent.Add(n) // before the write: a consumer may have them before it returns
		if _, err := p.link.conn.Write(s.block[:int(n)*s.frame]); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

// listen takes receipts, and notices when the broker refuses or leaves.
func (p *producer) listen() error {
	for {
		var ev event
		ok, err := p.link.next(&ev)
		if err != nil {
			return err
		}
		if !ok {
			p.settle()
			if err := p.link.fill(); err != nil {
				return err
			}
			continue
		}
		switch ev.kind {
		case receipt:
			id, ok := parseHex(ev.receipt)
			if !ok {
				continue // that of DISCONNECT
			}
			p.lat.add(p.run, p.times[id%uint64(len(p.times))].Load(), clock())
			p.answered.Add(1)
			p.window.give(1)
		case ping:
			if _, err := p.link.conn.Write(p.run.proto.pong()); err != nil {
				return err
			}
		case refusal:
			return &Refusal{ev.text}
		}
	}
}

func (p *producer) settle() { p.lat.flush() }

const hexDigits = "0123456789abcdef"

func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
}

func parseHex(b []byte) (v uint64, ok bool) {
	if len(b) != 8 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
