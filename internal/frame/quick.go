package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// quick takes the frame that begins at d.r if it is there as a whole and ordinary: nothing
// past a limit, no mistake but perhaps in an escape. That is nearly every frame. It looks at
// each byte of the header once, eight at a time. All other frames, and their mistakes, are
// left to the general way, for which it changes nothing.
func (d *Decoder) quick(f *Frame) (bool, error) {
	b := d.buf[d.r:] // goes on behind the n bytes that came, so that the last eight can be loaded
	n := d.w - d.r
	start := bytes.IndexByte(b[:min(n, d.lim.Command)], '\n') + 1
	if start == 0 || d.room == nil {
		return false, nil
	}
	name := trimEOL(b[:start-1])
	cmd := parseCommand(name)
	if cmd == Unknown || cmd == Connect || cmd == Stomp || cmd == Connected {
		return false, nil
	}
	h := d.room.header[:0]
	plain, escaped := true, false
	length, colon := -1, -1
	body := 0
header:
	for i := start; ; i += 8 {
		if i+8 > len(b) {
			return false, nil
		}
		for m := specials(binary.LittleEndian.Uint64(b[i:])); m != 0; m &= m - 1 {
			p := i + bits.TrailingZeros64(m)/8
			if p >= n {
				return false, nil
			}
			switch b[p] {
			case ':':
				if colon < 0 {
					colon = p
				} else {
					plain = false
				}
				continue
			case '\\':
				plain, escaped = false, true
				continue
			case '\r':
				if p+1 == n || b[p+1] != '\n' {
					return false, nil
				}
				continue
			case 0:
				return false, nil
			case '\n':
			default:
				continue
			}
			end := p
			if b[p-1] == '\r' {
				end--
			}
			if end == start {
				body = p + 1
				break header
			}
			if colon <= start || end-start > d.lim.HeaderLine || len(h) == d.lim.Headers {
				return false, nil
			}
			fd := Field{Name: b[start:colon:colon], Value: b[colon+1 : end : end]}
			if d.version == V10 {
				fd.Name, fd.Value = trimBlanks(fd.Name), trimBlanks(fd.Value)
				if len(fd.Name) == 0 {
					return false, nil
				}
			}
			if length < 0 && string(fd.Name) == "content-length" {
				if length = digits(fd.Value); length < 0 {
					return false, nil
				}
			}
			h = append(h, fd)
			start, colon = p+1, -1
		}
		if i >= n {
			return false, nil
		}
	}
	d.room.header = h
	if length < 0 {
		if length = bytes.IndexByte(b[body:n], 0); length < 0 {
			return false, nil
		}
	}
	end := body + length
	if end >= n || b[end] != 0 || length > d.lim.Body || end > d.lim.Frame {
		return false, nil
	}
	if escaped && d.version > V10 {
		if err := d.unescape(h); err != nil {
			return false, err
		}
	}
	*f = Frame{Command: cmd, Name: name, Header: h, Body: b[body:end:end], Plain: plain}
	d.r += end + 1
	return true, nil
}

// specials marks, by the highest bit of each byte of w, which of them mean something in a
// header: NUL, LF, CR, colon and backslash. It may mark others as well; the lowest mark and
// those of special bytes are right.
func specials(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	colon := w ^ ones*':'
	slash := w ^ ones*'\\'
	return ((w-ones*0x10)&^w | (colon-ones)&^colon | (slash-ones)&^slash) & tops
}

// unescape undoes the escapes of all fields in place.
func (d *Decoder) unescape(h Header) error {
	for i := range h {
		name, err := Unescape(h[i].Name, d.version)
		if err == nil {
			h[i].Name = name
			h[i].Value, err = Unescape(h[i].Value, d.version)
		}
		if err != nil {
			return &SyntaxError{fmt.Sprintf("The header %q has an escape that STOMP %v does not know", short(h[i].Name), d.version)}
		}
	}
	return nil
}

// trimBlanks is bytes.Trim for blanks and tabs, quick if there is none.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// digits reads a number of at most nine digits, or returns -1.
func digits(b []byte) int {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
