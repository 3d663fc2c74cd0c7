package selector_test

import (
	"strings"
	"testing"

	"stompserver/internal/selector"
)

func parse(t testing.TB, text string) *selector.Selector {
	t.Helper()
	s, err := selector.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// checkTruth tells UNKNOWN from FALSE: only FALSE is turned round by NOT.
func checkTruth(t *testing.T, env selector.Env, text, want string) {
	t.Helper()
	got := "unknown"
	switch {
	case parse(t, text).Matches(env):
		got = "true"
	case parse(t, "NOT ("+text+")").Matches(env):
		got = "false"
	}
	if got != want {
		t.Errorf("%s: got %s, want %s", text, got, want)
	}
}

// message has a header of each kind that the table below asks for.
var message = viewsOf(
	"color", "red", "empty", "", "size", "42", "price", "12.50", "neg", "-3", "big", "9223372036854775807",
	"spaced", " 7 ", "exp", "1e2", "version", "1.10", "same", "1.1", "date", "2024-05-01", "hex", "0x10",
	"inf", "Inf", "under", "1_000", "octal", "010", "long", strings.Repeat("1", 126)+".5", "longer", strings.Repeat("1", 127)+".5",
	"yes", "true", "no", "FALSE", "maybe", "1", "percent", "50%", "quote", "it's", "utf", "für", "bytes", "a\xffb",
	"path", "a/b/c", "lines", "a\nb", "back", `a\b`, "my-header", "dash", "a.b", "dot", "über", "umlaut",
	"with space", "blank", `say "hi"`, "quoted", "AND", "word", "$x", "dollar", "_y1", "under",
	"color", "blue",
)

func TestSemantics(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		// Text, and where a header is not there.
		{"color = 'red'", "true"},
		{"color = 'Red'", "false"},
		{"'red' = color", "true"},
		{"color <> 'red'", "false"},
		{"color != 'blue'", "true"},
		{"empty = ''", "true"},
		{"absent = 'x'", "unknown"},
		{"absent <> 'x'", "unknown"},
		{"absent = absent", "unknown"},
		{"color < 'rede'", "true"},
		{"color >= 'red'", "true"},
		{"color > 'Z'", "true"},
		{"'a' < 'b'", "true"},
		{"quote = 'it''s'", "true"},
		{"Color = 'red'", "unknown"},

		// Numbers: what a header is becomes what it is compared with.
		{"size = 42", "true"},
		{"size = 42.0", "true"},
		{"size = '42.0'", "false"},
		{"size > 9", "true"},
		{"size > '9'", "false"},
		{"9 < size", "true"},
		{"price = 12.5", "true"},
		{"price = '12.50'", "true"},
		{"neg < 0", "true"},
		{"neg = -3", "true"},
		{"neg = - 3", "true"},
		{"-neg = 3", "true"},
		{"- -neg = +neg", "true"},
		{"spaced = 7", "true"},
		{"exp = 100", "true"},
		{"octal = 10", "true"},
		{"octal = 010", "false"},
		{"color = 5", "unknown"},
		{"empty = 0", "unknown"},
		{"absent = 0", "unknown"},
		{"version > 1", "true"},
		{"date > 1", "unknown"},
		{"hex = 16", "unknown"},
		{"inf > 1", "unknown"},
		{"under = 1000", "unknown"},
		{"long > 1e125", "true"},
		{"longer > 1", "unknown"},
		{"big = 9223372036854775807", "true"},
		{"big = 9223372036854775806", "false"},

		// Literals, as Java writes them.
		{"size = 0x2A", "true"},
		{"size = 0x2aL", "true"},
		{"size = 052", "true"},
		{"size = 42l", "true"},
		{"price = 1.25e1", "true"},
		{"price = 125E-1", "true"},
		{"price = 12.5f", "true"},
		{"price = 12.5D", "true"},
		{"size = 42d", "true"},
		{"size > .5", "true"},
		{"size = 42.", "true"},
		{"-9223372036854775808 < -9223372036854775807", "true"},
		{"9223372036854775808 = 9223372036854775807 + 1", "true"},

		// Arithmetic.
		{"size + 1 = 43", "true"},
		{"size - 2 * 20 = 2", "true"},
		{"(size - 2) * 20 = 800", "true"},
		{"-9223372036854775808 * 1 < -9223372036854775807", "true"},
		{"-4611686018427387904 * 2 < -9223372036854775807", "true"},
		{"9223372036854775807 - -9223372036854775808 % -1 > 9223372036854775806", "true"},
		{"-9223372036854775808 * -1 = -9223372036854775808 / -1", "true"},
		{"100 - 10 - 1 = 89", "true"},
		{"100 - (10 - 1) = 91", "true"},
		{"100 / 10 / 2 = 5", "true"},
		{"100 / (10 / 2) = 20", "true"},
		{"7 / 2 = 3", "true"},
		{"7 / 2.0 = 3.5", "true"},
		{"-7 / 2 = -3", "true"},
		{"7 % 4 = 3", "true"},
		{"-7 % 4 = -3", "true"},
		{"7.5 % 2 = 1.5", "true"},
		{"price * 2 = 25", "true"},
		{"price*2=25", "true"},
		{"2 - -3 = 5", "true"},
		{"2 + +3 = 5", "true"},
		{"1 / 0 = 1", "unknown"},
		{"1.0 / 0 = 1", "unknown"},
		{"1 % 0 = 1", "unknown"},
		{"1e308 * 10 > 1", "unknown"},
		{"big + 1 > big", "false"}, // as real numbers both are 2^63
		{"big + 1 > 9223372036854775000", "true"},
		{"big * 2 > 1.9e19", "false"},
		{"big * 2 > 1.8e19", "true"},
		{"big * -1 = -9223372036854775807", "true"},
		{"(-9223372036854775807 - 1) / -1 > 0", "true"},
		{"-9223372036854775807 - 2 < -9e18", "true"},
		{"3037000500 * 3037000500 > 9.2e18", "true"},
		{"absent + 1 = 1", "unknown"},
		{"color + 1 = 1", "unknown"},

		// Truth.
		{"TRUE", "true"},
		{"FALSE", "false"},
		{"yes", "true"},
		{"no", "false"},
		{"maybe", "unknown"},
		{"color", "unknown"},
		{"absent", "unknown"},
		{"NOT yes", "false"},
		{"NOT NOT yes", "true"},
		{"yes = TRUE", "true"},
		{"yes = true", "true"},
		{"no <> TRUE", "true"},
		{"TRUE = no", "false"},
		{"yes = 'true'", "true"},
		{"no = 'false'", "false"},
		{"maybe = TRUE", "unknown"},
		{"(size > 1) = TRUE", "true"},
		{"(size > 1) = (price > 100)", "false"},
		{"(size > 1) = yes", "true"},
		{"(size > 1) <> absent", "unknown"},

		// Two headers: as numbers if both are, else as text.
		{"size > price", "true"},
		{"color > size", "true"},
		{"version = same", "true"}, // 1.10 and 1.1,
		{"spaced < size", "true"},
		{"color = color", "true"},
		{"maybe < octal", "true"},
		{"size > absent", "unknown"},

		// BETWEEN.
		{"size BETWEEN 42 AND 43", "true"},
		{"size BETWEEN 1 AND 41", "false"},
		{"size BETWEEN 50 AND 1", "false"},
		{"size NOT BETWEEN 50 AND 60", "true"},
		{"size NOT BETWEEN 42 AND 42", "false"},
		{"color BETWEEN 'a' AND 's'", "true"},
		{"absent BETWEEN 1 AND 2", "unknown"},
		{"absent NOT BETWEEN 1 AND 2", "unknown"},
		{"5 BETWEEN absent AND 4", "false"},
		{"5 BETWEEN absent AND 6", "unknown"},
		{"5 BETWEEN 6 AND absent", "false"},
		{"5 BETWEEN 4 AND absent", "unknown"},
		{"size BETWEEN price AND price * 4", "true"},
		{"size BETWEEN 2 * 20 AND 43 AND yes", "true"},

		// IN.
		{"color IN ('blue', 'red')", "true"},
		{"color IN ('blue')", "false"},
		{"color NOT IN ('blue', 'green')", "true"},
		{"color NOT IN ('red')", "false"},
		{"absent IN ('red')", "unknown"},
		{"absent NOT IN ('red')", "unknown"},
		{"size IN (41, 42)", "true"},
		{"size IN (41, -42, +43)", "false"},
		{"neg IN (1, -3)", "true"},
		{"size + 1 IN (43.0)", "true"},
		{"absent + 1 IN (1)", "unknown"},
		{"'a' IN ('a', 'b')", "true"},
		{"color IN (1, 'red')", "true"},
		{"color IN (1, 'blue')", "unknown"},
		{"size IN ('x', 42)", "true"},
		{"size IN ('x', 41)", "false"},
		{"yes IN (TRUE)", "true"},
		{"yes IN (FALSE)", "false"},
		{"yes IN (FALSE, TRUE)", "true"},
		{"maybe IN (TRUE)", "unknown"},
		{"color IN ('1','2','3','4','5','6','7','8','9','red')", "true"},
		{"color IN ('1','2','3','4','5','6','7','red','9','10')", "true"},
		{"color IN ('1','2','3','4','5','6','7','8','9','10')", "false"},

		// LIKE.
		{"color LIKE 'red'", "true"},
		{"color LIKE 'r%'", "true"},
		{"color LIKE '%d'", "true"},
		{"color LIKE '%e%'", "true"},
		{"color LIKE 'r_d'", "true"},
		{"color LIKE '___'", "true"},
		{"color LIKE '____'", "false"},
		{"color LIKE '__'", "false"},
		{"color LIKE 'R%'", "false"},
		{"color LIKE 'red%'", "true"},
		{"color LIKE 're%ed'", "false"},
		{"color LIKE '%'", "true"},
		{"color LIKE '%%_%%'", "true"},
		{"color LIKE ''", "false"},
		{"empty LIKE ''", "true"},
		{"empty LIKE '%'", "true"},
		{"empty LIKE '_'", "false"},
		{"color NOT LIKE 'b%'", "true"},
		{"absent LIKE '%'", "unknown"},
		{"absent NOT LIKE '%'", "unknown"},
		{"size LIKE '4_'", "true"},
		{"utf LIKE 'f_r'", "true"},
		{"utf LIKE '%ü%'", "true"},
		{"utf LIKE '%_r'", "true"},
		{"bytes LIKE 'a_b'", "true"},
		{"bytes LIKE 'a%b'", "true"},
		{"bytes LIKE '%�%'", "false"},
		{"bytes LIKE '%�_'", "false"},
		{"bytes LIKE '%�_%'", "false"},
		{"lines LIKE 'a_b'", "true"},
		{"lines LIKE 'a%'", "true"},
		{"path LIKE '%/b/%'", "true"},
		{"path LIKE '%/_/c'", "true"},
		{"path LIKE '%_/_/_%'", "true"},
		{"path LIKE '%__b__%'", "true"},
		{"path LIKE '%_/_/__%'", "false"},
		{"percent LIKE '50!%' ESCAPE '!'", "true"},
		{"size LIKE '4!_' ESCAPE '!'", "false"},
		{"percent LIKE '%!%' ESCAPE '!'", "true"},
		{"percent LIKE '50%%' ESCAPE '%'", "true"},
		{`back LIKE 'a\b'`, "true"},
		{`back LIKE 'a\\b' ESCAPE '\'`, "true"},
		{`back LIKE 'a\b' ESCAPE '\'`, "true"},
		{"quote LIKE 'it''_'", "true"},
		{"'abc' LIKE 'a%'", "true"},

		// NULL.
		{"absent IS NULL", "true"},
		{"absent IS NOT NULL", "false"},
		{"color IS NULL", "false"},
		{"empty IS NOT NULL", "true"},
		{"color + 1 IS NULL", "true"},
		{"size + 1 IS NULL", "false"},
		{"(absent > 1) IS NULL", "true"},
		{"(size > 1) IS NOT NULL", "true"},
		{"'a' IS NULL", "false"},
		{"1 IS NOT NULL", "true"},

		// AND, OR and NOT bind in this order.
		{"FALSE AND FALSE OR TRUE", "true"},
		{"TRUE OR FALSE AND FALSE", "true"},
		{"(TRUE OR FALSE) AND FALSE", "false"},
		{"NOT FALSE OR TRUE", "true"},
		{"NOT (FALSE OR TRUE)", "false"},
		{"NOT size = 1", "true"},
		{"NOT color IN ('blue')", "true"},

		// Spelling.
		{"color='red'and size>10", "true"},
		{"\tcolor\n=\r\n'red' \f", "true"},
		{"size Between 1 aNd 50", "true"},
		{"my-header = 'dash'", "true"},
		{"a.b = 'dot'", "true"},
		{"über = 'umlaut'", "true"},
		{"$x = 'dollar'", "true"},
		{"_y1 = 'under'", "true"},
		{`"color" = 'red'`, "true"},
		{`"with space" = 'blank'`, "true"},
		{`"say ""hi""" = 'quoted'`, "true"},
		{`"AND" = 'word'`, "true"},
		{"size -1 = 41", "true"},
		{"size - 1 = 41", "true"},
		{"size-1 = 41", "unknown"},
		{"no_hyphenated_props:size-1 = 41", "true"},
		{"convert_string_expressions:hyphenated_props:my-header = 'dash'", "true"},
		{"5-size < 0", "true"},
		{"size<-1", "false"},
	} {
		checkTruth(t, message, row.text, row.want)
	}
}

