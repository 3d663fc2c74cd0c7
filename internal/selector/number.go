package selector

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"strconv"
)

// A num is a whole number while it can be one, else a finite real one.
type num struct {
	i    int64
	f    float64
	real bool
}

func (n num) float() float64 {
	if n.real {
		return n.f
	}
	return float64(n.i)
}

func (n num) compare(m num) int {
	if n.real || m.real {
		return cmp.Compare(n.float(), m.float())
	}
	return cmp.Compare(n.i, m.i)
}

func (n num) negative() num {
	if n.real || n.i == math.MinInt64 {
		return num{f: -n.float(), real: true}
	}
	return num{i: -n.i}
}

// maxNumber is how long the value of a header may be to be tried as a number.
const maxNumber = 128

// parseNumber reads the value of a header as a decimal number.
func parseNumber(b []byte) (num, bool) {
	b = trim(b)
	digits := b
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return parseLong(b, digits)
	}
	var i int64
	point := -1 // digits behind it, once it was seen
	for _, c := range digits {
		if !isDigit(c) {
			if c != '.' || point >= 0 {
				return parseLong(b, digits)
			}
			point = 0
			continue
		}
		i = i*10 + int64(c-'0')
		if point >= 0 {
			point++
		}
	}
	if point >= 0 {
		if i > exact || len(digits) == 1 {
			return parseLong(b, digits)
		}
		f := float64(i) / tens[point]
		if b[0] == '-' {
			f = -f
		}
		return num{f: f, real: true}, true
	}
	if b[0] == '-' {
		i = -i
	}
	return num{i: i}, true
}

// A whole number up to exact and a power of ten up to 10^22 are what they are as a float64, too, and
// one divided by the other is rounded once: to what strconv reads.
const exact = 1 << 53

var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// parseLong is parseNumber for what is no short number without an exponent. Digits are b without its
// sign.
func parseLong(b, digits []byte) (num, bool) {
	if len(b) > maxNumber {
		return num{}, false
	}
	whole, ok := isDecimal(digits)
	if !ok {
		return num{}, false
	}
	if whole {
		if i, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			return num{i: i}, true
		}
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return num{f: f, real: true}, err == nil
}

// isDecimal says whether b is a decimal number without a sign, and whether a whole one. strconv
// takes more than that (hexadecimal, underscores, Inf and NaN), and allocates an error for the
// rest, which may come with every message: dates and versions look like numbers at first.
func isDecimal(b []byte) (whole, ok bool) {
	n := countDigits(b)
	rest, whole := b[n:], true
	if len(rest) > 0 && rest[0] == '.' {
		m := countDigits(rest[1:])
		n += m
		rest, whole = rest[1+m:], false
	}
	if n > 0 && len(rest) > 0 && rest[0]|0x20 == 'e' {
		rest, whole = rest[1:], false
		if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
			rest = rest[1:]
		}
		m := countDigits(rest)
		return false, m > 0 && m == len(rest)
	}
	return whole, n > 0 && len(rest) == 0
}

func countDigits(b []byte) int {
	for i, c := range b {
		if !isDigit(c) {
			return i
		}
	}
	return len(b)
}

type numberLiteral num

func (n numberLiteral) number(Env) (num, bool) { return num(n), true }

func (n numberLiteral) rank() int {
	if n.i < 0 || math.Signbit(n.f) {
		return precSign
	}
	return precPrimary
}

func (n numberLiteral) appendTo(dst []byte) []byte {
	if !n.real {
		return strconv.AppendInt(dst, n.i, 10)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, n.f, 'g', -1, 64)
	if !bytes.ContainsAny(dst[start:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// signed is a number with a sign before it.
type signed struct {
	sign    byte
	operand number
}

func (s *signed) number(env Env) (num, bool) {
	n, ok := s.operand.number(env)
	if ok && s.sign == '-' {
		n = n.negative()
	}
	return n, ok
}

func (s *signed) rank() int { return precSign }
func (s *signed) appendTo(dst []byte) []byte {
	dst = append(dst, s.sign)
	if s.operand.rank() == precSign {
		dst = append(dst, ' ') // two minus signs are a comment elsewhere
	}
	return appendExpr(dst, s.operand, precSign)
}

// arithmetic is calculated from left to right.
type arithmetic struct {
	prec  int
	first number
	rest  []step
}

type step struct {
	op      byte
	operand number
}

func (a *arithmetic) number(env Env) (num, bool) {
	n, ok := a.first.number(env)
	for i := 0; ok && i < len(a.rest); i++ {
		var m num
		if m, ok = a.rest[i].operand.number(env); ok {
			n, ok = calculate(n, a.rest[i].op, m)
		}
	}
	return n, ok
}

func (a *arithmetic) rank() int { return a.prec }
func (a *arithmetic) appendTo(dst []byte) []byte {
	dst = appendExpr(dst, a.first, a.prec)
	for _, s := range a.rest {
		dst = append(dst, ' ', s.op, ' ')
		dst = appendExpr(dst, s.operand, a.prec+1)
	}
	return dst
}

// calculate does as Java does with long and double, but that a whole number which leaves 64
// bits becomes a real one, and what is not a number, or infinite, is NULL.
func calculate(a num, op byte, b num) (num, bool) {
	if !a.real && !b.real {
		if n, ok := whole(a.i, op, b.i); ok {
			return n, true
		}
	}
	x, y := a.float(), b.float()
	if y == 0 && (op == '/' || op == '%') {
		return num{}, false
	}
	var f float64
	switch op {
	case '+':
		f = x + y
	case '-':
		f = x - y
	case '*':
		f = x * y
	case '/':
		f = x / y
	default:
		f = math.Mod(x, y)
	}
	return num{f: f, real: true}, f-f == 0 // which no infinity and no NaN is
}

// whole calculates with whole numbers; false if the result is none, or too large.
func whole(a int64, op byte, b int64) (num, bool) {
	var r int64
	switch op {
	case '+':
		r = a + b
		return num{i: r}, (r > a) == (b > 0)
	case '-':
		r = a - b
		return num{i: r}, (r < a) == (b > 0)
	case '*':
		limit := uint64(math.MaxInt64)
		if (a < 0) != (b < 0) {
			limit++ // there is one more below 0
		}
		hi, lo := bits.Mul64(magnitude(a), magnitude(b))
		return num{i: a * b}, hi == 0 && lo <= limit
	}
	switch {
	case b == 0:
		return num{}, false
	case op == '%':
		return num{i: a % b}, true
	}
	return num{i: a / b}, a != math.MinInt64 || b != -1
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}
