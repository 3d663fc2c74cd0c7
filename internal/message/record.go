package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The stored form of a message, in the order of its bytes:
//
//	1 byte    version, 1
//	1 byte    flags: 1 is persistent:false
//	uvarint   deliveries that max-exceptions allows, 0 for none named
//	varint    when it arrived, milliseconds since 1970
//	uvarint   length of the destination, and the destination
//	uvarint   length of the header block, and the block: lines escaped as in STOMP 1.2, with
//	          destination and content-length first, and the empty line that ends it
//	the rest  the body
const recordVersion = 1

const flagVolatile = 1

// RecordSize is how many bytes AppendRecord adds at most.
func (m *Message) RecordSize() int {
	return 2 + 4*binary.MaxVarintLen64 + len(m.dest) + len(m.head) + len(m.Body())
}

// AppendRecord appends the stored form of m, from which ParseRecord makes it again.
func (m *Message) AppendRecord(dst []byte) []byte {
	return append(m.AppendRecordHead(dst), m.Body()...)
}

// AppendRecordHead appends the stored form without the body, which is to follow it.
func (m *Message) AppendRecordHead(dst []byte) []byte {
	flags := byte(0)
	if m.volat {
		flags |= flagVolatile
	}
	dst = append(dst, recordVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(m.max))
	dst = binary.AppendVarint(dst, m.arrived)
	dst = binary.AppendUvarint(dst, uint64(len(m.dest)))
	dst = append(dst, m.dest...)
	dst = binary.AppendUvarint(dst, uint64(len(m.head)))
	return append(dst, m.head...)
}

var errRecord = errors.New("message: not a stored message")

// ParseRecord makes a message of its stored form. It copies what it keeps. Any input is
// safe, and what cannot be a message is an error.
func ParseRecord(b []byte) (*Message, error) { return ParseRecordFrom(b, len(b), nil) }

// ErrShort is returned by ParseRecordFrom if the body begins behind what it was given.
var ErrShort = errors.New("message: not all of what stands before the body")

// ParseRecordFrom makes a message of a stored form of n bytes, of which b are the first. What
// follows them read puts where it belongs, so that a large body is in memory once.
func ParseRecordFrom(b []byte, n int, read func(rest []byte) error) (*Message, error) {
	missing := n - len(b)
	p, err := splitRecord(b)
	if err == errCut && missing > 0 {
		err = ErrShort
	}
	if err != nil {
		return nil, err
	}
	m := &Message{dest: string(p.dest), arrived: p.arrived, max: p.max, volat: p.volatile, joined: true}
	var ok bool
	if m.opt, m.plain, ok = readHead(p.head, m.arrived); !ok {
		return nil, errRecord
	}
	buf := make([]byte, len(p.head)+len(p.body)+missing+len(Tail))
	at := copy(buf, p.head)
	at += copy(buf[at:], p.body)
	if missing > 0 {
		if err := read(buf[at : at+missing]); err != nil {
			return nil, err
		}
	}
	copy(buf[at+missing:], Tail)
	m.head, m.tail = buf[:len(p.head)], buf[len(p.head):]
	return m, nil
}

// HeadOfRecord is how many bytes of a stored form stand before the body. ErrShort says that b has not all
// of them. With as many ParseRecord makes a message that has no body.
func HeadOfRecord(b []byte) (int, error) {
	p, err := splitRecord(b)
	if err == errCut {
		err = ErrShort
	}
	return len(b) - len(p.body), err
}

// SizeOfRecord is the Size of the message that ParseRecord would make.
func SizeOfRecord(b []byte) (int, error) {
	p, err := splitRecord(b)
	return len(p.dest) + len(p.head) + len(p.body) + len(Tail) + Overhead, err
}

// parts are views of a stored form.
type parts struct {
	volatile         bool
	max              uint32
	arrived          int64
	dest, head, body []byte
}

// errCut says that there may be a message if b goes on.
var errCut = fmt.Errorf("%w: it ends before its body", errRecord)

func splitRecord(b []byte) (p parts, err error) {
	if len(b) < 2 {
		return p, errCut
	}
	if b[0] != recordVersion {
		return p, fmt.Errorf("%w: version %d, known is %d", errRecord, b[0], recordVersion)
	}
	p.volatile = b[1]&flagVolatile != 0
	b = b[2:]
	maximum, size := binary.Uvarint(b)
	if size <= 0 || maximum > 1<<32-1 {
		return p, errCut
	}
	p.max, b = uint32(maximum), b[size:]
	if p.arrived, size = binary.Varint(b); size <= 0 {
		return p, errCut
	}
	ok := false
	if p.dest, b, ok = cutBytes(b[size:]); !ok {
		return p, errCut
	}
	if p.head, p.body, ok = cutBytes(b); !ok {
		return p, errCut
	}
	return p, nil
}

// cutBytes takes a length and as many bytes off b.
func cutBytes(b []byte) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// readHead reads the Options of a header block that came from a disk, and reports whether it is
// one, and whether it is the same in every version.
func readHead(head []byte, arrived int64) (opt *Options, plain, ok bool) {
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, false, false
	}
	escaped := bytes.IndexByte(head, '\\') >= 0
	plain = !escaped && bytes.IndexByte(head, '\r') < 0
	var r reading
	for {
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			return nil, false, false
		}
		if end == 0 {
			return r.finish(arrived), plain, len(head) == 1
		}
		line := head[:end]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return nil, false, false
		}
		value := line[colon+1:]
		if plain && bytes.IndexByte(value, ':') >= 0 {
			plain = false
		}
		r.stored(line[:colon], value, escaped)
		head = head[end+1:]
	}
}
