package selector

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	end     kind = iota
	word         // a name, as it stands
	quoted       // a name in double quotes
	str          // a text in quotes
	numeral      // a number
	symbol       // an operator, parenthesis or comma
	keyword      // a reserved word, in capitals
)

type token struct {
	kind kind
	pos  int
	text string // of a name or text, what it stands for
	num  num    // of a numeral
	min  bool   // 9223372036854775808, which only as a negative number is exact
}

func (t token) is(text string) bool { return (t.kind == symbol || t.kind == keyword) && t.text == text }

func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case str:
		return "the text " + short("'"+t.text+"'")
	case numeral:
		return "the number " + string(numberLiteral(t.num).appendTo(nil))
	case quoted:
		return short(`"` + t.text + `"`)
	}
	return short(t.text)
}

func short(s string) string {
	if len(s) > 48 {
		return headOf(s, 40) + "…"
	}
	return s
}

type lexer struct {
	text string
	off  int
	tok  token
	// split says that a hyphen in a name is a minus: no_hyphenated_props.
	split bool
}

func (l *lexer) fail(pos int, format string, args ...any) {
	panic(&Error{Text: l.text, Offset: pos, Reason: fmt.Sprintf(format, args...)})
}

func (l *lexer) expected(what string) { l.fail(l.tok.pos, "expected %s, found %v", what, l.tok) }

// prefixes takes away what other brokers want before a selector to make it mean what it
// means here anyway.
func (l *lexer) prefixes() {
	for {
		rest := l.text[l.off:]
		switch {
		case l.skip("convert_string_expressions:"):
		case l.skip("hyphenated_props:"):
			l.split = false
		case l.skip("no_hyphenated_props:"):
			l.split = true
		case strings.HasPrefix(rest, "no_convert_string_expressions:"):
			l.fail(l.off, "no_convert_string_expressions is not supported: header values are always converted")
		default:
			return
		}
	}
}

func (l *lexer) skip(prefix string) bool {
	if !strings.HasPrefix(l.text[l.off:], prefix) {
		return false
	}
	l.off += len(prefix)
	return true
}

// next reads the next token into l.tok.
func (l *lexer) next() {
	for l.off < len(l.text) && strings.IndexByte(" \t\r\n\f", l.text[l.off]) >= 0 {
		l.off++
	}
	pos, rest := l.off, l.text[l.off:]
	l.tok = token{pos: pos}
	if rest == "" {
		return
	}
	c := rest[0]
	switch {
	case c == '\'':
		l.tok.kind, l.tok.text = str, l.inQuotes('\'', "text")
	case c == '"':
		l.tok.kind, l.tok.text = quoted, l.inQuotes('"', "name")
		if l.tok.text == "" {
			l.fail(pos, "a name is empty")
		}
	case isDigit(c), c == '.' && len(rest) > 1 && isDigit(rest[1]):
		l.numeral()
	case l.name():
	default:
		l.symbol(rest)
	}
}

// inQuotes reads what is in quotes; a quote inside is written twice.
func (l *lexer) inQuotes(quote byte, what string) string {
	start := l.off
	double := false
	for i := l.off + 1; i < len(l.text); i++ {
		if l.text[i] != quote {
			continue
		}
		if i+1 < len(l.text) && l.text[i+1] == quote {
			double = true
			i++
			continue
		}
		l.off = i + 1
		s := l.text[start+1 : i]
		if q := string(quote); double {
			s = strings.ReplaceAll(s, q+q, q)
		}
		return s
	}
	l.fail(start, "this %s has no closing %c", what, quote)
	return ""
}

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

// instead is what people write who are used to other languages, and what to write.
var instead = []struct{ wrong, right string }{
	{"--", "two minus signs begin a comment elsewhere, and there are no comments here: put a space between them"},
	{"/*", "there are no comments in a selector"},
	{"==", "equality is written ="},
	{"=>", "greater or equal is written >="},
	{"=<", "less or equal is written <="},
	{"&&", "write AND instead"},
	{"||", "write OR instead"},
	{"‘", "a text stands between plain quotes, '"},
	{"’", "a text stands between plain quotes, '"},
	{"“", "a text stands between plain quotes, '"},
	{"`", "a name stands between double quotes, a text between plain ones, '"},
}

