package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// The redo log is a row of groups, one for each Write, each at a multiple of 64 bytes. All
// numbers are little-endian, those in records uvarints.
//
//	4 bytes   "redo"
//	4 bytes   CRC-32C of the rest
//	8 bytes   salt: that of the state which the log follows; others are of before
//	8 bytes   number of the group, from 1
//	8 bytes   number of the last group that was durable then
//	4 bytes   length of the records
//	records   queue(id, name, folder), put(id, seq, length, stored form), ack(id, first, last),
//	          mark(id, seq), attempts(id, seq, n), keep(id, seq, length, stored form), each behind
//	          one byte that says which
//
// There are two logs, of which the state says which one counts. When it is full the other begins
// with what is young in it (keep): so what passes through has no file.
const (
	groupSize  = 36
	groupAlign = 64
	groupMagic = "redo"
)

const (
	kindQueue = iota + 1
	kindPut
	kindAck
	kindMark
	kindAttempts
	kindKeep
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func aligned(n int64) int64 { return (n + groupAlign - 1) &^ (groupAlign - 1) }

// A record is one of a group, as it is read.
type record struct {
	kind         byte
	id           uint64
	name, folder string
	seq, last    store.Seq
	attempts     uint32
	msg          *message.Message
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendQueue(dst []byte, q *queue) []byte {
	dst = binary.AppendUvarint(append(dst, kindQueue), q.id)
	return appendString(appendString(dst, q.name), q.folder)
}

func addRecord(out *vfs.Gather, id uint64, r *store.Record) {
	numbers := func(kind byte, ns ...uint64) {
		out.Buf = binary.AppendUvarint(append(out.Buf, kind), id)
		for _, n := range ns {
			out.Buf = binary.AppendUvarint(out.Buf, n)
		}
	}
	switch r.Kind {
	case store.RecordPut:
		addMessage(out, kindPut, id, r.Seq, r.Msg)
	case store.RecordAck:
		numbers(kindAck, uint64(r.Seq), uint64(r.Last))
	case store.RecordMark:
		numbers(kindMark, uint64(r.Seq))
	case store.RecordAttempts:
		numbers(kindAttempts, uint64(r.Seq), uint64(r.Attempts))
	}
}

// addMessage is a record of one, put or keep.
func addMessage(out *vfs.Gather, kind byte, id uint64, seq store.Seq, m *message.Message) {
	buf := binary.AppendUvarint(binary.AppendUvarint(append(out.Buf, kind), id), uint64(seq))
	at := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	body, shared := m.Body(), 0
	if len(body) >= vfs.ShareFrom {
		shared = len(body)
		buf = m.AppendRecordHead(buf)
	} else {
		buf = m.AppendRecord(buf)
	}
	binary.LittleEndian.PutUint32(buf[at:], uint32(len(buf)-at-4+shared))
	if out.Buf = buf; shared > 0 {
		out.Share(body)
	}
}

// putGroup fills in the first bytes of a group.
func putGroup(out *vfs.Gather, salt, number, synced uint64) {
	b := out.Buf
	copy(b, groupMagic)
	binary.LittleEndian.PutUint64(b[8:], salt)
	binary.LittleEndian.PutUint64(b[16:], number)
	binary.LittleEndian.PutUint64(b[24:], synced)
	binary.LittleEndian.PutUint32(b[32:], uint32(out.Len()-groupSize))
	sum := uint32(0)
	_ = out.Each(8, func(b []byte) error {
		sum = crc32.Update(sum, castagnoli, b)
		return nil
	})
	binary.LittleEndian.PutUint32(b[4:], sum)
}

type group struct {
	number, synced uint64
	records        []byte
}

func parseGroup(b []byte, salt uint64) (g group, ok bool) {
	if len(b) < groupSize || string(b[:4]) != groupMagic || binary.LittleEndian.Uint64(b[8:]) != salt {
		return g, false
	}
	n := binary.LittleEndian.Uint32(b[32:])
	if uint64(n) > uint64(len(b)-groupSize) {
		return g, false
	}
	b = b[:groupSize+int(n)]
	if crc32.Checksum(b[8:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return g, false
	}
	return group{binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:]), b[groupSize:]}, true
}

var errRecords = errors.New("its records make no sense")

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

func parseRecords(b []byte) (rs []record, err error) {
	d := decoder{b: b}
	for len(d.b) > 0 && !d.bad {
		r := record{kind: d.b[0]}
		d.b = d.b[1:]
		r.id = d.uint()
		switch r.kind {
		case kindQueue:
			r.name, r.folder = d.string(), d.string()
		case kindPut, kindKeep:
			r.seq = d.seq()
			if n := d.take(4); n != nil {
				if r.msg, err = message.ParseRecord(d.take(uint64(binary.LittleEndian.Uint32(n)))); err != nil {
					return nil, err
				}
			}
		case kindAck:
			r.seq, r.last = d.seq(), d.seq()
		case kindMark:
			r.seq = d.seq()
		case kindAttempts:
			r.seq, r.attempts = d.seq(), uint32(d.uint())
		default:
			d.bad = true
		}
		rs = append(rs, r)
	}
	if d.bad {
		return nil, errRecords
	}
	return rs, nil
}

// A log is what there is of the redo log.
type redoLog struct {
	records  []record
	groups   uint64
	end      int64
	used     bool     // groups were written to it once
	problems []string // damage
	cut      bool     // the last group was not finished
}

// parseLog reads the groups of the log of that name that follow the state with that salt.
func parseLog(name string, b []byte, salt uint64) (l redoLog) {
	l.used = len(b) >= 4 && string(b[:4]) == groupMagic
	at, want := int64(0), uint64(1)
	for at < int64(len(b)) {
		if g, ok := parseGroup(b[at:], salt); ok && g.number == want {
			rs, err := parseRecords(g.records)
			if err != nil {
				l.problems = append(l.problems, fmt.Sprintf("%s: group %d: %v", name, g.number, err))
			}
			l.records = append(l.records, rs...)
			l.groups = g.number
			want++
			at = aligned(at + groupSize + int64(len(g.records)))
			continue
		}
		// The end, or a hole: is there a group that was written when this one was durable?
		next, g, found := laterGroup(b, at, salt, want)
		if !found {
			l.cut = len(b)-int(at) >= 16 && string(b[at:at+4]) == groupMagic && binary.LittleEndian.Uint64(b[at+8:]) == salt
			break
		}
		l.problems = append(l.problems, fmt.Sprintf("%s: groups %d to %d, at %d to %d, are damaged", name, want, g.number-1, at, next))
		at, want = next, g.number
	}
	l.end = at
	return l
}

func laterGroup(b []byte, at int64, salt, want uint64) (int64, group, bool) {
	for at += groupAlign; at+groupSize <= int64(len(b)); at += groupAlign {
		if string(b[at:at+4]) != groupMagic {
			continue
		}
		if g, ok := parseGroup(b[at:], salt); ok && g.number > want && g.synced >= want {
			return at, g, true
		}
	}
	return 0, group{}, false
}

// readAll reads a file that is not too large to be in memory.
func readAll(f interface {
	io.ReaderAt
	Size() (int64, error)
}) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}
