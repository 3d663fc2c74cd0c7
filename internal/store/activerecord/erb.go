package activerecord

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// An erb is the Ruby within a database.yml: of it, variables of the environment are
// understood. They are put in after the YAML is read, so that no value can break it.
type erb struct {
	tags []string
	mark string // no file holds it
}

var (
	erbTag     = regexp.MustCompile(`(?s)<%(.*?)%>`)
	erbIndex   = regexp.MustCompile(`^=\s*ENV\[\s*(?:'(\w+)'|"(\w+)")\s*\](?:\s*\|\|\s*(.+?))?\s*-?$`)
	erbFetch   = regexp.MustCompile(`^=\s*ENV\.fetch\(?\s*(?:'(\w+)'|"(\w+)")\s*(?:,\s*([^()]+?)\s*)?\)?(?:\s*\{\s*(.*?)\s*\})?\s*-?$`)
	erbLiteral = regexp.MustCompile(`^(?:'([^'\\]*)'|"([^"\\#]*)"|(\d+)|(nil))$`)
)

// takeOut has marks stand where the Ruby was. Ruby that is no value is an error.
func (e *erb) takeOut(text string) (string, error) {
	for e.mark = "erb"; strings.Contains(text, e.mark); e.mark += "x" {
	}
	var bad error
	text = erbTag.ReplaceAllStringFunc(text, func(tag string) string {
		inner := strings.TrimSpace(tag[2 : len(tag)-2])
		switch {
		case strings.HasPrefix(inner, "#"):
			return ""
		case !strings.HasPrefix(inner, "="):
			bad = notRun(tag)
		}
		e.tags = append(e.tags, tag)
		return fmt.Sprintf("%s%d%s", e.mark, len(e.tags)-1, e.mark)
	})
	return text, bad
}

func notRun(tag string) error {
	return fmt.Errorf(`no Ruby is run here: of %.60s only <%%= ENV["NAME"] %%> and <%%= ENV.fetch("NAME", "default") %%> would be understood`, tag)
}

// putIn gives the values to the marks in text.
func (e *erb) putIn(text string) (string, error) {
	if !strings.Contains(text, e.mark) {
		return text, nil
	}
	for i, tag := range e.tags {
		mark := fmt.Sprintf("%s%d%s", e.mark, i, e.mark)
		if !strings.Contains(text, mark) {
			continue
		}
		value, err := erbValue(tag)
		if err != nil {
			return "", err
		}
		text = strings.ReplaceAll(text, mark, value)
	}
	return text, nil
}

// erbValue is what Ruby would make of a tag.
func erbValue(tag string) (string, error) {
	inner := strings.TrimSpace(tag[2 : len(tag)-2])
	if m := erbIndex.FindStringSubmatch(inner); m != nil {
		if v, ok := os.LookupEnv(m[1] + m[2]); ok || m[3] == "" {
			return v, nil
		}
		return literal(tag, m[3])
	}
	m := erbFetch.FindStringSubmatch(inner)
	if m == nil || m[3] != "" && m[4] != "" {
		return "", notRun(tag)
	}
	if v, ok := os.LookupEnv(m[1] + m[2]); ok {
		return v, nil
	}
	if m[3]+m[4] == "" {
		return "", fmt.Errorf("the environment has no %s", m[1]+m[2])
	}
	return literal(tag, m[3]+m[4])
}

func literal(tag, text string) (string, error) {
	m := erbLiteral.FindStringSubmatch(text)
	if m == nil {
		return "", notRun(tag)
	}
	return m[1] + m[2] + m[3], nil
}
