package file

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/marshal"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
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
//
// Of its body m may lack the end, so many bytes: who calls has these follow what is added.
func addFile(out *vfs.Gather, m *message.Message, missing int64, queue, id string) error {
	headers := &marshal.Hash{}
	body := m.Body()
	size := int64(len(body)) + missing
	exact := newExact(m, size)
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
	at := len(out.Buf)
	buf, err := marshal.Append(append(out.Buf, make([]byte, headSize)...), o)
	if err != nil {
		return err
	}
	length := len(buf) - at - headSize
	if uint64(length) > math.MaxUint32 || size > math.MaxUint32 {
		return errors.New("the message is too large for its form")
	}
	copy(buf[at:], fmt.Appendf(nil, "%08x%08x", length, size))
	if out.Buf = buf; len(body) >= vfs.ShareFrom {
		out.Share(body)
	} else {
		out.Buf = append(buf, body...)
	}
	return nil
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
	size    int64 // of its body
	n       int
	seen    map[string]bool
	bad     bool
	stamped bool
	volat   bool
	max     uint32
}

func newExact(m *message.Message, size int64) *exact {
	return &exact{m: m, size: size, seen: make(map[string]bool, 16)}
}

func (e *exact) field(name, value string) {
	e.n++
	e.bad = e.bad || e.seen[name] || escape(name, true) != name || escape(value, false) != value
	e.seen[name] = true
	switch name {
	case "destination":
		e.bad = e.bad || e.n != 1 || value != e.m.Destination()
	case "content-length":
		e.bad = e.bad || e.n != 2 || value != strconv.FormatInt(e.size, 10)
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

// A source is a file of which the first bytes were read.
type source struct {
	first []byte
	size  int64
	rest  io.ReaderAt // nil: first is all
}

// parseFile makes the message of a file of queue, whose name is id. Its body is read to where it
// stays.
func parseFile(s source, queue, id string) (*message.Message, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
	}
	b := s.first
	if len(b) < headSize {
		return nil, bad("it has %d bytes", len(b))
	}
	var head [headSize / 2]byte
	if _, err := hex.Decode(head[:], b[:headSize]); err != nil {
		return nil, bad("it begins with %q", b[:headSize])
	}
	length := int64(binary.BigEndian.Uint32(head[:]))
	size := int64(binary.BigEndian.Uint32(head[4:]))
	if length+size != s.size-headSize {
		return nil, bad("it is to have %d and %d bytes behind its lengths, and has %d", length, size, s.size-headSize)
	}
	if length > int64(len(b)-headSize) {
		return nil, errShort
	}
	v, err := marshal.Load(b[headSize : headSize+length])
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
	var failed error
	read := func(body []byte) error {
		n := copy(body, b[headSize+length:])
		if n < len(body) {
			_, failed = s.rest.ReadAt(body[n:], int64(len(b)))
			if failed == io.EOF {
				failed = bad("it ends within its body")
			}
		}
		return failed
	}
	var m *message.Message
	if record, ok := o.Get("@record").(marshal.String); ok {
		m, err = message.ParseRecordFrom([]byte(record.Bytes), len(record.Bytes)+int(size), read)
		if failed == nil && err != nil {
			failed = bad("%v", err)
		}
		return m, failed
	}
	body := make([]byte, size, size+int64(len(message.Tail)))
	if err := read(body); err != nil {
		return nil, err
	}
	m, err = fromHeaders(headers, body, queue, id)
	if err != nil {
		return nil, bad("%v", err)
	}
	if dest := m.Destination(); dest != queue { // a dead letter of the Ruby server
		m = m.Redirect(queue, "original-destination", dest)
	}
	return store.Unhosted(m, queue), nil
}

// errShort is returned by parseFile if what it was given ends before the body.
var errShort = errors.New("file: not all of what stands before the body")

// fromHeaders takes body over, which has room for what ends a frame.
func fromHeaders(headers *marshal.Hash, body []byte, queue, id string) (*message.Message, error) {
	dest, arrived := queue, nameTime(id)
	f := frame.Frame{Body: body, Owned: len(body) >= vfs.ShareFrom}
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
