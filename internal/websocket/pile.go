package websocket

import "io"

const (
	leastPart = 512
	mostPart  = 1 << 20
)

// A pile is bytes that are kept in parts, so that they are not copied when more come, and that
// are let go of part by part as they are read.
type pile struct {
	parts [][]byte
	size  int // bytes that were added and not read
	room  int // of the parts
	read  int // bytes of the first part that were read
}

func (p *pile) add(b []byte) {
	p.size += len(b)
	for len(b) > 0 {
		last := len(p.parts) - 1
		if last < 0 || len(p.parts[last]) == cap(p.parts[last]) {
			n := min(max(len(b), p.room, leastPart), mostPart)
			p.parts = append(p.parts, make([]byte, 0, n))
			p.room += n
			last++
		}
		part := p.parts[last]
		n := min(len(b), cap(part)-len(part))
		p.parts[last] = append(part, b[:n]...)
		b = b[n:]
	}
}

// Read implements io.Reader.
func (p *pile) Read(b []byte) (int, error) {
	for len(p.parts) > 0 {
		part := p.parts[0]
		if n := copy(b, part[p.read:]); n > 0 || len(b) == 0 {
			p.read += n
			p.size -= n
			return n, nil
		}
		p.room -= cap(part)
		p.parts[0] = nil
		p.parts, p.read = p.parts[1:], 0
	}
	return 0, io.EOF
}
