package dbm

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"stompserver/internal/store"
)

// A record is what is stored of a queue itself.
type record struct {
	id     uint64
	last   store.Seq
	marked store.Seq
	count  uint64
	bytes  int64
}

// append makes what is stored of the queue: five numbers, and a CRC-32C of its name and them.
func (r *record) append(name []byte) []byte {
	var dst []byte
	for _, n := range []uint64{r.id, uint64(r.last), uint64(r.marked), r.count, uint64(r.bytes)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return binary.BigEndian.AppendUint32(dst, sumOf(name, dst))
}

var errRecord = errors.New("its record is damaged")

func parseQueue(name, b []byte) (*record, error) {
	var v [5]uint64
	rest := b
	for i := range v {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			return nil, errRecord
		}
		v[i], rest = n, rest[size:]
	}
	switch {
	case len(rest) == 0: // of version 1
	case len(rest) != 4 || binary.BigEndian.Uint32(rest) != sumOf(name, b[:len(b)-4]):
		return nil, errRecord
	}
	return &record{id: v[0], last: store.Seq(v[1]), marked: store.Seq(v[2]), count: v[3], bytes: int64(v[4])}, nil
}

func appendFloor(floor store.Seq) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(floor))
	return binary.BigEndian.AppendUint32(b, sumOf(floorKey, b))
}

func parseFloor(b []byte) (store.Seq, error) {
	if len(b) != 8 && (len(b) != 12 || binary.BigEndian.Uint32(b[8:]) != sumOf(floorKey, b[:8])) {
		return 0, errors.New("the record of the queues that were forgotten is damaged")
	}
	return store.Seq(binary.BigEndian.Uint64(b)), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the checksum of a value, and of the key that it belongs to.
func sumOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

func appendKey(dst []byte, id uint64, seq store.Seq) []byte {
	dst = binary.BigEndian.AppendUint64(dst, id)
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

func keySeq(k []byte) store.Seq { return store.Seq(binary.BigEndian.Uint64(k[8:])) }
