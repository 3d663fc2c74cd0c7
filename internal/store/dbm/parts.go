package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	"go.etcd.io/bbolt"

	"stompserver/internal/heap"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A large body lies in parts: bbolt has every page that a transaction writes in memory until it
// ends, and a value in one piece of it. Bucket "parts" has them under the key of their message
// and their number, big-endian; the message's value says how long its body is, and has a
// checksum of it.
//
// All but the last few of a Write are written by transactions of their own, ahead of the one
// that makes the messages. Parts without a message are what a Write left that failed or was cut
// short: they are swept out at once, or at the next start. They go with their message otherwise.
var partsBucket = []byte("parts")

// sizes say how bodies are taken apart.
type sizes struct {
	from   int // bytes of a body that is
	part   int // bytes of a part
	atOnce int // bytes of parts in one transaction
}

// bbolt puts two to four values into one page of its own, of 512 KiB and more then, and writes the
// last of them again with those that follow: parts had better be few, and small beside what is
// written at once. Who looks through the keys has a sixteenth of a megabyte in memory for each.
var usualSizes = sizes{from: 1 << 20, part: (512<<10-16)/2 - 16 - partKey, atOnce: 4 << 20}

// inParts stands where the version of a stored message does.
const inParts = 'p'

const partKey = 16 + 4

func appendPartKey(dst []byte, id uint64, seq store.Seq, n int) []byte {
	return binary.BigEndian.AppendUint32(appendKey(dst, id, seq), uint32(n))
}

func (s *sizes) large(rec *store.Record) bool {
	return rec.Kind == store.RecordPut && len(rec.Msg.Body()) >= s.from
}

// A partWriter puts the parts of a Write's large bodies, in order.
type partWriter struct {
	sizes  *sizes
	bodies []largeBody
	part   int // of the first of bodies
	left   int // bytes that are not put
}

// A largeBody is one of the message with a key.
type largeBody struct {
	id   uint64
	seq  store.Seq
	body []byte
}

func newPartWriter(s *sizes, rs []store.Record, runs []run, touched map[string]*record) *partWriter {
	w := &partWriter{sizes: s}
	for i := 0; len(rs) > 0; i++ {
		n := 1
		if runs != nil {
			n = runs[i].n
		}
		if s.large(&rs[0]) {
			b := largeBody{touched[rs[0].Queue].id, rs[0].Seq, rs[0].Msg.Body()}
			if n > 1 {
				b.id, b.seq = 0, store.Seq(runs[i].id)
			}
			w.bodies = append(w.bodies, b)
			w.left += len(b.body)
		}
		rs = rs[n:]
	}
	return w
}

// put puts parts of at most so many bytes.
func (w *partWriter) put(tx *bbolt.Tx, most int) error {
	b := tx.Bucket(partsBucket)
	for ; len(w.bodies) > 0; w.bodies, w.part = w.bodies[1:], 0 {
		of := w.bodies[0]
		for at := w.part * w.sizes.part; at < len(of.body); at, w.part = at+w.sizes.part, w.part+1 {
			if most <= 0 {
				return nil
			}
			piece := of.body[at:min(at+w.sizes.part, len(of.body))]
			if err := b.Put(appendPartKey(nil, of.id, of.seq, w.part), piece); err != nil {
				return err
			}
			w.left -= len(piece)
			most -= len(piece)
		}
		// Behind the last may lie what could not be swept.
		if err := removeParts(b, of.id, of.seq, w.part); err != nil {
			return err
		}
	}
	return nil
}

// removeParts removes the parts of a message from the n-th on.
func removeParts(b *bbolt.Bucket, id uint64, seq store.Seq, n int) error {
	var keys, values [][]byte
	c := b.Cursor()
	for k, v := c.Seek(appendPartKey(nil, id, seq, n)); isPartOf(k, id, seq); k, v = c.Next() {
		keys, values = append(keys, k), append(values, v)
		releaseMapped(b.Tx(), v)
	}
	for i, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
		releaseMapped(b.Tx(), values[i])
	}
	return nil
}

