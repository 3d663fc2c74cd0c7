package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stompserver/internal/auth"
)

// passwd runs the command with in as its standard input.
func passwd(t *testing.T, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	g := &globals{Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errs}
	code = run(context.Background(), g, append([]string{"passwd"}, args...))
	return code, out.String(), errs.String()
}

// passwdFile makes a password file and returns its path.
func passwdFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantLogin fails unless name logs in with passcode by the file at path, as want says.
func wantLogin(t *testing.T, path, name, passcode string, want bool) {
	t.Helper()
	p, err := auth.OpenPasswd(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Authenticate(t.Context(), name, passcode); (err == nil) != want {
		t.Errorf("login of %s with %q: %v, want it to pass: %t", name, passcode, err, want)
	}
}

func TestPasswdAdd(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".passwd")
	if code, out, errs := passwd(t, "first\n", "add", "app", "--stdin", "--file", path); code != exitOK || out != "added app to "+path+"\n" || errs != "" {
		t.Fatalf("exit code %d, printed %q and %q", code, out, errs)
	}
	wantLogin(t, path, "app", "first", true)
	if code, out, errs := passwd(t, "two  words\r\nrest", "add", "--file="+path, "app", "--stdin"); code != exitOK || out != "gave app a new passcode in "+path+"\n" || errs != "" {
		t.Fatalf("exit code %d, printed %q and %q", code, out, errs)
	}
	wantLogin(t, path, "app", "first", false)
	wantLogin(t, path, "app", "two  words", true)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want mode 0600", info.Mode(), err)
	}
	if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("words")) {
		t.Errorf("the file holds a passcode: %q, %v", text, err)
	}
}

