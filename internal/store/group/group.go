// Package group is what the logs of several stores are rows of. A group is what one write makes durable, all or
// nothing: a head of 40 bytes, and records, of which this package knows nothing.
//
//	bytes 0–3    magic
//	bytes 4–7    CRC-32C of all that follows, the records among it
//	8 bytes      salt: groups of a log carry it, so that what a file held before is not taken for new
//	8 bytes      number, one more than that of the group before
//	8 bytes      number of the last group that was durable when this one was written
//	4 bytes      length of the records
//	4 bytes      link: the CRC-32C of the group before, or zero
//
// Numbers are little-endian. Groups lie at multiples of a few bytes, so that what stands behind one that is
// damaged can be found.
package group

import (
	"encoding/binary"
	"hash/crc32"

	"stompserver/internal/vfs"
)

// A Layout is how a log has its groups.
type Layout struct {
	Magic string // four bytes
	Align int64  // they are at multiples of it

	LengthFirst bool // length and link stand before the salt
	Links       bool // else link says nothing, and is zero
	NoLink      bool // it is not even there, so that the head is of 36 bytes; such are read and not written
}

// HeadSize is how much stands before the records, but for a Layout with NoLink.
const HeadSize = 40

const linkSize = 4

// places are those of the salt and of the length.
func (l *Layout) places() (salt, length int) {
	if l.LengthFirst {
		return 16, 8
	}
	return 8, 32
}

// Records is where the records of the group at a place begin.
func (l *Layout) Records(at int64) int64 {
	if l.NoLink {
		at -= linkSize
	}
	return at + HeadSize
}

// End is where they end.
func (l *Layout) End(at int64, h *Head) int64 { return l.Records(at) + h.Length }

// Aligned is the first place from n on where a group can be.
func (l *Layout) Aligned(n int64) int64 { return (n + l.Align - 1) &^ (l.Align - 1) }

// A Head is what stands before the records.
type Head struct {
	Sum    uint32
	Salt   uint64
	Number uint64
	Synced uint64
	Length int64 // of the records
	Link   uint32
}

// Proves reports whether a group of that number was durable when this one was written: if it is missing, that is
// damage, and not the end of a log that a power cut has torn.
func (h *Head) Proves(number uint64) bool { return h.Synced >= number }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Put fills in the first HeadSize bytes that out holds, behind which are the records, less than 4 GiB of them.
// Length and sum are counted; it returns the latter.
func (l *Layout) Put(out *vfs.Gather, h Head) (sum uint32) {
	b := out.Buf
	salt, length := l.places()
	copy(b[:4], l.Magic)
	binary.LittleEndian.PutUint64(b[salt:], h.Salt)
	binary.LittleEndian.PutUint64(b[salt+8:], h.Number)
	binary.LittleEndian.PutUint64(b[salt+16:], h.Synced)
	binary.LittleEndian.PutUint32(b[length:], uint32(out.Len()-HeadSize))
	binary.LittleEndian.PutUint32(b[length+4:], h.Link)
	_ = out.Each(8, func(b []byte) error {
		sum = crc32.Update(sum, castagnoli, b)
		return nil
	})
	binary.LittleEndian.PutUint32(b[4:], sum)
	return sum
}

// Parse reads the head that b may begin with. Whether the group is whole is for Whole to say.
func (l *Layout) Parse(b []byte) (h Head, ok bool) {
	if int64(len(b)) < l.Records(0) || string(b[:4]) != l.Magic {
		return h, false
	}
	salt, length := l.places()
	h.Sum = binary.LittleEndian.Uint32(b[4:])
	h.Salt, h.Number = binary.LittleEndian.Uint64(b[salt:]), binary.LittleEndian.Uint64(b[salt+8:])
	h.Synced = binary.LittleEndian.Uint64(b[salt+16:])
	h.Length = int64(binary.LittleEndian.Uint32(b[length:]))
	if !l.NoLink {
		h.Link = binary.LittleEndian.Uint32(b[length+4:])
	}
	return h, true
}
