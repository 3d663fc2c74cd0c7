package vfs

// ShareFrom is the size from which bytes are worth a write of their own: below it, copying them
// behind others is quicker.
const ShareFrom = 64 << 10

// A Gather is bytes to be written behind each other, of which the large ones are not copied.
type Gather struct {
	Buf    []byte // all but what is shared; it is appended to
	parts  []part
	shared int64
}

// A part is bytes that stand behind the first at bytes of Buf.
type part struct {
	at int
	b  []byte
}

// Reset has g hold n bytes, which are zero, and nothing else. Room that is larger than most is
// given up.
func (g *Gather) Reset(n, most int) {
	if cap(g.Buf) > most {
		g.Buf = nil
	}
	clear(g.parts)
	g.Buf, g.parts, g.shared = append(g.Buf[:0], make([]byte, n)...), g.parts[:0], 0
}

// Len is how many bytes there are.
func (g *Gather) Len() int64 { return int64(len(g.Buf)) + g.shared }

// Share adds b, which must stay as it is until all is written, behind what Buf holds.
func (g *Gather) Share(b []byte) {
	g.parts = append(g.parts, part{len(g.Buf), b})
	g.shared += int64(len(b))
}

// Each gives f the bytes from the one at from on, which is in Buf and before all that is shared,
// in order and in pieces.
func (g *Gather) Each(from int, f func(b []byte) error) error {
	for _, p := range g.parts {
		if err := f(g.Buf[from:p.at]); err != nil {
			return err
		}
		if err := f(p.b); err != nil {
			return err
		}
		from = p.at
	}
	return f(g.Buf[from:])
}

// WriteTo writes all into file, beginning at at.
func (g *Gather) WriteTo(file File, at int64) error {
	return g.Each(0, func(b []byte) error {
		n, err := file.WriteAt(b, at)
		at += int64(n)
		return err
	})
}
