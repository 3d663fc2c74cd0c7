package pattern

// Contains reports whether p stands for every name that q stands for. It never errs to that side;
// of patterns that say the same in very different ways it may miss it.
func (p Pattern) Contains(q Pattern) bool {
	if !q.wild {
		return p.Matches(q.text)
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
		return a == b && r.holds(i+1, j+1)
	}).holds(0, 0)
}

// Overlaps reports whether there is a name that both stand for.
func (p Pattern) Overlaps(q Pattern) bool {
	switch {
	case !p.wild:
		return q.Matches(p.text)
	case !q.wild:
		return p.Matches(q.text)
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
		return (a == b || a == one || b == one) && r.holds(i+1, j+1)
	}).holds(0, 0)
}

// end is behind the last part. No part is like it: it holds a separator.
const end = "/"

// A relation compares two patterns from each place in one and each in the other, once.
type relation struct {
	p, q []string
	rule func(r *relation, i, j int) bool
	seen []int8 // 1: it holds, -1: it does not
}

func newRelation(p, q Pattern, rule func(r *relation, i, j int) bool) *relation {
	r := &relation{p: ordered(p.text), q: ordered(q.text), rule: rule}
	r.seen = make([]int8, (len(r.p)+1)*(len(r.q)+1))
	return r
}

// at returns the parts of both that stand at i and j, or end.
func (r *relation) at(i, j int) (a, b string) {
	a, b = end, end
	if i < len(r.p) {
		a = r.p[i]
	}
	if j < len(r.q) {
		b = r.q[j]
	}
	return a, b
}

func (r *relation) holds(i, j int) bool {
	known := &r.seen[i*(len(r.q)+1)+j]
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
