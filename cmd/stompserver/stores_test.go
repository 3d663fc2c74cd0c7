package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRubyDump runs the Ruby command of the help on what the Ruby server's dbm looks like.
func TestRubyDump(t *testing.T) {
	path, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed")
	}
	if err := exec.Command(path, "-rdbm", "-e", "").Run(); err != nil {
		t.Skip("ruby's dbm library is not installed")
	}
	dir := t.TempDir()
	script, err := filepath.Abs("testdata/make-dbm.rb")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{path, script}, {"sh", "-c", rubyDump}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	to := "--to=journal:" + filepath.Join(dir, "storage")
	from := "--from=journal:" + filepath.Join(dir, "storage")
	var out, errs bytes.Buffer
	g := &globals{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	for _, args := range [][]string{{"import", to, "--quiet", filepath.Join(dir, "dump")}, {"export", from}} {
		if code := run(context.Background(), g, args); code != 0 {
			t.Fatalf("%q: code %d\n%s", args, code, errs.String())
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := `{"queue":"/queue/a","seq":1,"attempts":2,"arrived":1795418394628,` +
		`"headers_base64":[["bg==","Menp"],["dGltZXN0YW1w","MTc5NTQxODM5NDYyOA=="]],"body_base64":"Mf8A"}`
	want = strings.Replace(want, "Menp", "Mek=", 1)
	if len(lines) != 11 || lines[0] != want {
		t.Errorf("%d lines, the first\n%s\nwant 11 and\n%s", len(lines), lines[0], want)
	}
}

// TestDocsOfRubyDump: the page for those who come from the Ruby server has the same command.
func TestDocsOfRubyDump(t *testing.T) {
	page, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), rubyDump) {
		t.Errorf("docs/migrating.md does not have\n%s", rubyDump)
	}
}

// TestMigrateFromRuby moves what the Ruby server left in its files.
func TestMigrateFromRuby(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "old"), os.DirFS("../../internal/store/file/testdata/ruby")); err != nil {
		t.Fatal(err)
	}
	from, to := "file:"+filepath.Join(dir, "old"), "journal:"+filepath.Join(dir, "new")
	for range 2 { // the second time it is all there
		var out, errs bytes.Buffer
		g := &globals{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		if code := run(context.Background(), g, []string{"migrate", "--from", from, "--to", to}); code != 0 {
			t.Fatalf("code %d\n%s", code, errs.String())
		}
		if !strings.Contains(out.String(), "\n/queue/test            7         63\n") || !strings.Contains(out.String(), "\n9 messages copied from "+from+" to "+to) {
			t.Errorf("it says\n%s", out.String())
		}
	}
}
