package selector_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/selector"
)

// section returns the rows of the tables below a heading of docs/selectors.md.
func section(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/selectors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/selectors.md has no %s", heading)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.Split(strings.Trim(line, "| \n"), " | "))
		}
	}
	return rows
}

func TestDocsOfExamples(t *testing.T) {
	rows := section(t, "Examples")
	if len(rows) < 15 {
		t.Fatalf("only %d examples were found", len(rows))
	}
	env := viewsOf("color", "red", "size", "15", "price", "100", "quantity", "10.5", "region", "eu", "code", "200",
		"file", "log-10", "share", "100%", "urgent", "TRUE", "x-death-reason", "rejected", "content-type", "text/plain",
		"name", "O'Brien", "type", "order", "priority", "5")
	no := []string{"color <> 'red'", "color <> 'red' OR color IS NULL", "file LIKE '%.csv'", "NOT urgent",
		"urgent = TRUE AND NOT (size > 10 OR color = 'red')"}
	for _, row := range rows {
		text := strings.Trim(row[0], "`")
		if got := parse(t, text).Matches(env); got == slices.Contains(no, text) {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestDocsOfNames(t *testing.T) {
	var names []string
	for _, row := range section(t, "Names") {
		name := strings.Trim(row[0], "`")
		names = append(names, name)
		absent := name + " IS NULL"
		if len(row) == 3 {
			absent = name + " = '" + strings.Trim(row[2], "`") + "'"
		}
		if !parse(t, absent).Matches(viewsOf()) {
			t.Errorf("%s is not true of a message without headers", absent)
		}
		headers, mode, isMode := strings.Cut(row[1], ":")
		value := "false"
		if isMode {
			value = regexp.MustCompile("`(.*?)`").FindStringSubmatch(mode)[1]
		}
		for header := range strings.SplitSeq(strings.Trim(headers, " |"), ", ") {
			header = strings.Trim(header, "`")
			if !parse(t, name+" = '"+value+"'").Matches(viewsOf(header, "false")) {
				t.Errorf("%s is not %s where %s is false", name, value, header)
			}
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, selector.Names()) {
		t.Errorf("docs/selectors.md has %q, there are %q", names, selector.Names())
	}
}

func TestDocsOfErrors(t *testing.T) {
	b, err := os.ReadFile("../../docs/selectors.md")
	if err != nil {
		t.Fatal(err)
	}
	var e *selector.Error
	if _, err := selector.Parse("color = 'für' AND size >> 10"); !errors.As(err, &e) {
		t.Fatal(err)
	}
	_, what, _ := strings.Cut(e.Error(), "selector: ")
	what, _, _ = strings.Cut(what, ": \"")
	want := "    " + what + "\n    " + strings.ReplaceAll(e.Excerpt(), "\n", "\n    ") + "\n"
	if !strings.Contains(string(b), want) {
		t.Errorf("docs/selectors.md lacks\n%s", want)
	}
}
