package selector_test

import (
	"errors"
	"math/big"
	"strconv"
	"testing"

	"stompserver/internal/selector"
)

// What Parse takes has a canonical spelling that means the same; what it refuses, it says where.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"color = 'red' AND size > 10", "NOT (a OR b) AND c <> TRUE", "x BETWEEN -1 AND 0x10", "x NOT IN ('a', 2, FALSE)",
		"x LIKE '%a_b!%' ESCAPE '!'", "(x + 1) * 2 / -3 % 4 - 1.5e3 >= y", "x IS NOT NULL", `"a b" = 'it''s'`,
		"no_hyphenated_props:a-b > 1", "JMSPriority > 4 OR JMSDeliveryMode = 'PERSISTENT'", "a = = 1", "((((a", "'", "a = 09",
		"-9223372036854775808 < x", "- - - x > 0", "ü.x = 1", "a = '\xff'",
	} {
		f.Add(s, "a", "1")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		s, err := selector.Parse(text)
		if err != nil {
			var e *selector.Error
			if !errors.As(err, &e) || s != nil {
				t.Fatalf("%q: %v, %T", text, s, err)
			}
			checkError(t, e)
			return
		}
		again, err := selector.Parse(s.String())
		if err != nil {
			t.Fatalf("%q: the canonical %q: %v", text, s, err)
		}
		if again.String() != s.String() {
			t.Fatalf("%q: canonical %q, and then %q", text, s, again)
		}
		env := viewsOf(name, value, "color", "red", "size", "42", "x", value, "b", "true", "priority", value)
		if s.Matches(env) != again.Matches(env) {
			t.Fatalf("%q and its canonical %q differ for %s:%q", text, s, name, value)
		}
		if n, v, ok := s.Equality(); ok && s.Matches(env) {
			if got, _ := env.Header(n); string(got) != v {
				t.Fatalf("%q matches without %s = %q", text, n, v)
			}
		}
	})
}

// LIKE is as if every way to match had been tried.
func FuzzLike(f *testing.F) {
	f.Add("aaab", "%a_b", "")
	f.Add("a\xffb", "a_%", "!")
	f.Add("50%", "50!%", "!")
	f.Add("aéb\xc3", "%é_%", "")
	f.Fuzz(func(t *testing.T, text, pattern, escape string) {
		if len(text) > 40 || len(pattern) > 12 {
			return // trying every way takes its time
		}
		w := writer{}
		w.WriteString("x LIKE ")
		w.quoted(pattern)
		if escape != "" {
			w.WriteString(" ESCAPE ")
			w.quoted(escape)
		}
		s, err := selector.Parse(w.String())
		if err != nil {
			return
		}
		got, want := s.Matches(viewsOf("x", text)), fits(text, []rune(pattern), []rune(escape))
		if got != want {
			t.Fatalf("%q LIKE %q ESCAPE %q: got %v, want %v", text, pattern, escape, got, want)
		}
	})
}

// A header is a number if and only if the reference says so, and is as large.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-1.5e3", " +7\t", "0x1p4", "1_0", ".5", "5.", ".", "e1", "1e", "inf", "9223372036854775808", "1e400"} {
		f.Add(s)
	}
	isNumber, err := selector.Parse("x + 0 IS NOT NULL")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 100 {
			return
		}
		env := viewsOf("x", text)
		want := toNumber(text)
		if got := isNumber.Matches(env); got != (want != nil) {
			t.Fatalf("%q is a number: %v, want %v", text, got, want)
		}
		var literal string
		switch n := want.(type) {
		case nil:
			return
		case *big.Int:
			literal = n.String()
		case float64:
			literal = strconv.FormatFloat(n, 'e', -1, 64)
		}
		if !parse(t, "x = "+literal).Matches(env) {
			t.Fatalf("%q is not %s", text, literal)
		}
	})
}
