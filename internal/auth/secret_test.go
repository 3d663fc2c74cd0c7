package auth_test

import (
	"strings"
	"testing"

	"stompserver/internal/auth"
)

// bcryptSecret was made by PHP's password_hash. It keeps "password".
const bcryptSecret = "$2y$05$ceEGSp8EUHR3P8uCOvYSaemdtDPebaMhCLAWsuBDYne8pQstdRNFC"

func TestHash(t *testing.T) {
	a, err := auth.Hash("two  words:é")
	if err != nil {
		t.Fatal(err)
	}
	b, err := auth.Hash("two  words:é")
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("two hashes of one passcode are equal: no salt")
	}
	if k, err := auth.KindOf(a); k != auth.Argon2id || err != nil {
		t.Errorf("KindOf(%q) = %q, %v", a, k, err)
	}
	if !auth.Verify(a, "two  words:é") {
		t.Error("the passcode of a hash does not verify")
	}
	for _, wrong := range []string{"", "two words:é", a} {
		if auth.Verify(a, wrong) {
			t.Errorf("%q verifies", wrong)
		}
	}
	if h, err := auth.Hash(""); err == nil {
		t.Errorf("Hash of nothing is %q", h)
	}
}

func TestKindOf(t *testing.T) {
	argon, err := auth.Hash("secret")
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string {
		if !strings.Contains(argon, old) {
			t.Fatalf("%q is not in %q", old, argon)
		}
		return strings.Replace(argon, old, new, 1)
	}
	tests := []struct {
		name, in string
		want     auth.Kind
		err      string // part of it
	}{
		{name: "plain", in: "secret", want: auth.Plain},
		{name: "empty", in: "", want: auth.Plain},
		{name: "dollars", in: "$1,000", want: auth.Plain},
		{name: "bcrypt 2y", in: bcryptSecret, want: auth.Bcrypt},
		{name: "bcrypt 2a", in: "$2a" + bcryptSecret[3:], want: auth.Bcrypt},
		{name: "bcrypt 2b", in: "$2b" + bcryptSecret[3:], want: auth.Bcrypt},
		{name: "bcrypt cut short", in: bcryptSecret[:59], err: "not a whole bcrypt hash"},
		{name: "bcrypt and more", in: bcryptSecret + "a", err: "not a whole bcrypt hash"},
		{name: "bcrypt of other letters", in: bcryptSecret[:59] + "!", err: "not a whole bcrypt hash"},
		{name: "bcrypt without a cost", in: "$2y$xx" + bcryptSecret[6:], err: "not a whole bcrypt hash"},
		{name: "bcrypt too dear", in: "$2y$31" + bcryptSecret[6:], err: "cost 31"},
		{name: "argon2id", in: argon, want: auth.Argon2id},
		{name: "argon2id cut short", in: argon[:60], err: "not a whole argon2id hash"},
		{name: "argon2id without sum", in: argon[:strings.LastIndex(argon, "$")], err: "not a whole argon2id hash"},
		{name: "argon2id of another version", in: with("v=19", "v=16"), err: "version"},
		{name: "argon2id too dear", in: with("m=19456", "m=4194304"), err: "costs more than"},
		{name: "argon2id without time", in: with("t=2", "t=0"), err: "not a whole argon2id hash"},
		{name: "argon2id, minus", in: with("t=2", "t=-2"), err: "not a whole argon2id hash"},
		{name: "argon2id, other order", in: with("m=19456,t=2", "t=2,m=19456"), err: "not a whole argon2id hash"},
		{name: "argon2i", in: "$argon2i" + strings.TrimPrefix(argon, "$argon2id"), err: "only the kind argon2id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.KindOf(tt.in)
			if got != tt.want {
				t.Errorf("KindOf(%q) = %q, want %q", tt.in, got, tt.want)
			}
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("KindOf(%q): %v", tt.in, err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("KindOf(%q): error %v, want one with %q", tt.in, err, tt.err)
			case err != nil && auth.Verify(tt.in, tt.in):
				t.Errorf("%q is no hash, but logs in as it stands", tt.in)
			}
		})
	}
}

// A secret of a stranger's making must not panic, and what is refused is never a passcode.
func FuzzKindOf(f *testing.F) {
	f.Add(bcryptSecret)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$2a$")
	f.Add("plain")
	f.Fuzz(func(t *testing.T, secret string) {
		kind, err := auth.KindOf(secret)
		if (kind == "") != (err != nil) {
			t.Fatalf("KindOf(%q) = %q, %v", secret, kind, err)
		}
		if err != nil && auth.Verify(secret, secret) {
			t.Fatalf("%q: %v, but it logs in", secret, err)
		}
		if kind == auth.Plain && secret != "" && !auth.Verify(secret, secret) {
			t.Fatalf("%q is plain and does not verify", secret)
		}
	})
}
