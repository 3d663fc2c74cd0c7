package psych

import (
	"encoding/base64"
	"unicode/utf8"
)

// pieceSize is how much of a body is written at a time: whole groups of three bytes.
const pieceSize = 48 << 10

// Size is how many bytes Append appends.
func Size(f *Frame) int {
	n := len(appendHead(nil, f)) + len("\n")
	if !isText(f.Body) {
		return n + len(binaryTag+`""`) + base64.StdEncoding.EncodedLen(len(f.Body))
	}
	return n + len(`""`) + textSize(f.Body)
}

func textSize(s string) (n int) {
	for {
		p := plain(s)
		n += p
		if s = s[p:]; s == "" {
			return n
		}
		c, size := utf8.DecodeRuneInString(s)
		n += escapedLen(c)
		s = s[size:]
	}
}

// Pieces yields what Append appends, in pieces of which each is gone when the next one is asked for:
// so a large body is in memory once. It ends early if yield says so.
func Pieces(f *Frame, yield func(piece []byte) bool) {
	buf := appendHead(make([]byte, 0, 2*pieceSize), f)
	text := isText(f.Body)
	if !text {
		buf = append(buf, binaryTag...)
	}
	buf = append(buf, '"')
	for s := f.Body; s != ""; {
		n := min(len(s), pieceSize)
		if text {
			for n < len(s) && !utf8.RuneStart(s[n]) {
				n++
			}
			buf = appendText(buf, s[:n])
		} else {
			buf = base64.StdEncoding.AppendEncode(buf, bytes(s[:n]))
		}
		if !yield(buf) {
			return
		}
		buf, s = buf[:0], s[n:]
	}
	yield(append(buf, "\"\n"...))
}
