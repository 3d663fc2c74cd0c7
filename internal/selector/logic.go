package selector

import "bytes"

// A truth is one of SQL's three.
type truth uint8

const (
	no truth = iota
	yes
	unknown
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// not is the opposite; that of UNKNOWN is UNKNOWN.
func (t truth) not() truth {
	if t == unknown {
		return unknown
	}
	return t ^ 1
}

// turned is t, or its opposite.
func (t truth) turned(negated bool) truth {
	if negated {
		return t.not()
	}
	return t
}

// parseTruth reads the value of a header as true or false, in any case.
func parseTruth(b []byte) (value, ok bool) {
	b = trim(b)
	switch {
	case isFolded(b, "true"):
		return true, true
	case isFolded(b, "false"):
		return false, true
	}
	return false, false
}

func isFolded(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		if b[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// trim takes spaces and tabs from both ends: many write "size: 10".
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

type truthLiteral bool

func (t truthLiteral) rank() int      { return precPrimary }
func (t truthLiteral) test(Env) truth { return truthOf(bool(t)) }
func (t truthLiteral) appendTo(dst []byte) []byte {
	if t {
		return append(dst, "TRUE"...)
	}
	return append(dst, "FALSE"...)
}

// A junction is a list of conditions joined by AND, or by OR.
type junction struct {
	or   bool
	list []condition
}

func (j *junction) add(c condition) {
	if k, ok := c.(*junction); ok && k.or == j.or {
		j.list = append(j.list, k.list...)
		return
	}
	j.list = append(j.list, c)
}

func (j *junction) test(env Env) truth {
	decides := truthOf(j.or) // whatever the others are
	result := decides.not()
	for _, c := range j.list {
		switch t := c.test(env); t {
		case decides:
			return t
		case unknown:
			result = unknown
		}
	}
	return result
}

func (j *junction) rank() int {
	if j.or {
		return precOr
	}
	return precAnd
}

func (j *junction) appendTo(dst []byte) []byte {
	word := " AND "
	if j.or {
		word = " OR "
	}
	for i, c := range j.list {
		if i > 0 {
			dst = append(dst, word...)
		}
		dst = appendExpr(dst, c, j.rank()+1)
	}
	return dst
}

type not struct{ operand condition }

func (n *not) test(env Env) truth { return n.operand.test(env).not() }
func (n *not) rank() int          { return precNot }
func (n *not) appendTo(dst []byte) []byte {
	return appendExpr(append(dst, "NOT "...), n.operand, precNot)
}

// An operator is the set of orders that satisfy it.
type operator uint8

const (
	less operator = 1 << iota
	equal
	greater
	unequal = less | greater
)

var operators = map[string]operator{
	"=": equal, "<>": unequal, "<": less, "<=": less | equal, ">": greater, ">=": greater | equal,
}

// holds says what the operator makes of an order: -1, 0 or 1.
func (op operator) holds(order int) truth { return truth(op >> (order + 1) & 1) }

func (op operator) appendBetween(dst []byte, left, right expr) []byte {
	dst = appendExpr(dst, left, precSum)
	dst = append(dst, [...]string{
		less: " < ", equal: " = ", greater: " > ", unequal: " <> ", less | equal: " <= ", greater | equal: " >= ",
	}[op]...)
	return appendExpr(dst, right, precSum)
}

type compareText struct {
	op          operator
	left, right text
}

func (c *compareText) test(env Env) truth {
	l, ok := c.left.text(env)
	if !ok {
		return unknown
	}
	r, ok := c.right.text(env)
	if !ok {
		return unknown
	}
	if c.op == equal {
		return truthOf(string(l) == string(r))
	}
	return c.op.holds(bytes.Compare(l, r))
}

func (c *compareText) rank() int                { return precCompare }
func (c *compareText) appendTo(b []byte) []byte { return c.op.appendBetween(b, c.left, c.right) }

type compareNumber struct {
	op          operator
	left, right number
}

func (c *compareNumber) test(env Env) truth {
	l, ok := c.left.number(env)
	if !ok {
		return unknown
	}
	r, ok := c.right.number(env)
	if !ok {
		return unknown
	}
	return c.op.holds(l.compare(r))
}

func (c *compareNumber) rank() int                { return precCompare }
func (c *compareNumber) appendTo(b []byte) []byte { return c.op.appendBetween(b, c.left, c.right) }

type compareTruth struct {
	op          operator
	left, right condition
}

func (c *compareTruth) test(env Env) truth {
	l, r := c.left.test(env), c.right.test(env)
	if l == unknown || r == unknown {
		return unknown
	}
	return truthOf((l == r) == (c.op == equal))
}

func (c *compareTruth) rank() int                { return precCompare }
func (c *compareTruth) appendTo(b []byte) []byte { return c.op.appendBetween(b, c.left, c.right) }

// compareHeaders compares two headers: as numbers if both are that, else as text.
type compareHeaders struct {
	op          operator
	left, right *header
}

func (c *compareHeaders) test(env Env) truth {
	l, ok := c.left.text(env)
	if !ok {
		return unknown
	}
	r, ok := c.right.text(env)
	if !ok {
		return unknown
	}
	if a, ok := parseNumber(l); ok {
		if b, ok := parseNumber(r); ok {
			return c.op.holds(a.compare(b))
		}
	}
	return c.op.holds(bytes.Compare(l, r))
}

func (c *compareHeaders) rank() int                { return precCompare }
func (c *compareHeaders) appendTo(b []byte) []byte { return c.op.appendBetween(b, c.left, c.right) }

type between struct {
	operand, low, high expr
	above, below       condition // operand >= low, operand <= high
	negated            bool
}

func (b *between) test(env Env) truth {
	t := b.above.test(env)
	if t != no {
		if u := b.below.test(env); u != yes {
			t = u
		}
	}
	return t.turned(b.negated)
}

func (b *between) rank() int { return precCompare }
func (b *between) appendTo(dst []byte) []byte {
	dst = appendNot(appendExpr(dst, b.operand, precSum), b.negated)
	dst = appendExpr(append(dst, "BETWEEN "...), b.low, precSum)
	return appendExpr(append(dst, " AND "...), b.high, precSum)
}

func appendNot(dst []byte, negated bool) []byte {
	if negated {
		return append(dst, " NOT "...)
	}
	return append(dst, ' ')
}

type isNull struct {
	operand expr
	negated bool
}

func (n *isNull) test(env Env) truth {
	there := true
	switch e := n.operand.(type) {
	case text: // a header, too
		_, there = e.text(env)
	case number:
		_, there = e.number(env)
	case condition:
		there = e.test(env) != unknown
	}
	return truthOf(there == n.negated)
}

func (n *isNull) rank() int { return precCompare }
func (n *isNull) appendTo(dst []byte) []byte {
	dst = append(appendExpr(dst, n.operand, precSum), " IS"...)
	return append(appendNot(dst, n.negated), "NULL"...)
}
