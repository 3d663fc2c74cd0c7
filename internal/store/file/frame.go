package file

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/marshal"
)

const headSize = 16 // two lengths of eight hexadecimal digits

const frameClass = "StompServer::StompFrame"

// errDamaged is in the error of a file that is no message.
var errDamaged = errors.New("the message is damaged")

// A message's file is what the Ruby server writes: two lengths, the frame without its body
// as it is marshalled, the body. Headers are as a client of STOMP 1.0 would get them. Where
// that loses something, or its sender spelt the queue otherwise, a further variable, @record,
// holds the stored form of the message without its body; the Ruby server keeps it and does not
// look at it.
func appendFile(dst []byte, m *message.Message, queue, id string) ([]byte, error) {
	headers := &marshal.Hash{}
	exact := newExact(m)
	for name, value := range m.Fields {
		exact.field(name, value)
		if name == "destination" && exact.n == 1 {
			value = queue
		}
		headers.Pairs = append(headers.Pairs, marshal.Pair{
			Key: text(escape(name, true)), Value: text(escape(value, false)),
		})
	}
	headers.Pairs = append(headers.Pairs, marshal.Pair{Key: text("message-id"), Value: marshal.String{Bytes: id}})
	o := &marshal.Object{Class: frameClass, Vars: []marshal.Pair{
		{Key: marshal.Symbol("@command"), Value: marshal.UTF8("MESSAGE")},
		{Key: marshal.Symbol("@headers"), Value: headers},
		{Key: marshal.Symbol("@body"), Value: marshal.UTF8("")},
	}}
	if !exact.ok() || m.Destination() != queue {
		o.Vars = append(o.Vars, marshal.Pair{
			Key: marshal.Symbol("@record"), Value: marshal.String{Bytes: string(m.AppendRecordHead(nil))},
		})
	}
	at := len(dst)
	dst = append(dst, make([]byte, headSize)...)
	dst, err := marshal.Append(dst, o)
	if err != nil {
		return dst[:at], err
	}
	length, body := len(dst)-at-headSize, m.Body()
	if uint64(length) > math.MaxUint32 || uint64(len(body)) > math.MaxUint32 {
		return dst[:at], errors.New("the message is too large for its form")
	}
	copy(dst[at:], fmt.Appendf(nil, "%08x%08x", length, len(body)))
	return append(dst, body...), nil
}

// text is a header as Ruby has it: text if it is ASCII, else bytes. Ruby refuses to join
// text that is not ASCII with a body of bytes.
func text(s string) marshal.String {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return marshal.String{Bytes: s}
		}
	}
	return marshal.UTF8(s)
}

var (
	nameEscapes  = strings.NewReplacer("\n", `\n`, "\r", `\r`, ":", `\c`)
	valueEscapes = strings.NewReplacer("\n", `\n`, "\r", `\r`)
)

// escape is what STOMP 1.0 makes of what would end a line or a name.
func escape(s string, name bool) string {
	if name {
		return nameEscapes.Replace(s)
	}
	return valueEscapes.Replace(s)
}

// An exact finds out whether a message can be made again of its headers.
type exact struct {
	m       *message.Message
	n       int
	seen    map[string]bool
	bad     bool
	stamped bool
	volat   bool
	max     uint32
}

func newExact(m *message.Message) *exact { return &exact{m: m, seen: make(map[string]bool, 16)} }

func (e *exact) field(name, value string) {
	e.n++
	e.bad = e.bad || e.seen[name] || escape(name, true) != name || escape(value, false) != value
	e.seen[name] = true
	switch name {
	case "destination":
		e.bad = e.bad || e.n != 1 || value != e.m.Destination()
	case "content-length":
		e.bad = e.bad || e.n != 2 || value != strconv.Itoa(len(e.m.Body()))
	case "message-id", "receipt", "transaction", "subscription", "ack", "redelivered", "delivery-count", "JMSXUserID":
		e.bad = true
	case "timestamp":
		e.stamped = value == strconv.FormatInt(e.m.Arrived(), 10)
	case "persistent":
		e.volat = value == "false"
		e.bad = e.bad || value != "true" && value != "false"
	case "max-exceptions":
		n, err := strconv.ParseUint(value, 10, 31)
		e.bad = e.bad || err != nil
		e.max = uint32(n) + 1
	}
}

