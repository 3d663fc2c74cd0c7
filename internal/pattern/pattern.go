// Package pattern matches names of destinations with wildcards, in the spellings of ActiveMQ,
// RabbitMQ, Artemis, Apollo and MQTT. Names are split into parts at dots and slashes, which are
// alike. In a pattern a part that is
//
//   - or +       one part, whatever it is
//     #, > or **   any number of parts, none included
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
	text string
	wild bool
}

// Errors of Parse.
var (
	ErrRest = errors.New("pattern: > may only be the last part; # can stand anywhere")
	ErrMany = errors.New("pattern: there are more than 8 wildcards for any number of parts")
)

// IsPattern reports whether name has a wildcard.
func IsPattern(name string) bool {
	if !strings.ContainsAny(name, "*+#>") {
		return false
	}
	for name, more := name, true; more; {
		var part string
		part, name, more = cut(name)
		if wildcard(part) != "" {
			return true
		}
	}
	return false
}

// Parse reads a pattern. Two that mean the same are equal when they are spelt with the same
// separators.
func Parse(name string) (Pattern, error) {
	if !IsPattern(name) {
		return Pattern{text: name}, nil
	}
	var b strings.Builder
	rests, last, at := 0, "", 0
	for text, more := name, true; more; {
		var part string
		part, text, more = cut(text)
		w := wildcard(part)
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
	return Pattern{text: b.String(), wild: true}, nil
}

// String is the pattern with * and # as its wildcards.
func (p Pattern) String() string { return p.text }

// Wild reports whether it has wildcards.
func (p Pattern) Wild() bool { return p.wild }

// Matches reports whether name is one that p stands for.
func (p Pattern) Matches(name string) bool {
	if !p.wild {
		return same(p.text, name)
	}
	return matches(p.text, true, name, true)
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

// matches compares what is left of a pattern and of a name; the second of each says that there
// is a part to come.
func matches(p string, pMore bool, name string, nMore bool) bool {
	for pMore {
		var part string
		part, p, pMore = cut(p)
		if part == rest {
			for {
				if matches(p, pMore, name, nMore) {
					return true
				}
				if !nMore {
					return false
				}
				_, name, nMore = cut(name)
			}
		}
		if !nMore {
			return false
		}
		var n string
		n, name, nMore = cut(name)
		if part != one && part != n {
			return false
		}
	}
	return !nMore
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
