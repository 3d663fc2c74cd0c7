package file

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// The log is a row of groups, one for each Write, with the salt of the state that it follows; others are
// of before. Their records are one byte that says which, and uvarints, strings with a length before
// them, and little-endian numbers of four bytes:
//
//	queue(id, name, folder), put and keep(id, seq, length, CRC-32C, stored form),
//	puts and keeps(how many queues, an id and a seq for each, length, CRC-32C, stored form),
//	ack(id, first, last, how many there were), mark(id, seq), attempts(id, seq, n),
//	filed(id, first, last), prefix(of the names of files)
//
// The first group of a segment has the prefix, and each segment names the queues that it is about.
// Keep is a message that was put before and is to stay in the log. Puts and keeps are of one that
// several queues have, whose place in the log is that of all. Filed says that messages have
// files that are durable.
//
// Before there was a chain of segments the groups had no link, messages no CRC of their own, and acks
// no number. The state says whether there may be puts and keeps: servers that do not know them do not
// know that state.
var (
	layout       = group.Layout{Magic: "rlog", Align: 64, Links: true}
	layoutBefore = group.Layout{Magic: "redo", Align: 64, NoLink: true}
)

const (
	kindQueue = iota + 1
	kindPutBefore
	kindAckBefore
	kindMark
	kindAttempts
	kindKeepBefore
	kindPut
	kindKeep
	kindFiled
	kindPrefix
	kindAck
	kindPuts
	kindKeeps
)

// mostTargets is how many queues one record names at most, for each of which it is read alone.
const mostTargets = 256

// A target is a queue, by its number in the log, and the number that a message has there.
type target struct {
	id  uint64
	seq store.Seq
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendQueue(dst []byte, q *queue) []byte {
	dst = binary.AppendUvarint(append(dst, kindQueue), q.id)
	return appendString(appendString(dst, q.name), q.folder)
}

func appendPrefix(dst []byte, prefix string) []byte {
	return appendString(append(dst, kindPrefix), prefix)
}

// addNumbers is a record of numbers alone.
func addNumbers(out *vfs.Gather, kind byte, ns ...uint64) {
	out.Buf = append(out.Buf, kind)
	for _, n := range ns {
		out.Buf = binary.AppendUvarint(out.Buf, n)
	}
}

// addRecord is what becomes of one, but for a put.
func addRecord(out *vfs.Gather, q *queue, r *store.Record) {
	switch r.Kind {
	case store.RecordAck:
		// Behind that there is none yet: a start, which sees the files first, must not take one for it.
		last := min(r.Last, max(q.last, q.top))
		addNumbers(out, kindAck, q.id, uint64(r.Seq), uint64(last), q.countOf(r.Seq, last))
	case store.RecordMark:
		addNumbers(out, kindMark, q.id, uint64(r.Seq))
	case store.RecordAttempts:
		addNumbers(out, kindAttempts, q.id, uint64(r.Seq), uint64(r.Attempts))
	}
}

// addHead is what a record of a message begins with: whose it is.
func addHead(buf []byte, kind byte, to []target) []byte {
	if len(to) == 1 {
		buf = append(buf, kind)
	} else {
		buf = append(buf, kind+kindPuts-kindPut)
		buf = binary.AppendUvarint(buf, uint64(len(to)))
	}
	for _, t := range to {
		buf = binary.AppendUvarint(binary.AppendUvarint(buf, t.id), uint64(t.seq))
	}
	return buf
}

// addMessage is a record of one, put or keep, or what these are for several queues, of which there are
// not too many.
func addMessage(out *vfs.Gather, kind byte, to []target, m *message.Message) {
	buf := addHead(out.Buf, kind, to)
	at := len(buf)
	buf = append(buf, make([]byte, 8)...)
	body, shared := m.Body(), 0
	if len(body) >= vfs.ShareFrom {
		shared = len(body)
		buf = m.AppendRecordHead(buf)
	} else {
		buf = m.AppendRecord(buf)
	}
	sum := crc32.Checksum(buf[at+8:], castagnoli)
	binary.LittleEndian.PutUint32(buf[at:], uint32(len(buf)-at-8+shared))
	if out.Buf = buf; shared > 0 {
		out.Share(body)
		sum = crc32.Update(sum, castagnoli, body)
	}
	binary.LittleEndian.PutUint32(buf[at+4:], sum)
}

// addDamaged is a record, keep, of what is damaged, and stays so: it has the sum that does not fit.
func addDamaged(out *vfs.Gather, to []target, sum uint32, raw []byte) {
	buf := addHead(out.Buf, kindKeep, to)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(raw)))
	buf = binary.LittleEndian.AppendUint32(buf, sum)
	out.Buf = append(buf, raw...)
}

