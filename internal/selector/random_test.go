package selector_test

import (
	"flag"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"stompserver/internal/selector"
)

var (
	seed   = flag.Uint64("selector.seed", 0, "of the random selectors; 0 picks one")
	rounds = flag.Int("selector.rounds", 20000, "how many random selectors are tried")
)

// TestReference makes random selectors and asks them and the reference about random messages.
func TestReference(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	seen := map[any]int{}
	for range *rounds {
		m := maker{r, 1 + r.IntN(5)}
		n := m.condition()
		w := writer{r: r}
		n.write(&w)
		s, err := selector.Parse(w.String())
		if err != nil {
			t.Fatalf("seed %d: %q: %v", *seed, w.String(), err)
		}
		not, err := selector.Parse("NOT (" + w.String() + ")")
		if err != nil {
			t.Fatalf("seed %d: %q: %v", *seed, w.String(), err)
		}
		again, err := selector.Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("seed %d: %q becomes %s, and that %v (%v)", *seed, w.String(), s, again, err)
		}
		for range 4 {
			env := randomMessage(r)
			want := toTruth(n.eval(env))
			seen[want]++
			if s.Matches(env) != (want == true) || not.Matches(env) != (want == false) || again.Matches(env) != (want == true) {
				t.Fatalf("seed %d: %q (%s): want %v, got %v, NOT %v, and read again %v, of %q",
					*seed, w.String(), s, want, s.Matches(env), not.Matches(env), again.Matches(env), map[string]string(env))
			}
			if name, value, ok := s.Equality(); ok && want == true && env[name] != value {
				t.Fatalf("seed %d: %q matches without %s = %q: %q", *seed, w.String(), name, value, map[string]string(env))
			}
		}
	}
	for _, v := range []any{true, false, nil} {
		if seen[v] < *rounds/4 {
			t.Errorf("seed %d: of %d answers only %d were %v: the test tests little", *seed, 4**rounds, seen[v], v)
		}
	}
}

var (
	names = []string{"a", "b", "c", "my-header", "ü.x"}
	texts = []string{"", "0", "1", "2", "-3", "+2", "2.5", " 7\t", "1e2", ".5", "5.", "abc", "abd", "aab", "true", "FALSE ",
		"9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e999", "--1", "1.2.3", "é", "aéb", "it's", "a%b", "a_b"}
	numbers = []any{big.NewInt(0), big.NewInt(1), big.NewInt(2), big.NewInt(7), big.NewInt(100), big.NewInt(1<<63 - 1), 2.5, 0.5, 1e19}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func randomMessage(r *rand.Rand) values {
	v := values{}
	for _, n := range names {
		switch r.IntN(10) {
		case 0, 1:
		case 2:
			v[n] = pick(r, []string{"true", "false", "True"})
		case 3:
			v[n] = pick(r, []string{"a\xffb", "\xc3", "\xc3\xa9\xa9", "\xef\xbf\xbd", "aaaaaabab"})
		default:
			v[n] = pick(r, texts)
		}
	}
	return v
}

// A maker makes nodes, fewer the deeper it is.
type maker struct {
	r     *rand.Rand
	depth int
}

func (m maker) deeper() maker { return maker{m.r, m.depth - 1} }
func (m maker) head() node    { return head(pick(m.r, names)) }
func (m maker) coin() bool    { return m.r.IntN(2) == 0 }

func (m maker) condition() node {
	d := m.deeper()
	if m.depth > 0 && m.r.IntN(3) > 0 {
		switch m.r.IntN(5) {
		case 0, 1:
			return both{d.condition(), d.condition()}
		case 2, 3:
			return either{d.condition(), d.condition()}
		default:
			return negation{d.condition()}
		}
	}
	switch m.r.IntN(10) {
	case 0:
		return m.head()
	case 1:
		return comparison{pick(m.r, []string{"=", "<>"}), d.truth(), d.truth()}
	case 2:
		return isNull{pick(m.r, []node{m.head(), d.number(), d.text(), d.truth()}), m.coin()}
	case 3:
		if m.coin() {
			return between{d.number(), d.number(), d.number(), m.coin()}
		}
		return between{d.text(), d.text(), d.text(), m.coin()}
	case 4:
		return m.in()
	case 5, 6:
		return like{d.text(), m.pattern(), pick(m.r, []string{"", "", "!", "%", "é"}), m.coin()}
	case 7:
		return comparison{m.operator(), d.text(), d.text()}
	}
	return comparison{m.operator(), d.number(), d.number()}
}

func (m maker) operator() string { return pick(m.r, []string{"=", "<>", "<", "<=", ">", ">="}) }

func (m maker) truth() node {
	switch {
	case m.r.IntN(3) == 0:
		return lit{m.coin()}
	case m.depth <= 0 || m.coin():
		return m.head()
	}
	return m.deeper().condition()
}

func (m maker) text() node {
	if m.r.IntN(4) == 0 {
		return lit{pick(m.r, texts)}
	}
	return m.head()
}

func (m maker) number() node {
	d := m.deeper()
	switch m.r.IntN(6) {
	case 0:
		if m.depth > 0 {
			return sum{pick(m.r, []byte("+-*/%")), d.number(), d.number()}
		}
	case 1:
		if m.depth > 0 {
			return sign{pick(m.r, []byte("+-")), d.number()}
		}
	case 2, 3:
		return lit{pick(m.r, numbers)}
	}
	return m.head()
}

func (m maker) in() node {
	n := in{a: m.head(), negated: m.coin()}
	kinds := 1 + m.r.IntN(7) // as bits
	if m.r.IntN(4) == 0 {
		n.a, kinds = sum{'+', m.head(), lit{big.NewInt(1)}}, 1
	}
	for len(n.list) == 0 || m.r.IntN(6) > 0 {
		switch kind := 1 << m.r.IntN(3) & kinds; kind {
		case 1:
			l := node(lit{pick(m.r, numbers)})
			if m.coin() {
				l = sign{'-', l}
			}
			n.list = append(n.list, l)
		case 2:
			n.list = append(n.list, lit{pick(m.r, texts)})
		case 4:
			n.list = append(n.list, lit{m.coin()})
		}
	}
	return n
}

func (m maker) pattern() string {
	p := ""
	for m.r.IntN(5) > 0 {
		p += pick(m.r, []string{"%", "%", "_", "a", "b", "ab", "é", "!", "1", "'", "\ufffd"})
	}
	return p
}
