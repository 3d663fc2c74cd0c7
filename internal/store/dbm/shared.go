package dbm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"stompserver/internal/store"
)

// A message that a Write puts into several queues is stored once: as one of queue number 0, which is no
// queue's, its Seq being a number that it is given. In each queue there is a reference to it. Bucket "holders"
// says under that number, big-endian, how many these are: a uvarint, and a CRC-32C of the key and that. So an
// ack does not write a large value again. The last one removes all.
var holdersBucket = []byte("holders")

// inShared stands where the version of a stored message does: there follow the number of the message, and its Size.
const inShared = 's'

// mostReference is how long the value of a reference may be.
const mostReference = 4 + binary.MaxVarintLen32 + 1 + 2*binary.MaxVarintLen64

// A run is records of a Write that put the same message.
type run struct {
	n  int
	id uint64 // of the message, if there is more than one
}

// runs takes records apart, where some put the same message; otherwise they are nil.
func (d *DBM) runs(rs []store.Record) (all []run) {
	for i := 0; i < len(rs); {
		n := alike(rs[i:])
		if n > 1 && all == nil {
			all = make([]run, i, len(rs))
			for j := range all {
				all[j].n = 1
			}
		}
		if all != nil {
			r := run{n: n}
			if n > 1 {
				d.lastShared++
				r.id = d.lastShared
			}
			all = append(all, r)
		}
		i += n
	}
	return all
}

// isReference reports whether v is one. It does not check v.
func isReference(v []byte) bool {
	if len(v) < 5 || len(v) > mostReference {
		return false
	}
	_, n := binary.Uvarint(v[4:])
	return n > 0 && len(v) > 4+n && v[4+n] == inShared
}

// cutReference reads rec, which begins with inShared.
func cutReference(rec []byte) (id uint64, size int, err error) {
	id, n := binary.Uvarint(rec[1:])
	if n <= 0 {
		return 0, 0, errDamaged
	}
	s, m := binary.Uvarint(rec[1+n:])
	if m <= 0 || s > 1<<40 {
		return 0, 0, errDamaged
	}
	return id, int(s), nil
}

// referenceOf is the number of the message that v refers to, if it is a reference, and whole.
func referenceOf(key, v []byte) (id uint64, ok bool) {
	if !isReference(v) {
		return 0, false
	}
	_, rec, err := splitValue(key, v)
	if err != nil {
		return 0, false
	}
	id, _, err = cutReference(rec)
	return id, err == nil
}

func holderKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func appendHolders(key []byte, n uint64) []byte {
	b := binary.AppendUvarint(nil, n)
	return binary.BigEndian.AppendUint32(b, sumOf(key, b))
}

var errHolders = errors.New("the number of queues that a message is in is damaged")

func parseHolders(key, b []byte) (id, n uint64, err error) {
	n, size := binary.Uvarint(b)
	if len(key) != 8 || size <= 0 || len(b) != size+4 || binary.BigEndian.Uint32(b[size:]) != sumOf(key, b[:size]) {
		return 0, 0, errHolders
	}
	return binary.BigEndian.Uint64(key), n, nil
}

// putShared puts a message once, and a reference to it into each queue.
func (w *writer) putShared(touched map[string]*record, rs []store.Record, id uint64) error {
	key, m := w.key(0, store.Seq(id)), rs[0].Msg
	if err := w.messages.Put(key, w.value(key, m, 0)); err != nil {
		return err
	}
	holder := holderKey(id)
	if err := w.holders.Put(holder, appendHolders(holder, uint64(len(rs)))); err != nil {
		return err
	}
	for i := range rs {
		r := touched[rs[i].Queue]
		key, err := w.prepare(r, &rs[i], false)
		if err != nil {
			return err
		}
		v := append(w.room(mostReference)[:0], 0, 0, 0, 0, 0, inShared)
		v = binary.AppendUvarint(binary.AppendUvarint(v, id), uint64(m.Size()))
		w.refs = append(w.refs, keyed{key, w.sum(key, v)})
		r.last = max(r.last, rs[i].Seq)
	}
	return nil
}

// A keyed value is one that is to be put.
type keyed struct{ key, value []byte }

// putReferences puts what putShared has left, in the order of the keys: bbolt moves those behind each, and a transaction
// may have very many. Whatever looks at messages that were put has this done before.
func (w *writer) putReferences() error {
	slices.SortFunc(w.refs, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	for _, r := range w.refs {
		if err := w.messages.Put(r.key, r.value); err != nil {
			return err
		}
	}
	clear(w.refs)
	w.refs = w.refs[:0]
	return nil
}

// prepare counts a message that is about to be put, and makes way for it.
func (w *writer) prepare(r *record, rec *store.Record, inParts bool) ([]byte, error) {
	key := w.key(r.id, rec.Seq)
	var was []byte
	if rec.Seq <= r.last {
		if err := w.putReferences(); err != nil {
			return nil, err
		}
		was = w.messages.Get(key)
	}
	if was == nil {
		r.count++
		r.bytes += int64(rec.Msg.Size())
		return key, nil
	}
	if id, ok := referenceOf(key, was); ok {
		w.letGo(id)
	}
	if liesInParts(was) && !inParts {
		return key, removeParts(w.parts, r.id, rec.Seq, 0)
	}
	return key, nil
}

// letGo notes that a reference to a message is gone.
func (w *writer) letGo(id uint64) {
	if w.gone == nil {
		w.gone = make(map[uint64]uint64)
	}
	w.gone[id]++
}

// settle has the messages know which references are gone. A number that is damaged is left as it is: the next start
// tells of it.
func (w *writer) settle() error {
	for _, id := range slices.Sorted(maps.Keys(w.gone)) {
		key := holderKey(id)
		_, n, err := parseHolders(key, w.holders.Get(key))
		if err != nil {
			continue
		}
		if n > w.gone[id] {
			if err := w.holders.Put(key, appendHolders(key, n-w.gone[id])); err != nil {
				return err
			}
			continue
		}
		message := appendKey(nil, 0, store.Seq(id))
		if liesInParts(w.messages.Get(message)) {
			if err := removeParts(w.parts, 0, store.Seq(id), 0); err != nil {
				return err
			}
		}
		if err := errors.Join(w.holders.Delete(key), w.messages.Delete(message)); err != nil {
			return err
		}
	}
	return nil
}

// lastShared is the highest number that a message of several queues has.
func lastShared(messages *bbolt.Bucket) uint64 {
	c := messages.Cursor()
	k, _ := c.Seek(appendKey(nil, 1, 0))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if len(k) != 16 || binary.BigEndian.Uint64(k) != 0 {
		return 0
	}
	return uint64(keySeq(k))
}
