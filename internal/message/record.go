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
func ParseRecord(b []byte) (*Message, error) {
	if len(b) < 2 {
		return nil, errRecord
	}
	if b[0] != recordVersion {
		return nil, fmt.Errorf("%w: version %d, known is %d", errRecord, b[0], recordVersion)
	}
	m := &Message{volat: b[1]&flagVolatile != 0, joined: true}
	b = b[2:]
	maximum, n := binary.Uvarint(b)
	if n <= 0 || maximum > 1<<32-1 {
		return nil, errRecord
	}
	m.max, b = uint32(maximum), b[n:]
	if m.arrived, n = binary.Varint(b); n <= 0 {
		return nil, errRecord
	}
	dest, b, ok := cutBytes(b[n:])
	if !ok {
		return nil, errRecord
	}
	head, body, ok := cutBytes(b)
	if !ok {
		return nil, errRecord
	}
	if m.opt, m.plain, ok = readHead(head, m.arrived); !ok {
		return nil, errRecord
	}
	m.dest = string(dest)
	buf := make([]byte, 0, len(head)+len(body)+len(Tail))
	buf = append(append(append(buf, head...), body...), Tail...)
	m.head, m.tail = buf[:len(head)], buf[len(head):]
	return m, nil
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
