// Package pattern matches names of destinations with wildcards, in the spellings of ActiveMQ,
// RabbitMQ, Artemis, Apollo and MQTT. Names are split into parts at dots and slashes, which are
// alike, or at one of both, as Separators say. In a pattern a part that is
//
//   - or +       one part, whatever it is
//     #, > or **   any number of parts, none included
//     {EXPR}       one part that fits a regular expression
//
// where > may only be the last part. Anything else stands for itself.
package pattern

import (
	"errors"
	"strings"
)

// maxRests is how many # a pattern may have: each multiplies the ways to match a name.
const maxRests = 8

// The two wildcards.
const (
	one  = "*"
	rest = "#"
)

// A Pattern is a name, perhaps with wildcards. The zero Pattern matches the empty name.
type Pattern struct {
	text  string // of which is hidden what separates nothing
	wild  bool
	sep   Separators
	exprs *exprs // nil: there is none
}

// Errors of Parse.
var (
	ErrRest = errors.New("pattern: > may only be the last part; # can stand anywhere")
	ErrChar = errors.New("pattern: it holds a control character")
	ErrMany = errors.New("pattern: there are more than 8 wildcards for any number of parts")
)

// IsPattern reports whether name has a wildcard.
func (s Separators) IsPattern(name string) bool {
	return strings.ContainsAny(name, "*+#>{") && isPattern(s.hide(name))
}

func isPattern(name string) bool {
	for name, more := name, true; more; {
		var part string
		var isExpr bool
		part, name, more, isExpr = cutPattern(name)
		if isExpr || wildcard(part) != "" {
			return true
		}
	}
	return false
}

// Parse reads a pattern. Two that mean the same are equal when they are spelt with the same
// separators, and without expressions.
func (s Separators) Parse(name string) (Pattern, error) {
	if s != Both && strings.ContainsAny(name, hidden) {
		return Pattern{}, ErrChar
	}
	name = s.hide(name)
	if !isPattern(name) {
		return Pattern{text: name, sep: s}, nil
	}
	var b strings.Builder
	rests, last, at := 0, "", 0
	found := exprs{sep: s}
	for text, more := name, true; more; {
		var part string
		var isExpr bool
		part, text, more, isExpr = cutPattern(text)
		w := wildcard(part)
		if isExpr {
			var err error
			if w, err = found.add(part); err != nil {
				return Pattern{}, err
			}
		}
		if part == ">" && more {
			return Pattern{}, ErrRest
		}
		at += len(part)
		if w == rest && last == rest { // any number twice is any number
			at++
			continue
		}
		if w == rest {
			rests++
		}
		if w == "" {
			w = part
		}
		if b.Len() > 0 || at > len(part) {
			b.WriteByte(name[at-len(part)-1])
		}
		b.WriteString(w)
		last = w
		at++
	}
	if rests > maxRests {
		return Pattern{}, ErrMany
	}
	p := Pattern{text: b.String(), wild: true, sep: s}
	if found.parts != nil {
		p.exprs = &found
	}
	return p, nil
}

// String is the pattern with * and # as its wildcards.
func (p Pattern) String() string {
	if p.exprs == nil && p.sep == Both {
		return p.text
	}
	return shows.Replace(p.text)
}

// Wild reports whether it has wildcards.
func (p Pattern) Wild() bool { return p.wild }

// Matches reports whether name is one that p stands for.
func (p Pattern) Matches(name string) bool {
	return p.matches(p.sep.hide(name))
}

func (p *Pattern) matches(name string) bool {
	if !p.wild {
		return same(p.text, name)
	}
	return matches(p.text, name, p.exprs)
}

// same reports whether a and b have the same parts.
func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && !(separates(a[i]) && separates(b[i])) {
			return false
		}
	}
	return true
}

// matches compares a pattern with a name. What a # stands for is as little as possible, and a part
// more each time that what follows does not fit: only the last # ever has to be tried again.
func matches(p, name string, exprs *exprs) bool {
	type place struct {
		text string
		more bool // there is a part to come
	}
	at, in := place{p, true}, place{name, true}
	var behind, from place // the last #: what follows it, and where in the name that was tried
	tried := false
	for in.more {
		if at.more {
			part, after, more := cut(at.text)
			if part == rest {
				at = place{after, more}
				behind, from, tried = at, in, true
				continue
			}
			n, left, leftMore := cut(in.text)
			if part == one || part == n || exprs.fits(part, n) {
				at, in = place{after, more}, place{left, leftMore}
				continue
			}
		}
		if !tried {
			return false
		}
		_, from.text, from.more = cut(from.text)
		at, in = behind, from
	}
	for at.more {
		var part string
		if part, at.text, at.more = cut(at.text); part != rest {
			return false
		}
	}
	return true
}

// cut takes the first part off name and reports whether there is another.
func cut(name string) (part, after string, more bool) {
	for i := range len(name) {
		if separates(name[i]) {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

func separates(c byte) bool { return c == '.' || c == '/' }

// wildcard returns which wildcard a part is, "" if it is none.
func wildcard(part string) string {
	switch part {
	case "*", "+":
		return one
	case "#", ">", "**":
		return rest
	}
	return ""
}
