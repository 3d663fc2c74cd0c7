package selector_test

import "unicode/utf8"

// The conditions of the reference.

func kleeneAnd(a, b any) any {
	switch {
	case a == false || b == false:
		return false
	case a == nil || b == nil:
		return nil
	}
	return true
}

func kleeneNot(a any) any {
	if a == nil {
		return nil
	}
	return !a.(bool)
}

func turned(a any, negated bool) any {
	if negated {
		return kleeneNot(a)
	}
	return a
}

type both struct{ a, b node }

func (n both) level() int        { return levelAnd }
func (n both) eval(v values) any { return kleeneAnd(toTruth(n.a.eval(v)), toTruth(n.b.eval(v))) }
func (n both) write(w *writer) {
	w.node(n.a, levelAnd)
	w.word("AND")
	w.node(n.b, levelNot)
}

type either struct{ a, b node }

func (n either) level() int { return levelOr }
func (n either) eval(v values) any { // by de Morgan
	return kleeneNot(kleeneAnd(kleeneNot(toTruth(n.a.eval(v))), kleeneNot(toTruth(n.b.eval(v)))))
}
func (n either) write(w *writer) {
	w.node(n.a, levelOr)
	w.word("OR")
	w.node(n.b, levelAnd)
}

type negation struct{ a node }

func (n negation) level() int        { return levelNot }
func (n negation) eval(v values) any { return kleeneNot(toTruth(n.a.eval(v))) }
func (n negation) write(w *writer) {
	w.word("NOT")
	w.node(n.a, levelNot)
}

func (w *writer) not(negated bool) {
	if negated {
		w.word("NOT")
	}
}

type isNull struct {
	a       node
	negated bool
}

func (n isNull) level() int { return levelCompare }
func (n isNull) eval(v values) any {
	return (n.a.eval(v) == nil) != n.negated
}
func (n isNull) write(w *writer) {
	w.node(n.a, levelSum)
	w.word("IS")
	w.not(n.negated)
	w.word("NULL")
}

type between struct {
	a, low, high node
	negated      bool
}

func (n between) level() int { return levelCompare }
func (n between) eval(v values) any {
	low, high := comparison{">=", n.a, n.low}, comparison{"<=", n.a, n.high}
	return turned(kleeneAnd(low.eval(v), high.eval(v)), n.negated)
}
func (n between) write(w *writer) {
	w.node(n.a, levelSum)
	w.not(n.negated)
	w.word("BETWEEN")
	w.node(n.low, levelSum)
	w.word("AND")
	w.node(n.high, levelSum)
}

type in struct {
	a       node
	list    []node // of literals, and signs of them
	negated bool
}

func (n in) level() int { return levelCompare }
func (n in) eval(v values) any {
	var any any = false
	for _, l := range n.list {
		any = either{lit{any}, lit{comparison{"=", n.a, l}.eval(v)}}.eval(v)
	}
	return turned(any, n.negated)
}
func (n in) write(w *writer) {
	w.node(n.a, levelSum)
	w.not(n.negated)
	w.word("IN")
	w.WriteString("(")
	for i, l := range n.list {
		if i > 0 {
			w.WriteString(",")
		}
		if s, ok := l.(sign); ok { // here without parentheses
			w.WriteString(string(s.op))
			l = s.a
		}
		l.write(w)
	}
	w.WriteString(")")
}

type like struct {
	a       node
	pattern string
	escape  string // or none
	negated bool
}

func (n like) level() int { return levelCompare }
func (n like) eval(v values) any {
	s, ok := n.a.eval(v).(string)
	if !ok {
		return nil
	}
	return turned(fits(s, []rune(n.pattern), []rune(n.escape)), n.negated)
}
func (n like) write(w *writer) {
	w.node(n.a, levelSum)
	w.not(n.negated)
	w.word("LIKE")
	w.quoted(n.pattern)
	if n.escape != "" {
		w.word("ESCAPE")
		w.quoted(n.escape)
	}
}

// fits tries every way to match.
func fits(s string, pattern, escape []rune) bool {
	if len(pattern) == 0 {
		return s == ""
	}
	r, size := utf8.DecodeRuneInString(s)
	p, rest := pattern[0], pattern[1:]
	switch {
	case len(escape) > 0 && p == escape[0]:
		if len(rest) > 0 && (rest[0] == '%' || rest[0] == '_' || rest[0] == escape[0]) {
			p, rest = rest[0], rest[1:]
		}
	case p == '%':
		return fits(s, rest, escape) || s != "" && fits(s[size:], pattern, escape)
	case p == '_':
		return s != "" && fits(s[size:], rest, escape)
	}
	return s != "" && s[:size] == string(p) && r == p && fits(s[size:], rest, escape)
}
