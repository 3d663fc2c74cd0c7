package frame

import (
	"bytes"
	"strconv"
)

// tail ends every frame on the wire: NUL, and the LF that every server adds.
const tail = "\x00\n"

// Append appends f to dst as version v spells it, ended by NUL and LF. A body gets a
// content-length, if f has none. CONNECT, STOMP and CONNECTED are not escaped, as nothing
// is in 1.0; what would forge a line there, a CR or LF, is left out, and a colon in a name,
// which would forge another name, is spelt as in 1.1.
func Append(dst []byte, v Version, f *Frame) []byte {
	if f.Command == Unknown {
		dst = append(dst, f.Name...)
	} else {
		dst = append(dst, f.Command.String()...)
	}
	dst = append(dst, '\n')
	if f.Command == Connect || f.Command == Stomp || f.Command == Connected {
		v = V10
	}
	sized := len(f.Body) == 0
	for i := range f.Header {
		sized = sized || string(f.Header[i].Name) == "content-length"
		name := v
		if v == V10 && bytes.IndexByte(f.Header[i].Name, ':') >= 0 {
			name = V11
		}
		dst = append(AppendEscaped(dst, f.Header[i].Name, name), ':')
		dst = append(AppendEscaped(dst, f.Header[i].Value, v), '\n')
	}
	if !sized {
		dst = append(dst, "content-length:"...)
		dst = append(strconv.AppendInt(dst, int64(len(f.Body)), 10), '\n')
	}
	dst = append(dst, '\n')
	dst = append(dst, f.Body...)
	return append(dst, tail...)
}
