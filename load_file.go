package stompserver

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// An entry is one setting of a file.
type entry struct {
	key   string // of a Setting, not its alias
	value string
	line  int
	items []item // of a list
}

// An item is one of a list.
type item struct {
	value string // a list of it alone
	line  int
}

// An itemError says which item of a list is wrong, counted from 1.
type itemError struct {
	what string
	n    int
	err  error
}

func (e *itemError) Error() string { return fmt.Sprintf("%s %d: %v", e.what, e.n, e.err) }
func (e *itemError) Unwrap() error { return e.err }

// parseFile reads the YAML of a configuration file. Keys may be written as Ruby symbols,
// with a leading colon, and mixed with plain ones. A key without a value is not set.
func parseFile(name string, data []byte) (entries []entry, problems []Problem, warnings []string) {
	p := fileParser{name: name, seen: make(map[string]int)}
	doc, line, err := parseYAML(data)
	switch {
	case err != nil && tabbed(data, line):
		p.problem(line, "this is not YAML: the line is indented with a tab; indent it with spaces")
	case err != nil:
		p.problem(line, "this is not YAML: %v", err)
	case doc != nil:
		p.section("", doc)
	}
	return p.entries, p.problems, p.warnings
}

type fileParser struct {
	name     string
	entries  []entry
	problems []Problem
	warnings []string
	seen     map[string]int // line of each key
}

func (p *fileParser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{Source{Kind: "file", Name: p.name, Line: line}, fmt.Sprintf(format, args...)})
}

// parseYAML returns the root of the one document in data, nil if it is empty. The line is
// that of the error.
func parseYAML(data []byte) (*yaml.Node, int, error) {
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		line, text := 1, err.Error()
		var one *yaml.LoadError
		var many *yaml.LoadErrors
		if errors.As(err, &many) && len(many.Errors) > 0 {
			one = many.Errors[0]
		}
		if one != nil || errors.As(err, &one) {
			text = one.Message
			line = max(one.Mark.Line, 1)
		}
		return nil, line, errors.New(text)
	}
	if len(docs) == 0 {
		return nil, 0, nil
	}
	if len(docs) > 1 {
		return nil, docs[1].Line, errors.New("there is a second document")
	}
	root := &docs[0]
	for root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return nil, 0, nil
		}
		root = root.Content[0]
	}
	if isNull(root) {
		return nil, 0, nil
	}
	return root, 0, nil
}

// tabbed reports whether there is a tab in the indentation of that line.
func tabbed(data []byte, line int) bool {
	lines := bytes.SplitN(data, []byte("\n"), line+1)
	if line > len(lines) {
		return false
	}
	text := lines[line-1]
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	return bytes.IndexByte(indent, '\t') >= 0
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// section reads the mapping n, whose keys stand below prefix.
func (p *fileParser) section(prefix string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		if prefix == "" {
			p.problem(n.Line, "this is not a list of settings: write KEY: VALUE lines")
		} else {
			p.problem(n.Line, "%s is a section: write its settings below it, indented", prefix)
		}
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			p.problem(k.Line, "a key is not a word")
			continue
		}
		word, symbol := unsymbol(k.Value)
		key := word
		if prefix != "" {
			key = prefix + "." + word
		}
		p.key(key, symbol, k, v)
	}
}

func (p *fileParser) key(key string, symbol bool, k, v *yaml.Node) {
	t := settingByKey[key]
	if t != nil {
		key = t.Key
	}
	known := t != nil || isSection(key)
	if first, dup := p.seen[key]; dup && known && !slices.Contains(absent, key) {
		p.problem(k.Line, "%s is set a second time, first in line %d", key, first)
		return
	}
	p.seen[key] = k.Line
	if v.Kind == yaml.AliasNode {
		v = v.Alias
	}
	switch {
	case slices.Contains(absent, key):
		p.problem(k.Line, "%s", notHere(key))
	case t != nil:
		p.value(t, k.Line, v)
	case isSection(key):
		if !isNull(v) {
			p.section(key, v)
		}
	case symbol:
		p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: unknown key %q is ignored%s", p.name, k.Line, k.Value, p.suggest(key)))
	default:
		p.problem(k.Line, "unknown key %q%s", key, p.suggest(key))
	}
}

func (p *fileParser) value(t *Setting, line int, v *yaml.Node) {
	switch {
	case isNull(v):
	case t.kind == aList && v.Kind == yaml.SequenceNode:
		text, err := lineOf(v)
		if err != nil {
			p.problem(line, "%s: %v", t.Key, err)
			return
		}
		e := entry{key: t.Key, value: text, line: line}
		for _, one := range v.Content {
			if text, err := lineOf(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{one}}); err == nil {
				e.items = append(e.items, item{text, one.Line})
			}
		}
		p.entries = append(p.entries, e)
	case t.kind == aList && v.Kind != yaml.ScalarNode:
		p.problem(line, `%s is a list: each entry of it begins with "- "`, t.Key)
	case v.Kind != yaml.ScalarNode:
		p.problem(line, "%s takes one value", t.Key)
	default:
		text := v.Value
		if v.Style == 0 {
			text, _ = unsymbol(text)
		}
		if text != "" {
			p.entries = append(p.entries, entry{key: t.Key, value: text, line: line})
		}
	}
}

// lineOf is the YAML of n in one line.
func lineOf(n *yaml.Node) (string, error) {
	text, err := yaml.Marshal(inOneLine(n))
	return strings.Join(strings.Fields(string(text)), " "), err
}

// inOneLine has n and what it holds written with brackets and braces.
func inOneLine(n *yaml.Node) *yaml.Node {
	c := *n
	if c.Kind != yaml.ScalarNode {
		c.Style = yaml.FlowStyle
	}
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	c.Content = nil
	for _, child := range n.Content {
		c.Content = append(c.Content, inOneLine(child))
	}
	return &c
}

func (p *fileParser) suggest(key string) string {
	var words []string
	last := key[strings.LastIndexByte(key, '.')+1:]
	for k := range settingByKey {
		words = append(words, k)
	}
	slices.Sort(words) // the same suggestion each time
	if s := didYouMean(key, words); s != "" {
		return s
	}
	for _, w := range words {
		if strings.HasSuffix(w, "."+last) {
			return fmt.Sprintf("; did you mean %q?", w)
		}
	}
	return ""
}

func isSection(key string) bool {
	for _, t := range settings {
		if strings.HasPrefix(t.Key, key+".") {
			return true
		}
	}
	return false
}

var symbol = regexp.MustCompile(`^:[A-Za-z_]`)

// unsymbol takes the colon off a Ruby symbol.
func unsymbol(s string) (string, bool) {
	if symbol.MatchString(s) {
		return s[1:], true
	}
	return s, false
}

// yamlText is s as parseFile reads it back: plain where that does.
func yamlText(s string) string {
	_, colon := unsymbol(s)
	if line, err := yaml.Marshal(s); err == nil && !colon {
		if text := strings.TrimSuffix(string(line), "\n"); !strings.Contains(text, "\n") {
			return text
		}
	}
	return quotedYAML(s)
}
