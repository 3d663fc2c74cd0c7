package websocket

import (
	"encoding/binary"
	"unicode/utf8"
)

// Room is how many bytes more than what it carries a frame needs at most.
const Room = 10

// reserved is where Begin expects the payload: behind the head of a frame of 126 bytes to 64 KiB.
const reserved = 4

// A Framer makes frames of messages. Those of a server are not masked, and are whole.
type Framer struct {
	Text bool // messages are text, where they can be
}

// Begin appends the place for a head to dst; what is appended next is carried by the frame.
func (f *Framer) Begin(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// End completes the frame that began at start of dst. Rest is carried as well, behind what
// dst holds, and is to be sent right behind it.
func (f *Framer) End(dst []byte, start int, rest []byte) []byte {
	payload := dst[start+reserved:]
	op := byte(finBit | opBinary)
	if f.Text && utf8.Valid(payload) && utf8.Valid(rest) { // a text must be; the rest of it starts with a rune
		op = finBit | opText
	}
	n := len(payload) + len(rest)
	switch {
	case n < 126:
		copy(dst[start+2:], payload)
		dst = dst[:len(dst)-2]
		dst[start], dst[start+1] = op, byte(n)
	case n < 1<<16:
		dst[start], dst[start+1] = op, 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	default:
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[start+10:], dst[start+reserved:len(dst)-6])
		dst[start], dst[start+1] = op, 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	}
	return dst
}

// AppendClose appends the frame that closes, with a reason for people that is cut at 123 bytes.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == CloseNoStatus {
		return append(dst, finBit|opClose, 0)
	}
	if len(reason) > maxControl-2 {
		reason = reason[:maxControl-2]
		for len(reason) > 0 && !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	dst = append(dst, finBit|opClose, byte(2+len(reason)), byte(code>>8), byte(code))
	return append(dst, reason...)
}

func appendPong(dst, payload []byte) []byte {
	dst = append(dst, finBit|opPong, byte(len(payload)))
	return append(dst, payload...)
}

// A Head is that of a frame which a Framer made.
type Head struct {
	Size    int // bytes of the head
	Payload int // bytes behind it
	Data    bool
}

// HeadOf reads the head of a frame that a Framer, AppendClose or a Reader's Reply made, all
// of which b holds.
func HeadOf(b []byte) Head {
	h := Head{Size: 2, Payload: int(b[1]), Data: b[0]&0xf < opClose}
	switch b[1] {
	case 126:
		h.Size, h.Payload = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		h.Size, h.Payload = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	return h
}
