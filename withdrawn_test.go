package stompserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"stompserver"
	"stompserver/internal/auth"
	"stompserver/test/transcript"
)

// TestUsersWhoAreConnected has what becomes of connections when their users are removed, or have
// another passcode, by each of the ways that a user can be known.
func TestUsersWhoAreConnected(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hash, err := auth.Hash("old")
	if err != nil {
		t.Fatal(err)
	}
	other, err := auth.Hash("new")
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("k", 32)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "token", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stompserver.Config{
		Auth: true, PasswdFiles: []string{write(".passwd", "file-goes:old\nfile-changes:old\nfile-hashed:old\nfile-stays:old\n")},
		Users: []stompserver.User{
			{Name: "set-goes", Passcode: hash}, {Name: "set-changes", Passcode: hash}, {Name: "set-stays", Passcode: hash},
			{Name: "own-goes", PasscodeFile: write("goes", "old\n")}, {Name: "own-changes", PasscodeFile: write("changes", "old\n")},
		},
		JWT:       stompserver.JWT{Keys: []string{write("key", key)}},
		Anonymous: []string{"read /topic/a"},
	}
	s := start(t, cfg)
	addr := s.Addrs()[0].String()
	connect := func(user, passcode string) *transcript.Peer {
		t.Helper()
		p := transcript.Dial(t, addr)
		p.Connect("1.2", "login:"+user, "passcode:"+passcode)
		return p
	}
	peers := make(map[string]*transcript.Peer)
	for _, user := range []string{"file-goes", "file-changes", "file-hashed", "file-stays", "set-goes", "set-changes", "set-stays", "own-goes", "own-changes"} {
		peers[user] = connect(user, "old")
	}
	peers["token"] = connect("null", token)
	nobody := transcript.Dial(t, addr)
	nobody.Connect("1.2")
	here := func(users ...string) {
		t.Helper()
		for _, user := range users {
			peers[user].Send("SEND\ndestination:/topic/x\nreceipt:1\n\n^@")
			peers[user].Expect("RECEIPT\nreceipt-id:1\n")
		}
	}
	gone := func(users ...string) {
		t.Helper()
		for _, user := range users {
			peers[user].Expect("ERROR\nmessage:Login withdrawn\nerror-code:login-failed\n")
			peers[user].Closed()
		}
	}

	// The password file, which is watched.
	write(".passwd", "file-changes:new\nfile-hashed:"+hash+"\nfile-stays:old\n")
	gone("file-goes")
	here("file-changes", "file-hashed", "file-stays", "set-goes", "own-goes", "token")

	// The configuration, at a HUP.
	cfg.Users = []stompserver.User{
		{Name: "set-changes", Passcode: other}, {Name: "set-stays", Passcode: hash}, {Name: "own-changes", PasscodeFile: write("changes", "new\n")},
	}
	cfg.Anonymous = nil
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	gone("set-goes", "own-goes")
	nobody.Expect("ERROR\nmessage:Login withdrawn\nerror-code:login-required\n")
	nobody.Closed()
	here("file-changes", "set-changes", "own-changes", "set-stays", "token")
	for _, user := range []string{"file-changes", "set-changes", "own-changes"} { // from the next login on the new one counts
		connect(user, "new")
		if got := exchange(t, addr, "CONNECT\naccept-version:1.2\nlogin:"+user+"\npasscode:old\n\n\x00"); !strings.Contains(got, "error-code:login-failed") {
			t.Errorf("%s with the passcode of before is answered %q", user, got)
		}
	}
	// A second CONNECT of a connection is a login, too.
	peers["set-changes"].Send("CONNECT\naccept-version:1.2\nlogin:set-changes\npasscode:old\n\n^@")
	peers["set-changes"].Expect("ERROR\nmessage:Bad CONNECT\nerror-code:login-failed\n")
	peers["set-changes"].Closed()

	// A file that cannot be used leaves all as it was.
	if err := os.Remove(filepath.Join(dir, "changes")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(cfg); err == nil {
		t.Error("a file of a passcode that is not there is no error")
	}
	here("own-changes", "set-stays", "file-stays")
}
