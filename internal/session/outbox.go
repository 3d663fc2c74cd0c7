package session

import (
	"sync"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/websocket"
)

const (
	// smallChunk is where an outbox begins, so that a client which is sent one frame
	// costs little; bigChunk is what a busy one is written with at a time.
	smallChunk = 4 << 10
	bigChunk   = 64 << 10

	// shareFrom is the size from which bytes are shared by reference, not copied into
	// the outbox: below it, copying is cheaper than another piece of a gathered write.
	shareFrom = 16 << 10

	// highWater is how much may wait for the socket before queues hold back.
	highWater = 256 << 10
)

var smallChunks, bigChunks sync.Pool

func newChunk(big bool) []byte {
	pool, size := &smallChunks, smallChunk
	if big {
		pool, size = &bigChunks, bigChunk
	}
	if c, ok := pool.Get().(*[]byte); ok {
		return (*c)[:0]
	}
	return make([]byte, 0, size)
}

func freeChunk(c []byte) {
	switch cap(c) {
	case smallChunk:
		smallChunks.Put(&c)
	case bigChunk:
		bigChunks.Put(&c)
	}
}

// An outbox gathers what is to be written to one client. It is filled under mu by anybody,
// and emptied by one at a time: who set writing.
type outbox struct {
	b *broker.Broker
	s *session // whose it is

	apart    bool              // frames are not sent as they lie: there is an envelope, or bare is set
	bare     bool              // no LF follows a frame
	envelope *websocket.Framer // around each frame, which must not be sent bare; nil: nothing. Guarded by mu

	mu       sync.Mutex
	chunk    []byte    // being filled; follows pieces
	pieces   []piece   // full chunks and shared bytes, in order
	size     int       // bytes of both
	runs     []run     // which deliveries they hold
	held     []*subscr // subscriptions whose queue holds back
	flagged  bool      // noted in a Wake
	burst    bool      // the reader is at work and will flush when its bytes are used up
	attended bool      // the reader is with the store, and will flush the receipts that brings
	writing  bool      // somebody is writing
	holding  bool      // a RECEIPT is there for what is not done yet, and nothing is taken for writing
	last     bool      // the session ends: no delivery is added any more
	closed   bool      // nothing is written any more

	done chan struct{} // closed once last is set, all is written and nobody writes

	receipts receipts

	unnoted   [kinds]uint32 // messages that wait here and are in no run, and RECEIPTs: for the tally
	receipted uint32

	out  []piece // being written; belongs to who set writing, like what follows
	sent []run
	pos  int // bytes of out[0] that are written
}

// A piece is a part of what is to be written.
type piece struct {
	b      []byte
	shared bool             // not a chunk of ours
	topic  *message.Message // that b is of, if it is a topic's: nobody else counts its memory
}

// A run is a number of deliveries in a row to one subscription: first to last for mode
// auto, tags up to tag for the others.
type run struct {
	sub         *subscr
	first, last store.Seq
	attempt     uint32
	tag         uint64
}

// room makes the chunk hold n more bytes. Called with mu held.
func (o *outbox) room(n int) {
	n += websocket.Room // whether there is an envelope or not
	if cap(o.chunk)-len(o.chunk) >= n {
		return
	}
	switch {
	case o.chunk == nil && n <= smallChunk:
		o.chunk = newChunk(false)
		return
	case cap(o.chunk) == smallChunk && len(o.chunk)+n <= bigChunk:
		big := append(newChunk(true), o.chunk...)
		freeChunk(o.chunk)
		o.chunk = big
		return
	}
	o.seal()
	if n <= bigChunk {
		o.chunk = newChunk(true)
	} else {
		o.chunk = make([]byte, 0, n)
	}
}

// begin returns where in the chunk the frame starts that is appended next, and end has it be
// sent, together with rest, which is added behind the chunk. Both are called with mu held.
func (o *outbox) begin() int {
	n := len(o.chunk)
	if o.envelope != nil {
		o.chunk = o.envelope.Begin(o.chunk)
	}
	return n
}

func (o *outbox) end(start int, rest []byte) {
	if o.envelope != nil {
		o.chunk = o.envelope.End(o.chunk, start, rest)
	}
	o.size += len(o.chunk) - start
}

func (o *outbox) seal() {
	if len(o.chunk) > 0 {
		o.pieces = append(o.pieces, piece{b: o.chunk})
	} else {
		freeChunk(o.chunk)
	}
	o.chunk = nil
}

// share adds bytes that are not copied, of a topic's message if that is not nil.
func (o *outbox) share(b []byte, topic *message.Message) {
	o.seal()
	if topic != nil {
		o.b.Hold(topic)
	}
	o.pieces = append(o.pieces, piece{b: b, shared: true, topic: topic})
	o.size += len(b)
}

// free lets go of what p holds.
func (o *outbox) free(p piece) {
	switch {
	case p.topic != nil:
		o.b.Drop(p.topic)
	case !p.shared:
		freeChunk(p.b)
	}
}

