package stompserver_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver"
	"stompserver/test/slapd"
	"stompserver/test/transcript"
)

// A safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// directoryFile is a configuration with the directory s.
func directoryFile(s *slapd.Server) string {
	return fmt.Sprintf(`
auth: true
port: 0
http: {listen: "127.0.0.1:0"}
ldap:
  url: ["ldaps://127.0.0.1:1", %q]
  ca: %q
  bind_dn: %q
  bind_passcode_file: %q
  base: %q
  groups: {base: %q}
  timeout: 2s
  cache: 0
roles:
  - {name: till, allow: ["write /queue/till.{username}", "read /queue/till.{username}"]}
`, s.Secure, s.CA, slapd.Service, s.BindFile, slapd.People, slapd.Groups)
}

// writeConfig writes a configuration file, and returns where.
func writeConfig(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stompserver.DefaultFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDirectoryUsers has users of a directory log in, with the rights of their groups, and leave
// when they are removed.
func TestDirectoryUsers(t *testing.T) {
	d := slapd.Start(t)
	dir := t.TempDir()
	cfg := loadFile(t, dir, directoryFile(d))
	log := new(safeBuffer)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, cfg)
	addr := s.Addrs()[0].String()

	p := transcript.Dial(t, addr)
	p.Connect("1.2", "login:joe", "passcode:joe's passcode")
	p.Send("SUBSCRIBE\nid:0\ndestination:/queue/till.joe\nreceipt:1\n\n^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")
	ann := transcript.Dial(t, addr)
	ann.Connect("1.2", "login:ann", "passcode:ann's passcode")
	request := func(login, passcode string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, "http://"+s.HTTPAddrs()[0].String()+"/queue/till.joe", strings.NewReader("by HTTP"))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(login, passcode)
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	for _, row := range []struct {
		login, passcode string
		want            int
	}{{"joe", "joe's passcode", http.StatusOK}, {"ann", "ann's passcode", http.StatusForbidden}, {"joe", "x", http.StatusUnauthorized}, {"joe", "", http.StatusUnauthorized}} {
		if got := request(row.login, row.passcode); got != row.want {
			t.Errorf("HTTP answers %s with %q: %d, want %d", row.login, row.passcode, got, row.want)
		}
	}
	p.Expect("MESSAGE\n\nby HTTP")
	if got := exchange(t, addr, "CONNECT\naccept-version:1.2\nlogin:joe\npasscode:wrong\n\n\x00"); !strings.Contains(got, "error-code:login-failed") {
		t.Errorf("a wrong passcode is answered %q", got)
	}

	// A group that is taken away takes the subscription with it; the connection of another stays.
	d.Replace("cn=stompserver.till,"+slapd.Groups, "member", "uid=bare,"+slapd.People)
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	p.Expect("ERROR\nmessage:Server cancelled subscription\nsubscription:0\nerror-code:access-refused\n")
	p.Closed()
	d.Remove("uid=ann," + slapd.People)
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	ann.Expect("ERROR\nmessage:Login withdrawn\nerror-code:login-failed\n")
	ann.Closed()

	// A directory that is away is no wrong login, and is not counted as one.
	p = transcript.Dial(t, addr)
	p.Connect("1.2", "login:joe", "passcode:joe's passcode")
	d.Stop()
	for range 5 {
		if got := exchange(t, addr, "CONNECT\naccept-version:1.2\nlogin:joe\npasscode:joe's passcode\n\n\x00"); !strings.Contains(got, "error-code:login-unavailable\n") {
			t.Errorf("without a directory the answer is %q", got)
		}
	}
	if got := request("joe", "joe's passcode"); got != http.StatusServiceUnavailable {
		t.Errorf("without a directory HTTP answers %d", got)
	}
	if err := s.Reload(cfg); err != nil {
		t.Error(err)
	}
	p.Send("SEND\ndestination:/queue/till.joe\nreceipt:2\n\n^@") // who is connected stays
	p.Expect("ERROR\nerror-code:access-refused\nreceipt-id:2\n")
	d.Run()
	for deadline := time.Now().Add(time.Minute); ; { // a server that failed is left alone for a moment
		got := exchange(t, addr, "CONNECT\naccept-version:1.2\nlogin:joe\npasscode:joe's passcode\n\n\x00DISCONNECT\n\n\x00")
		if strings.HasPrefix(got, "CONNECTED\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with the directory back the answer is %q", got)
		}
	}
	for _, passcode := range []string{"joe's passcode", slapd.ServicePW} {
		if strings.Contains(log.String(), passcode) {
			t.Errorf("the log has %q:\n%s", passcode, log)
		}
	}
}

// TestDirectoryRecheck has users looked up again now and then, without a signal.
func TestDirectoryRecheck(t *testing.T) {
	d := slapd.Start(t)
	cfg := loadFile(t, t.TempDir(), strings.Replace(directoryFile(d), "cache: 0", "recheck: 50ms", 1))
	s := start(t, cfg)
	p := transcript.Dial(t, s.Addrs()[0].String())
	p.Connect("1.2", "login:JOE", "passcode:joe's passcode")
	p.Send("SEND\ndestination:/queue/till.joe\nreceipt:1\n\n^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")
	d.Remove("uid=joe," + slapd.People)
	p.Expect("ERROR\nmessage:Login withdrawn\nerror-code:login-failed\n")
	p.Closed()
}

func TestDirectorySettings(t *testing.T) {
	for _, row := range []struct{ name, file, want string }{
		{"no url", "auth: true\nldap: {base: dc=x}", "ldap.base is set, but there is no ldap.url"},
		{"no auth", "ldap: {url: ldaps://x, base: dc=x}", "auth is off"},
		{"no base", "auth: true\nldap: {url: ldaps://x}", "neither is there"},
		{"another scheme", "auth: true\nldap: {url: https://x, base: dc=x}", "not the address of a directory"},
		{"no filter", "auth: true\nldap: {url: ldaps://x, base: dc=x, filter: uid}", "not a filter"},
		{"half an account", "auth: true\nldap: {url: ldaps://x, base: dc=x, bind_dn: cn=x}", "belong together"},
	} {
		_, err := stompserver.Load(stompserver.LoadOptions{Dir: writeConfig(t, row.file)})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	dir := writeConfig(t, "auth: true\nldap: {url: ldap://x, base: dc=x, bind_dn: cn=x, bind_passcode_file: s, ca: c}")
	s, err := stompserver.Load(stompserver.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Warnings, ""); !strings.Contains(got, "in the clear") {
		t.Errorf("the warnings are %q", got)
	}
	if got := s.Config.LDAP; got.CA != filepath.Join(dir, "c") || got.BindPasscodeFile != filepath.Join(dir, "s") {
		t.Errorf("files are %q and %q", got.CA, got.BindPasscodeFile)
	}
}
