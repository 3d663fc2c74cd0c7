package selector_test

import (
	"errors"
	"strings"
	"testing"

	"stompserver/internal/selector"
)

func TestString(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{" color='red' ", "color = 'red'"},
		{"((a))", "a"},
		{"a != 1", "a <> 1"},
		{"a and(b or c)and not d", "a AND (b OR c) AND NOT d"},
		{"a AND (b AND (c AND d))", "a AND b AND c AND d"},
		{"(a OR b) OR c", "a OR b OR c"},
		{"(a AND b) OR c", "a AND b OR c"},
		{"NOT (NOT a)", "NOT NOT a"},
		{"NOT (a = 1)", "NOT a = 1"},
		{"NOT (a AND b)", "NOT (a AND b)"},
		{"((x + 1) + 2) * 3 > 0", "(x + 1 + 2) * 3 > 0"},
		{"x - (1 - 2) > 0", "x - (1 - 2) > 0"},
		{"(x * 2) + 1 > 0", "x * 2 + 1 > 0"},
		{"x - -(2) > 0", "x - -2 > 0"},
		{"-(x + 1) > -(-x)", "-(x + 1) > - -x"},
		{"+5 = +x", "5 = +x"},
		{"x = 0x10 OR x = 017 OR x = 3L OR x = 5. OR x = 1e3 OR x = 2f", "x = 16 OR x = 15 OR x = 3 OR x = 5.0 OR x = 1000.0 OR x = 2.0"},
		{"x = 9223372036854775808", "x = 9.223372036854776e+18"},
		{"x = -9223372036854775808", "x = -9223372036854775808"},
		{"x = -0.0", "x = -0.0"},
		{"x in('a' ,-1,true)", "x IN ('a', -1, TRUE)"},
		{"x not  in ('it''s')", "x NOT IN ('it''s')"},
		{"x between 1 and 2", "x BETWEEN 1 AND 2"},
		{"x not between 1+1 and 2", "x NOT BETWEEN 1 + 1 AND 2"},
		{"x not like '_''' escape''''", "x NOT LIKE '_''' ESCAPE ''''"},
		{"x is null or (a=1) is not null", "x IS NULL OR (a = 1) IS NOT NULL"},
		{"(a=1)=(b=2)", "(a = 1) = (b = 2)"},
		{`"a" = 'x'`, "a = 'x'"},
		{`"a b" = "like"`, `"a b" = "like"`},
		{`"say ""hi""" = 'x'`, `"say ""hi""" = 'x'`},
		{`"1a" = 'x' OR "a." = 'y'`, `"1a" = 'x' OR "a." = 'y'`},
		{"JMSType = 'x' AND JMSPriority > 3", "type = 'x' AND JMSPriority > 3"},
		{`"JMSType" = 'x' AND "JMSPriority" > 3`, `"JMSType" = 'x' AND "JMSPriority" > 3`},
		{"no_hyphenated_props:a-b > 1", "a - b > 1"},
		{`no_hyphenated_props:"a-b" > 1`, "a-b > 1"},
		{"convert_string_expressions:a = 1", "a = 1"},
	} {
		got := parse(t, row.text).String()
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.text, got, row.want)
		}
		if again := parse(t, got).String(); again != got {
			t.Errorf("%s becomes %s, and that %s", row.text, got, again)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		text   string
		at     int // character, from 1
		reason string
	}{
		{"", 1, "expected a header, a text in quotes or a number, found the end"},
		{"  ", 3, "expected a header, a text in quotes or a number, found the end"},
		{"a >", 4, "expected a header, a text in quotes or a number, found the end"},
		{"a > > 1", 5, "expected a header, a text in quotes or a number, found >"},
		{"a = 'x' b = 'y'", 9, "expected AND, OR or the end, found b"},
		{"a = 'x", 5, "this text has no closing '"},
		{`a = "x`, 5, `this name has no closing "`},
		{`"" = 1`, 1, "a name is empty"},
		{"(a = 1", 7, "expected ) for the ( at character 1, found the end"},
		{"a = 1)", 6, "expected AND, OR or the end, found )"},
		{"a = 1 AND", 10, "expected a header, a text in quotes or a number, found the end"},
		{"für = 'x' AND ü =", 18, "expected a header, a text in quotes or a number, found the end"},
		{"a = NULL", 5, "nothing can be compared with NULL"},
		{"a IS 5", 6, "expected NULL after IS, found the number 5"},
		{"a IS NOT 'x'", 10, "expected NULL after IS, found the text 'x'"},
		{"a NOT = 1", 7, "expected BETWEEN, IN or LIKE after NOT, found ="},
		{"a BETWEEN 1", 12, "expected AND between the two values of BETWEEN, found the end"},
		{"a BETWEEN 1 OR 2", 13, "expected AND between the two values of BETWEEN, found OR"},
		{"a BETWEEN 1 AND 'x' AND 5 > 'x'", 27, "a number and a text cannot be compared"},
		{"a IN 'x'", 6, "expected ( after IN"},
		{"a IN ()", 7, "expected a text in quotes or a number, found )"},
		{"a IN ('x' 'y')", 11, "expected ) or a comma"},
		{"a IN (b)", 7, "expected a text in quotes or a number, found b"},
		{"a IN (-'x')", 8, "expected a number after -"},
		{"1 IN ('x')", 7, "a number and a text cannot be compared"},
		{"(a = 1) IN (TRUE)", 1, "expected a header, a text or a number before IN, found a condition"},
		{"a LIKE b", 8, "expected a pattern in quotes after LIKE, found b"},
		{"a + 1 LIKE 'x'", 1, "expected a header or a text before LIKE, found a number"},
		{"a LIKE 'x' ESCAPE 'xy'", 19, "expected one character in quotes after ESCAPE"},
		{"a LIKE 'x' ESCAPE ''", 19, "expected one character in quotes after ESCAPE"},
		{"a LIKE 'x' ESCAPE x", 19, "expected one character in quotes after ESCAPE"},
		{"5 > 'x'", 3, "a number and a text cannot be compared"},
		{"a + 1 = '5'", 7, "a number and a text cannot be compared: without the quotes 5 is a number"},
		{"(a = 1) = 'true'", 9, "a condition and a text cannot be compared: TRUE and FALSE have no quotes"},
		{"TRUE > FALSE", 6, "conditions, TRUE and FALSE can only be compared with = and <>"},
		{"a < b < c", 7, "comparisons do not follow each other"},
		{"'x'", 1, "a selector needs a condition, found a text"},
		{"5", 1, "a selector needs a condition, found a number"},
		{"a + 1", 1, "a selector needs a condition, found a number"},
		{"a = 1 AND 5", 11, "AND needs a condition, found a number"},
		{"5 OR a", 1, "OR needs a condition, found a number"},
		{"NOT 5", 5, "NOT needs a condition, found a number"},
		{"a + 'x' > 1", 5, "+ needs numbers, found a text"},
		{"-'x' > 1", 2, "- needs numbers, found a text"},
		{"TRUE * 2 > 1", 1, "* needs numbers, found a condition"},
		{"upper(a) = 'X'", 1, "there are no functions in a selector"},
		{"12ab = 1", 1, "a number runs into a name"},
		{"v > 1.5.2", 5, "a number runs into a name"},
		{"a = 09", 6, "9 is no octal digit"},
		{"a = 0xg", 5, "digits are missing"},
		{"a = 0xFFFFFFFFFFFFFFFFF", 5, "this number is too large"},
		{"a = 1e999", 5, "this number is too large"},
		{"a == 1", 3, "equality is written ="},
		{"a => 1", 3, "greater or equal is written >="},
		{"a =< 1", 3, "less or equal is written <="},
		{"a && b", 3, "write AND instead"},
		{"a || b", 3, "write OR instead"},
		{"!a", 1, "write NOT instead, or <>"},
		{"a --b = 1", 3, "two minus signs begin a comment elsewhere"},
		{"a = 1 /* x */", 7, "there are no comments"},
		{"a = ‘x’", 5, "a text stands between plain quotes"},
		{"a = `x`", 5, "a name stands between double quotes"},
		{"a = #", 5, `'#' means nothing here`},
		{"a:b = 1", 2, `':' means nothing here`},
		{"a = '\xff'", 6, "this is not UTF-8"},
		{"no_convert_string_expressions:a = 1", 1, "no_convert_string_expressions is not supported"},
		{"a = 1 b\nc", 7, "expected AND, OR or the end, found b"},
	} {
		_, err := selector.Parse(row.text)
		var e *selector.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want an *Error", row.text, err)
			continue
		}
		if e.Character() != row.at || !strings.HasPrefix(e.Reason, row.reason) && !strings.HasSuffix(e.Reason, row.reason) {
			t.Errorf("%q: got character %d, %s, want %d, %s", row.text, e.Character(), e.Reason, row.at, row.reason)
		}
		checkError(t, e)
	}
}

