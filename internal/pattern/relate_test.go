package pattern_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"stompserver/internal/pattern"
)

func TestContainsAndOverlaps(t *testing.T) {
	for _, test := range []struct {
		p, q               string
		contains, overlaps bool
	}{
		{"/topic/a.>", "/topic/a.>", true, true},
		{"/topic/>", "/topic/a.*", true, true},
		{"/topic/a.*", "/topic/>", false, true},
		{"/topic/a.*", "/topic/*.b", false, true},
		{"/topic/a.*", "/topic/b.*", false, false},
		{"#", "/topic/#", true, true},
		{"/topic/a", "/topic/a", true, true},
		{"/topic/a", "/topic.a", true, true},
		{"/topic/a", "/topic/*", false, true},
		{"a.*.#", "a.#.*", true, true},
		{"a.#.*", "a.*.#", true, true},
		{"a.#.b", "a.*.*.b", true, true},
		{"a.*.b", "a.#.b", false, true},
		{"*.*", "a.#", false, true},
		{"#.a.#", "b.#.a", true, true},
		{"a.#", "b.#", false, false},
	} {
		p, q := parse(t, test.p), parse(t, test.q)
		if got := p.Contains(q); got != test.contains {
			t.Errorf("%q contains %q: %v", p, q, got)
		}
		if got := p.Overlaps(q); got != test.overlaps {
			t.Errorf("%q overlaps %q: %v", p, q, got)
		}
		if p.Overlaps(q) != q.Overlaps(p) {
			t.Errorf("%q and %q: overlapping depends on who is asked", p, q)
		}
	}
}

// TestRelationsByNames compares what is said of two patterns with what they match among names that
// hold every part the patterns know, and one that they do not.
func TestRelationsByNames(t *testing.T) {
	var names []string
	var grow func(name string, n int)
	grow = func(name string, n int) {
		names = append(names, name)
		if n == 0 {
			return
		}
		for _, part := range []string{"a", "b", "x"} {
			grow(name+"."+part, n-1)
		}
	}
	for _, part := range []string{"a", "b", "x"} {
		grow(part, 5)
	}
	r := rand.New(rand.NewPCG(3, 4))
	contained := 0
	for range 3000 {
		p, q := parse(t, short(r)), parse(t, short(r))
		all, some := true, false
		for _, name := range names {
			if q.Matches(name) {
				in := p.Matches(name)
				all, some = all && in, some || in
			}
		}
		if p.Contains(q) {
			contained++
			if !all {
				t.Fatalf("%q is said to contain %q", p, q)
			}
		}
		if some && !p.Overlaps(q) || p.Overlaps(q) != some && !strings.Contains(p.String()+q.String(), "{") {
			t.Fatalf("%q overlaps %q: %v by names", p, q, some)
		}
	}
	if contained < 100 {
		t.Errorf("only %d pairs contained one another", contained)
	}
}

func short(r *rand.Rand) string {
	all := make([]string, 1+r.IntN(3))
	for i := range all {
		all[i] = []string{"a", "b", "*", "#", "{[ab]}", "{b|y.}"}[r.IntN(6)]
	}
	return strings.Join(all, ".")
}

// FuzzContains: what a pattern contains it overlaps, and a name of the one is a name of the other.
func FuzzContains(f *testing.F) {
	f.Add("a.*.#", "a.b.#", "a.b.c")
	f.Add("#.a.#.a", "*.a.#.a", "a.a.a.a")
	f.Add("{[ab]}.#", "a.{b|c}", "a.b")
	f.Fuzz(func(t *testing.T, p, q, name string) {
		for _, sep := range separators {
			fuzzContains(t, sep, p, q, name)
		}
	})
}

func fuzzContains(t *testing.T, sep pattern.Separators, p, q, name string) {
	a, err := sep.Parse(p)
	if err != nil || len(p)+len(q)+len(name) > 200 || sep != pattern.Both && strings.ContainsAny(name, "\x01\x02") {
		return
	}
	b, err := sep.Parse(q)
	if err != nil {
		return
	}
	in, out := a.Matches(name), b.Matches(name)
	if in && out && !a.Overlaps(b) {
		t.Errorf("%q and %q have %q in common", a, b, name)
	}
	if out && !in && a.Contains(b) {
		t.Errorf("%q does not contain %q, %d: %q", a, b, sep, name)
	}
}
