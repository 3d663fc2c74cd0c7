package pattern_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"stompserver/internal/pattern"
)

func parse(t testing.TB, text string) pattern.Pattern {
	t.Helper()
	p, err := pattern.Both.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return p
}

// TestMatches has the examples of the manuals of ActiveMQ, RabbitMQ and MQTT among others.
func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no []string
	}{
		{"PRICE.>", []string{"PRICE", "PRICE.STOCK", "PRICE.STOCK.NASDAQ.IBM"}, []string{"PRICES", "NEWS.PRICE"}},
		{"PRICE.STOCK.*.IBM", []string{"PRICE.STOCK.NYSE.IBM"}, []string{"PRICE.STOCK.IBM", "PRICE.STOCK.A.B.IBM"}},
		{"*.orange.*", []string{"quick.orange.rabbit"}, []string{"orange", "quick.orange.male.rabbit"}},
		{"lazy.#", []string{"lazy", "lazy.orange.new.rabbit"}, []string{"quick.lazy"}},
		{"#.error", []string{"error", "a.error", "a.b.error"}, []string{"error.a"}},
		{"a.#.b.#.c", []string{"a.b.c", "a.x.b.y.z.c", "a.b.b.c"}, []string{"a.c", "a.b", "b.c"}},
		{"sensor/+/heat", []string{"sensor/1/heat", "sensor.1.heat"}, []string{"sensor/heat", "sensor/1/2/heat"}},
		{"a.**", []string{"a", "a.b.c"}, []string{"b"}},
		{"#", []string{"", "a", "a.b"}, nil},
		{"*", []string{"a", ""}, []string{"a.b"}},
		{"a.b", []string{"a.b", "a/b"}, []string{"a", "a.b.c", "a.*"}},
		{"a*.b", []string{"a*.b"}, []string{"ab.b"}},
		{"a..b", []string{"a..b"}, []string{"a.b"}},
		{"a.*.b", []string{"a..b"}, []string{"a.b"}},
		{"a.{[0-9]+}", []string{"a.1", "a/42"}, []string{"a.x", "a", "a.1.2", "a.1x", "a.x1"}},
		{"a.{x.*|y/z}.*", []string{"a.x.b", "a.xyz.b"}, []string{"a.y.b", "a.x", "a.bx.b"}},
		{"{a|b}.#.{(?i)END}", []string{"a.end", "b.x.y.End"}, []string{"c.end", "a.ending"}},
		{"{(aa){2,3}}", []string{"aaaa", "aaaaaa"}, []string{"aa", "aaaaa"}},
		{"{550e8400-e29b-11d4}", []string{"{550e8400-e29b-11d4}"}, []string{"550e8400-e29b-11d4"}},
		{"a.{x}.*", []string{"a.{x}.b"}, []string{"a.x.b"}},
		{"a.b{[x]}.*", []string{"a.b{[x]}.c"}, []string{"a.bx.c"}},
		{"/topic/>", []string{"/topic", "/topic/a.b"}, []string{"/queue/a"}},
	} {
		p := parse(t, test.pattern)
		for _, name := range test.yes {
			if !p.Matches(name) {
				t.Errorf("%q does not match %q", test.pattern, name)
			}
		}
		for _, name := range test.no {
			if p.Matches(name) {
				t.Errorf("%q matches %q", test.pattern, name)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, test := range [][2]string{
		{"a.b", "a.b"}, {"a.+.c", "a.*.c"}, {"a.>", "a.#"}, {"a.**.b", "a.#.b"}, {"a.#.#.b", "a.#.b"}, {"#.>", "#"},
		{"/topic/+/x", "/topic/*/x"}, {"a+b", "a+b"}, {"", ""}, {"{a.{x}", "{a.{x}"}, {"{a}.b", "{a}.b"},
	} {
		p := parse(t, test[0])
		if p.String() != test[1] {
			t.Errorf("%q is %q, want %q", test[0], p, test[1])
		}
		if p.Wild() != pattern.Both.IsPattern(test[0]) {
			t.Errorf("%q: Wild is %v", test[0], p.Wild())
		}
		if again := parse(t, p.String()); again != p {
			t.Errorf("%q read again is %q", p, again)
		}
	}
	if p := parse(t, "/topic/{a.b|c/d}/+"); p.String() != "/topic/{a.b|c/d}/*" || !p.Wild() || !pattern.Both.IsPattern("x.{[a.b]}") {
		t.Errorf("with an expression: %q", p)
	}
	for text, want := range map[string]string{
		"{[a}": "is no regular expression: missing closing ]", "{(a{1000}){1000}}": "is no regular expression", "{[a]{600}}": "too large",
		"{[a]{300}}.{[b]{300}}": "too large", `{\pL{4}}`: "too large",
		strings.Repeat("{[a]}.", 9): "more than 8", "{[\x01]}": "control character",
	} {
		if _, err := pattern.Both.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	parse(t, `{\p{L}+}.{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}}.{(eu|us)-.*}.{\d{1,20}}`)
	if _, err := pattern.Both.Parse("a.>.b"); !errors.Is(err, pattern.ErrRest) {
		t.Errorf("> in the middle: %v", err)
	}
	if _, err := pattern.Both.Parse(strings.Repeat("#.a.", 9)); !errors.Is(err, pattern.ErrMany) {
		t.Errorf("nine #: %v", err)
	}
}

// random makes names and patterns of few parts, so that many match.
func random(r *rand.Rand, parts ...string) string {
	n := 1 + r.IntN(6)
	all := make([]string, n)
	for i := range all {
		all[i] = parts[r.IntN(len(parts))]
	}
	name := all[0]
	separator := "./"[r.IntN(2)]
	for _, part := range all[1:] {
		if r.IntN(4) == 0 {
			separator = "./"[r.IntN(2)]
		}
		name += string(separator) + part
	}
	return []string{"", "/", "/topic/", "/queue/$"}[r.IntN(4)] + name
}

// separators are all there are.
var separators = map[string]pattern.Separators{"both": pattern.Both, "dots": pattern.Dots, "slashes": pattern.Slashes}

// TestSeparators: what separates nothing is a character of its part, but for the slashes around the kind of a name
// and the names that are put together of others.
func TestSeparators(t *testing.T) {
	for _, test := range []struct {
		pattern, name       string
		both, dots, slashes bool
	}{
		{"/topic/a.*", "/topic/a.b", true, true, false},
		{"/topic/a.*", "/topic/a/b", true, false, false},
		{"/topic/a.*", "/topic/a.b/c", false, true, false},
		{"/topic/a/*", "/topic/a/b", true, false, true},
		{"/topic/a/*", "/topic/a.b", true, false, false},
		{"/topic/a/*", "/topic/a/b.c", false, false, true},
		{"/topic/*", "/topic/a", true, true, true},
		{"/topic/*", "/topic.a", true, true, false},
		{"/topic/*", "/topic/a/b", false, true, false},
		{"/topic/*", "/topic/a.b", false, false, true},
		{"/topic/>", "/topic", true, true, true},
		{"/topic/>", "/topic/a.b/c", true, true, true},
		{"/topic/a.b", "/topic/a.b", true, true, true},
		{"/topic/a.b", "/topic/a/b", true, false, false},
		{"/topic/a/{[bc.]+}/#", "/topic/a/b", true, false, true},
		{"/topic/a/{[bc.]+}/#", "/topic/a.c.d", true, false, false},
		{"/topic/a/{[bc.]+}/#", "/topic/a/b.c/d", true, false, true},
		{"/topic/a.{b/[cd]}.#", "/topic/a.b/c", false, true, false},
		{"/topic/a.{b/[cd]}.#", "/topic/a.b/d.e/f", false, true, false},
		{"/queue/{[ab./]+}", "/queue/a/b", false, true, false},
		{"/queue/{[ab./]+}", "/queue/a.b", false, false, true},
		{"/topic/$sys/*", "/topic/$sys/a", true, true, true},
		{"/topic/$sys/*", "/topic/$sys.a", true, true, true},
		{"/topic/ActiveMQ.Advisory.>", "/topic/ActiveMQ.Advisory.Connection", true, true, true},
		{"/dsub/app.*", "/dsub/app.a", true, true, true},
		{"/exchange/amq.direct/*", "/exchange/amq.direct/k", true, true, true},
		{"a/*.b", "a/x.b", true, false, false},
		{"a/*.b", "a/*.b", true, true, true},
		{"*.b/c", "x/y.b/c", false, true, false},
	} {
		for sep, want := range map[pattern.Separators]bool{pattern.Both: test.both, pattern.Dots: test.dots, pattern.Slashes: test.slashes} {
			p, err := sep.Parse(test.pattern)
			if err != nil || p.Matches(test.name) != want {
				t.Errorf("%q matches %q, %d: %v, %v", test.pattern, test.name, sep, !want, err)
			}
			if p.String() != strings.ReplaceAll(test.pattern, ">", "#") && p.String() != test.pattern {
				t.Errorf("%q, %d, is written %q", test.pattern, sep, p)
			}
		}
	}
	for _, test := range [][4]string{
		{"/queue/in.a/b", "/queue/in.a/", "/queue/in.", "/queue/in.a/"}, {"/queue/", "/queue/", "/queue/", "/queue/"}, {"a", "", "", ""},
	} {
		for i, sep := range []pattern.Separators{pattern.Both, pattern.Dots, pattern.Slashes} {
			if got := sep.Front(test[0]); got != test[i+1] {
				t.Errorf("Front of %q, %d, is %q, want %q", test[0], sep, got, test[i+1])
			}
		}
	}
	if pattern.Dots.In("a/b") || !pattern.Dots.In("a.b") || pattern.Slashes.In("a.b") || !pattern.Slashes.In("a/b") || !pattern.Both.In("a/b") {
		t.Error("In")
	}
}

// TestTrie compares a trie with asking each pattern.
func TestTrie(t *testing.T) {
	for name, sep := range separators {
		t.Run(name, func(t *testing.T) { testTrie(t, sep) })
	}
}

func testTrie(t *testing.T, sep pattern.Separators) {
	r := rand.New(rand.NewPCG(1, 2))
	trie := pattern.Trie[int]{Separators: sep}
	patterns := map[int]pattern.Pattern{}
	for i := range 20_000 {
		if id := r.IntN(300); i%3 == 0 {
			if p, ok := patterns[id]; ok != trie.Remove(p, id) {
				t.Fatalf("Remove of %q: was there is %v", p, ok)
			}
			delete(patterns, id)
		} else if _, ok := patterns[id]; !ok {
			p, err := sep.Parse(random(r, "a", "b", "c", "*", "#", "a", "b", "{[ab]}", "{b|c.d}", "{.*}"))
			if err != nil {
				t.Fatal(err)
			}
			patterns[id] = p
			trie.Add(p, id)
		}
		name := random(r, "a", "b", "c", "d")
		var want []int
		for id, p := range patterns {
			if p.Matches(name) {
				want = append(want, id)
			}
		}
		got := trie.Match(name, nil)
		slices.Sort(got)
		slices.Sort(want)
		if n := len(trie.All(nil)); n != len(patterns) {
			t.Fatalf("All has %d, want %d", n, len(patterns))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, want %v", name, got, want)
		}
	}
	if trie.Len() != len(patterns) {
		t.Errorf("Len is %d, want %d", trie.Len(), len(patterns))
	}
}

func TestTrieFromManyGoroutines(t *testing.T) {
	var trie pattern.Trie[int]
	p := parse(t, "a.*.#")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 2000 {
				trie.Add(p, i)
				if !slices.Contains(trie.Match("a.b.c", nil), i) {
					t.Error("what was added is not found")
				}
				trie.Remove(p, i)
			}
		})
	}
	wg.Wait()
}

