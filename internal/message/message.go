// Package message is the immutable value that queues and topics carry: a destination,
// the time it came, a header block already escaped for the wire, and a body.
//
// It is built once for a SEND, with one copy out of the read buffer, and shared by pointer
// ever after: the same bytes go to every subscriber. Delivery state is not kept here.
package message

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"

	"stompserver/internal/frame"
)

// Overhead is what a message costs in memory beyond its bytes, roughly: the struct, the
// rounding of the allocator and its place in a queue. Limits of memory count it.
const Overhead = 192

// Tail is what ends a frame on the wire: NUL, and the LF that every STOMP server adds.
const Tail = "\x00\n"

// A Message is immutable, but for the number of those who hold it, and may be shared by any
// number of goroutines.
type Message struct {
	dest    string
	head    []byte   // header lines escaped as STOMP 1.2 wants, then the empty line
	tail    []byte   // the body, NUL, LF
	opt     *Options // nil: none
	arrived int64    // milliseconds since 1970
	sender  uint32
	max     uint32 // deliveries that max-exceptions allows, 0 if the sender said nothing
	holders atomic.Int32
	plain   bool // head is the same in every version
	joined  bool // tail follows head in one piece of memory
	volat   bool // persistent:false
	spread  bool // opt has places
}

// Hold counts one who keeps the message, and reports whether it is the first: so what many
// keep is counted as memory once.
func (m *Message) Hold() (first bool) { return m.holders.Add(1) == 1 }

// Drop takes back one Hold and reports whether it was the last.
func (m *Message) Drop() (last bool) { return m.holders.Add(-1) == 0 }

// Spread is m for who puts it into several queues, which have it in memory once. It is for who sends m, and may put
// another message than the one that a queue has already.
func (m *Message) Spread() *Message {
	o := *m.Options()
	o.places = new(atomic.Int32)
	return &Message{dest: m.dest, head: m.head, tail: m.tail, opt: &o, arrived: m.arrived, sender: m.sender, max: m.max,
		plain: m.plain, joined: m.joined, volat: m.volat, spread: true}
}

// Keep says that a queue has m in memory, and reports whether that takes memory: it is the first, or m is not spread.
// Leave takes it back likewise.
func (m *Message) Keep() bool { return !m.spread || m.opt.places.Add(1) == 1 }

// Leave takes back one Keep and reports whether that gives memory back.
func (m *Message) Leave() bool { return !m.spread || m.opt.places.Add(-1) == 0 }

// Destination is the destination exactly as its sender spelt it.
func (m *Message) Destination() string { return m.dest }

// Arrived is when the broker took the message, in milliseconds since 1970.
func (m *Message) Arrived() int64 { return m.arrived }

// SetArrived says when the message came. It is for who made it alone, before anybody else knows of m.
func (m *Message) SetArrived(ms int64) { m.arrived = ms }

// MaxDeliveries is how often the message may be handed out in all by its own header, or 0
// if it leaves that to the queue. As in the Ruby server max-exceptions:N lets it be put
// back N times, so it is handed out N+1 times.
func (m *Message) MaxDeliveries() uint32 { return m.max }

// Volatile says that the sender asked with persistent:false to keep it out of a store.
func (m *Message) Volatile() bool { return m.volat }

// Stored is m as a store keeps it whatever its sender said: m itself, if it said nothing.
func (m *Message) Stored() *Message {
	if !m.volat {
		return m
	}
	return &Message{dest: m.dest, head: m.head, tail: m.tail, opt: m.opt, arrived: m.arrived, sender: m.sender, max: m.max, plain: m.plain, joined: m.joined}
}

// Shown is m as something that was sent before and is shown to somebody else: it is no second one of its name,
// and no topic keeps it.
func (m *Message) Shown() *Message {
	if m.opt == nil || m.opt.Dedupe == "" && m.opt.Retain == RetainNothing {
		return m
	}
	o := *m.opt
	o.Dedupe, o.Retain = "", RetainNothing
	return &Message{dest: m.dest, head: m.head, tail: m.tail, opt: &o, arrived: m.arrived, sender: m.sender, max: m.max, plain: m.plain, joined: m.joined, volat: m.volat}
}

// Unstored is m as no store keeps it whatever its sender said: m itself, if it said that.
func (m *Message) Unstored() *Message {
	if m.volat {
		return m
	}
	return &Message{dest: m.dest, head: m.head, tail: m.tail, opt: m.opt, arrived: m.arrived, sender: m.sender, max: m.max, plain: m.plain, joined: m.joined, volat: true}
}

// Body is the body. It must not be changed.
func (m *Message) Body() []byte { return m.tail[:len(m.tail)-len(Tail)] }

// Size is what the message costs in memory, in bytes.
func (m *Message) Size() int { return len(m.head) + len(m.tail) + len(m.dest) + Overhead }

// WireSize is the length of what Head and Rest give, in bytes.
func (m *Message) WireSize() int { return len(m.head) + len(m.tail) }

