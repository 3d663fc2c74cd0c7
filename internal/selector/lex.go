package selector

import (
	"fmt"
	"strings"
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

// short is s as it may stand in a line.
func short(s string) string {
	if len(s) > 48 {
		s = headOf(s, 40) + "…"
	}
	return strings.Map(flat, s)
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
