package selector

import (
	"unicode"
	"unicode/utf8"
)

// name reads a name or a reserved word.
func (l *lexer) name() bool {
	n := nameLength(l.text[l.off:], !l.split)
	if n == 0 {
		return false
	}
	l.tok.kind, l.tok.text = word, l.text[l.off:l.off+n]
	if w := reserved(l.tok.text); w != "" {
		l.tok.kind, l.tok.text = keyword, w
	}
	l.off += n
	return true
}

// nameLength is the length of the name that s begins with. A name is one of Java, as JMS
// has it, and may have dots and hyphens inside: what follows them is a part of the name.
func nameLength(s string, hyphens bool) int {
	inside := 0 // length up to the last character that can be the last one
	for i, r := range s {
		switch {
		case r == '_' || r == '$' || unicode.IsLetter(r) || unicode.In(r, unicode.Nl, unicode.Sc, unicode.Pc):
		case inside == 0:
			return 0
		case unicode.IsDigit(r) || unicode.In(r, unicode.Mn, unicode.Mc):
		case (r == '.' || r == '-' && hyphens) && inside == i:
			continue
		default:
			return inside
		}
		inside = i + utf8.RuneLen(r)
	}
	return inside
}

var keywords = [...]string{"AND", "BETWEEN", "ESCAPE", "FALSE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE"}

// reserved returns s in capitals if it is a reserved word.
func reserved(s string) string {
next:
	for _, w := range keywords {
		if len(w) != len(s) {
			continue
		}
		for i := range len(s) {
			if s[i]&^0x20 != w[i] {
				continue next
			}
		}
		return w
	}
	return ""
}
