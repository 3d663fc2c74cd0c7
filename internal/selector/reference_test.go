package selector_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// The reference is the language once more, in the plainest way: a value is nil (NULL, UNKNOWN),
// a string, a bool, or a *big.Int or float64. It is made of nodes, and so are the random
// selectors, which are then written down for the parser to read.

type values map[string]string

func (v values) Header(name string) ([]byte, bool) {
	s, ok := v[name]
	return []byte(s), ok
}

// A node knows its value, and how to write itself as an operand of what binds as tightly as
// level.
type node interface {
	eval(values) any
	level() int
	write(w *writer)
}

const (
	levelOr = iota
	levelAnd
	levelNot
	levelCompare
	levelSum
	levelProduct
	levelSign
	levelPrimary
)

type writer struct {
	strings.Builder
	r *rand.Rand
}

// word writes a reserved word or operator, in any case and between any spaces.
func (w *writer) word(s string) {
	if w.r.IntN(2) == 0 {
		s = strings.ToLower(s)
	}
	space := []string{" ", " ", " ", "  ", "\t", "\n", " \r\n"}
	w.WriteString(space[w.r.IntN(len(space))] + s + space[w.r.IntN(len(space))])
}

func (w *writer) node(n node, level int) {
	if n.level() >= level && w.r.IntN(10) > 0 {
		n.write(w)
		return
	}
	w.WriteString("(")
	n.write(w)
	w.WriteString(")")
}

func (w *writer) quoted(s string) {
	w.WriteString("'" + strings.ReplaceAll(s, "'", "''") + "'")
}

var (
	isWhole = regexp.MustCompile(`^[+-]?[0-9]+$`)
	isReal  = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

func toNumber(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	s = strings.Trim(s, " \t")
	if isWhole.MatchString(s) {
		if i, ok := new(big.Int).SetString(strings.TrimPrefix(s, "+"), 10); ok && i.IsInt64() {
			return i
		}
	}
	if isReal.MatchString(s) {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	}
	return nil
}

func toTruth(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	switch strings.ToLower(strings.Trim(s, " \t")) {
	case "true":
		return true
	case "false":
		return false
	}
	return nil
}

func toFloat(v any) float64 {
	if i, ok := v.(*big.Int); ok {
		return float64(i.Int64())
	}
	return v.(float64)
}

type head string

func (h head) level() int { return levelPrimary }
func (h head) eval(v values) any {
	if s, ok := v[string(h)]; ok {
		return s
	}
	return nil
}
func (h head) write(w *writer) {
	if w.r.IntN(4) == 0 {
		w.WriteString(`"` + string(h) + `"`)
		return
	}
	w.WriteString(string(h))
}

type lit struct{ v any }

func (l lit) level() int      { return levelPrimary }
func (l lit) eval(values) any { return l.v }
func (l lit) write(w *writer) {
	switch v := l.v.(type) {
	case string:
		w.quoted(v)
	case bool:
		w.WriteString(strings.ToUpper(strconv.FormatBool(v)))
	case *big.Int:
		switch w.r.IntN(4) {
		case 0:
			fmt.Fprintf(w, "0x%x", v)
		case 1:
			fmt.Fprintf(w, "0%oL", v)
		default:
			fmt.Fprint(w, v)
		}
	case float64:
		w.WriteString(strconv.FormatFloat(v, 'e', -1, 64))
	}
}

type sum struct {
	op   byte
	a, b node
}

func (s sum) level() int {
	if s.op == '+' || s.op == '-' {
		return levelSum
	}
	return levelProduct
}

func (s sum) write(w *writer) {
	w.node(s.a, s.level())
	w.word(string(s.op))
	w.node(s.b, s.level()+1)
}

func (s sum) eval(v values) any {
	a, b := toNumber(s.a.eval(v)), toNumber(s.b.eval(v))
	if a == nil || b == nil {
		return nil
	}
	x, ok := a.(*big.Int)
	y, ok2 := b.(*big.Int)
	if ok && ok2 {
		r := new(big.Int)
		switch {
		case s.op == '+':
			r.Add(x, y)
		case s.op == '-':
			r.Sub(x, y)
		case s.op == '*':
			r.Mul(x, y)
		case y.Sign() == 0:
			return nil
		case s.op == '/':
			r.Quo(x, y)
		default:
			r.Rem(x, y)
		}
		if r.IsInt64() {
			return r
		}
	}
	p, q := toFloat(a), toFloat(b)
	var f float64
	switch {
	case s.op == '+':
		f = p + q
	case s.op == '-':
		f = p - q
	case s.op == '*':
		f = p * q
	case q == 0:
		return nil
	case s.op == '/':
		f = p / q
	default:
		f = math.Mod(p, q)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	return f
}

type sign struct {
	op byte
	a  node
}

func (s sign) level() int { return levelSign }
func (s sign) write(w *writer) {
	w.WriteString(string(s.op) + " ")
	w.node(s.a, levelSign)
}
func (s sign) eval(v values) any {
	a := toNumber(s.a.eval(v))
	if a == nil || s.op == '+' {
		return a
	}
	if i, ok := a.(*big.Int); ok {
		if n := new(big.Int).Neg(i); n.IsInt64() {
			return n
		}
	}
	return -toFloat(a)
}

type comparison struct {
	op   string
	a, b node
}

func (c comparison) level() int { return levelCompare }
func (c comparison) write(w *writer) {
	w.node(c.a, levelSum)
	w.word(c.op)
	w.node(c.b, levelSum)
}

func (c comparison) eval(v values) any {
	_, aIsHead := c.a.(head)
	_, bIsHead := c.b.(head)
	order := compare(c.a.eval(v), c.b.eval(v), aIsHead && bIsHead)
	if order == nil {
		return nil
	}
	o := order.(int)
	switch c.op {
	case "=":
		return o == 0
	case "<>":
		return o != 0
	case "<":
		return o < 0
	case "<=":
		return o <= 0
	case ">":
		return o > 0
	default:
		return o >= 0
	}
}

// compare returns nil, or an int that is below, at or above 0.
func compare(a, b any, heads bool) any {
	if a == nil || b == nil {
		return nil
	}
	_, aText := a.(string)
	_, bText := b.(string)
	if aText && bText {
		if heads && toNumber(a) != nil && toNumber(b) != nil {
			return compare(toNumber(a), toNumber(b), false)
		}
		return strings.Compare(a.(string), b.(string))
	}
	_, aTruth := a.(bool)
	_, bTruth := b.(bool)
	if aTruth || bTruth {
		a, b = toTruth(a), toTruth(b)
		switch {
		case a == nil || b == nil:
			return nil
		case a == b:
			return 0
		}
		return 1
	}
	a, b = toNumber(a), toNumber(b)
	if a == nil || b == nil {
		return nil
	}
	x, ok := a.(*big.Int)
	y, ok2 := b.(*big.Int)
	if ok && ok2 {
		return x.Cmp(y)
	}
	switch d := toFloat(a) - toFloat(b); {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}