// releaseMapped is release for what a transaction that writes was given: that may be of its own
// making, and then it is no part of the file.
func releaseMapped(tx *bbolt.Tx, v []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(v)))
	if begin := tx.DB().Info().Data; at >= begin && at-begin+uintptr(len(v)) <= uintptr(tx.Size()) {
		release(v)
	}
}

func isPartOf(k []byte, id uint64, seq store.Seq) bool {
	return len(k) == partKey && binary.BigEndian.Uint64(k) == id && keySeq(k) == seq
}

// writeAhead writes parts, as long as there are more than one transaction is to have.
func (d *DBM) writeAhead(w *partWriter) error {
	for garbage := 0; w.left > d.sizes.atOnce; {
		d.unswept = true
		was := w.left
		if err := d.update(func(tx *bbolt.Tx) error { return w.put(tx, d.sizes.atOnce) }); err != nil {
			return err
		}
		if garbage += was - w.left; garbage >= heap.Much { // the pages of transactions that are over
			heap.Collect()
			garbage = 0
		}
	}
	return nil
}

// sweepUp removes the parts that have no message. A full disk leaves them for later.
func (d *DBM) sweepUp() error {
	err := d.update(sweep)
	if err == nil {
		d.unswept = false
	} else if d.isFull(err) {
		err = nil
	}
	return err
}

func sweep(tx *bbolt.Tx) error {
	parts, messages := tx.Bucket(partsBucket), tx.Bucket(messagesBucket)
	for {
		id, seq, some := firstStray(parts, messages)
		if !some {
			return nil
		}
		if err := removeParts(parts, id, seq, 0); err != nil {
			return err
		}
	}
}

// firstStray finds parts that are no message's.
func firstStray(parts, messages *bbolt.Bucket) (id uint64, seq store.Seq, some bool) {
	c := parts.Cursor()
	for k, _ := c.First(); len(k) == partKey; {
		id, seq = binary.BigEndian.Uint64(k), keySeq(k)
		if v := messages.Get(k[:16]); v == nil || !liesInParts(v) {
			return id, seq, true
		}
		k, _ = c.Seek(appendKey(nil, id, seq+1))
	}
	return 0, 0, false
}

// value makes the value of a message.
func (w *writer) value(key []byte, m *message.Message, attempts uint32) []byte {
	body := m.Body()
	large := len(body) >= w.sizes.from
	n := 4 + 2*binary.MaxVarintLen64 + 5 + m.RecordSize()
	if large {
		n -= len(body)
	}
	v := binary.AppendUvarint(append(w.room(n)[:0], 0, 0, 0, 0), uint64(attempts))
	if large {
		v = binary.AppendUvarint(append(v, inParts), uint64(len(body)))
		v = binary.BigEndian.AppendUint32(v, crc32.Checksum(body, castagnoli))
		v = m.AppendRecordHead(v)
	} else {
		v = m.AppendRecord(v)
	}
	return w.sum(key, v)
}

// sum sets the checksum of a value that is the last in buf.
func (w *writer) sum(key, v []byte) []byte {
	binary.BigEndian.PutUint32(v, sumOf(key, v[4:]))
	w.buf = w.buf[:len(w.buf)+len(v)]
	return v
}

// tried makes v again with another number of attempts.
func (w *writer) tried(key, v []byte, attempts uint32) ([]byte, error) {
	_, rec, err := splitValue(key, v)
	if err != nil {
		return nil, err
	}
	n := binary.AppendUvarint(append(w.room(4 + binary.MaxVarintLen32 + len(rec))[:0], 0, 0, 0, 0), uint64(attempts))
	return w.sum(key, append(n, rec...)), nil
}

// splitValue checks the value of a key and takes it apart. In version 1 its checksum knew no key.
func splitValue(key, v []byte) (attempts uint32, rec []byte, err error) {
	if len(v) < 5 {
		return 0, nil, errDamaged
	}
	if sum := binary.BigEndian.Uint32(v); sum != sumOf(key, v[4:]) && sum != crc32.Checksum(v[4:], castagnoli) {
		return 0, nil, errDamaged
	}
	n, size := binary.Uvarint(v[4:])
	if size <= 0 {
		return 0, nil, errDamaged
	}
	return uint32(n), v[4+size:], nil
}

