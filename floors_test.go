package stompserver_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors are those of ARCHITECTURE.md: an import points to a lower floor.
var floors = map[string]int{
	"internal/frame": 0, "internal/heap": 0, "internal/vfs": 0, "internal/ruby/marshal": 0, "internal/ruby/psych": 0, "internal/ruby/messageid": 0,
	"test/certificate":   0,
	"internal/websocket": 0, "internal/origin": 0, "internal/transport": 0,
	"internal/selector": 0, "internal/destination": 0, "internal/pattern": 0,
	"internal/message": 1, "internal/client": 1, "internal/rights": 1, "internal/store/group": 1,
	"internal/store": 2, "internal/loadgen": 2, "scripts/internal/trial": 2,
	"internal/broker": 3, "internal/auth": 3,
	"internal/store/spool": 3, "internal/store/storetest": 3, "internal/store/file": 3, "internal/store/dbm": 3,
	"internal/transfer": 3, "internal/store/activerecord": 3, "internal/store/journal": 3, "internal/store/jetstream": 3,
	"internal/vhost": 3, "internal/session": 4, "internal/monitor": 4,
	"internal/admin": 5, "internal/web": 5, "internal/metrics": 5,
	".":               6,
	"cmd/stompserver": 7,
}

// TestImportsPointDown reads the imports of every package. Tests may import what they like.
func TestImportsPointDown(t *testing.T) {
	arrows := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "tools") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(filepath.ToSlash(file))
		floor, ok := floors[from]
		if !ok && !strings.HasPrefix(from, "internal/") {
			floor = 7 // another command
		} else if !ok {
			t.Errorf("%s: the package %s has no floor: see ARCHITECTURE.md", file, from)
			return nil
		}
		for _, im := range parsed.Imports {
			to, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			switch {
			case to == "stompserver":
				to = "."
			case strings.HasPrefix(to, "stompserver/"):
				to = strings.TrimPrefix(to, "stompserver/")
			default:
				continue
			}
			arrows++
			if below, ok := floors[to]; !ok || below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): an import points to a lower floor", file, floor, to, below)
			}
			for _, part := range strings.Split(to, "/") {
				if part == "util" || part == "common" || part == "helpers" {
					t.Errorf("%s imports %s: name a package for what it does", file, to)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if arrows < 10 {
		t.Errorf("only %d imports were found: the test looks in the wrong place", arrows)
	}
}
