package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// What the linker has set goes before what the go command recorded.
func TestBuildInfo(t *testing.T) {
	defer func(v, r, d string) { version, revision, date = v, r, d }(version, revision, date)
	version, revision, date = "1.2.3", "0123abc", "2026-01-02T03:04:05Z"
	var out bytes.Buffer
	if err := build().print(&out); err != nil {
		t.Fatal(err)
	}
	want := "stompserver 1.2.3\nrevision 0123abc\ndate     2026-01-02T03:04:05Z\n" +
		"go       " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// What make builds says of which commit it is.
func TestMakeSetsTheRevision(t *testing.T) {
	revision, err := exec.Command("git", "-C", "../..", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Log("this is no git working copy: nothing to compare")
		return
	}
	line, err := exec.Command("make", "-s", "-n", "-C", "../..", "build").Output()
	if err != nil {
		t.Log("there is no make")
		return
	}
	_, flags, _ := strings.Cut(string(line), "-ldflags '")
	flags, _, _ = strings.Cut(flags, "'")
	bin := t.TempDir() + "/stompserver"
	if out, err := exec.Command("go", "build", "-ldflags", flags, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build -ldflags %q: %v\n%s", flags, err, out)
	}
	out, err := exec.Command(bin, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b buildInfo
	if err := json.Unmarshal(out, &b); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(revision)); strings.TrimSuffix(b.Revision, "-modified") != want {
		t.Errorf("revision %q, want %q", b.Revision, want)
	}
	if len(b.Date) != len("2026-01-02T03:04:05Z") || b.Version == "dev" {
		t.Errorf("version %q, date %q", b.Version, b.Date)
	}
}
