package stompserver_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"stompserver"
	"stompserver/test/transcript"
	"stompserver/test/webclient"
)

// TestTokens has clients log in with tokens by each of the ways, with the rights of the roles in
// them.
func TestTokens(t *testing.T) {
	secret := []byte("a secret of more than thirty-two bytes")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(roles ...string) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "joe", "exp": time.Now().Add(time.Hour).Unix(), "scope": strings.Join(roles, " "),
		}).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var log bytes.Buffer
	s := start(t, stompserver.Config{
		Auth: true, PasswdFiles: []string{filepath.Join(t.TempDir(), ".passwd")},
		JWT:   stompserver.JWT{Keys: []string{file}, Roles: "scope"},
		Roles: []stompserver.Role{{Name: "till", Allow: []string{"write /queue/till.{username}", "read /queue/till.{username}"}}},
		HTTP:  stompserver.HTTP{Listen: "127.0.0.1:0"},
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	addr := s.Addrs()[0].String()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	till := token("openid", "admin", "stompserver.till")

	p := transcript.Dial(t, addr)
	p.Connect("1.2", "login:null", "passcode:"+till)
	p.Send("SUBSCRIBE\nid:0\ndestination:/queue/till.joe\nreceipt:1\n\n^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")

	w := transcript.NewPeer(t, webclient.Open(t, dial(), webclient.Options{Bearer: till, Text: true}))
	w.Connect("1.2")
	w.Send("SEND\ndestination:/queue/till.joe\n\nby WebSocket^@")
	p.Expect("MESSAGE\n\nby WebSocket")

	request := func(token string) int {
		r, err := http.NewRequest(http.MethodPut, "http://"+s.HTTPAddrs()[0].String()+"/queue/till.joe", strings.NewReader("by HTTP"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	if got := request(till); got != http.StatusOK {
		t.Errorf("HTTP answers %d", got)
	}
	p.Expect("MESSAGE\n\nby HTTP")
	if got := request(token("admin")); got != http.StatusForbidden {
		t.Errorf("HTTP answers %d to a token without a role of ours", got)
	}
	if got := request(till + "x"); got != http.StatusUnauthorized {
		t.Errorf("HTTP answers %d to a token that was changed", got)
	}

	w.Send("SEND\ndestination:/queue/other\nreceipt:1\n\n^@")
	w.Expect("ERROR\nerror-code:access-refused\nreceipt-id:1\n")
	for _, head := range []string{"login:joe\npasscode:" + till + "x", "login:joe\npasscode:", ""} {
		if got := exchange(t, addr, "CONNECT\naccept-version:1.2\n"+head+"\n\n\x00"); !strings.Contains(got, "login-failed") {
			t.Errorf("%.20q is answered %q", head, got)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil { // it writes to the log no more
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "eyJ") {
		t.Errorf("a token is in the log: %s", log.String())
	}
	if strings.Contains(log.String(), "nobody can log in") {
		t.Error("the log says that nobody can log in")
	}
}