// liesInParts reports whether v is of a message whose body does. It does not check v.
func liesInParts(v []byte) bool {
	if len(v) < 5 {
		return false
	}
	_, n := binary.Uvarint(v[4:])
	return n > 0 && len(v) > 4+n && v[4+n] == inParts
}

// cutParts takes what is said of the parts off rec, which begins with inParts.
func cutParts(rec []byte) (length int, sum uint32, head []byte, err error) {
	n, size := binary.Uvarint(rec[1:])
	if size <= 0 || len(rec) < 1+size+4 || n > 1<<40 {
		return 0, 0, nil, errDamaged
	}
	rec = rec[1+size:]
	return int(n), binary.BigEndian.Uint32(rec), rec[4:], nil
}

// What lies elsewhere of one message: its body, in parts, or all of it.
type elsewhere interface {
	length() (int, error)
	read(body []byte) error
	shared(id uint64) (k, v []byte) // is about that message from now on
}

// parse makes the message of the value v of key k, or of what that refers to.
func parse(k, v []byte, parts elsewhere) (m *message.Message, attempts uint32, err error) {
	attempts, rec, err := splitValue(k, v)
	if err != nil {
		return nil, 0, err
	}
	if len(rec) > 0 && rec[0] == inShared {
		id, _, err := cutReference(rec)
		if err != nil {
			return nil, 0, err
		}
		var v []byte
		if parts != nil {
			k, v = parts.shared(id)
		}
		if v == nil || isReference(v) {
			return nil, 0, errMissing
		}
		m, _, err := parse(k, v, parts)
		return m, attempts, err
	}
	if len(rec) == 0 || rec[0] != inParts {
		m, err = message.ParseRecord(rec)
		return m, attempts, err
	}
	length, sum, head, err := cutParts(rec)
	if err != nil {
		return nil, 0, err
	}
	// The parts are counted before there is memory for them.
	if n, err := parts.length(); err != nil || n != length {
		return nil, 0, fmt.Errorf("of its body %d bytes are there, and not %d: the message is damaged", n, length)
	}
	m, err = message.ParseRecordFrom(head, len(head)+length, func(rest []byte) error {
		if err := parts.read(rest); err != nil {
			return err
		}
		if crc32.Checksum(rest, castagnoli) != sum {
			return errDamaged
		}
		return nil
	})
	return m, attempts, err
}

var errMissing = errors.New("what several queues have of it is missing: the message is damaged")

func (s *storedParts) shared(id uint64) (k, v []byte) {
	s.key = appendKey(nil, 0, store.Seq(id))
	return s.key, s.tx.Bucket(messagesBucket).Get(s.key)
}

// storedParts are the parts of the message with a key.
type storedParts struct {
	tx  *bbolt.Tx
	key []byte
}

func (s *storedParts) length() (n int, err error) {
	id, seq := binary.BigEndian.Uint64(s.key), keySeq(s.key)
	c := s.tx.Bucket(partsBucket).Cursor()
	i := uint32(0)
	for k, v := c.Seek(s.key); isPartOf(k, id, seq); k, v = c.Next() {
		if binary.BigEndian.Uint32(k[16:]) != i {
			return n, errDamaged
		}
		n += len(v)
		i++
	}
	return n, nil
}

func (s *storedParts) read(body []byte) error {
	c := s.tx.Bucket(partsBucket).Cursor()
	for _, v := c.Seek(s.key); len(body) > 0; _, v = c.Next() {
		body = body[copy(body, v):]
		release(v)
	}
	return nil
}

// sizeOf is the Size of the message of v, which is not made for that.
func sizeOf(v []byte) (int, error) {
	if len(v) < 5 {
		return 0, errDamaged
	}
	_, n := binary.Uvarint(v[4:])
	if n <= 0 {
		return 0, errDamaged
	}
	rec := v[4+n:]
	if len(rec) > 0 && rec[0] == inShared {
		_, size, err := cutReference(rec)
		return size, err
	}
	if len(rec) == 0 || rec[0] != inParts {
		return message.SizeOfRecord(rec)
	}
	length, _, head, err := cutParts(rec)
	if err != nil {
		return 0, err
	}
	size, err := message.SizeOfRecord(head)
	return size + length, err
}