func (l *lexer) symbol(rest string) {
	for _, in := range instead {
		if strings.HasPrefix(rest, in.wrong) {
			l.fail(l.off, "%s", in.right)
		}
	}
	l.tok.kind = symbol
	n := 1
	if len(rest) > 1 {
		switch rest[:2] {
		case "<>", "<=", ">=", "!=":
			n = 2
		}
	}
	if n == 1 && strings.IndexByte("=<>+-*/%(),", rest[0]) < 0 {
		r, _ := utf8.DecodeRuneInString(rest)
		if r == '!' {
			l.fail(l.off, "write NOT instead, or <>")
		}
		l.fail(l.off, "%q means nothing here: a name with special characters stands between double quotes", r)
	}
	l.tok.text = rest[:n]
	if l.tok.text == "!=" {
		l.tok.text = "<>"
	}
	l.off += n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// numeral reads a number as Java writes it, which is where JMS has its literals from.
func (l *lexer) numeral() {
	s := l.text[l.off:]
	l.tok.kind = numeral
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		n := 2
		for n < len(s) && isHex(s[n]) {
			n++
		}
		l.whole(s[2:n], 16)
		l.ends(n)
		return
	}
	n := 0
	digits := func() {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	digits()
	whole := true
	if n < len(s) && s[n] == '.' {
		whole = false
		n++
		digits()
	}
	if n < len(s) && s[n]|0x20 == 'e' {
		e := n + 1
		if e < len(s) && (s[e] == '+' || s[e] == '-') {
			e++
		}
		if e < len(s) && isDigit(s[e]) {
			whole, n = false, e
			digits()
		}
	}
	text := s[:n]
	if n < len(s) && (s[n]|0x20 == 'f' || s[n]|0x20 == 'd') {
		whole = false
		n++
		l.real(text)
		l.off += n
		l.apart()
		return
	}
	switch {
	case !whole:
		l.real(text)
		l.off += n
		l.apart()
	case n > 1 && s[0] == '0':
		if i := strings.IndexAny(text, "89"); i >= 0 {
			l.fail(l.off+i, "a number that begins with 0 is octal, and %c is no octal digit", text[i])
		}
		l.whole(text[1:], 8)
		l.ends(n)
	default:
		l.whole(text, 10)
		l.ends(n)
	}
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func (l *lexer) whole(digits string, base int) {
	i, err := strconv.ParseInt(digits, base, 64)
	switch {
	case err == nil:
		l.tok.num = num{i: i}
	case base == 10: // past what 64 bits hold, as in ActiveMQ
		l.real(digits)
		l.tok.min = strings.TrimLeft(digits, "0") == "9223372036854775808"
	case digits == "":
		l.fail(l.off, "digits are missing")
	default:
		l.fail(l.off, "this number is too large")
	}
}

func (l *lexer) real(digits string) {
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsInf(f, 0) {
		l.fail(l.off, "this number is too large")
	}
	l.tok.num = num{f: f, real: true}
}

// ends ends a whole number of n bytes, or n and an L.
func (l *lexer) ends(n int) {
	if s := l.text[l.off:]; n < len(s) && s[n]|0x20 == 'l' {
		n++
	}
	l.off += n
	l.apart()
}

// apart fails where a number runs into a name: 12abc.
func (l *lexer) apart() {
	rest := l.text[l.off:]
	if rest == "" || !isDigit(rest[0]) && rest[0] != '.' && nameLength(rest, false) == 0 {
		return
	}
	l.fail(l.tok.pos, "a number runs into a name: a name that begins with a digit stands between double quotes, a text between plain ones")
}