// discard drops what is not written. Called with mu held when nobody writes any more.
func (o *outbox) discard() {
	o.seal()
	for _, p := range o.out {
		o.free(p)
	}
	for _, p := range o.pieces {
		o.free(p)
	}
	o.out, o.pieces, o.pos, o.size = nil, nil, 0, 0
}

// message adds a MESSAGE: the subscription's own head, then the bytes all share.
func (o *outbox) message(s *subscr, d broker.Delivery, v frame.Version) {
	m := d.Msg
	whole, ok := m.Whole(v)
	if ok && len(whole) < shareFrom && !o.apart {
		o.room(len(s.head) + 128 + len(whole))
		n := len(o.chunk)
		o.chunk = append(s.appendHead(o.chunk, d), whole...)
		o.size += len(o.chunk) - n
		return
	}
	o.pieced(s, d, v, m)
}

// pieced is message for what is not one piece of bytes to be copied.
func (o *outbox) pieced(s *subscr, d broker.Delivery, v frame.Version, m *message.Message) {
	rest := m.Rest()
	if o.bare {
		rest = rest[:len(rest)-1]
	}
	shared := len(rest) >= shareFrom
	need := len(s.head) + 128 + m.WireSize() - len(rest)
	if !shared {
		need += len(rest)
	}
	o.room(need)
	n := o.begin()
	o.chunk = m.AppendHead(s.appendHead(o.chunk, d), v)
	if !shared {
		o.chunk = append(o.chunk, rest...)
		o.end(n, nil)
		return
	}
	o.end(n, rest)
	if s.topic {
		o.share(rest, m)
	} else {
		o.share(rest, nil)
	}
}

// frame adds a frame of the server's own.
func (o *outbox) frame(f *frame.Frame, v frame.Version) {
	o.room(256)
	n := o.begin()
	o.chunk = frame.Append(o.chunk, v, f)
	o.bared()
	o.end(n, nil)
	o.s.tally.sent[f.Command].Add(1)
}

// receiptSize is how many bytes a RECEIPT needs at most, each byte of id being escaped.
func receiptSize(id []byte) int { return len("RECEIPT\nreceipt-id:\n\n\x00\n") + 2*len(id) }

// owed is what waits for the client to read it, receipts on their way included. Called with
// mu held.
func (o *outbox) owed() int { return o.size + o.receipts.size }

// receipt adds a RECEIPT.
func (o *outbox) receipt(r *receipt, v frame.Version) {
	o.receipted++
	o.room(receiptSize(r.id) + len(r.more))
	n := o.begin()
	b := frame.AppendEscaped(append(o.chunk, "RECEIPT\nreceipt-id:"...), r.id, v)
	if r.more != nil {
		b = append(b, r.more...)
	}
	o.chunk = append(b, "\n\n\x00\n"...)
	o.bared()
	o.end(n, nil)
}

// bared takes the LF off the frame that was appended, if none is to follow it.
func (o *outbox) bared() {
	if o.bare {
		o.chunk = o.chunk[:len(o.chunk)-1]
	}
}

// note remembers which delivery was added last, joined to the run before if it follows it.
func (o *outbox) note(s *subscr, d broker.Delivery) {
	if n := len(o.runs); n > 0 {
		r := &o.runs[n-1]
		if r.sub == s && (d.Tag != 0 || r.last+1 == d.Seq && r.attempt == d.Attempt) {
			r.last, r.tag = d.Seq, d.Tag
			return
		}
	}
	o.runs = append(o.runs, run{sub: s, first: d.Seq, last: d.Seq, attempt: d.Attempt, tag: d.Tag})
}

// take moves what is waiting to where it is written from. Called with mu held by who set
// writing, with nothing left in out.
func (o *outbox) take() {
	o.tallied(o.s.tally, o.s.transport)
	if len(o.chunk) > 0 {
		o.seal()
	}
	o.out, o.pieces = o.pieces, o.out[:0]
	o.sent, o.runs = o.runs, o.sent[:0]
	o.size = 0
}

// lost reports whether nothing can be written any more.
func (o *outbox) lost() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// signal tells who waits for the end that it has come. Called with mu held.
func (o *outbox) signal() {
	if o.done != nil && !o.writing && (o.closed || o.size == 0) {
		close(o.done)
		o.done = nil
	}
}

// wrote counts n bytes of out as written and reports whether that was all.
func (o *outbox) wrote(n int) bool {
	i := 0
	for ; i < len(o.out); i++ {
		left := len(o.out[i].b) - o.pos
		if n < left {
			o.pos += n
			break
		}
		n -= left
		o.pos = 0
		o.free(o.out[i])
	}
	rest := copy(o.out, o.out[i:])
	clear(o.out[rest:])
	o.out = o.out[:rest]
	return rest == 0
}

// shrink gives back the room of a burst. Called with mu held when nothing is waiting.
func (o *outbox) shrink() {
	if cap(o.out) > 8 {
		o.out = nil
	}
	if cap(o.pieces) > 8 {
		o.pieces = nil
	}
	if cap(o.sent) > 8 {
		o.sent = nil
	}
	if cap(o.runs) > 8 {
		o.runs = nil
	}
	if cap(o.held) > 8 {
		o.held = nil
	}
}
