package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"stompserver/internal/store"
	"stompserver/internal/store/group"
)

// The format is described in docs/journal.md. Numbers are little-endian or uvarints.
const (
	version = 1

	headMagic = "STOMPJNL"
	endMagic  = "STOMPEND"

	headSize    = 64 // of a segment's header, its snapshot not included
	trailerSize = 64
)

var layout = group.Layout{Magic: "GROP", Align: 8, LengthFirst: true}

// Kinds of records.
const (
	kindQueue    = 1 // gives a queue a number in this segment
	kindPut      = 2
	kindAck      = 3
	kindMark     = 4
	kindAttempts = 5
	kindFree     = 6 // a segment is needed no more
	kindPuts     = 7 // a put of one message into several queues
)

// mostKeys is how many queues a kindPuts names at most, for each of which it is read alone.
const mostKeys = 256

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// A head is the beginning of a segment.
type head struct {
	version uint32
	number  uint64
	size    int64 // of the file
	salt    uint64
	group   uint64 // the number of its first group
	snap    []byte
}

func (h *head) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, headMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(h.snap)))
	dst = binary.LittleEndian.AppendUint64(dst, h.number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.size))
	dst = binary.LittleEndian.AppendUint64(dst, h.salt)
	dst = binary.LittleEndian.AppendUint64(dst, h.group)
	dst = append(dst, make([]byte, headSize-4-(len(dst)-at))...)
	sum := crc32.Update(checksum(dst[at:]), castagnoli, h.snap)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, h.snap...)
}

var errHead = errors.New("its header is damaged")

// parseHead reads the fixed part, and how long the snapshot behind it is.
func parseHead(b []byte) (h head, snap int, sum uint32, err error) {
	if len(b) < headSize || string(b[:8]) != headMagic {
		return h, 0, 0, errHead
	}
	h.version = binary.LittleEndian.Uint32(b[8:])
	snap = int(binary.LittleEndian.Uint32(b[12:]))
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.size = int64(binary.LittleEndian.Uint64(b[24:]))
	h.salt = binary.LittleEndian.Uint64(b[32:])
	h.group = binary.LittleEndian.Uint64(b[40:])
	return h, snap, binary.LittleEndian.Uint32(b[headSize-4:]), nil
}

// A trailer is the end of a sealed segment: it says where the index is.
type trailer struct {
	number uint64
	index  int64 // where it begins
	length int
	sum    uint32
	group  uint64 // the number of the last group, or of the one before the first
	next   uint64 // the segment that follows, 0 if it was the last at a clean stop
}

func (t *trailer) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, endMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, t.number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.index))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(t.length))
	dst = binary.LittleEndian.AppendUint32(dst, t.sum)
	dst = binary.LittleEndian.AppendUint64(dst, t.group)
	dst = binary.LittleEndian.AppendUint64(dst, t.next)
	dst = append(dst, make([]byte, trailerSize-4-(len(dst)-at))...)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
}

func parseTrailer(b []byte) (t trailer, ok bool) {
	if len(b) != trailerSize || string(b[:8]) != endMagic || checksum(b[:trailerSize-4]) != binary.LittleEndian.Uint32(b[trailerSize-4:]) {
		return t, false
	}
	t.number = binary.LittleEndian.Uint64(b[8:])
	t.index = int64(binary.LittleEndian.Uint64(b[16:]))
	t.length = int(binary.LittleEndian.Uint32(b[24:]))
	t.sum = binary.LittleEndian.Uint32(b[28:])
	t.group = binary.LittleEndian.Uint64(b[32:])
	t.next = binary.LittleEndian.Uint64(b[40:])
	return t, true
}

// A record is one of a group's, or what the index of a sealed segment says of it.
type record struct {
	kind     byte
	queue    uint64 // its number in this segment
	name     []byte // of a kindQueue
	seq      store.Seq
	last     store.Seq // of a kindAck
	attempts uint32
	offset   int64  // of a kindPut: where it begins in the file
	length   int    // of a kindPut: bytes of the message
	sum      uint32 // of a kindPut in a group
	data     []byte // of a kindPut in a group: the message
	segment  uint64 // of a kindFree
}

// appendRecord appends the form that records have in a group; of a put the message follows,
// which the caller appends.
func appendRecord(dst []byte, r *record) []byte {
	dst = append(dst, r.kind)
	switch r.kind {
	case kindQueue:
		dst = binary.AppendUvarint(dst, r.queue)
		dst = binary.AppendUvarint(dst, uint64(len(r.name)))
		dst = append(dst, r.name...)
	case kindPut:
		dst = binary.AppendUvarint(dst, r.queue)
		dst = binary.AppendUvarint(dst, uint64(r.seq))
		dst = binary.AppendUvarint(dst, uint64(r.attempts))
	case kindAck:
		dst = binary.AppendUvarint(dst, r.queue)
		dst = binary.AppendUvarint(dst, uint64(r.seq))
		dst = binary.AppendUvarint(dst, uint64(r.last-r.seq))
	case kindMark:
		dst = binary.AppendUvarint(dst, r.queue)
		dst = binary.AppendUvarint(dst, uint64(r.seq))
	case kindAttempts:
		dst = binary.AppendUvarint(dst, r.queue)
		dst = binary.AppendUvarint(dst, uint64(r.seq))
		dst = binary.AppendUvarint(dst, uint64(r.attempts))
	case kindFree:
		dst = binary.AppendUvarint(dst, r.segment)
	}
	return dst
}

