package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// AppendEscaped appends b to dst with the escapes of version v ("Value Encoding" in STOMP
// 1.1 and 1.2). What has none there is left out, since it would end the line or the frame:
// NUL, in 1.1 a CR, in 1.0 every CR and LF.
func AppendEscaped(dst, b []byte, v Version) []byte {
	if !special(b) {
		return append(dst, b...)
	}
	for _, c := range b {
		switch {
		case c == '\n' && v >= V11:
			dst = append(dst, '\\', 'n')
		case c == '\r' && v >= V12:
			dst = append(dst, '\\', 'r')
		case c == '\n' || c == '\r' || c == 0:
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

// special reports whether b may hold bytes that mean something in a header; of others
// AppendEscaped changes none.
func special(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if specials(binary.LittleEndian.Uint64(b)) != 0 {
			return true
		}
	}
	for _, c := range b {
		if c < 0x10 || c == ':' || c == '\\' {
			return true
		}
	}
	return false
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
