package frame

import (
	"bytes"
	"errors"
)

// AppendEscaped appends b to dst with the escapes of version v ("Value Encoding" in STOMP
// 1.1 and 1.2). 1.0 has none: there LF and CR, which would end the line, are left out. In
// 1.1 a CR has no escape and is left out.
func AppendEscaped(dst, b []byte, v Version) []byte {
	for _, c := range b {
		switch {
		case c == '\n' && v >= V11:
			dst = append(dst, '\\', 'n')
		case c == '\r' && v >= V12:
			dst = append(dst, '\\', 'r')
		case c == '\n' || c == '\r':
		case c == ':' && v >= V11:
			dst = append(dst, '\\', 'c')
		case c == '\\' && v >= V11:
			dst = append(dst, '\\', '\\')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// ErrEscape is returned by Unescape for an escape that the version does not define, which
// STOMP 1.1 and 1.2 call fatal.
var ErrEscape = errors.New("frame: undefined escape")

// Unescape undoes the escapes of version v in place and returns the part of b that is
// left. 1.0 has none.
func Unescape(b []byte, v Version) ([]byte, error) {
	r := bytes.IndexByte(b, '\\')
	if r < 0 || v == V10 {
		return b, nil
	}
	w := r
	for ; r < len(b); r++ {
		c := b[r]
		if c == '\\' {
			if r++; r == len(b) {
				return b, ErrEscape
			}
			switch {
			case b[r] == 'n':
				c = '\n'
			case b[r] == 'c':
				c = ':'
			case b[r] == '\\':
			case b[r] == 'r' && v == V12:
				c = '\r'
			default:
				return b, ErrEscape
			}
		}
		b[w] = c
		w++
	}
	return b[:w], nil
}