// checkError holds for every error.
func checkError(t *testing.T, e *selector.Error) {
	t.Helper()
	if e.Offset < 0 || e.Offset > len(e.Text) || e.Reason == "" {
		t.Errorf("%q: offset %d, reason %q", e.Text, e.Offset, e.Reason)
	}
	if s := e.Error(); strings.ContainsAny(s, "\r\n\x00") || len(s) > 1000 {
		t.Errorf("%.100q: the error is not a line: %q", e.Text, s)
	}
	line, caret, ok := strings.Cut(e.Excerpt(), "\n")
	if !ok || strings.TrimLeft(caret, " ") != "^" || len(caret)-1 > len([]rune(line)) {
		t.Errorf("%.100q: excerpt %q", e.Text, e.Excerpt())
	}
}

func TestErrorExcerpt(t *testing.T) {
	_, err := selector.Parse("color = 'für' AND size >> 10")
	want := "selector: at character 25: expected a header, a text in quotes or a number, found >: \"color = 'für' AND size >> 10\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	var e *selector.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if want := "color = 'für' AND size >> 10\n                        ^"; e.Excerpt() != want {
		t.Errorf("got\n%s\nwant\n%s", e.Excerpt(), want)
	}

	_, err = selector.Parse(strings.Repeat("ü = 1 AND ", 50) + "> 5" + strings.Repeat(" AND ü = 1", 50))
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	line, caret, _ := strings.Cut(e.Excerpt(), "\n")
	if n := len([]rune(line)); n > 80 || !strings.HasPrefix(line, "…") || !strings.HasSuffix(line, "…") || []rune(line)[len(caret)-1] != '>' {
		t.Errorf("%d characters:\n%s", n, e.Excerpt())
	}
}

