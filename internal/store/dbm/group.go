package dbm

import (
	"encoding/binary"
	"errors"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// The log is a row of groups in two files, one for each Write, with the salt that the database tells, which
// is another one each time the log is made. Their records are one byte that says which, and uvarints:
//
//	queue(length, name), which is 0, 1, 2 and so on in the records that follow,
//	put(n, n times queue and seq, 8 bytes of length, little-endian, stored form),
//	ack(queue, first, last less first), mark(queue, seq), attempts(queue, seq, n)
var layout = group.Layout{Magic: "blog", Align: 8}

const (
	kindQueue = iota + 1
	kindPut
	kindAck
	kindMark
	kindAttempts
)

// mostKeys is how many queues one record puts its message in at most.
const mostKeys = 1 << 20

// An encoder makes groups.
type encoder struct {
	out vfs.Gather
	ids map[string]uint64 // of the queues of this group
}

// mostEncoded is how much memory is kept from one group for the next.
const mostEncoded = 8 << 20

// encode lays out the records of a Write. Bodies that are large are not copied.
func (e *encoder) encode(rs []store.Record) {
	e.out.Reset(group.HeadSize, mostEncoded)
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
