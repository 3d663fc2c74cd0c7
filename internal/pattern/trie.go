package pattern

import (
	"regexp"
	"slices"
	"sync"
)

// A Trie finds which of many patterns match a name, in a time that depends on the name and on
// how many match, not on how many there are. It may be used from any goroutine; the zero Trie
// is empty.
type Trie[T comparable] struct {
	Separators Separators // those of the patterns in it; set before it is used

	mu   sync.RWMutex
	root node[T]
	size int
}

// A node is reached by the parts of a pattern before it.
type node[T comparable] struct {
	values []T
	parts  map[string]*node[T] // what follows, by part
	one    *node[T]            // what follows a *
	rest   *node[T]            // what follows a #
	exprs  []branch[T]         // what follows an expression
}

// A branch is what follows an expression.
type branch[T comparable] struct {
	part string
	re   *regexp.Regexp
	n    *node[T]
}

// fits is on its own, for walk is faster without it.
//
//go:noinline
func (b *branch[T]) fits(part string) bool { return b.re.MatchString(shown(part)) }

// Len is the number of values.
func (t *Trie[T]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.size
}

// Add adds v under p. The same value may be added under several patterns.
func (t *Trie[T]) Add(p Pattern, v T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.root
	for text, more := p.text, true; more; {
		var part string
		part, text, more = cut(text)
		n = n.grow(part, p)
	}
	n.values = append(n.values, v)
	t.size++
}

func (n *node[T]) grow(part string, p Pattern) *node[T] {
	next := n.next(part, p)
	if *next != nil {
		return *next
	}
	made := new(node[T])
	if re := p.exprs.of(part); re != nil {
		n.exprs = append(n.exprs, branch[T]{part, re, made})
		return made
	}
	*next = made
	if wild := p.wild; !wild || part != one && part != rest {
		if n.parts == nil {
			n.parts = make(map[string]*node[T])
		}
		n.parts[part] = made
	}
	return made
}

// next is where the node behind a part of a pattern is kept, or would be.
func (n *node[T]) next(part string, p Pattern) **node[T] {
	switch {
	case p.wild && part == one:
		return &n.one
	case p.wild && part == rest:
		return &n.rest
	case p.exprs.of(part) != nil:
		for i := range n.exprs {
			if n.exprs[i].part == part {
				return &n.exprs[i].n
			}
		}
		return new(*node[T])
	}
	next := n.parts[part]
	return &next
}

// Remove removes v under p once, and reports whether it was there.
func (t *Trie[T]) Remove(p Pattern, v T) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.root.remove(p.text, true, p, v) {
		return false
	}
	t.size--
	return true
}

func (n *node[T]) remove(text string, more bool, p Pattern, v T) bool {
	if !more {
		i := slices.Index(n.values, v)
		if i < 0 {
			return false
		}
		if n.values = slices.Delete(n.values, i, i+1); len(n.values) == 0 {
			n.values = nil
		}
		return true
	}
	part, text, more := cut(text)
	next := n.next(part, p)
	below := *next
	if below == nil || !below.remove(text, more, p, v) {
		return false
	}
	if len(below.values) == 0 && len(below.parts) == 0 && below.one == nil && below.rest == nil && below.exprs == nil {
		switch below {
		case n.one:
			n.one = nil
		case n.rest:
			n.rest = nil
		default:
			if i := slices.IndexFunc(n.exprs, func(b branch[T]) bool { return b.n == below }); i >= 0 {
				if n.exprs = slices.Delete(n.exprs, i, i+1); len(n.exprs) == 0 {
					n.exprs = nil
				}
				break
			}
			if delete(n.parts, part); len(n.parts) == 0 {
				n.parts = nil
			}
		}
	}
	return true
}

// Match appends to into the values of all patterns that match name, in no order.
func (t *Trie[T]) Match(name string, into []T) []T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.size == 0 {
		return into
	}
	if t.Separators != Both {
		name = t.Separators.hide(name)
	}
	m := matching[T]{into: into}
	m.walk(&t.root, name, true, 0)
	return m.into
}

// All appends to into all values, in no order.
func (t *Trie[T]) All(into []T) []T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.root.all(into)
}

func (n *node[T]) all(into []T) []T {
	into = append(into, n.values...)
	for _, next := range n.parts {
		into = next.all(into)
	}
	for _, next := range []*node[T]{n.one, n.rest} {
		if next != nil {
			into = next.all(into)
		}
	}
	for _, b := range n.exprs {
		into = b.n.all(into)
	}
	return into
}

// A matching is one Match at work.
type matching[T comparable] struct {
	into []T
	seen map[place[T]]bool // only where there are several ways to one place
}

// A place is a node, and how much of the name is left there.
type place[T comparable] struct {
	n    *node[T]
	left int
}

// walk looks at what n has for the rest of a name; more says that there is a part to come, and
// rests how many # led here. Behind the second there is more than one way to a place, of which
// only the first is gone.
func (m *matching[T]) walk(n *node[T], name string, more bool, rests int) {
	if rests > 1 {
		at := place[T]{n, len(name)}
		if !more {
			at.left = -1
		}
		if m.seen[at] {
			return
		}
		if m.seen == nil {
			m.seen = make(map[place[T]]bool)
		}
		m.seen[at] = true
	}
	if n.rest != nil {
		m.walkRest(n.rest, name, more, rests+1)
	}
	if !more {
		m.into = append(m.into, n.values...)
		return
	}
	part, name, more := cut(name)
	if n.one != nil {
		m.walk(n.one, name, more, rests)
	}
	if next := n.parts[part]; next != nil {
		m.walk(next, name, more, rests)
	}
	for _, b := range n.exprs {
		if b.fits(part) {
			m.walk(b.n, name, more, rests)
		}
	}
}

// walkRest goes on behind a #, with every number of parts that it can stand for.
func (m *matching[T]) walkRest(n *node[T], name string, more bool, rests int) {
	for ; more; _, name, more = cut(name) {
		m.walk(n, name, more, rests)
	}
	m.walk(n, "", false, rests)
}
