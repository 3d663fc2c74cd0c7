package selector

import "fmt"

func (p *parser) sum() expr     { return p.arithmetic(precSum, "+", "-", "-", (*parser).product) }
func (p *parser) product() expr { return p.arithmetic(precProduct, "*", "/", "%", (*parser).sign) }

// arithmetic reads operands that are joined by operators of one rank, into a list.
func (p *parser) arithmetic(rank int, a, b, c string, operand func(*parser) expr) expr {
	start := p.tok.pos
	first := operand(p)
	var list *arithmetic
	for p.tok.is(a) || p.tok.is(b) || p.tok.is(c) {
		op := p.tok.text
		if list == nil {
			n := p.number(first, start, op)
			if l, ok := n.(*arithmetic); ok && l.prec == rank {
				list = l // (a + b) + c
			} else {
				list = &arithmetic{prec: rank, first: n}
			}
		}
		p.next()
		start = p.tok.pos
		list.rest = append(list.rest, step{op[0], p.number(operand(p), start, op)})
	}
	if list == nil {
		return first
	}
	return list
}

func (p *parser) sign() expr {
	op := p.tok.text
	if !p.tok.is("+") && !p.tok.is("-") {
		return p.primary()
	}
	p.next()
	if op == "-" && p.tok.kind == numeral {
		return p.negative()
	}
	p.enter()
	defer p.leave()
	start := p.tok.pos
	n := p.number(p.sign(), start, op)
	if lit, ok := n.(numberLiteral); ok {
		if op == "-" {
			lit = numberLiteral(num(lit).negative())
		}
		return lit
	}
	return &signed{op[0], n}
}

// negative reads the numeral after a minus.
func (p *parser) negative() expr {
	n := p.tok.num.negative()
	if p.tok.min {
		n = num{i: -1 << 63}
	}
	p.next()
	return numberLiteral(n)
}

func (p *parser) primary() expr {
	t := p.tok
	switch {
	case t.kind == word || t.kind == quoted:
		if p.names++; p.names > maxNames {
			p.fail(t.pos, "more than %d header names: IN does with one for many values", maxNames)
		}
		p.next()
		if p.tok.is("(") {
			p.fail(t.pos, "there are no functions in a selector")
		}
		return newHeader(t.text, t.kind == quoted)
	case t.kind == str:
		p.next()
		return textLiteral(t.text)
	case t.kind == numeral:
		p.next()
		return numberLiteral(t.num)
	case t.is("TRUE"), t.is("FALSE"):
		p.next()
		return truthLiteral(t.text == "TRUE")
	case t.is("NULL"):
		p.fail(t.pos, "nothing can be compared with NULL: write IS NULL or IS NOT NULL")
	case t.is("("):
		p.enter()
		defer p.leave()
		p.next()
		e := p.or()
		p.want(")", "for the ( at character "+fmt.Sprint((&Error{Text: p.text, Offset: t.pos}).Character()))
		return e
	}
	p.expected("a header, a text in quotes or a number")
	return nil
}