func TestEquality(t *testing.T) {
	for _, row := range []struct {
		text, name, value string
		ok                bool
	}{
		{"color = 'red'", "color", "red", true},
		{"'red' = color", "color", "red", true},
		{"(color = 'it''s')", "color", "it's", true},
		{"JMSType = 'order'", "type", "order", true},
		{`"JMSType" = 'order'`, "JMSType", "order", true},
		{"size > 1 AND color = 'red' AND shape = 'x'", "color", "red", true},
		{"size > 1 AND (yes AND color = 'red')", "color", "red", true},

		{text: "color <> 'red'"},
		{text: "color >= 'red'"},
		{text: "size = 1"},
		{text: "color = shape"},
		{text: "'a' = 'a'"},
		{text: "NOT color = 'red'"},
		{text: "color = 'red' OR size > 1"},
		{text: "(color = 'red' OR size > 1) AND yes"},
		{text: "JMSXGroupID = 'g'"}, // several headers say it
		{text: "JMSDeliveryMode = 'PERSISTENT'"},
		{text: "yes"},
	} {
		name, value, ok := parse(t, row.text).Equality()
		if name != row.name || value != row.value || ok != row.ok {
			t.Errorf("%s: got %q, %q, %v, want %q, %q, %v", row.text, name, value, ok, row.name, row.value, row.ok)
		}
	}
}

func TestMatchesAllocatesNothing(t *testing.T) {
	env := viewsOf(append([]string{"date", "2024-05-01", "semver", "1.2.3", "float", "0.1234567890123456789"}, order...)...)
	texts := []string{"date > 1", "semver > 1.1", "float < 0.2", "absent IS NULL", "size = price"}
	for _, bm := range benchmarks {
		texts = append(texts, bm.text)
	}
	for _, text := range texts {
		s := parse(t, text)
		if n := testing.AllocsPerRun(10, func() { s.Matches(env) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
