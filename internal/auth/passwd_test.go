package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"stompserver/internal/auth"
)

// write makes a password file of mode 0600 and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, cfg auth.Config, paths ...string) *auth.Passwd {
	t.Helper()
	p, err := cfg.OpenPasswd(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check fails unless login with passcode is let in or not, as want says.
func check(t *testing.T, p *auth.Passwd, login, passcode string, want bool) {
	t.Helper()
	id, err := p.Authenticate(t.Context(), login, passcode)
	switch {
	case want && (err != nil || id == nil || id.Name != login):
		t.Errorf("Authenticate(%q, %q) = %v, %v; want to be let in", login, passcode, id, err)
	case !want && (!errors.Is(err, auth.ErrDenied) || id != nil):
		t.Errorf("Authenticate(%q, %q) = %v, %v; want ErrDenied", login, passcode, id, err)
	}
}

func TestAuthenticate(t *testing.T) {
	tests := []struct {
		login, passcode string
		want            bool
	}{
		{"testuser", "testpass", true},
		{"testuser", "testpas", false},
		{"testuser", "testpass ", false},
		{"testuser", "", false},
		{"Testuser", "testpass", false},
		{"", "testpass", false},
		{"", "", false},
		{"spaced", "pass with spaces", true},
		{"colon", "pa:ss", true},
		{"colon:pa", "ss", false}, // as the Ruby server split it
		{"# login", "passcode, one a line; white space around either is not part of it", false},
		{"stranger", "testpass", false},
	}
	p := open(t, auth.Config{}, "testdata/passwd")
	for _, tt := range tests {
		t.Run(tt.login+"/"+tt.passcode, func(t *testing.T) {
			check(t, p, tt.login, tt.passcode, tt.want)
		})
	}
}

func TestAuthenticateHashed(t *testing.T) {
	p := open(t, auth.Config{}, "testdata/hashed")
	for _, login := range []string{"php-bcrypt", "perl", "php-argon2id", "plain"} {
		check(t, p, login, "passwore", false)
		check(t, p, login, "password", true)
		check(t, p, login, "password", true) // remembered
		check(t, p, login, "passwore", false)
		check(t, p, login, "", false)
	}
	check(t, p, "nobody", "password", false)
	check(t, p, "php-bcrypt", "$2y$05$ceEGSp8EUHR3P8uCOvYSaemdtDPebaMhCLAWsuBDYne8pQstdRNFC", false)
}

func TestEmptyPasscode(t *testing.T) {
	path := write(t, "app:\n")
	check(t, open(t, auth.Config{}, path), "app", "", false)
	p := open(t, auth.Config{AllowEmpty: true}, path)
	check(t, p, "app", "", true)
	check(t, p, "app", "x", false)
	check(t, p, "other", "", false)
}

func TestFirstFileThatExistsCounts(t *testing.T) {
	a, b := write(t, "a:1\n"), write(t, "b:2\n")
	none := filepath.Join(t.TempDir(), "none")
	p := open(t, auth.Config{}, none, a, b)
	check(t, p, "a", "1", true)
	check(t, p, "b", "2", false)
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	check(t, p, "a", "1", false)
	check(t, p, "b", "2", true)
}

func TestNoFile(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), ".passwd")
	p, err := auth.OpenPasswd(logTo(&out), path)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p, "app", "1", false)
	if got := out.String(); !strings.Contains(got, "nobody can log in") || !strings.Contains(got, path) {
		t.Errorf("log is %q", got)
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, auth.MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"directory", dir, dir + ": not a regular file"},
		{"too large", big, big + ": larger than 16 MiB"},
		{"below a file", filepath.Join(big, ".passwd"), ": not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.name == "below a file" {
				t.Skip("Windows says that there is no such file")
			}
			_, err := auth.OpenPasswd(nil, tt.path)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "password file ") {
				t.Errorf("error is %v, want one that ends in %q", err, tt.want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	path := write(t, "a:1\nb:2\n")
	p := open(t, auth.Config{}, path)
	if err := os.WriteFile(path, []byte("a:one\nc:3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, p, "a", "1", true)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	check(t, p, "a", "1", false)
	check(t, p, "a", "one", true)
	check(t, p, "b", "2", false)
	check(t, p, "c", "3", true)

	if err := os.WriteFile(path, make([]byte, auth.MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(); err == nil {
		t.Error("a file that is too large was loaded")
	}
	check(t, p, "a", "one", true)
}

// A login that succeeded takes no hash again, also after a reload that leaves its line as
// it is; every other try does.
func TestSuccessIsRemembered(t *testing.T) {
	data, err := os.ReadFile("testdata/hashed")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(data))
	synctest.Test(t, func(t *testing.T) {
		p := open(t, auth.Config{}, path)
		// waits reports whether the check needs a slot: none is free, and it is called off
		// as soon as it waits.
		waits := func(login, passcode string) bool {
			t.Helper()
			release := p.HoldSlots()
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			var err error
			go func() { _, err = p.Authenticate(ctx, login, passcode) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, auth.ErrDenied) {
				t.Fatal(err)
			}
			return errors.Is(err, context.Canceled)
		}
		want := func(login, passcode string, w bool) {
			t.Helper()
			if got := waits(login, passcode); got != w {
				t.Errorf("check of %s with %q computes a hash: %t, want %t", login, passcode, got, w)
			}
		}
		want("perl", "password", true)
		check(t, p, "perl", "password", true)
		want("perl", "password", false)
		want("perl", "passwore", true)
		want("nobody", "password", true) // as one that exists
		want("plain", "passwore", true)
		want("plain", "password", false)
		if err := p.Reload(); err != nil {
			t.Fatal(err)
		}
		want("perl", "password", false)

		changed := strings.Replace(string(data), "\nperl:", "\nperl:x", 1) // no hash any more
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Reload(); err != nil {
			t.Fatal(err)
		}
		check(t, p, "perl", "password", false)
	})
}

func TestWarnings(t *testing.T) {
	var out bytes.Buffer
	text := "a:topsecret\nno colon topsecret\nb:\nc:$2y$05$topsecret\n" + strings.Repeat("x\n", 100)
	path := write(t, text)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := auth.OpenPasswd(logTo(&out), path)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p, "a", "topsecret", true)
	check(t, p, "c", "$2y$05$topsecret", false)
	wants := []string{
		path + ":2: no colon",
		path + ":3: the passcode is empty",
		path + ":4: not a whole bcrypt hash",
		"1 not hashed; hash them with: stompserver passwd convert --file " + path,
		": 83 more like these",
	}
	if runtime.GOOS != "windows" {
		wants = append(wants, "has mode 0644")
	}
	for _, want := range wants {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "topsecret") {
		t.Errorf("log tells a passcode:\n%s", out.String())
	}
	if n := strings.Count(out.String(), "\n"); n > 30 {
		t.Errorf("%d log lines", n)
	}
}

// Many logins beside reloads; of use under the race detector.
func TestAuthenticateBesideReload(t *testing.T) {
	p := open(t, auth.Config{}, "testdata/hashed")
	done := make(chan error)
	for range 4 {
		go func() {
			for range 50 {
				if _, err := p.Authenticate(t.Context(), "php-argon2id", "password"); err != nil {
					done <- err
					return
				}
				p.Authenticate(t.Context(), "plain", "password")
			}
			done <- nil
		}()
	}
	for range 50 {
		if err := p.Reload(); err != nil {
			t.Error(err)
		}
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func logTo(w *bytes.Buffer) *slog.Logger {
	return slog.New(lines{w})
}

// lines is a handler of log records that writes message and values as they are.
type lines struct{ w *bytes.Buffer }

func (lines) Enabled(context.Context, slog.Level) bool { return true }
func (h lines) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h lines) WithGroup(string) slog.Handler          { return h }
func (h lines) Handle(_ context.Context, r slog.Record) error {
	h.w.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(h.w, " %s=%s", a.Key, a.Value)
		return true
	})
	h.w.WriteByte('\n')
	return nil
}

func BenchmarkAuthenticate(b *testing.B) {
	hash, err := auth.Hash("secret")
	if err != nil {
		b.Fatal(err)
	}
	p := open(b, auth.Config{}, write(b, "plain:secret\nhashed:"+hash+"\n"))
	for _, bm := range []struct{ name, login, passcode string }{
		{"plain", "plain", "secret"},
		{"remembered", "hashed", "secret"},
		{"refused", "hashed", "wrong"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Authenticate(b.Context(), bm.login, bm.passcode)
			}
		})
	}
}
