package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/internal/auth"
)

func permissions(t *testing.T, config string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stompserver.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	g := &globals{Stdout: &out, Stderr: &errs}
	code = run(context.Background(), g, append([]string{"permissions", "-C", path}, args...))
	return code, out.String(), errs.String()
}

const permissionsConfig = `
auth: true
users:
  - {name: app, allow: ["deny write /queue/jobs.closed", "write /queue/jobs.*", "read /queue/{username}"], roles: [reader]}
  - {name: boss, roles: [admin]}
roles:
  - {name: reader, allow: [read /topic/>]}
anonymous: {allow: [read /topic/news]}
`

func TestPermissionsCheck(t *testing.T) {
	notes := map[string]string{"joe": "stompserver: note: neither users nor the password file has a user joe, who so cannot log in\n"}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"app write /queue/jobs.1", exitOK, `allowed: the user app may write /queue/jobs.1: by user app: "write /queue/jobs.*"`},
		{"app write queue://jobs.1", exitOK, `allowed: the user app may write queue://jobs.1: by user app: "write /queue/jobs.*"`},
		{"app write /queue/jobs.closed", exitRefused, `denied: the user app may not write /queue/jobs.closed: by user app: "deny write /queue/jobs.closed"`},
		{"app write /queue/jobs.1,/queue/x", exitRefused, `denied: the user app may not write /queue/jobs.1,/queue/x: no rule allows it`},
		{"app read /queue/app", exitOK, `allowed: the user app may read /queue/app: by user app: "read /queue/{username}"`},
		{"app consume /topic/a.>", exitOK, `allowed: the user app may consume /topic/a.>: by role reader: "read /topic/>"`},
		{"app read >", exitRefused, `denied: the user app may not read >: no rule allows it`},
		{"boss destroy /dsub/a", exitOK, `allowed: the user boss may destroy /dsub/a: nothing says otherwise`},
		{"joe write /queue/$schedule", exitOK, `allowed: the user joe may write /queue/$schedule: nothing says otherwise`},
		{"--anonymous read /topic/news", exitOK, `allowed: a client without a login may read /topic/news: by anonymous: "read /topic/news"`},
		{"--anonymous write /topic/news", exitRefused, `denied: a client without a login may not write /topic/news: no rule allows it`},
	} {
		code, out, errs := permissions(t, permissionsConfig, append([]string{"check"}, strings.Fields(test.args)...)...)
		if code != test.code || strings.TrimSpace(out) != test.want || errs != notes[strings.Fields(test.args)[0]] {
			t.Errorf("%s: exit code %d, %q, %q; want %q", test.args, code, out, errs, test.want)
		}
	}
	if code, out, errs := permissions(t, permissionsConfig, "check", "app", "fly", "/queue/a"); code != exitUsage || out != "" || !strings.Contains(errs, "there are read, write") {
		t.Errorf("an unknown action: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, _ := permissions(t, permissionsConfig, "check", "--json", "app", "write", "/queue/a"); code != exitRefused || out != `{"allowed":false}`+"\n" {
		t.Errorf("JSON: exit code %d, %q", code, out)
	}
	if code, out, errs := permissions(t, "auth: false", "check", "app", "write", "/queue/a"); code != exitOK || !strings.HasPrefix(out, "allowed") || !strings.Contains(errs, "auth is off") {
		t.Errorf("without logins: exit code %d, %q, %q", code, out, errs)
	}
}

func TestPermissionsList(t *testing.T) {
	want := `user app: "deny write /queue/jobs.closed"
user app: "write /queue/jobs.*"
user app: "read /queue/{username}"
role reader: "read /topic/>"
`
	if code, out, errs := permissions(t, permissionsConfig, "list", "app"); code != exitOK || out != want || errs != "" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if code, out, _ := permissions(t, permissionsConfig, "list", "boss"); code != exitOK || out != "everything\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestPasswdHash(t *testing.T) {
	code, out, errs := passwd(t, "secret\n", "hash", "--stdin")
	if code != exitOK || errs != "" || !auth.Verify(strings.TrimSpace(out), "secret") || strings.Contains(out, "secret") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}
