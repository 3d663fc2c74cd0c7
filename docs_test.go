package stompserver_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stompserver"
	"stompserver/internal/metrics"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every setting stands in the table of docs/operations.md with its default.
func TestDocsOfSettings(t *testing.T) {
	doc := readFile(t, "docs/operations.md")
	dir := t.TempDir()
	s, err := stompserver.Load(stompserver.LoadOptions{Dir: dir, Version: "${version}"})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range stompserver.All() {
		value := set.Value(s)
		if rel, err := filepath.Rel(dir, value); err == nil && filepath.IsAbs(value) && !strings.HasPrefix(value, "/queue") {
			value = filepath.ToSlash(rel)
		}
		name := "`" + set.Key + "`"
		if set.Alias != "" {
			name += " (`" + set.Alias + "`)"
		}
		restart := ""
		if set.Restart {
			restart = "restart"
		}
		row := strings.Join([]string{"|", name, "|", value, "|", set.Doc, "|", restart, "|"}, " ")
		row = strings.NewReplacer("|  |", "| |", "<", `\<`).Replace(row)
		if !strings.Contains(doc, "\n"+row+"\n") {
			t.Errorf("docs/operations.md has no line\n%s", row)
		}
	}
}

// Every error-code, and every message that goes with it, stands in the table of
// docs/protocol.md, and none stands there that the server does not send.
func TestDocsOfErrors(t *testing.T) {
	doc := readFile(t, "docs/protocol.md")
	files, err := filepath.Glob("internal/session/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files of the session", err)
	}
	var source strings.Builder
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			source.WriteString(readFile(t, f))
		}
	}
	word := make(map[string]string) // by name of the constant
	for _, m := range regexp.MustCompile(`(?m)^\s*(code\w+)\s+= "([a-z-]+)"$`).FindAllStringSubmatch(source.String(), -1) {
		word[m[1]] = m[2]
	}
	if len(word) < 10 {
		t.Fatalf("only these codes were found: %v", word)
	}
	listed := regexp.MustCompile(`(?s)errorCodes = \[\]string\{(.*?)\}`).FindString(source.String()) // which metrics begin at 0
	for name := range word {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(listed) {
			t.Errorf("errorCodes lacks %s", name)
		}
	}
	inTable := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\|.*\\| `([^`]+)` \\| `([a-z-]+)` \\|$").FindAllStringSubmatch(doc, -1) {
		if m[2] == "error-code" { // the heading
			continue
		}
		inTable[m[2]] = true
		inTable[m[1]+" "+m[2]] = true
	}
	known := make(map[string]bool)
	for _, w := range word {
		known[w] = true
		if !inTable[w] {
			t.Errorf("the table lacks the error-code %s", w)
		}
	}
	for _, m := range regexp.MustCompile(`errf\((code\w+), "([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if pair := m[2] + " " + word[m[1]]; !inTable[pair] {
			t.Errorf("the table lacks message %q with error-code %s", m[2], word[m[1]])
		}
	}
	for entry := range inTable {
		if code := entry[strings.LastIndexByte(entry, ' ')+1:]; !known[code] {
			t.Errorf("the table has the error-code %s, which is not sent", code)
		}
	}
}

// Every metric stands in the table of docs/operations.md as it is told, and no other.
func TestDocsOfMetrics(t *testing.T) {
	doc := readFile(t, "docs/operations.md")
	known := make(map[string]bool)
	for _, m := range metrics.All() {
		known[m.Name] = true
		row := strings.Join([]string{"|", "`" + m.Name + "`", "|", m.Type, "|", strings.Join(m.Labels, ", "), "|", m.Help, "|"}, " ")
		row = strings.ReplaceAll(row, "|  |", "| |")
		if !strings.Contains(doc, "\n"+row+"\n") {
			t.Errorf("docs/operations.md has no line\n%s", row)
		}
	}
	for _, m := range regexp.MustCompile(`\bstompserver_[a-z]{3}[a-z_]*`).FindAllString(doc, -1) {
		if !known[m] {
			t.Errorf("docs/operations.md has the metric %s, which is not told", m)
		}
	}
}

// Every module of go.mod has its line in docs/dependencies.md.
func TestDocsOfDependencies(t *testing.T) {
	doc := readFile(t, "docs/dependencies.md")
	modules := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) v\S+`).FindAllStringSubmatch(readFile(t, "go.mod"), -1)
	if len(modules) < 5 {
		t.Fatalf("only these modules were found: %q", modules)
	}
	for _, m := range modules {
		if !strings.Contains(doc, "\n| "+m[1]+" | ") {
			t.Errorf("docs/dependencies.md lacks %s", m[1])
		}
	}
}

// Every link from one page to another, or to a heading, leads somewhere.
func TestDocsOfLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, top...) {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(readFile(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, heading, _ := strings.Cut(m[1], "#")
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if heading != "" && !hasHeading(readFile(t, path), heading) {
				t.Errorf("%s links to %s: there is no such heading", page, m[1])
			}
		}
	}
}

func hasHeading(doc, anchor string) bool {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		words := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(words, " ", "-") == anchor {
			return true
		}
	}
	return false
}
