package auth_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/auth"
)

func TestEntries(t *testing.T) {
	long := strings.Repeat("x", auth.MaxLine)
	tests := []struct {
		name     string
		in       string
		want     []auth.Entry
		problems []auth.Problem
	}{
		{name: "empty"},
		{name: "one", in: "app:secret\n", want: []auth.Entry{{"app", "secret", 1}}},
		{name: "no LF at the end", in: "app:secret", want: []auth.Entry{{"app", "secret", 1}}},
		{name: "blanks around", in: " \tapp\t: secret \v\f\n", want: []auth.Entry{{"app", "secret", 1}}},
		{name: "CR LF", in: "app:secret\r\nb:c\r\n", want: []auth.Entry{{"app", "secret", 1}, {"b", "c", 2}}},
		{name: "blanks inside are kept", in: "my app:two  words\n", want: []auth.Entry{{"my app", "two  words", 1}}},
		{name: "no-break space is no blank", in: "app:\u00a0\n", want: []auth.Entry{{"app", "\u00a0", 1}}},
		{name: "first colon splits", in: "a:b:c\n", want: []auth.Entry{{"a", "b:c", 1}}},
		{name: "comments", in: "# app:old\n \t#b:c\n\n  \napp:#1\n", want: []auth.Entry{{"app", "#1", 5}}},
		{name: "empty passcode", in: "app:\n", want: []auth.Entry{{"app", "", 1}}},
		{name: "later wins", in: "app:1\nb:2\napp:3\n", want: []auth.Entry{{"b", "2", 2}, {"app", "3", 3}}},
		{name: "case counts", in: "app:1\nApp:2\n", want: []auth.Entry{{"app", "1", 1}, {"App", "2", 2}}},
		{name: "byte order mark", in: "\ufeffapp:1\n", want: []auth.Entry{{"app", "1", 1}}},
		{
			name: "no colon", in: "app\nb:2\n", want: []auth.Entry{{"b", "2", 2}},
			problems: []auth.Problem{{1, "no colon between login and passcode"}},
		},
		{
			name: "no login", in: "b:2\n :x\n", want: []auth.Entry{{"b", "2", 1}},
			problems: []auth.Problem{{2, "no login before the colon"}},
		},
		{
			name: "too long", in: "a:" + long + "\nb:2\n", want: []auth.Entry{{"b", "2", 2}},
			problems: []auth.Problem{{1, "line is longer than 8192 bytes"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := auth.ParseFile([]byte(tt.in)).Entries()
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("entries of %.80q (-want +got):\n%s", tt.in, d)
			}
			if d := cmp.Diff(tt.problems, problems); d != "" {
				t.Errorf("problems of %.80q (-want +got):\n%s", tt.in, d)
			}
		})
	}
}

// The sample was written for the Ruby server.
func TestEntriesOfTheRubyServer(t *testing.T) {
	data, err := os.ReadFile("testdata/passwd")
	if err != nil {
		t.Fatal(err)
	}
	got, problems := auth.ParseFile(data).Entries()
	want := []auth.Entry{
		{"testuser", "testpass", 2},
		{"spaced", "pass with spaces", 3},
		{"colon", "pa:ss", 4},
	}
	if d := cmp.Diff(want, got); d != "" || len(problems) > 0 {
		t.Errorf("(-want +got):\n%s\nproblems %v", d, problems)
	}
}

