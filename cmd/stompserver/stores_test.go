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

// TestOrphans brings over what the index of the Ruby server does not list.
func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.CopyFS(old, os.DirFS("../../internal/store/file/testdata/ruby")); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"vm-1795418394-273907-2": "vm-1795418394-373907-20", "vm-1795418394-578054-8": "vm-1795418394-478054-18"} {
		b, err := os.ReadFile(filepath.Join(old, "_queue_test", from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(old, "_queue_test", to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dump := filepath.Join(dir, "dump")
	if err := os.WriteFile(dump, []byte(`{"queue":"/queue/test","body":"before"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	to := "--to=journal:" + filepath.Join(dir, "new")
	var out, errs bytes.Buffer
	for _, args := range [][]string{
		{"import", to, "--quiet", dump}, {"import", to, "--orphans", old, "--dry-run", "--quiet"}, {"import", to, "--orphans", old},
		{"import", to, "--append", "--quiet", dump}, {"export", "--quiet", "--from=journal:" + filepath.Join(dir, "new")},
	} {
		g := &globals{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		if code := run(context.Background(), g, args); code != 0 {
			t.Fatalf("%q: code %d\n%s", args, code, errs.String())
		}
	}
	if !strings.Contains(out.String(), "2 messages that the index of "+old+" does not list stored in journal:") {
		t.Errorf("it says\n%s", out.String())
	}
	var got []string
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, "{") {
			_, body, _ := strings.Cut(line, `"body`)
			got = append(got, body)
		}
	}
	if want := `":"before"} ":"message 2"} _base64":"YmluAGFyef8B"} ":"before"}`; strings.Join(got, " ") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, " "), want)
	}
}
