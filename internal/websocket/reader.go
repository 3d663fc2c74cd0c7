package websocket

import (
	"encoding/binary"
	"unicode/utf8"
)

// A Reader takes apart what a client sends.
type Reader struct {
	// Deflate says that permessage-deflate was agreed.
	Deflate bool

	// MaxPacked bounds the bytes of a compressed message, which is gathered before it is
	// unpacked; 0 is no bound.
	MaxPacked int

	// Reply is what the client's pings ask for, ready to be sent. Who sends it empties it.
	Reply []byte

	// Text says that the first message was one of text; it is meaningful once Began is set.
	Text, Began bool

	head  [14]byte
	heads int // bytes of head that are there

	inside bool // the head was read
	op     byte
	fin    bool
	mask   [4]byte
	masked int    // bytes of the payload that were unmasked
	left   uint64 // bytes of the payload still to come

	message byte // opcode of the message under way; 0: none
	zipped  bool // it is compressed
	utf8    tail
	control []byte
	packed  pile
	unpack  *unpacker // the message being unpacked; nil: none
}

// Decode takes b apart. The first n bytes of b are then what messages carried, the bytes of
// rest, a part of b, are still to be decoded, later: behind a compressed message, which Unpack
// yields first. A client's end or its mistake is a *CloseError, after which nothing is decoded;
// the n bytes stand before it.
func (r *Reader) Decode(b []byte) (n int, rest []byte, err error) {
	for i := 0; ; {
		if !r.inside {
			k, ok := r.readHead(b[i:])
			i += k
			if !ok {
				return n, nil, nil
			}
			if err := r.begin(); err != nil {
				return n, nil, err
			}
		}
		take := int(min(r.left, uint64(len(b)-i)))
		p := b[i : i+take]
		r.unmask(p)
		i += take
		r.left -= uint64(take)
		switch {
		case r.op >= opClose:
			r.control = append(r.control, p...)
		case r.zipped:
			if r.MaxPacked > 0 && r.packed.size+take > r.MaxPacked {
				return n, nil, broken(CloseTooBig, "a compressed message is larger than a frame may be")
			}
			r.packed.add(p)
		default:
			if r.message == opText && !r.utf8.check(p) {
				return n, nil, broken(CloseInvalid, "a text is not UTF-8")
			}
			n += copy(b[n:], p)
		}
		if r.left > 0 {
			return n, nil, nil
		}
		r.inside, r.heads = false, 0
		if r.op >= opClose {
			if err := r.controlled(); err != nil {
				return n, nil, err
			}
			continue
		}
		if !r.fin {
			continue
		}
		zipped, text := r.zipped, r.message == opText
		r.message, r.zipped = 0, false
		if zipped {
			r.startUnpack(text)
			return n, b[i:], nil
		}
		if text && !r.utf8.whole() {
			return n, nil, broken(CloseInvalid, "a text ends within a character")
		}
	}
}

// readHead gathers the head of a frame, and returns how many bytes it took of b and whether
// that was all.
func (r *Reader) readHead(b []byte) (int, bool) {
	for i := 0; ; {
		want := 2
		if r.heads >= 2 {
			switch r.head[1] &^ maskBit {
			case 126:
				want += 2
			case 127:
				want += 8
			}
			if r.head[1]&maskBit != 0 {
				want += 4
			}
			if r.heads >= want {
				return i, true
			}
		}
		k := copy(r.head[r.heads:want], b[i:])
		r.heads += k
		i += k
		if r.heads < want {
			return i, false
		}
	}
}