func TestSetAndRemove(t *testing.T) {
	set := func(login, secret string) func(*testing.T, *auth.File) {
		return func(t *testing.T, f *auth.File) {
			t.Helper()
			if _, err := f.Set(login, secret); err != nil {
				t.Fatalf("Set(%q): %v", login, err)
			}
		}
	}
	remove := func(login string) func(*testing.T, *auth.File) {
		return func(_ *testing.T, f *auth.File) { f.Remove(login) }
	}
	tests := []struct {
		name, in string
		do       func(*testing.T, *auth.File)
		want     string
	}{
		{"add to nothing", "", set("a", "1"), "a:1\n"},
		{"add at the end", "# users\nb:2\n", set("a", "1"), "# users\nb:2\na:1\n"},
		{"add where the LF is missing", "b:2", set("a", "1"), "b:2\na:1\n"},
		{"change in place", "# one\n a : old \n# two\nb:2\n", set("a", "1"), "# one\na:1\n# two\nb:2\n"},
		{"change leaves no old passcode", "a:x\nb:2\na:y\n", set("a", "1"), "b:2\na:1\n"},
		{"commented out is no user", "#a:x\n", set("a", "1"), "#a:x\na:1\n"},
		{"byte order mark stays", "\ufeffa:x\n", set("a", "1"), "\ufeffa:1\n"},
		{"remove", "# one\na:x\nb:2\na:y\n", remove("a"), "# one\nb:2\n"},
		{"remove the only one", "a:x", remove("a"), ""},
		{"remove nobody", "a:x\r\n\n# end", remove("b"), "a:x\r\n\n# end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := auth.ParseFile([]byte(tt.in))
			tt.do(t, f)
			if got := string(f.Bytes()); got != tt.want {
				t.Errorf("%q became %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	tests := []struct{ name, login, secret string }{
		{"empty login", "", "x"},
		{"colon", "a:b", "x"},
		{"comment", "#a", "x"},
		{"blank before", " a", "x"},
		{"line feed in login", "a\nb", "x"},
		{"control character", "a\x00b", "x"},
		{"long login", strings.Repeat("a", auth.MaxLine), "x"},
		{"empty passcode", "a", ""},
		{"line feed in passcode", "a", "x\nroot:y"},
		{"blank behind", "a", "x "},
		{"long passcode", "a", strings.Repeat("x", auth.MaxLine)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := auth.ParseFile([]byte("b:2\n"))
			if _, err := f.Set(tt.login, tt.secret); err == nil {
				t.Errorf("Set(%.40q, %.40q) took it", tt.login, tt.secret)
			}
			if got := string(f.Bytes()); got != "b:2\n" {
				t.Errorf("the file became %.80q", got)
			}
		})
	}
}

// FuzzFile checks three laws: what was only read is written as it was; what Set put in is
// found, and nobody else changes; what Remove took out is gone, and nobody else changes.
func FuzzFile(f *testing.F) {
	sample, err := os.ReadFile("testdata/passwd")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample, "app", "secret")
	f.Add([]byte("\ufeffapp:1\r\n#\n\napp : 2"), "app", "a:b")
	f.Add([]byte("\ufeffx:1\n\ufeffy:2"), "x", "z")
	f.Add([]byte("x:1\n\ufeffy:2"), "\ufeffx", "z")
	f.Fuzz(func(t *testing.T, data []byte, login, secret string) {
		file := auth.ParseFile(data)
		if got := file.Bytes(); !bytes.Equal(got, data) {
			t.Fatalf("read and written: %q became %q", data, got)
		}
		before, problems := file.Entries()
		for _, e := range before {
			if e.Login == "" || e.Line < 1 || e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Fatalf("entry %+v of %q", e, data)
			}
		}
		if _, err := file.Set(login, secret); err != nil {
			if got := file.Bytes(); !bytes.Equal(got, data) {
				t.Fatalf("a refused Set changed %q to %q", data, got)
			}
			return
		}
		after, problems2 := auth.ParseFile(file.Bytes()).Entries()
		if d := cmp.Diff(others(before, login), others(after, login)); d != "" {
			t.Fatalf("Set(%q) on %q changed others (-before +after):\n%s", login, data, d)
		}
		if i := slices.IndexFunc(after, func(e auth.Entry) bool { return e.Login == login }); i < 0 || after[i].Secret != secret {
			t.Fatalf("Set(%q, %q) on %q gave %q", login, secret, data, file.Bytes())
		}
		if len(problems) != len(problems2) {
			t.Fatalf("Set(%q) on %q: problems %v became %v", login, data, problems, problems2)
		}
		file.Remove(login)
		gone, _ := auth.ParseFile(file.Bytes()).Entries()
		if d := cmp.Diff(others(before, login), others(gone, "")); d != "" {
			t.Fatalf("Remove(%q) after Set on %q (-want +got):\n%s", login, data, d)
		}
	})
}

// others are the entries of everybody but login, wherever they stand.
func others(all []auth.Entry, login string) []auth.Entry {
	var out []auth.Entry
	for _, e := range all {
		if e.Login != login {
			e.Line = 0
			out = append(out, e)
		}
	}
	return out
}