// appendKeys appends the beginning of a kindPuts, in place of appendRecord.
func appendKeys(dst []byte, keys []key) []byte {
	dst = binary.AppendUvarint(append(dst, kindPuts), uint64(len(keys)))
	for _, k := range keys {
		dst = binary.AppendUvarint(dst, k.queue)
		dst = binary.AppendUvarint(dst, uint64(k.seq))
		dst = binary.AppendUvarint(dst, uint64(k.attempts))
	}
	return dst
}

// A key is one of the places that a message is put in.
type key struct {
	queue    uint64 // its number in this segment
	seq      store.Seq
	attempts uint32
}

// appendIndex appends what the index of a sealed segment says of r: a put without message.
func appendIndex(dst []byte, r *record) []byte {
	dst = appendRecord(dst, r)
	if r.kind == kindPut {
		dst = binary.AppendUvarint(dst, uint64(r.offset))
		dst = binary.AppendUvarint(dst, uint64(r.length))
	}
	return dst
}

// mostIndex is how much appendIndex adds at most for a record that is not a kindQueue.
const mostIndex = 1 + 5*binary.MaxVarintLen64

// A parser takes records off a group's payload, or off an index. A kindPuts is a kindPut for each of
// its keys, one after the other.
type parser struct {
	b     []byte
	at    int64 // where b begins in the file
	index bool
	bad   bool

	puts record // the kindPut whose keys follow
	keys []key  // that do
	room []key  // for these
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.b, p.at = p.b[n:], p.at+int64(n)
	return v
}

func (p *parser) bytes(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad = true
		return nil
	}
	v := p.b[:n]
	p.b, p.at = p.b[n:], p.at+int64(n)
	return v
}

// next reports false at the end, or with bad set where the bytes make no sense.
func (p *parser) next(r *record) bool {
	if len(p.keys) > 0 && !p.bad {
		p.nextKey(r)
		return true
	}
	if len(p.b) == 0 || p.bad {
		return false
	}
	*r = record{offset: p.at, kind: p.b[0]}
	p.b, p.at = p.b[1:], p.at+1
	switch r.kind {
	case kindQueue:
		r.queue = p.uvarint()
		r.name = p.bytes(p.uvarint())
	case kindPut:
		r.queue, r.seq, r.attempts = p.uvarint(), store.Seq(p.uvarint()), uint32(p.uvarint())
		if p.index {
			r.offset, r.length = int64(p.uvarint()), int(p.uvarint())
			break
		}
		p.message(r)
	case kindPuts:
		r.kind = kindPut
		p.readKeys()
		if !p.bad {
			p.message(r)
			p.puts = *r
			p.nextKey(r)
		}
	case kindAck:
		r.queue, r.seq = p.uvarint(), store.Seq(p.uvarint())
		r.last = r.seq + store.Seq(p.uvarint())
	case kindMark:
		r.queue, r.seq = p.uvarint(), store.Seq(p.uvarint())
	case kindAttempts:
		r.queue, r.seq, r.attempts = p.uvarint(), store.Seq(p.uvarint()), uint32(p.uvarint())
	case kindFree:
		r.segment = p.uvarint()
	default:
		p.bad = true
	}
	return !p.bad
}

// message reads the message of a put.
func (p *parser) message(r *record) {
	r.length = int(p.uvarint())
	if sum := p.bytes(4); sum != nil {
		r.sum = binary.LittleEndian.Uint32(sum)
	}
	if r.length < 0 {
		p.bad = true
		return
	}
	r.data = p.bytes(uint64(r.length))
}

// readKeys reads those of a kindPuts.
func (p *parser) readKeys() {
	n := p.uvarint()
	if n == 0 || n > mostKeys || p.index {
		p.bad = true
	}
	p.room = p.room[:0]
	for ; n > 0 && !p.bad; n-- {
		p.room = append(p.room, key{p.uvarint(), store.Seq(p.uvarint()), uint32(p.uvarint())})
	}
	p.keys = p.room
}

// nextKey is next for a message whose keys are known.
func (p *parser) nextKey(r *record) {
	k := p.keys[0]
	p.keys = p.keys[1:]
	*r = p.puts
	r.queue, r.seq, r.attempts = k.queue, k.seq, k.attempts
}

// find goes on to the key of a message that is seq, and reports whether r, which next gave, is of that.
func (p *parser) find(r *record, seq store.Seq) bool {
	for r.seq != seq && len(p.keys) > 0 {
		p.nextKey(r)
	}
	p.keys = nil
	return r.seq == seq
}