// Whole returns header block, empty line, body and the frame's end in one piece, if
// version v may be sent the bytes as they are and they lie in one piece.
func (m *Message) Whole(v frame.Version) ([]byte, bool) {
	if !m.joined || !m.plain && v != frame.V12 {
		return nil, false
	}
	return m.head[:len(m.head)+len(m.tail)], true
}

// AppendHead appends the header block and the empty line that ends it, in the escapes of
// version v. What v cannot express is encoded or left out, so that no value can end its
// line: a CR has no escape in 1.1 and is dropped; 1.0 has no escapes at all, there LF, CR
// and a colon in a name stay as the two characters of their escape.
func (m *Message) AppendHead(dst []byte, v frame.Version) []byte {
	if m.plain || v == frame.V12 {
		return append(dst, m.head...)
	}
	inName := true
	for i := 0; i < len(m.head); i++ {
		c := m.head[i]
		switch {
		case c == '\n':
			inName = true
		case c == ':':
			inName = false
		case c == '\\' && i+1 < len(m.head):
			i++
			dst = appendEscaped(dst, m.head[i], v, inName)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func appendEscaped(dst []byte, code byte, v frame.Version, inName bool) []byte {
	switch {
	case v == frame.V11 && code == 'r':
		return dst
	case v == frame.V10 && code == '\\':
		return append(dst, '\\')
	case v == frame.V10 && code == 'c' && !inName:
		return append(dst, ':')
	}
	return append(dst, '\\', code)
}

// Rest returns what follows the header block: body, NUL and LF. It must not be changed.
func (m *Message) Rest() []byte { return m.tail }

// Header returns the value of the first header field called name, escapes undone.
func (m *Message) Header(name string) (string, bool) {
	for n, v := range m.Fields {
		if n == name {
			return v, true
		}
	}
	return "", false
}

// Lookup returns what Header does, without allocating where the value has no escape. The
// value must not be changed.
func (m *Message) Lookup(name string) ([]byte, bool) {
	for block := m.head; len(block) > 1; {
		end := bytes.IndexByte(block, '\n')
		line := block[:end]
		block = block[end+1:]
		if len(line) <= len(name) || line[len(name)] != ':' || string(line[:len(name)]) != name {
			continue
		}
		value := line[len(name)+1:]
		if !m.plain && bytes.IndexByte(value, '\\') >= 0 {
			return []byte(unescape(value)), true
		}
		return value, true
	}
	if m.plain {
		return nil, false
	}
	v, ok := m.Header(name) // a name with escapes
	return []byte(v), ok
}

// Fields yields the header fields in order, escapes undone.
func (m *Message) Fields(yield func(name, value string) bool) {
	for block := m.head; len(block) > 1; {
		line, rest, _ := bytes.Cut(block, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		if !yield(unescape(name), unescape(value)) {
			return
		}
		block = rest
	}
}

func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			switch b[i] {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 'c':
				c = ':'
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// A HeaderError says which header of a SEND could not be understood.
type HeaderError struct{ Name, Value, Want string }

func (e *HeaderError) Error() string {
	return "message: header " + e.Name + ": want " + e.Want + ", got " + strconv.Quote(e.Value)
}

// A Moment is a time in milliseconds since 1970 and how that is written: the messages of
// one burst share it.
type Moment struct {
	ms   int64
	text string // the header line
}

// At makes a Moment of milliseconds since 1970.
func At(ms int64) Moment {
	return Moment{ms: ms, text: "timestamp:" + strconv.FormatInt(ms, 10) + "\n"}
}

// Milliseconds since 1970.
func (m Moment) Milliseconds() int64 { return m.ms }

// New makes the message of a SEND frame to dest, which arrived at now. It copies what it
// keeps, except a body that the frame owns. Headers that belong to the broker do not pass: what a client says of message-id, subscription, ack and
// redelivered never reaches another client (a message-id stays readable as
// x-client-message-id), and neither do headers about the queue (Declares). The error is a *HeaderError.
func New(f *frame.Frame, dest string, now Moment) (*Message, error) {
	b := builder{m: &Message{dest: dest, arrived: now.ms, plain: f.Plain}}
	size := len(dest) + 80 + len(Tail)
	if !f.Owned {
		size += len(f.Body)
	}
	for i := range f.Header {
		size += len(f.Header[i].Name) + len(f.Header[i].Value) + 2
	}
	if !f.Plain {
		size *= 2
	}
	b.buf = make([]byte, 0, size)
	b.own(dest, len(f.Body))
	stamped := false
	var jms transforms
	var opts reading
	for i := range f.Header {
		name, value := f.Header[i].Name, f.Header[i].Value
		switch string(name) {
		case "destination", "content-length", "receipt", "transaction",
			"subscription", "ack", "redelivered", "delivery-count", "x-delivery-count", "JMSXDeliveryCount", "JMSXUserID":
			continue
		case "message-id":
			name = clientID
		case "timestamp":
			stamped = true
		case "transformation", "transformation-error", "amq-msg-type":
			jms.field(name, value)
		case "persistent":
			on, ok := parseBool(value)
			if !ok {
				return nil, &HeaderError{"persistent", string(value), "true or false"}
			}
			b.m.volat = !on
		case "max-exceptions":
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			if err != nil {
				return nil, &HeaderError{"max-exceptions", string(value), "a whole number"}
			}
			b.m.max = uint32(n) + 1
		default:
			if Declares(name) {
				continue
			}
			opts.field(name, value)
		}
		b.field(name, value)
	}
	if opts.err != nil {
		return nil, opts.err
	}
	if b.m.opt = opts.finish(now.ms); b.m.opt != nil {
		b.explicit(&opts)
	}
	if !stamped {
		b.buf = append(b.buf, now.text...)
	}
	if jms.named {
		jms.apply(&b, f.Body)
	}
	body := f.Body
	if f.Owned {
		body = append(body, Tail...)
	}
	return b.finish(body, f.Owned), nil
}

var clientID = []byte("x-client-message-id")

// Text makes a message of the broker's own, such as a report of the monitor.
func Text(dest, body string, now int64) *Message {
	m, err := New(&frame.Frame{Body: []byte(body), Plain: isPlain(dest)}, dest, At(now))
	if err != nil {
		panic(err) // there is no header to misread
	}
	return m
}

// Blank is for Redirect the value of a field that is there and has none.
const Blank = "\x00"

// Redirect returns a copy of m with another destination and with fields added, pairs of
// name and value; fields of the same names that m had are dropped, and one whose value is
// empty is not added, but with Blank as its value. A large body is shared.
func (m *Message) Redirect(dest string, fields ...string) *Message {
	b := builder{m: &Message{dest: dest, arrived: m.arrived, max: m.max, volat: m.volat, sender: m.sender, plain: m.plain && isPlain(dest)}}
	extra := 0
	for _, s := range fields {
		b.m.plain = b.m.plain && isPlain(s)
		extra += 2*len(s) + 1
	}
	size := len(m.head) + 2*len(dest) + extra + 80
	if m.joined {
		size += len(m.tail)
	}
	b.buf = make([]byte, 0, size)
	if b.own(dest, len(m.Body())); m.unsized() {
		b.unsize()
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			b.field([]byte(fields[i]), []byte(strings.TrimPrefix(fields[i+1], Blank)))
		}
	}
next:
	for block := m.head; len(block) > 1; {
		end := bytes.IndexByte(block, '\n') + 1
		line := block[:end]
		block = block[end:]
		name, _, _ := bytes.Cut(line, []byte{':'})
		switch string(name) {
		case "destination", "content-length":
			continue
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if unescape(name) == fields[i] {
				continue next
			}
		}
		b.buf = append(b.buf, line...)
	}
	body, apart := m.tail, !m.joined
	if m.joined {
		body = m.Body()
	}
	r := b.finish(body, apart)
	r.opt = readOptions(r.head, r.arrived)
	return r
}

// A builder writes a message's header block, and behind it its body.
type builder struct {
	m   *Message
	buf []byte
}

// own writes the two fields that every message begins with.
func (b *builder) own(dest string, bodyLen int) {
	b.buf = append(b.buf, "destination:"...)
	if b.m.plain {
		b.buf = append(b.buf, dest...)
	} else {
		b.buf = frame.AppendEscaped(b.buf, []byte(dest), frame.V12)
	}
	b.buf = append(b.buf, "\ncontent-length:"...)
	b.buf = strconv.AppendInt(b.buf, int64(bodyLen), 10)
	b.buf = append(b.buf, '\n')
}

// explicit writes what was relative to now, so that it means the same later.
func (b *builder) explicit(r *reading) {
	if r.ttl > 0 && !r.expires {
		b.buf = append(b.buf, "expires:"...)
		b.buf = append(strconv.AppendInt(b.buf, r.opt.Expires, 10), '\n')
	}
}

func (b *builder) field(name, value []byte) {
	if b.m.plain {
		b.buf = append(b.buf, name...)
		b.buf = append(b.buf, ':')
		b.buf = append(b.buf, value...)
	} else {
		b.buf = frame.AppendEscaped(b.buf, name, frame.V12)
		b.buf = append(b.buf, ':')
		b.buf = frame.AppendEscaped(b.buf, value, frame.V12)
	}
	b.buf = append(b.buf, '\n')
}

// finish ends the header block and copies the body behind it; a body that stays apart
// ends in Tail already and is shared.
func (b *builder) finish(body []byte, apart bool) *Message {
	m := b.m
	b.buf = append(b.buf, '\n')
	n := len(b.buf)
	if apart {
		m.head, m.tail = b.buf, body
		return m
	}
	b.buf = append(b.buf, body...)
	b.buf = append(b.buf, Tail...)
	m.head, m.tail, m.joined = b.buf[:n], b.buf[n:], true
	return m
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\', ':', '\r', '\n':
			return false
		}
	}
	return true
}

// parseBool reads a boolean header: true or 1, false or 0, in the usual spellings.
func parseBool(b []byte) (value, ok bool) {
	switch string(bytes.TrimSpace(b)) {
	case "true", "True", "TRUE", "1":
		return true, true
	case "false", "False", "FALSE", "0":
		return false, true
	}
	return false, false
}