func (e *exact) ok() bool {
	return !e.bad && e.n >= 2 && e.stamped && e.volat == e.m.Volatile() && e.max == e.m.MaxDeliveries()
}

// parseFile makes the message of a file of queue, whose name is id.
func parseFile(b []byte, queue, id string) (*message.Message, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
	}
	if len(b) < headSize {
		return nil, bad("it has %d bytes", len(b))
	}
	var head [headSize / 2]byte
	if _, err := hex.Decode(head[:], b[:headSize]); err != nil {
		return nil, bad("it begins with %q", b[:headSize])
	}
	length := int64(head[0])<<24 | int64(head[1])<<16 | int64(head[2])<<8 | int64(head[3])
	size := int64(head[4])<<24 | int64(head[5])<<16 | int64(head[6])<<8 | int64(head[7])
	if length+size != int64(len(b)-headSize) {
		return nil, bad("it is to have %d and %d bytes behind its lengths, and has %d", length, size, len(b)-headSize)
	}
	b = b[headSize:]
	v, err := marshal.Load(b[:length])
	if err != nil {
		return nil, bad("%v", err)
	}
	o, _ := v.(*marshal.Object)
	if o == nil || o.Class != frameClass {
		return nil, bad("it holds no frame")
	}
	headers, _ := o.Get("@headers").(*marshal.Hash)
	if headers == nil {
		return nil, bad("it has no headers")
	}
	body := b[length:]
	var m *message.Message
	if record, ok := o.Get("@record").(marshal.String); ok {
		if m, err = message.ParseRecord(append([]byte(record.Bytes), body...)); err != nil {
			return nil, bad("%v", err)
		}
		return m, nil
	}
	m, err = fromHeaders(headers, body, queue, id)
	if err != nil {
		return nil, bad("%v", err)
	}
	if dest := m.Destination(); dest != queue { // a dead letter of the Ruby server
		m = m.Redirect(queue, "original-destination", dest)
	}
	return m, nil
}

func fromHeaders(headers *marshal.Hash, body []byte, queue, id string) (*message.Message, error) {
	dest, arrived := queue, nameTime(id)
	f := frame.Frame{Body: body}
	for _, p := range headers.Pairs {
		name, ok := p.Key.(marshal.String)
		value, isText := p.Value.(marshal.String)
		if !ok || !isText {
			continue // the Ruby server has none
		}
		switch name.Bytes {
		case "destination":
			dest = value.Bytes
			continue
		case "message-id":
			continue
		case "timestamp":
			if n, err := strconv.ParseInt(value.Bytes, 10, 64); err == nil && arrived == 0 {
				arrived = n
			}
		}
		if strings.IndexByte(name.Bytes, 0) >= 0 || strings.IndexByte(value.Bytes, 0) >= 0 {
			return nil, errors.New("a header has a NUL in it")
		}
		f.Header = append(f.Header, frame.Field{Name: []byte(name.Bytes), Value: []byte(value.Bytes)})
	}
	for {
		m, err := message.New(&f, dest, message.At(arrived))
		var he *message.HeaderError
		if !errors.As(err, &he) {
			return m, err
		}
		// The Ruby server took what makes no sense, and so it is left out here.
		f.Header = without(f.Header, he.Name)
	}
}

func without(h frame.Header, name string) (rest frame.Header) {
	for _, field := range h {
		if !bytes.Equal(field.Name, []byte(name)) {
			rest = append(rest, field)
		}
	}
	return rest
}
