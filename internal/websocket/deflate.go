package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"sync"
)

// The end that a message compressed by RFC 7692 leaves out (section 7.2.2), and an empty last
// block, at which a decompressor stops.
var left = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// An unpacker yields one compressed message. No window is kept from one to the next.
type unpacker struct {
	tail bytes.Reader
	z    io.ReadCloser
	text bool
}

var unpackers = sync.Pool{New: func() any { return &unpacker{z: flate.NewReader(bytes.NewReader(nil))} }}

func (r *Reader) startUnpack(text bool) {
	u := unpackers.Get().(*unpacker)
	u.tail.Reset(left)
	u.text = text
	_ = u.z.(flate.Resetter).Reset(io.MultiReader(&r.packed, &u.tail), nil)
	r.unpack = u
}

// Unpack puts what comes next of a compressed message into b. It returns 0 when the message
// is at its end; then Decode goes on. What is no such message is a *CloseError.
func (r *Reader) Unpack(b []byte) (int, error) {
	u := r.unpack
	if u == nil {
		return 0, nil
	}
	n, err := 0, error(nil)
	for n == 0 && err == nil && len(b) > 0 {
		n, err = u.z.Read(b)
	}
	if u.text && !r.utf8.check(b[:n]) {
		return 0, broken(CloseInvalid, "a text is not UTF-8")
	}
	if n > 0 {
		return n, nil // the error comes again
	}
	if err == nil {
		return 0, nil
	}
	if err != io.EOF {
		return 0, broken(CloseInvalid, "a compressed message cannot be unpacked")
	}
	if u.text && !r.utf8.whole() {
		return 0, broken(CloseInvalid, "a text ends within a character")
	}
	_ = u.z.(flate.Resetter).Reset(&u.tail, nil) // it refers to r no longer
	unpackers.Put(u)
	r.unpack, r.packed = nil, pile{}
	return 0, nil
}

const (
	packFrom = 256 // bytes that a frame carries from which compressing it is worth the time

	// PackTo is up to how many: it is done in memory.
	PackTo = 1 << 20
)

type packer struct {
	out bytes.Buffer
	z   *flate.Writer
}

var packers = sync.Pool{New: func() any {
	p := new(packer)
	p.z, _ = flate.NewWriter(&p.out, flate.BestSpeed)
	return p
}}

// AppendPacked appends a frame that a Framer made, compressed where that is worth it. The
// frame lies in the parts, one behind the other, its head in the first.
func AppendPacked(dst []byte, h Head, parts ...[]byte) []byte {
	if !h.Data || h.Payload < packFrom || h.Payload > PackTo {
		return appendAll(dst, parts)
	}
	p := packers.Get().(*packer)
	defer packers.Put(p)
	p.out.Reset()
	p.z.Reset(&p.out)
	for i, b := range parts {
		if i == 0 {
			b = b[h.Size:]
		}
		_, _ = p.z.Write(b) // memory does not fail
	}
	_ = p.z.Flush()
	small := bytes.TrimSuffix(p.out.Bytes(), left[:4])
	if len(small) >= h.Payload {
		return appendAll(dst, parts)
	}
	first := parts[0][0] | rsv1Bit
	switch n := len(small); {
	case n < 126:
		dst = append(dst, first, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
	return append(dst, small...)
}

func appendAll(dst []byte, parts [][]byte) []byte {
	for _, b := range parts {
		dst = append(dst, b...)
	}
	return dst
}
