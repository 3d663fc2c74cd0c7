package psych

import (
	"strings"
	"unicode/utf8"
)

// quick reads what Append writes, many times as fast as YAML in general is read. It reports
// false for all that it is not sure of.
func quick(doc string) (*Frame, bool) {
	rest, ok := strings.CutPrefix(doc, "--- "+tag+"\ncommand: ")
	if !ok {
		return nil, false
	}
	f := &Frame{}
	if f.Command, rest, ok = cutScalar(rest); !ok {
		return nil, false
	}
	if after, none := strings.CutPrefix(rest, "\nheaders: {}"); none {
		rest = after
	} else if rest, ok = strings.CutPrefix(rest, "\nheaders:"); !ok || !strings.HasPrefix(rest, "\n  ") {
		return nil, false
	}
	for strings.HasPrefix(rest, "\n  ") {
		rest = rest[3:]
		var h [2]string
		before := len(rest)
		if h[0], rest, ok = cutScalar(rest); !ok || before-len(rest) > mostKey {
			return nil, false
		}
		if rest, ok = strings.CutPrefix(rest, ": "); !ok {
			return nil, false
		}
		if h[1], rest, ok = cutScalar(rest); !ok {
			return nil, false
		}
		f.Headers = append(f.Headers, h)
	}
	if rest, ok = strings.CutPrefix(rest, "\nbody: "); !ok {
		return nil, false
	}
	f.Body, rest, ok = cutScalar(rest)
	return f, ok && rest == "\n"
}

// mostKey is less than the 1024 characters past which YAML wants a key to be told to be one.
const mostKey = 1000

// cutScalar takes a text in double quotes, or base64 in such, off s.
func cutScalar(s string) (value, rest string, ok bool) {
	s, binary := strings.CutPrefix(s, "!binary ")
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	s = s[1:]
	n := plain(s)
	if n < len(s) && s[n] == '"' {
		value, rest = s[:n], s[n+1:]
	} else if value, rest, ok = unescape(s, n); !ok {
		return "", "", false
	}
	if binary {
		b, err := decode(value)
		return b, rest, err == nil
	}
	return strings.Clone(value), rest, true // the rest of the document is not to be held by it
}

// plain is how many bytes of s stand for themselves.
func plain(s string) int {
	for i := 0; i < len(s); {
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

// unescape reads up to the closing quote; n bytes are known to be plain.
func unescape(s string, n int) (value, rest string, ok bool) {
	var b strings.Builder
	for {
		b.WriteString(s[:n])
		s = s[n:]
		if s == "" {
			return "", "", false
		}
		if s[0] == '"' {
			return b.String(), s[1:], true
		}
		if s[0] != '\\' || len(s) < 2 {
			return "", "", false
		}
		digits := 0
		switch s[1] {
		case '"', '\\':
			b.WriteByte(s[1])
		case 'n':
			b.WriteByte('\n')
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		default:
			return "", "", false
		}
		if digits > 0 {
			r, ok := hex(s[2:], digits)
			if !ok {
				return "", "", false
			}
			b.WriteRune(r)
		}
		s = s[2+digits:]
		n = plain(s)
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
