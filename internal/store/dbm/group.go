package dbm

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// The log is a row of groups, one for each Write, each at a multiple of 8 bytes of one of two files.
// All numbers are little-endian, those in records uvarints.
//
//	4 bytes   "blog"
//	4 bytes   CRC-32C of the rest
//	8 bytes   salt: that of the database file, which is another one each time the log is made
//	8 bytes   number of the group, one more than that of the one before
//	8 bytes   number of the last group that was durable then
//	8 bytes   length of the records
//	records   queue(length, name), which is 0, 1, 2 and so on in the records that follow,
//	          put(n, n times queue and seq, 8 bytes of length, stored form),
//	          ack(queue, first, last less first), mark(queue, seq), attempts(queue, seq, n), each
//	          behind one byte that says which
const (
	groupSize  = 40
	groupAlign = 8
	groupMagic = "blog"
)

const (
	kindQueue = iota + 1
	kindPut
	kindAck
	kindMark
	kindAttempts
)

// mostKeys is how many queues one record puts its message in at most.
const mostKeys = 1 << 20

func aligned(n int64) int64 { return (n + groupAlign - 1) &^ (groupAlign - 1) }

// A group is what stands before its records.
type group struct {
	salt, number, synced uint64

	length int64 // of the records
}

// An encoder makes groups.
type encoder struct {
	out vfs.Gather
	ids map[string]uint64 // of the queues of this group
}

// mostEncoded is how much memory is kept from one group for the next.
const mostEncoded = 8 << 20

// encode lays out the records of a Write. Bodies that are large are not copied.
func (e *encoder) encode(rs []store.Record) {
	e.out.Reset(groupSize, mostEncoded)
	if e.ids == nil {
		e.ids = make(map[string]uint64)
	}
	clear(e.ids)
	for len(rs) > 0 {
		n := alike(rs)
		e.record(rs[:n])
		rs = rs[n:]
	}
}

// done lets go of the bodies.
func (e *encoder) done() { e.out.Reset(0, mostEncoded) }

// alike is how many records at the beginning of rs put the same message.
func alike(rs []store.Record) (n int) {
	for n = 1; n < len(rs) && n < mostKeys && rs[0].Kind == store.RecordPut && rs[n].Kind == store.RecordPut && rs[n].Msg == rs[0].Msg; n++ {
	}
	return n
}

// id is the number of a queue in this group.
func (e *encoder) id(name string) uint64 {
	id, known := e.ids[name]
	if !known {
		id = uint64(len(e.ids))
		e.ids[name] = id
		e.out.Buf = binary.AppendUvarint(append(e.out.Buf, kindQueue), uint64(len(name)))
		e.out.Buf = append(e.out.Buf, name...)
	}
	return id
}

// record adds a record, or several that put the same message.
func (e *encoder) record(rs []store.Record) {
	r := &rs[0]
	for i := range rs {
		e.id(rs[i].Queue) // names come first
	}
	numbers := func(kind byte, ns ...uint64) {
		e.out.Buf = append(e.out.Buf, kind)
		for _, n := range ns {
			e.out.Buf = binary.AppendUvarint(e.out.Buf, n)
		}
	}
	id := e.ids[r.Queue]
	switch r.Kind {
	case store.RecordAck:
		numbers(kindAck, id, uint64(r.Seq), uint64(r.Last-r.Seq))
	case store.RecordMark:
		numbers(kindMark, id, uint64(r.Seq))
	case store.RecordAttempts:
		numbers(kindAttempts, id, uint64(r.Seq), uint64(r.Attempts))
	case store.RecordPut:
		numbers(kindPut, uint64(len(rs)))
		for i := range rs {
			e.out.Buf = binary.AppendUvarint(e.out.Buf, e.ids[rs[i].Queue])
			e.out.Buf = binary.AppendUvarint(e.out.Buf, uint64(rs[i].Seq))
		}
		e.message(r.Msg)
	}
}

