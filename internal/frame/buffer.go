package frame

import "sync"

const (
	// roomSize is how much is read at a time; one room is shared by all that are idle.
	roomSize = 64 << 10

	// smallest is the size of the memory that the beginning of a frame waits in at least.
	smallest = 512

	// keepFrom is the size from which the beginning of a frame keeps its room while it
	// waits: it would need as much memory anyway.
	keepFrom = roomSize / 2

	// bigBody is the size from which a body that is not there yet gets memory of its own,
	// which its receiver may keep. It gets it when bigStart bytes of the frame are there.
	bigBody  = 64 << 10
	bigStart = 16 << 10
)

// A room is what a decoder works in while bytes come.
type room struct {
	buf    [roomSize]byte
	header Header

	// spare is where the beginning of a frame waited before it came into the room. The
	// next one to wait takes it, so that a trickle of bytes makes no garbage.
	spare []byte
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// Buffered is the number of bytes that were given and not decoded yet.
func (d *Decoder) Buffered() int { return d.w - d.r + len(d.big) }

// Held is how many bytes of memory an unfinished frame holds beyond the read buffer that
// all decoders share.
func (d *Decoder) Held() int {
	n := cap(d.big)
	if !d.inRoom() || d.w-d.r >= keepFrom {
		n += len(d.buf)
	}
	return n
}

// inRoom reports whether the unread bytes are in the room, not in memory of their own.
func (d *Decoder) inRoom() bool {
	return d.room != nil && len(d.buf) > 0 && &d.buf[0] == &d.room.buf[0]
}

// Space returns where the next bytes are to be read into. After Decode returned ErrMore it
// is never empty. Memory that is not shared grows with the bytes that came, never with
// those that are promised.
func (d *Decoder) Space() []byte {
	if d.room == nil {
		d.room = rooms.Get().(*room)
	}
	if d.big != nil {
		if len(d.big) == cap(d.big) {
			d.growBig()
		}
		return d.big[len(d.big):min(cap(d.big), d.length+1)]
	}
	n := d.w - d.r
	switch {
	case len(d.buf) < roomSize:
		copy(d.room.buf[:], d.buf[d.r:d.w])
		d.room.spare = d.buf
		d.buf, d.r, d.w = d.room.buf[:], 0, n
	case n == 0:
		d.r, d.w = 0, 0
	case n == len(d.buf):
		// A header or a body without content-length; of any other the length is known,
		// and it is short enough for the room or has memory of its own.
		grown := make([]byte, n+min(n, max(0, d.mayCome()))+1)
		copy(grown, d.buf)
		d.buf = grown
	case d.r > 0 && len(d.buf)-d.w < len(d.buf)/8:
		copy(d.buf, d.buf[d.r:d.w])
		d.r, d.w = 0, n
	}
	return d.buf[d.w:]
}

// mayCome is how many bytes the frame under way may still get without going past a limit,
// its end aside.
func (d *Decoder) mayCome() int {
	n := d.w - d.r
	m := d.lim.Frame - n
	if d.phase == inBody {
		m = min(m, d.lim.Body-(n-d.line))
	}
	return m
}

// Filled says that n bytes were read into what Space returned.
func (d *Decoder) Filled(n int) {
	if d.big != nil {
		d.big = d.big[:len(d.big)+n]
		return
	}
	d.w += n
}

// Idle gives memory back; it is called before waiting for bytes. Views end with it.
func (d *Decoder) Idle() {
	n := d.w - d.r
	size := smallest
	for size < n {
		size *= 2
	}
	switch {
	case n == 0:
		d.buf, d.r, d.w = nil, 0, 0
	case d.inRoom() && n >= keepFrom:
		return
	case d.inRoom() || len(d.buf) > 2*size:
		var own []byte
		if s := d.room.spare; len(s) == size {
			own, d.room.spare = s, nil
		} else {
			own = make([]byte, size)
		}
		copy(own, d.buf[d.r:d.w])
		d.buf, d.r, d.w = own, 0, n
	}
	if d.room != nil {
		if cap(d.room.header) > 64 {
			d.room.header = nil
		}
		clear(d.room.header[:cap(d.room.header)])
		rooms.Put(d.room)
		d.room = nil
	}
}

// beginBig gives the body under way, of which have is there, memory of its own.
func (d *Decoder) beginBig(have []byte) {
	d.big = append(make([]byte, 0, d.bigSize(max(len(have), bigStart))), have...)
	d.w -= len(have)
}

func (d *Decoder) growBig() {
	grown := make([]byte, len(d.big), d.bigSize(len(d.big)))
	copy(grown, d.big)
	d.big = grown
}

// bigSize is how much memory a body gets of which n bytes have come: a quarter of what it will
// be, or a quarter of that and so on, so that all it was copied from is a third of it at most, and
// a promise costs no more than four times what came. A client that has sent as much before gets
// as much at once: it can hold no more than by sending it again.
func (d *Decoder) bigSize(n int) int {
	size := d.length + len(tail)
	for size > d.trusted && size/4 > n && size/4 >= bigStart {
		size /= 4
	}
	return size
}
