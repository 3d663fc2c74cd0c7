package selector

import "fmt"

type parser struct {
	lexer
	depth int
	names int
	likes int
}

// enter is called before what can contain itself, and undone by leave.
func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.tok.pos, "more than %d parentheses, NOT and signs inside of each other", maxDepth)
	}
}

func (p *parser) leave() { p.depth-- }

// accept takes the token if it is this symbol or reserved word.
func (p *parser) accept(text string) bool {
	if !p.tok.is(text) {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(text, where string) {
	if !p.accept(text) {
		p.expected(text + " " + where)
	}
}

func (p *parser) or() expr  { return p.junction("OR", (*parser).and) }
func (p *parser) and() expr { return p.junction("AND", (*parser).not) }

// junction reads operands that are joined by one word. It makes a list of them, not a tree:
// a selector of a thousand ORs is not a thousand deep.
func (p *parser) junction(word string, operand func(*parser) expr) expr {
	start := p.tok.pos
	first := operand(p)
	if !p.tok.is(word) {
		return first
	}
	j := &junction{or: word == "OR"}
	j.add(p.condition(first, start, word))
	for p.accept(word) {
		start = p.tok.pos
		j.add(p.condition(operand(p), start, word))
	}
	return j
}

func (p *parser) not() expr {
	if !p.accept("NOT") {
		return p.comparison()
	}
	p.enter()
	defer p.leave()
	start := p.tok.pos
	return &not{p.condition(p.not(), start, "NOT")}
}

func (p *parser) comparison() expr {
	start := p.tok.pos
	left := p.sum()
	if p.tok.kind != symbol && p.tok.kind != keyword {
		return left
	}
	var c condition
	at := p.tok
	switch op := operators[at.text]; {
	case op != 0:
		p.next()
		right := p.sum()
		c = p.compare(op, left, right, at)
	case p.accept("IS"):
		negated := p.accept("NOT")
		p.want("NULL", "after IS")
		c = &isNull{left, negated}
	default:
		negated := p.accept("NOT")
		switch {
		case p.tok.is("BETWEEN"):
			c = p.between(left, negated)
		case p.tok.is("IN"):
			c = p.in(left, start, negated)
		case p.tok.is("LIKE"):
			c = p.like(left, start, negated)
		case negated:
			p.expected("BETWEEN, IN or LIKE after NOT")
		default:
			return left
		}
	}
	if p.tok.kind == symbol && operators[p.tok.text] != 0 {
		p.fail(p.tok.pos, "comparisons do not follow each other: join them with AND, or put one in parentheses")
	}
	return c
}

// compare makes a comparison of two operands by what they are. A header becomes what it is
// compared with.
func (p *parser) compare(op operator, left, right expr, at token) condition {
	l, r := sortOf(left), sortOf(right)
	s := l
	if l == ofHeader {
		s = r
	} else if r != ofHeader && r != l {
		p.fail(at.pos, "%s and %s cannot be compared%s", l, r, hint(left, right))
	}
	switch s {
	case ofText:
		return &compareText{op, left.(text), right.(text)}
	case ofNumber:
		return &compareNumber{op, left.(number), right.(number)}
	case ofTruth:
		if op != equal && op != unequal {
			p.fail(at.pos, "conditions, TRUE and FALSE can only be compared with = and <>")
		}
		return &compareTruth{op, left.(condition), right.(condition)}
	}
	return &compareHeaders{op, left.(*header), right.(*header)}
}

func hint(left, right expr) string {
	for _, e := range [...]expr{left, right} {
		if t, ok := e.(textLiteral); ok {
			if _, ok := parseNumber(t); ok {
				return fmt.Sprintf(": without the quotes %s is a number", t)
			}
			if _, ok := parseTruth(t); ok {
				return ": TRUE and FALSE have no quotes"
			}
		}
	}
	return ""
}

func (p *parser) between(left expr, negated bool) condition {
	at := p.tok
	p.next()
	low := p.sum()
	p.want("AND", "between the two values of BETWEEN")
	high := p.sum()
	return &between{
		operand: left, low: low, high: high, negated: negated,
		above: p.compare(greater|equal, left, low, at),
		below: p.compare(less|equal, left, high, at),
	}
}

func (p *parser) in(left expr, start int, negated bool) condition {
	s := sortOf(left)
	if s == ofTruth {
		p.fail(start, "expected a header, a text or a number before IN, found %s", s)
	}
	p.next()
	p.want("(", "after IN")
	list := newIn(left, negated)
	for {
		at := p.tok
		if len(list.values) == maxList {
			p.fail(at.pos, "more than %d values after IN", maxList)
		}
		v := p.literal()
		if r := sortOf(v); s != ofHeader && s != r {
			p.fail(at.pos, "%s and %s cannot be compared%s", s, r, hint(left, v))
		}
		list.add(v)
		if !p.accept(",") {
			break
		}
	}
	p.want(")", "or a comma")
	return list
}

// literal reads one value of IN.
func (p *parser) literal() expr {
	sign := ""
	if p.tok.is("+") || p.tok.is("-") {
		sign = p.tok.text
		p.next()
	}
	if p.tok.kind == numeral {
		if sign == "-" {
			return p.negative()
		}
		return p.primary()
	}
	if sign != "" {
		p.expected("a number after " + sign)
	}
	if p.tok.kind != str && !p.tok.is("TRUE") && !p.tok.is("FALSE") {
		p.expected("a text in quotes or a number")
	}
	return p.primary()
}

func (p *parser) like(left expr, start int, negated bool) condition {
	operand, ok := left.(text)
	if !ok {
		p.fail(start, "expected a header or a text before LIKE, found %s", sortOf(left))
	}
	if p.likes++; p.likes > maxLikes {
		p.fail(p.tok.pos, "more than %d LIKE", maxLikes)
	}
	p.next()
	at := p.tok
	if p.tok.kind != str {
		p.expected("a pattern in quotes after LIKE")
	}
	l := &like{operand: operand, source: p.tok.text, negated: negated}
	p.next()
	if p.accept("ESCAPE") {
		r := []rune(headOf(p.tok.text, 2))
		if p.tok.kind != str || len(r) != 1 {
			p.expected("one character in quotes after ESCAPE")
		}
		l.escape, l.escaped = r[0], true
		p.next()
	}
	if reason := l.compile(); reason != "" {
		p.fail(at.pos, "%s", reason)
	}
	return l
}

// condition is e as an operand that is TRUE or FALSE.
func (p *parser) condition(e expr, start int, of string) condition {
	c, ok := e.(condition)
	if !ok {
		p.fail(start, "%s needs a condition, found %s", of, sortOf(e))
	}
	return c
}

// number is e as an operand to calculate with.
func (p *parser) number(e expr, start int, of string) number {
	n, ok := e.(number)
	if !ok {
		p.fail(start, "%s needs numbers, found %s", of, sortOf(e))
	}
	return n
}
