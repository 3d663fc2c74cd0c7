package selector

import "strings"

// An expr is a node of the tree. What it is made of is told by which of condition, number
// and text it implements; a header is all three.
type expr interface {
	rank() int
	appendTo(dst []byte) []byte // in canonical spelling
}

type condition interface {
	expr
	test(Env) truth
}

type number interface {
	expr
	number(Env) (num, bool) // false: NULL
}

type text interface {
	expr
	text(Env) ([]byte, bool) // false: NULL
}

// How tightly what an expr is made of holds together.
const (
	precOr = iota
	precAnd
	precNot
	precCompare
	precSum
	precProduct
	precSign
	precPrimary
)

// appendExpr writes e, in parentheses if it holds together less tightly than its place
// demands.
func appendExpr(dst []byte, e expr, rank int) []byte {
	if e.rank() >= rank {
		return e.appendTo(dst)
	}
	return append(e.appendTo(append(dst, '(')), ')')
}

// A sort is what an expr is made of.
type sort uint8

const (
	ofHeader sort = iota
	ofText
	ofNumber
	ofTruth
)

func (s sort) String() string { return [...]string{"a header", "a text", "a number", "a condition"}[s] }

func sortOf(e expr) sort {
	if _, ok := e.(*header); ok {
		return ofHeader
	}
	switch e.(type) {
	case text:
		return ofText
	case number:
		return ofNumber
	}
	return ofTruth
}

type textLiteral []byte

func (t textLiteral) rank() int                { return precPrimary }
func (t textLiteral) text(Env) ([]byte, bool)  { return t, true }
func (t textLiteral) appendTo(b []byte) []byte { return appendQuoted(b, string(t), "'") }

func appendQuoted(dst []byte, s, quote string) []byte {
	dst = append(dst, quote...)
	dst = append(dst, strings.ReplaceAll(s, quote, quote+quote)...)
	return append(dst, quote...)
}