// A record is one of a group, as it is read. Of a message it has where its stored form is.
type record struct {
	kind         byte
	id           uint64
	name, folder string
	seq, last    store.Seq
	attempts     uint32
	count        int64  // of what an ack is about
	length       int64  // of the stored form
	sum          uint32 // of that
	summed       bool   // it has a sum
	head         int    // bytes before the stored form, or all
	several      int    // of puts and keeps: how many queues there are
	whose        []byte // and which, as long as what was read is there
}

func (r *record) isMessage() bool {
	switch r.kind {
	case kindPut, kindKeep, kindPutBefore, kindKeepBefore, kindPuts, kindKeeps:
		return true
	}
	return false
}

// isPut reports whether it has a message that was not there before.
func (r *record) isPut() bool {
	return r.kind == kindPut || r.kind == kindPutBefore || r.kind == kindPuts
}

// targets appends to dst whose the message is. What was read must be there still.
func (r *record) targets(dst []target) []target {
	if r.several == 0 {
		return append(dst, target{r.id, r.seq})
	}
	d := decoder{b: r.whose}
	for range r.several {
		dst = append(dst, target{d.uint(), d.seq()})
	}
	return dst
}

// size is how long the record is.
func (r *record) size() int64 { return int64(r.head) + r.length }

// errEnds says that what was given ends within what is read.
var errEnds = errors.New("file: not all of what is needed")

var errRecord = errors.New("a record makes no sense")

// parseRecord reads the record that b begins with, but for a message's stored form.
func parseRecord(b []byte) (r record, err error) {
	if len(b) == 0 {
		return r, errEnds
	}
	d := decoder{b: b[1:]}
	r.kind = b[0]
	if r.kind < kindQueue || r.kind > kindKeeps {
		return r, errRecord
	}
	switch r.kind {
	case kindPrefix:
	case kindPuts, kindKeeps:
		n := d.uint()
		if n > mostTargets || n == 0 && !d.bad {
			return r, errRecord
		}
		from := d.b
		for range n {
			d.uint()
			d.uint()
		}
		r.several, r.whose = int(n), from[:len(from)-len(d.b)]
	default:
		r.id = d.uint()
	}
	switch r.kind {
	case kindQueue:
		r.name, r.folder = d.string(), d.string()
	case kindPrefix:
		r.name = d.string()
	case kindPut, kindKeep, kindPutBefore, kindKeepBefore, kindPuts, kindKeeps:
		if r.several == 0 {
			r.seq = d.seq()
		}
		if n := d.take(4); n != nil {
			r.length = int64(binary.LittleEndian.Uint32(n))
		}
		if r.kind != kindPutBefore && r.kind != kindKeepBefore {
			if n := d.take(4); n != nil {
				r.sum, r.summed = binary.LittleEndian.Uint32(n), true
			}
		}
	case kindAck:
		r.seq, r.last, r.count = d.seq(), d.seq(), int64(d.uint())
	case kindAckBefore, kindFiled:
		r.seq, r.last = d.seq(), d.seq()
	case kindMark:
		r.seq = d.seq()
	case kindAttempts:
		r.seq, r.attempts = d.seq(), uint32(d.uint())
	}
	if d.bad {
		return r, errEnds
	}
	if r.kind == kindQueue && !isFolder(r.folder) {
		return r, errRecord
	}
	r.head = len(b) - len(d.b)
	return r, nil
}

// A decoder takes numbers and strings off what is left of it.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) seq() store.Seq { return store.Seq(d.uint()) }

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(d.uint())) }

// count is a number of things of at least a byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}