// Without --file it is where the server looks for it.
func TestPasswdFindsTheFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("my.conf", []byte(":working_dir: run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := passwd(t, "x\n", "add", "a", "--stdin", "-C", "my.conf"); code != exitOK {
		t.Fatal(errs)
	}
	wantLogin(t, filepath.Join(dir, "run/etc/.passwd"), "a", "x", true)

	if err := os.WriteFile(".passwd", []byte("# here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := passwd(t, "x\n", "add", "b", "--stdin"); code != exitOK {
		t.Fatal(errs)
	}
	wantLogin(t, filepath.Join(dir, ".passwd"), "b", "x", true)

	if err := os.WriteFile("bad.conf", []byte("port: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := passwd(t, "", "list", "-C", "bad.conf"); code != exitConfig || !strings.Contains(errs, "bad.conf:1: ") {
		t.Errorf("with a bad file: exit code %d, printed %q", code, errs)
	}
}

func TestPasswdRemove(t *testing.T) {
	path := passwdFile(t, "# ours\na:1\nb:2\n")
	if code, out, errs := passwd(t, "", "remove", "a", "--file", path); code != exitOK || out != "removed a from "+path+"\n" {
		t.Fatalf("exit code %d, printed %q and %q", code, out, errs)
	}
	if got, _ := os.ReadFile(path); string(got) != "# ours\nb:2\n" {
		t.Errorf("the file holds %q", got)
	}
	if code, _, errs := passwd(t, "", "remove", "a", "--file", path); code != exitFailed || !strings.Contains(errs, "there is no user a in ") {
		t.Errorf("of an unknown user: exit code %d, printed %q", code, errs)
	}
}

func TestPasswdVerify(t *testing.T) {
	path := passwdFile(t, "a:1\nbroken:$2y$05$x\n")
	if code, _, errs := passwd(t, "secret\n", "add", "h", "--stdin", "--file", path); code != exitOK {
		t.Fatal(errs)
	}
	tests := []struct {
		name, user, passcode string
		want                 int
		says                 string
	}{
		{"plain", "a", "1", exitOK, "that is the passcode of a"},
		{"hashed", "h", "secret", exitOK, "that is the passcode of h"},
		{"wrong", "h", "Secret", exitRefused, "that is not the passcode of h"},
		{"empty", "h", "", exitRefused, "that is not the passcode of h"},
		{"unknown", "x", "1", exitRefused, "there is no user x in "},
		{"broken", "broken", "$2y$05$x", exitRefused, ":2: broken cannot log in: not a whole bcrypt hash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := passwd(t, tt.passcode, "verify", tt.user, "--stdin", "--file", path)
			if code != tt.want || !strings.Contains(out+errs, tt.says) {
				t.Errorf("exit code %d, want %d; printed %q and %q, want %q", code, tt.want, out, errs, tt.says)
			}
			if tt.passcode != "" && tt.passcode != "1" && strings.Contains(out+errs, tt.passcode) {
				t.Errorf("printed the passcode: %q and %q", out, errs)
			}
		})
	}
}

func TestPasswdList(t *testing.T) {
	path := passwdFile(t, "# x\nplain:1\nphp:$2y$05$ceEGSp8EUHR3P8uCOvYSaemdtDPebaMhCLAWsuBDYne8pQstdRNFC\nempty:\nwhat\ntab\there:1\n")
	code, out, errs := passwd(t, "", "list", "--file", path)
	want := "NAME         PASSCODE\nplain        plain\nphp          bcrypt\nempty        cannot log in: the passcode is empty\n\"tab\\there\"  plain\n"
	if code != exitOK || out != want {
		t.Errorf("exit code %d, printed\n%s\nwant\n%s", code, out, want)
	}
	if want := "stompserver: " + path + ":5: no colon between login and passcode\n"; errs != want {
		t.Errorf("stderr is %q, want %q", errs, want)
	}
	_, out, _ = passwd(t, "", "list", "--json", "--file", path)
	want = `{"name":"plain","kind":"plain","line":2}
{"name":"php","kind":"bcrypt","line":3}
{"name":"empty","kind":"plain","line":4,"problem":"the passcode is empty"}
{"name":"tab\there","kind":"plain","line":6}
`
	if out != want {
		t.Errorf("--json printed\n%s\nwant\n%s", out, want)
	}
}

// soFar is what is told where it takes more than a second.
var soFar = regexp.MustCompile(`^(stompserver: hashed [1-4] of 4 users\n)*$`)

func TestPasswdConvert(t *testing.T) {
	data, err := os.ReadFile("../../internal/auth/testdata/passwd")
	if err != nil {
		t.Fatal(err)
	}
	path := passwdFile(t, string(data)+"php:old\nphp:$2y$05$ceEGSp8EUHR3P8uCOvYSaemdtDPebaMhCLAWsuBDYne8pQstdRNFC\n")
	if code, out, errs := passwd(t, "", "convert", "colon", "--file", path); code != exitOK || out != "hashed 1 plain passcode in "+path+"\n" || !soFar.MatchString(errs) {
		t.Errorf("of one: exit code %d, printed %q and %q", code, out, errs)
	}
	if code, out, errs := passwd(t, "", "convert", "--file", path); code != exitOK || out != "hashed 2 plain passcodes in "+path+"\n" || !soFar.MatchString(errs) {
		t.Errorf("of all: exit code %d, printed %q and %q", code, out, errs)
	}
	for name, passcode := range map[string]string{
		"testuser": "testpass", "spaced": "pass with spaces", "colon": "pa:ss", "php": "password",
	} {
		wantLogin(t, path, name, passcode, true)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"testpass", "pass with spaces", "pa:ss", "php:old"} {
		if bytes.Contains(got, []byte(gone)) {
			t.Errorf("the file still holds %q:\n%s", gone, got)
		}
	}
	if comment, _, _ := bytes.Cut(data, []byte("\n")); !bytes.HasPrefix(got, comment) {
		t.Errorf("the comment %q is gone:\n%s", comment, got)
	}
	if code, _, errs := passwd(t, "", "convert", "nobody", "--file", path); code != exitFailed {
		t.Errorf("of nobody: exit code %d, printed %q", code, errs)
	}
}

func TestPasswdErrors(t *testing.T) {
	path := passwdFile(t, "a:1\n")
	none := filepath.Join(t.TempDir(), "none")
	tests := []struct {
		name string
		in   string
		args []string
		want int
		says string
	}{
		{"no word", "", nil, exitUsage, "passwd needs a word more"},
		{"unknown word", "", []string{"ad"}, exitUsage, "passwd ad is not known"},
		{"no name", "", []string{"add", "--stdin"}, exitUsage, "NAME is missing. The form is: stompserver passwd add NAME"},
		{"two names", "", []string{"remove", "a", "b"}, exitUsage, `unexpected word "b". The form is: stompserver passwd remove NAME`},
		{"unknown flag", "", []string{"list", "--stdin"}, exitUsage, "--stdin"},
		{"colon in the name", "x\n", []string{"add", "a:b", "--stdin"}, exitUsage, "must not contain a colon"},
		{"empty passcode", "\n", []string{"add", "b", "--stdin"}, exitFailed, "must not be empty"},
		{"no passcode", "", []string{"add", "b", "--stdin"}, exitFailed, "must not be empty"},
		{"long passcode", strings.Repeat("x", 5000), []string{"add", "b", "--stdin"}, exitFailed, "longer than 4096"},
		{"no terminal", "x\nx\n", []string{"add", "b"}, exitUsage, "with --stdin"},
		{"no file to list", "", []string{"list", "--file", none}, exitIO, "passwd add NAME --file " + none},
		{"no file to remove from", "", []string{"remove", "a", "--file", none}, exitIO, "no such file"},
		{"no directory", "x\n", []string{"add", "b", "--stdin", "--file", none + "/x"}, exitIO, "no such file"},
		{"a directory", "", []string{"list", "--file", filepath.Dir(path)}, exitIO, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if !strings.Contains(strings.Join(args, " "), "--file") && len(args) > 0 {
				args = append(args[:len(args):len(args)], "--file", path)
			}
			code, out, errs := passwd(t, tt.in, args...)
			if code != tt.want || !strings.HasPrefix(errs, "stompserver: ") || !strings.Contains(errs, tt.says) || out != "" {
				t.Errorf("exit code %d, want %d; printed %q and %q, want %q", code, tt.want, out, errs, tt.says)
			}
			if got, _ := os.ReadFile(path); string(got) != "a:1\n" {
				t.Errorf("the file became %q", got)
			}
			if _, err := os.Stat(none); err == nil {
				t.Error("a file was made")
			}
		})
	}
}