// What is past a limit is an error that names it, and what is at it is none.
func TestLimits(t *testing.T) {
	list := func(n int) string { return "a IN (" + strings.Repeat("1,", n-1) + "1)" }
	for _, row := range []struct{ name, ok, over, reason string }{
		{"length", "a = '" + strings.Repeat("x", selector.MaxLength-6) + "'", "a = '" + strings.Repeat("x", selector.MaxLength-5) + "'", "may be 65536 bytes long"},
		{"length with spaces", "a='" + strings.Repeat("x", selector.MaxLength-6) + "'", "a='" + strings.Repeat("x", selector.MaxLength-5) + "'", "with all its spaces"},
		{"parentheses", strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100), strings.Repeat("(", 101) + "a" + strings.Repeat(")", 101), "more than 100"},
		{"open parentheses", "a", strings.Repeat("(", selector.MaxLength), "more than 100"},
		{"not", strings.Repeat("NOT ", 100) + "a", strings.Repeat("NOT ", 101) + "a", "more than 100"},
		{"signs", strings.Repeat("- ", 100) + "a > 1", strings.Repeat("- ", 101) + "a > 1", "more than 100"},
		{"names", "a = 1" + strings.Repeat(" OR a = 1", 999), "a = 1" + strings.Repeat(" OR a = 1", 1000), "more than 1000 header names"},
		{"list", list(4096), list(4097), "more than 4096 values after IN"},
		{"likes", "a LIKE 'x'" + strings.Repeat(" OR a LIKE 'x'", 99), "a LIKE 'x'" + strings.Repeat(" OR a LIKE 'x'", 100), "more than 100 LIKE"},
		{"pattern", "a LIKE '_" + strings.Repeat("x", 99) + "%_" + strings.Repeat("x", 63) + "%_" + strings.Repeat("x", 99) + "'", "a LIKE '%_" + strings.Repeat("x", 64) + "%'", "more than 64 characters"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := parse(t, row.ok)
			if again := parse(t, s.String()); again.String() != s.String() {
				t.Errorf("%.100s becomes %.100s", s, again)
			}
			_, err := selector.Parse(row.over)
			var e *selector.Error
			if !errors.As(err, &e) || !strings.Contains(e.Reason, row.reason) {
				t.Fatalf("got %v, want %s", err, row.reason)
			}
			checkError(t, e)
		})
	}
}

// Each of these would take longer than the sun has left if LIKE tried one place after another.
func TestLikeIsLinear(t *testing.T) {
	env := viewsOf("x", strings.Repeat("a", 64<<10))
	for _, pattern := range []string{
		strings.Repeat("%a", 20000) + "b",
		strings.Repeat("%a", 20000) + "%b%",
		strings.Repeat("%_a", 15000) + "%b%",
		strings.Repeat("%a_", 15000) + "b",
	} {
		if parse(t, "x LIKE '"+pattern+"'").Matches(env) {
			t.Errorf("%.20s… matches", pattern)
		}
	}
	if !parse(t, "x LIKE '"+strings.Repeat("%a_", 15000)+"'").Matches(env) {
		t.Error("a pattern that fits does not match")
	}
}
