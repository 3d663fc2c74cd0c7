package psych

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// quick reads what Append writes, many times as fast as YAML in general is read. It reports
// false for all that it is not sure of.
func quick(doc string, room int) (f *Frame, body []byte, ok bool) {
	f, rest, ok := quickHead(doc)
	if !ok {
		return nil, nil, false
	}
	body, rest, ok = cutBody(rest, room)
	return f, body, ok && rest == "\n"
}

// quickHead reads what stands before the body.
func quickHead(doc string) (f *Frame, rest string, ok bool) {
	rest, ok = strings.CutPrefix(doc, "--- "+tag+"\ncommand: ")
	if !ok {
		return nil, "", false
	}
	f = &Frame{}
	if f.Command, rest, ok = cutScalar(rest); !ok {
		return nil, "", false
	}
	if after, none := strings.CutPrefix(rest, "\nheaders: {}"); none {
		rest = after
	} else if rest, ok = strings.CutPrefix(rest, "\nheaders:"); !ok || !strings.HasPrefix(rest, "\n  ") {
		return nil, "", false
	}
	for strings.HasPrefix(rest, "\n  ") {
		rest = rest[3:]
		var h [2]string
		before := len(rest)
		if h[0], rest, ok = cutScalar(rest); !ok || before-len(rest) > mostKey {
			return nil, "", false
		}
		if rest, ok = strings.CutPrefix(rest, ": "); !ok {
			return nil, "", false
		}
		if h[1], rest, ok = cutScalar(rest); !ok {
			return nil, "", false
		}
		f.Headers = append(f.Headers, h)
	}
	if rest, ok = strings.CutPrefix(rest, "\nbody: "); !ok {
		return nil, "", false
	}
	return f, rest, true
}

// mostKey is less than the 1024 characters past which YAML wants a key to be told to be one.
const mostKey = 1000

// cutScalar takes a text in double quotes, or base64 in such, off s.
func cutScalar(s string) (value, rest string, ok bool) {
	s, binary := strings.CutPrefix(s, binaryTag)
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	s = s[1:]
	n := plain(s)
	if n < len(s) && s[n] == '"' {
		value, rest = s[:n], s[n+1:]
	} else if value, rest, ok = unescape(s); !ok {
		return "", "", false
	}
	if binary {
		b, err := decode(value)
		return b, rest, err == nil
	}
	return strings.Clone(value), rest, true // the rest of the document is not to be held by it
}

// cutBody is cutScalar into a buffer of the size that is needed, with room behind it.
func cutBody(s string, room int) (body []byte, rest string, ok bool) {
	text, binary := strings.CutPrefix(s, binaryTag)
	if binary {
		value, rest, ok := strings.Cut(strings.TrimPrefix(text, `"`), `"`)
		if !ok || text[0] != '"' {
			return nil, "", false
		}
		body = make([]byte, base64.StdEncoding.DecodedLen(len(value))+room)
		n, err := base64.StdEncoding.Decode(body, bytes(value))
		return body[:n], rest, err == nil && strings.IndexByte(value, '\n') < 0 && strings.IndexByte(value, '\r') < 0
	}
	if text == "" || text[0] != '"' {
		return nil, "", false
	}
	text = text[1:]
	if n := plain(text); n < len(text) && text[n] == '"' {
		return append(make([]byte, 0, n+room), text[:n]...), text[n+1:], true
	}
	size := 0
	if rest, ok = unescapeTo(text, func(piece string) { size += len(piece) }); !ok {
		return nil, "", false
	}
	body = make([]byte, 0, size+room)
	_, _ = unescapeTo(text, func(piece string) { body = append(body, piece...) })
	return body, rest, true
}

// cutInPlace makes the body of a text that ends with it. It does not touch what it is not sure of, nor what
// is left of it at last would be far less than the text, which it holds.
func cutInPlace(text []byte, room int) (body []byte, ok bool) {
	s, ok := strings.CutSuffix(unsafe.String(unsafe.SliceData(text), len(text)), "\"\n")
	if !ok || room > len("\"\n") {
		return nil, false
	}
	if value, binary := strings.CutPrefix(s, binaryTag+`"`); binary {
		if !isBase64(value) {
			return nil, false
		}
		body = text[:0]
		var few [3 << 10]byte
		for value != "" { // what is written never comes near what is still to be read
			n := min(len(value), 4<<10)
			k, _ := base64.StdEncoding.Decode(few[:], bytes(value[:n]))
			body = append(body, few[:k]...)
			value = value[n:]
		}
		return body, true
	}
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return nil, false
	}
	if plain(s) == len(s) {
		return text[1 : 1+len(s)], true
	}
	s = unsafe.String(unsafe.StringData(s), len(s)+1) // with the quote that ends it
	size := 0
	rest, ok := unescapeTo(s, func(piece string) { size += len(piece) })
	if !ok || rest != "" || size < len(s)/2 {
		return nil, false
	}
	body = text[:0]
	_, _ = unescapeTo(s, func(piece string) { body = append(body, piece...) })
	return body, true
}

// isBase64 reports whether s is nothing else, with all that belongs to it.
func isBase64(s string) bool {
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	if len(s)%4 != 0 || len(digits)%4 == 1 {
		return false
	}
	for i := range len(digits) {
		c := digits[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

// plain is how many bytes of s stand for themselves.
func plain(s string) int {
	for i := 0; i < len(s); {
		for len(s)-i >= 8 && arePlain(binary.LittleEndian.Uint64(bytes(s[i:]))) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == '"' || c == '\\' || c == 0x7f {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || isEscaped(r) {
			return i
		}
		i += n
	}
	return len(s)
}

// arePlain reports whether eight bytes are printable ASCII that stands for itself. Bytes are compared
// all at once: what is subtracted from one borrows from the next above only if it is such a byte itself.
func arePlain(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	control := w - ones*' '
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	del := w ^ ones*0x7f
	return (w|control|(quote-ones)|(slash-ones)|(del-ones))&highs == 0
}

// unescape reads up to the closing quote.
func unescape(s string) (value, rest string, ok bool) {
	var b strings.Builder
	rest, ok = unescapeTo(s, func(piece string) { b.WriteString(piece) })
	return b.String(), rest, ok
}

// unescapeTo puts what s is up to the closing quote, in pieces.
func unescapeTo(s string, put func(piece string)) (rest string, ok bool) {
	for {
		n := plain(s)
		put(s[:n])
		s = s[n:]
		if s == "" {
			return "", false
		}
		if s[0] == '"' {
			return s[1:], true
		}
		if s[0] != '\\' || len(s) < 2 {
			return "", false
		}
		digits := 0
		switch s[1] {
		case '"', '\\':
			put(s[1:2])
		case 'n':
			put("\n")
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		default:
			return "", false
		}
		if digits > 0 {
			r, ok := hex(s[2:], digits)
			if !ok {
				return "", false
			}
			put(string(r))
		}
		s = s[2+digits:]
	}
}

func hex(s string, n int) (r rune, ok bool) {
	if len(s) < n {
		return 0, false
	}
	for i := range n {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		default:
			return 0, false
		}
	}
	return r, isEscaped(r) || r > 0 && r < ' '
}
