//go:build linux

package trial

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceTable(t *testing.T) {
	const begin, end = "<!-- one begin -->\n", "<!-- one end -->\n"
	file := filepath.Join(t.TempDir(), "b.md")
	if err := os.WriteFile(file, []byte("head\n"+begin+"old\n"+end+"tail\n<!-- two begin -->\nkept\n<!-- two end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ReplaceTable(file, "one", "new\n"); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(file)
		if want := "head\n" + begin + "new\n" + end + "tail\n<!-- two begin -->\nkept\n<!-- two end -->\n"; string(got) != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if err := ReplaceTable(file, "three", "new\n"); err == nil {
		t.Error("a file without the marks was changed")
	}
}
