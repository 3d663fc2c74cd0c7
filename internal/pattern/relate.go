package pattern

// Contains reports whether p stands for every name that q stands for. It never errs to that side;
// of patterns that say the same in very different ways it may miss it.
func (p Pattern) Contains(q Pattern) bool {
	if !q.wild {
		return p.matches(q.text)
	}
	if !p.wild {
		return false
	}
	return newRelation(p, q, func(r *relation, i, j int) bool {
		a, b := r.at(i, j)
		switch {
		case a == rest:
			return r.holds(i+1, j) || b != end && r.holds(i, j+1)
		case a == end || b == end:
			return a == b
		case a == one:
			return b != rest && r.holds(i+1, j+1)
		}
		return (a == b || r.q.exprs.of(b) == nil && b != one && b != rest && r.p.exprs.fits(a, b)) && r.holds(i+1, j+1)
	}).holds(0, 0)
}

// Overlaps reports whether there is a name that both stand for.
func (p Pattern) Overlaps(q Pattern) bool {
	switch {
	case !p.wild:
		return q.matches(p.text)
	case !q.wild:
		return p.matches(q.text)
	}
	return newRelation(p, q, func(r *relation, i, j int) bool {
		a, b := r.at(i, j)
		switch {
		case a == rest:
			return r.holds(i+1, j) || b != end && r.holds(i, j+1)
		case b == rest:
			return r.holds(i, j+1) || a != end && r.holds(i+1, j)
		case a == end || b == end:
			return a == b
		}
		return (a == b || a == one || b == one || r.both(a, b)) && r.holds(i+1, j+1)
	}).holds(0, 0)
}

// both reports whether a part of a name may be one that the parts a and b, of which one is an expression, stand for.
func (r *relation) both(a, b string) bool {
	if r.p.exprs.of(a) != nil {
		return r.q.exprs.of(b) != nil || r.p.exprs.fits(a, b)
	}
	return r.q.exprs.fits(b, a)
}

// end is behind the last part. No part is like it: it holds a separator.
const end = "/"

// A side is one of two patterns.
type side struct {
	parts []string
	exprs *exprs
}

// A relation compares two patterns from each place in one and each in the other, once.
type relation struct {
	p, q side
	rule func(r *relation, i, j int) bool
	seen []int8 // 1: it holds, -1: it does not
}

func newRelation(p, q Pattern, rule func(r *relation, i, j int) bool) *relation {
	r := &relation{p: side{ordered(p.text), p.exprs}, q: side{ordered(q.text), q.exprs}, rule: rule}
	r.seen = make([]int8, (len(r.p.parts)+1)*(len(r.q.parts)+1))
	return r
}

// at returns the parts of both that stand at i and j, or end.
func (r *relation) at(i, j int) (a, b string) {
	a, b = end, end
	if i < len(r.p.parts) {
		a = r.p.parts[i]
	}
	if j < len(r.q.parts) {
		b = r.q.parts[j]
	}
	return a, b
}

func (r *relation) holds(i, j int) bool {
	known := &r.seen[i*(len(r.q.parts)+1)+j]
	if *known == 0 {
		*known = -1
		if r.rule(r, i, j) {
			*known = 1
		}
	}
	return *known > 0
}

// ordered returns the parts of a pattern. In a run of wildcards those for one part come first,
// which means the same.
func ordered(text string) []string {
	var all []string
	rests := 0
	for more := true; more; {
		var part string
		part, text, more = cut(text)
		switch {
		case part == rest:
			rests++
			continue
		case part != one && rests > 0:
			all, rests = append(all, rest), 0
		}
		all = append(all, part)
	}
	if rests > 0 {
		all = append(all, rest)
	}
	return all
}
