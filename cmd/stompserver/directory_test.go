package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/test/slapd"
)

// TestDirectoryCommands has passwd verify and permissions ask a directory.
func TestDirectoryCommands(t *testing.T) {
	d := slapd.Start(t)
	conf := fmt.Sprintf(`
auth: true
ldap: {url: %q, bind_dn: %q, bind_passcode_file: %q, base: %q, groups: {base: %q}, timeout: 1s}
users:
  - {name: app, allow: [read /topic/>]}
roles:
  - {name: till, allow: ["write /queue/till.{username}"]}
`, d.URL, slapd.Service, d.BindFile, slapd.People, slapd.Groups)
	path := filepath.Join(t.TempDir(), "stompserver.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func(name, passcode string) (int, string) {
		t.Helper()
		code, out, errs := passwd(t, passcode+"\n", "verify", name, "--stdin", "-C", path)
		return code, out + errs
	}
	check := func(args ...string) (int, string) {
		t.Helper()
		code, out, errs := permissions(t, conf, args...)
		return code, out + errs
	}
	for _, row := range []struct {
		code int
		want string
		do   func() (int, string)
	}{
		{exitOK, "that is the passcode of joe in the directory\n", func() (int, string) { return verify("joe", "joe's passcode") }},
		{exitOK, "of JOE in the directory, whose name is joe\n", func() (int, string) { return verify("JOE", "joe's passcode") }},
		{exitRefused, "the directory does not let joe in", func() (int, string) { return verify("joe", "x") }},
		{exitRefused, "the directory does not let nobody in", func() (int, string) { return verify("nobody", "x") }},
		{exitOK, `by role till: "write /queue/till.{username}"`, func() (int, string) { return check("check", "joe", "write", "/queue/till.joe") }},
		{exitRefused, "no rule allows it", func() (int, string) { return check("check", "ann", "write", "/queue/till.ann") }},
		{exitRefused, "neither the password file nor the directory has a user nobody", func() (int, string) { return check("check", "nobody", "write", "/queue/a") }},
		{exitOK, `role till: "write /queue/till.{username}"`, func() (int, string) { return check("list", "joe") }},
	} {
		if code, text := row.do(); code != row.code || !strings.Contains(text, row.want) {
			t.Errorf("exit code %d with %q, want %d with %q", code, text, row.code, row.want)
		}
	}
	d.Stop()
	if code, text := verify("joe", "joe's passcode"); code != exitUnavailable || !strings.Contains(text, "does not answer") {
		t.Errorf("without a directory verify ends with %d, %q", code, text)
	}
	if code, text := check("check", "joe", "write", "/queue/till.joe"); code != exitUnavailable || !strings.Contains(text, "does not answer") {
		t.Errorf("without a directory permissions ends with %d, %q", code, text)
	}
}