func (e *encoder) message(m *message.Message) {
	at := len(e.out.Buf)
	e.out.Buf = append(e.out.Buf, make([]byte, 8)...)
	body, shared := m.Body(), 0
	if len(body) >= vfs.ShareFrom {
		e.out.Buf = m.AppendRecordHead(e.out.Buf)
		shared = len(body)
	} else {
		e.out.Buf = m.AppendRecord(e.out.Buf)
	}
	binary.LittleEndian.PutUint64(e.out.Buf[at:], uint64(len(e.out.Buf)-at-8+shared))
	if shared > 0 {
		e.out.Share(body)
	}
}

// put fills in what stands before the records.
func (e *encoder) put(g group) {
	b := e.out.Buf
	copy(b, groupMagic)
	binary.LittleEndian.PutUint64(b[8:], g.salt)
	binary.LittleEndian.PutUint64(b[16:], g.number)
	binary.LittleEndian.PutUint64(b[24:], g.synced)
	binary.LittleEndian.PutUint64(b[32:], uint64(e.out.Len()-groupSize))
	sum := uint32(0)
	_ = e.out.Each(8, func(b []byte) error {
		sum = crc32.Update(sum, castagnoli, b)
		return nil
	})
	binary.LittleEndian.PutUint32(b[4:], sum)
}

// parseGroup reads what stands before the records of the group that b may begin with. Whole says that the
// records are what was written.
func parseGroup(b []byte) (g group, records []byte, ok, whole bool) {
	if len(b) < groupSize || string(b[:4]) != groupMagic {
		return g, nil, false, false
	}
	g.salt, g.number = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	g.synced = binary.LittleEndian.Uint64(b[24:])
	g.length = int64(binary.LittleEndian.Uint64(b[32:]))
	if g.length < 0 || g.length > int64(len(b)-groupSize) {
		return g, nil, true, false
	}
	sum := crc32.Checksum(b[8:groupSize+g.length], castagnoli)
	return g, b[groupSize : groupSize+g.length], true, sum == binary.LittleEndian.Uint32(b[4:])
}

var errGroup = errors.New("its records make no sense")

// parseRecords undoes encode. A message that is put into several queues is one.
func parseRecords(b []byte) (rs []store.Record, err error) {
	d := decoder{b: b}
	var names []string
	name := func() string {
		if id := d.uint(); id < uint64(len(names)) {
			return names[id]
		}
		d.bad = true
		return ""
	}
	for len(d.b) > 0 && !d.bad {
		kind := d.take(1)[0]
		switch kind {
		case kindQueue:
			names = append(names, string(d.take(d.uint())))
		case kindPut:
			n := d.uint()
			if n == 0 || n > mostKeys || n > uint64(len(d.b)) {
				return nil, errGroup
			}
			from := len(rs)
			for ; n > 0 && !d.bad; n-- {
				rs = append(rs, store.Record{Kind: store.RecordPut, Queue: name(), Seq: store.Seq(d.uint())})
			}
			length := d.take(8)
			if d.bad {
				return nil, errGroup
			}
			m, err := message.ParseRecord(d.take(binary.LittleEndian.Uint64(length)))
			if err != nil {
				return nil, err
			}
			for i := from; i < len(rs); i++ {
				rs[i].Msg = m
			}
		case kindAck:
			r := store.Record{Kind: store.RecordAck, Queue: name(), Seq: store.Seq(d.uint())}
			r.Last = r.Seq + store.Seq(d.uint())
			rs = append(rs, r)
		case kindMark:
			rs = append(rs, store.Record{Kind: store.RecordMark, Queue: name(), Seq: store.Seq(d.uint())})
		case kindAttempts:
			rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: name(), Seq: store.Seq(d.uint()), Attempts: uint32(d.uint())})
		default:
			return nil, errGroup
		}
	}
	if d.bad {
		return nil, errGroup
	}
	return rs, nil
}

// A decoder takes numbers and bytes off what is left of it.
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

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}
