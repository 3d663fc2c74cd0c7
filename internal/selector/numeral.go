package selector

import (
	"math"
	"strconv"
	"strings"
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// numeral reads a number as Java writes it, which is where JMS has its literals from.
func (l *lexer) numeral() {
	s := l.text[l.off:]
	l.tok.kind = numeral
	if len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x' {
		n := 2
		for n < len(s) && isHex(s[n]) {
			n++
		}
		l.whole(s[2:n], 16)
		l.ends(n, "l")
		return
	}
	n, whole := decimalLength(s)
	text := s[:n]
	switch {
	case !whole || n < len(s) && strings.IndexByte("fFdD", s[n]) >= 0:
		l.real(text)
		l.ends(n, "fd")
	case n > 1 && s[0] == '0':
		if i := strings.IndexAny(text, "89"); i >= 0 {
			l.fail(l.off+i, "a number that begins with 0 is octal, and %c is no octal digit", text[i])
		}
		l.whole(text[1:], 8)
		l.ends(n, "l")
	default:
		l.whole(text, 10)
		l.ends(n, "l")
	}
}

// decimalLength is the length of the decimal number that s begins with, and whether it is a
// whole one.
func decimalLength(s string) (n int, whole bool) {
	digits := func() {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	digits()
	whole = true
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
	return n, whole
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func (l *lexer) whole(digits string, base int) {
	i, err := strconv.ParseInt(digits, base, 64)
	switch {
	case err == nil:
		l.tok.num = num{i: i}
	case base == 10: // past what 64 bits hold, as in ActiveMQ
		l.real(digits)
		l.tok.min = digits == "9223372036854775808"
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

// ends ends a number of n bytes, or of one more: the letter of its type in Java.
func (l *lexer) ends(n int, types string) {
	if s := l.text[l.off:]; n < len(s) && strings.IndexByte(types, s[n]|0x20) >= 0 {
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