// begin checks the head that was read, and begins its frame.
func (r *Reader) begin() error {
	h := r.head[:r.heads]
	fin, rsv1, op := h[0]&finBit != 0, h[0]&rsv1Bit != 0, h[0]&0xf
	size := uint64(h[1] &^ maskBit)
	at := 2
	switch size {
	case 126:
		size, at = uint64(binary.BigEndian.Uint16(h[2:])), 4
		if size < 126 {
			return broken(CloseProtocol, "a length is written longer than it has to be")
		}
	case 127:
		size, at = binary.BigEndian.Uint64(h[2:]), 10
		if size < 1<<16 || size > 1<<63-1 {
			return broken(CloseProtocol, "a length is written longer than it has to be, or is negative")
		}
	}
	switch {
	case h[1]&maskBit == 0:
		return broken(CloseProtocol, "a frame of a client is not masked")
	case h[0]&0x30 != 0 || rsv1 && !r.Deflate:
		return broken(CloseProtocol, "a reserved bit is set")
	case op > opBinary && op < opClose || op > opPong:
		return broken(CloseProtocol, "there is no such opcode")
	case op >= opClose && (!fin || size > maxControl || rsv1):
		return broken(CloseProtocol, "a control frame is too long, in parts or compressed")
	case op == opContinuation && (r.message == 0 || rsv1):
		return broken(CloseProtocol, "a frame continues nothing, or says again that it is compressed")
	case (op == opText || op == opBinary) && r.message != 0:
		return broken(CloseProtocol, "a message begins within another")
	}
	copy(r.mask[:], h[at:])
	r.inside, r.op, r.fin, r.left, r.masked = true, op, fin, size, 0
	switch {
	case op >= opClose:
		r.control = r.control[:0]
	case op != opContinuation:
		if !r.Began {
			r.Began, r.Text = true, op == opText
		}
		r.message, r.zipped = op, rsv1
		r.packed = pile{}
	}
	return nil
}

// controlled answers a control frame that is whole.
func (r *Reader) controlled() error {
	switch r.op {
	case opPing:
		r.Reply = appendPong(r.Reply, r.control)
	case opClose:
		if len(r.control) == 0 {
			return &CloseError{Code: CloseNoStatus}
		}
		if len(r.control) == 1 {
			return broken(CloseProtocol, "a close frame holds half a code")
		}
		code, reason := int(binary.BigEndian.Uint16(r.control)), r.control[2:]
		if !known(code) {
			return broken(CloseProtocol, "a close frame has a code that may not be sent")
		}
		if !utf8.Valid(reason) {
			return broken(CloseInvalid, "the reason of a close frame is not UTF-8")
		}
		return &CloseError{Code: code, Reason: string(reason)}
	}
	return nil
}

// unmask undoes the mask of the next bytes of the payload.
func (r *Reader) unmask(p []byte) {
	at := r.masked
	r.masked += len(p)
	xor(p, r.mask, at)
}

// xor masks p, or unmasks it, at bytes into the payload (RFC 6455, section 5.3).
func xor(p []byte, mask [4]byte, at int) {
	var m [8]byte
	for i := range m {
		m[i] = mask[(at+i)&3]
	}
	word := binary.LittleEndian.Uint64(m[:])
	for len(p) >= 32 {
		for j := 0; j < 32; j += 8 {
			binary.LittleEndian.PutUint64(p[j:], binary.LittleEndian.Uint64(p[j:])^word)
		}
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= m[i&7]
	}
}

// Idle lets go of what is not needed while nothing comes.
func (r *Reader) Idle() {
	if r.message == 0 && r.unpack == nil {
		r.packed = pile{}
	}
	if len(r.Reply) == 0 {
		r.Reply = nil
	}
	if !r.inside {
		r.control = nil
	}
}

// Held is how many bytes of a compressed message are kept.
func (r *Reader) Held() int { return r.packed.room }

// Waiting reports whether a message lies unpacked in part, so that Unpack has more.
func (r *Reader) Waiting() bool { return r.unpack != nil }

// A tail checks that bytes which come in pieces are UTF-8; it holds the character that a piece
// ends within.
type tail struct {
	b [utf8.UTFMax]byte
	n int
}

func (t *tail) check(p []byte) bool {
	for t.n > 0 && len(p) > 0 {
		t.b[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.b[:t.n]) {
			if r, size := utf8.DecodeRune(t.b[:t.n]); r == utf8.RuneError && size == 1 {
				return false
			}
			t.n = 0
		}
	}
	for k := 1; k < utf8.UTFMax && k <= len(p); k++ {
		if end := p[len(p)-k:]; utf8.RuneStart(end[0]) {
			if !utf8.FullRune(end) {
				t.n = copy(t.b[:], end)
				p = p[:len(p)-k]
			}
			break
		}
	}
	return utf8.Valid(p)
}

// whole reports whether the bytes end with a whole character, and begins anew.
func (t *tail) whole() bool {
	ok := t.n == 0
	t.n = 0
	return ok
}