// FuzzPattern: any pattern and name are safe, the trie agrees with Matches, and what a
// pattern is written as means the same.
func FuzzPattern(f *testing.F) {
	f.Add("a.*.#", "a.b.c")
	f.Add("#.a.#.a", "a.a.a.a")
	f.Add("/topic/>", "/topic/x")
	f.Add("a.{[b.]+}.*", "a.b.c")
	f.Add("{{[}].b", "a.b")
	f.Add("/topic/a/{[b.]+}/#", "/topic/a/b.c")
	f.Add("/topic/$sys/*", "/topic/$sys.a")
	f.Fuzz(func(t *testing.T, text, name string) {
		for _, sep := range separators {
			fuzzPattern(t, sep, text, name)
		}
	})
}

func fuzzPattern(t *testing.T, sep pattern.Separators, text, name string) {
	p, err := sep.Parse(text)
	if err != nil || len(name) > 200 || sep != pattern.Both && strings.ContainsAny(name, "\x01\x02") {
		return
	}
	if sep.IsPattern(text) != p.Wild() {
		t.Fatalf("%q, %d: Wild is %v", text, sep, p.Wild())
	}
	again, err := sep.Parse(p.String())
	if err != nil || again.String() != p.String() || again.Wild() != p.Wild() {
		t.Fatalf("%q, %d, is written %q, which reads as %q, %v", text, sep, p, again, err)
	}
	trie := pattern.Trie[int]{Separators: sep}
	trie.Add(p, 1)
	if got := trie.Match(name, nil); p.Wild() && p.Matches(name) != (len(got) == 1) {
		t.Fatalf("%q and %q, %d: the trie says %v", text, name, sep, got)
	}
	if q, err := sep.Parse(name); err == nil && !p.Wild() && !q.Wild() && p.Matches(name) != q.Matches(text) {
		t.Fatalf("%q and %q, %d: only one matches the other", text, name, sep)
	}
}

// TestManyWays: a pattern with many ways to match a long name does not try them all.
func TestManyWays(t *testing.T) {
	p := parse(t, "#.a.#.a.#.a.#.a.#.a.#.a.#.a.b")
	name := strings.Repeat("a.", 120)
	if p.Matches(name + "c") {
		t.Error("matches")
	}
	if !p.Matches(name + "b") {
		t.Error("does not match")
	}
}

// BenchmarkMatch: a name that two of many patterns match.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var trie pattern.Trie[int]
			for i := range n {
				trie.Add(parse(b, fmt.Sprintf("/topic/site%d.*.room%d.#", i%1000, i/1000)), i)
			}
			trie.Add(parse(b, "/topic/site7.#"), -1)
			into := make([]int, 0, 8)
			b.ReportAllocs()
			for b.Loop() {
				if into = trie.Match("/topic/site7.floor3.room0.heat", into[:0]); len(into) != 2 {
					b.Fatal(into)
				}
			}
		})
	}
}
