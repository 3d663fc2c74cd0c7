// Package selector decides by its headers whether a message is wanted: it reads the
// selectors of JMS, which are the conditions of SQL-92, and evaluates them with SQL's three
// truth values.
//
// A selector is parsed once, into a tree whose nodes know what they are made of: text,
// number or truth. Only header values are none of these before they are looked at; they
// become what they are compared with. Evaluation walks the tree, allocates nothing (but for a
// number of more than 32 characters) and takes time in proportion to the tree and to the
// headers that it names: there is no pattern that makes it backtrack, and no nesting that
// makes it deep.
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
	maxLikes  = 100      // LIKE, which alone looks at the whole of a long header
)

// Env is the message that a selector is asked about. Header returns the value of a header,
// escapes undone, or false if the message has none of that name; the value is read until
// Matches returns, and neither kept nor changed. Where a header is repeated, the first counts.
//
// What a consumer sees should be there, though no sender wrote it: content-length,
// destination, message-id, redelivered, delivery-count, timestamp.
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

// Equality returns name and value if only a message can match whose first header of that name
// is exactly that value: the selector is name = 'value', or that AND more. So who has many
// selectors can look them up by value instead of trying each; Matches still decides. The name
// is that of the header, whatever JMS calls it.
func (s *Selector) Equality() (name, value string, ok bool) {
	all := []condition{s.root}
	if j, ok := s.root.(*junction); ok && !j.or {
		all = j.list
	}
	for _, c := range all {
		if name, value, ok = equality(c); ok {
			return name, value, true
		}
	}
	return "", "", false
}

func equality(c condition) (name, value string, ok bool) {
	cmp, ok := c.(*compareText)
	if !ok || cmp.op != equal {
		return "", "", false
	}
	h, lit := cmp.left, cmp.right
	if _, ok := lit.(textLiteral); !ok {
		h, lit = lit, h
	}
	head, isHeader := h.(*header)
	text, isLiteral := lit.(textLiteral)
	if !isHeader || !isLiteral || head.special != nil {
		return "", "", false
	}
	return head.name, string(text), true
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
