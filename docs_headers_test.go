package stompserver_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// askers are the functions that are given the name of a header, to look it up, to add it or to complain of it.
var askers = map[string]bool{
	"Get": true, "Value": true, "Header": true, "Add": true, "Redirect": true, "Tell": true,
	"flag": true, "count": true, "number": true, "errMissing": true, "errHeader": true,
}

var headerName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]+$`)

// headersIn collects what the code of a package calls headers: what it asks for, what the options of a message are switched
// by, the lists of spellings, and lines of MESSAGE that are written as they are.
func headersIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("internal", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	found := make(map[string]string)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || filepath.Base(name) == "figures.go" { // which has labels of metrics
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		add := func(exprs []ast.Expr) {
			for _, e := range exprs {
				if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil && headerName.MatchString(s) {
						found[s] = set.Position(l.Pos()).String()
					}
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				called := ""
				switch fn := x.Fun.(type) {
				case *ast.Ident:
					called = fn.Name
				case *ast.SelectorExpr:
					called = fn.Sel.Name
				}
				if askers[called] {
					add(x.Args)
				}
			case *ast.CaseClause:
				if filepath.Base(name) == "options.go" {
					add(x.List)
				}
			case *ast.CompositeLit:
				if a, ok := x.Type.(*ast.ArrayType); ok {
					if of, ok := a.Elt.(*ast.Ident); ok && of.Name == "string" {
						add(x.Elts)
					}
				}
				if filepath.Base(name) == "statistics.go" && len(x.Elts) == 2 { // a figure, which a report has as a header
					add(x.Elts[:1])
				}
			case *ast.BasicLit:
				if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING {
					for _, m := range regexp.MustCompile(`(?:^|\n)([a-zA-Z][a-zA-Z0-9-]*):(?:true|false)?(?:\n|$)`).FindAllStringSubmatch(s, -1) {
						found[m[1]] = set.Position(x.Pos()).String()
					}
				}
			}
			return true
		})
	}
	return found
}

// What looks like the name of a header and is none: columns of the broker's own tables, which no client sees, and
// headers of HTTP.
var noHeaders = regexp.MustCompile(`^(q-.*|dest|owner|steps|topic|Authorization|Origin)$`)

// Every header that the server reads or writes stands in docs/protocol.md, in code type.
func TestDocsOfHeaders(t *testing.T) {
	b, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, code := range regexp.MustCompile("`[^`]+`").FindAllString(string(b), -1) {
		for _, word := range regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_.-]*`).FindAllString(code, -1) {
			known[strings.TrimRight(word, ".-")] = true
		}
	}
	n := 0
	for _, dir := range []string{"session", "broker", "message"} {
		for name, where := range headersIn(t, dir) {
			if noHeaders.MatchString(name) {
				continue
			}
			if n++; !known[name] {
				t.Errorf("docs/protocol.md does not say what %s is, which %s has", name, where)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d names were found", n)
	}
}
