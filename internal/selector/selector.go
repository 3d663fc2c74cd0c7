// Package selector decides by its headers whether a message is wanted: it reads the
// selectors of JMS, which are the conditions of SQL-92, and evaluates them with SQL's three
// truth values.
//
// A selector is parsed once, into a tree whose nodes know what they are made of: text,
// number or truth. Only header values are none of these before they are looked at; they
// become what they are compared with. Evaluation walks the tree, allocates nothing and
// takes time in proportion to the tree and to the headers that it names: there is no
// pattern that makes it backtrack, and no nesting that makes it deep.
//
// docs/selectors.md describes the language.
package selector

import "unicode/utf8"

// What a selector may be. These are what bounds the work that one client can make for
// everybody else's messages.
const (
	MaxLength = 64 << 10 // bytes of its text
	maxDepth  = 100      // parentheses, NOT and signs inside of each other
	maxList   = 4096     // values of one IN
	maxNames  = 1000     // header names, each time one is named
)

// Env is the message that a selector is asked about. Header returns the value of a header,
// escapes undone, or false if the message has none of that name; the value is read until
// Matches returns, and not kept. Where a header may be repeated, the first one counts.
//
// Some names are not in what a sender wrote, so whoever implements Env should know them
// besides: message-id, redelivered, delivery-count.
type Env interface {
	Header(name string) (value []byte, ok bool)
}

// A Selector is a condition on the headers of a message. It is immutable and may be used by
// any number of goroutines.
type Selector struct {
	root condition
	text string
}

// Parse reads a selector. The error is an *Error, written for the one who wrote the text.
func Parse(text string) (*Selector, error) {
	p := parser{lexer: lexer{text: text}}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	s := &Selector{root: root, text: string(root.appendTo(nil))}
	if len(s.text) > MaxLength {
		return nil, tooLong(text)
	}
	return s, nil
}

// Matches reports whether the condition is TRUE for the message; FALSE and UNKNOWN are the
// same to who wants messages.
func (s *Selector) Matches(env Env) bool { return s.root.test(env) == yes }

// String is the selector in its canonical spelling: Parse takes it and makes the same of
// it, and two selectors that differ in spaces, case and needless parentheses have one.
func (s *Selector) String() string { return s.text }

// Equality returns name and value if the selector is no more than name = 'value', so that
// who has many of them can look them up by value instead of trying each. The name is that
// of the header, whatever JMS calls it.
func (s *Selector) Equality() (name, value string, ok bool) {
	c, ok := s.root.(*compareText)
	if !ok || c.op != equal {
		return "", "", false
	}
	h, ok := c.left.(*header)
	lit, ok2 := c.right.(textLiteral)
	if !ok {
		h, ok = c.right.(*header)
		lit, ok2 = c.left.(textLiteral)
	}
	if !ok || !ok2 || h.special != nil {
		return "", "", false
	}
	return h.name, string(lit), true
}

func (p *parser) parse() (root condition, err error) {
	if len(p.text) > MaxLength {
		return nil, tooLong(p.text)
	}
	for i, r := range p.text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(p.text[i:]); size == 1 {
				return nil, &Error{Text: p.text, Offset: i, Reason: "this is not UTF-8"}
			}
		}
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Error:
			root, err = nil, r
		default:
			panic(r)
		}
	}()
	p.prefixes()
	p.next()
	start := p.tok.pos
	root = p.condition(p.or(), start, "a selector")
	if p.tok.kind != end {
		p.expected("AND, OR or the end")
	}
	return root, nil
}
