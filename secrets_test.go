package stompserver_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/internal/auth"
	"stompserver/test/slapd"
	"stompserver/test/transcript"
	"stompserver/test/webclient"
)

// marker is in every passcode of TestPasscodesStaySecret, and in nothing else.
const marker = "MaRkEr-7d31"

// TestPasscodesStaySecret has clients log in by every way, rightly and wrongly, and looks for
// their passcodes in all that comes out of the server.
func TestPasscodesStaySecret(t *testing.T) {
	dir := t.TempDir()
	right, wrong := marker+"-right", marker+"-wrong"
	hash, err := auth.Hash(right)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		".passwd": "plain:" + right + "\nhashed:" + hash + "\nbroken $2a$" + marker + "\n:" + marker + "\n", "secret": right, "jwt": strings.Repeat(marker, 4),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := fmt.Sprintf(`
auth: true
debug: true
http: {listen: "127.0.0.1:0"}
websocket: {basic_auth: true}
users:
  - {name: set, passcode: %q}
  - {name: other, passcode_file: secret}
jwt: {keys: [jwt]}
`, hash)
	log := new(safeBuffer)
	out := new(safeBuffer) // what clients get, and what is printed
	load := func() *stompserver.Settings {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, stompserver.DefaultFile), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := stompserver.Load(stompserver.LoadOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	settings := load()
	directory := ""
	if _, err := os.Stat("/usr/sbin/slapd"); err == nil {
		d := slapd.Start(t)
		d.Replace("uid=joe,"+slapd.People, "userPassword", right)
		if err := os.WriteFile(d.BindFile, []byte(slapd.ServicePW), 0o600); err != nil {
			t.Fatal(err)
		}
		file += fmt.Sprintf("ldap: {url: %q, bind_dn: %q, bind_passcode_file: %q, base: %q, timeout: 500ms}\n", d.URL, slapd.Service, d.BindFile, slapd.People)
		settings = load()
		directory = "joe"
	}
	settings.Config.PasswdFiles = []string{filepath.Join(dir, ".passwd")}
	for _, one := range stompserver.All() {
		fmt.Fprintln(out, one.Key, one.Value(settings), one.Typed(settings), one.YAML(settings))
	}
	cfg := settings.Config
	cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Destinations.SlowConsumer = stompserver.DropOldest
	s := start(t, cfg)
	addr := s.Addrs()[0].String()

	events := transcript.Dial(t, addr)
	events.Connect("1.2", "login:plain", "passcode:"+right)
	events.Send("SUBSCRIBE\nid:0\ndestination:/topic/$sys/>\nreceipt:1\n\n^@")
	events.Expect("RECEIPT\nreceipt-id:1\n")
	// Each from an address of its own: failed logins of one are answered ever later.
	last := 1
	dial := func() net.Conn {
		t.Helper()
		last++
		var d net.Dialer
		if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is this machine
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, byte(last/250), byte(1+last%250))}
		}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	say := func(frames string) string {
		t.Helper()
		c := dial()
		defer c.Close()
		_, _ = io.WriteString(c, frames)
		_ = c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		_, _ = out.Write(answer)
		return string(answer)
	}
	users := []string{"plain", "hashed", "set", "other"}
	if directory != "" {
		users = append(users, directory)
	}
	for _, user := range users {
		for _, version := range []string{"", "accept-version:1.0\n", "accept-version:1.2\n"} {
			got := say("CONNECT\n" + version + "login:" + user + "\npasscode:" + right + "\nreceipt:r\nhost:h\n\n\x00DISCONNECT\n\n\x00")
			if !strings.HasPrefix(got, "CONNECTED\n") {
				t.Errorf("%s is answered %q", user, got)
			}
		}
	}
	for _, user := range append(users, "nobody") {
		for _, passcode := range []string{wrong, right + `\c`} {
			say("CONNECT\naccept-version:1.2\nlogin:" + user + "\npasscode:" + passcode + "\n\n\x00")
		}
	}
	// What clients get wrong.
	for _, frames := range []string{
		"CONNECT\nlogin:plain\npasscode " + right + "\n\n\x00",
		"CONNECT\nlogin:plain\npasscode\\x:" + right + "\n\n\x00",
		"CONNECT\nlogin:plain\npasscode=" + right + "\n\n\x00",
		"CONNECT\naccept-version:1.2\nlogin:plain\nPasscode:" + right + "\n\n\x00",
		"CONNECT\naccept-version:1.2\nlogin:plain\npassword:" + right + "\n\n\x00",
		"CONNECT\naccept-version:1.2\nAuthorization:Basic " + right + "\n\n\x00",
		"CONNECT\naccept-version:1.2\nlogin:plain\npasscode:" + right + "\nheart-beat:x\n\n\x00",
		"CONNECT\naccept-version:1.2\nlogin:plain\npasscode:" + strings.Repeat(right, 2000) + "\n\n\x00",
		"CONNECT\naccept-version:1.2\nlogin:plain\npasscode:" + right,
		"CONNECT\naccept-version:1.2\nlogin:plain\npasscode:" + right + "\npasscode:" + wrong + "\n\n\x00SEND\ndestination:nowhere\npasscode:" + right + "\n\n\x00",
		"STOMP\naccept-version:1.2\nlogin:plain\npasscode:" + right + "\n\n\x00CONNECT\naccept-version:1.2\nlogin:plain\npasscode:" + wrong + "\n\n\x00",
		"SEND\nlogin:plain\npasscode:" + right + "\ndestination:/queue/a\n\n\x00",
		"PROXY TCP4 " + right + "\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + right + "\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer eyJ" + right + ".b.c\r\nBroken " + right + "\r\n\r\n",
	} {
		say(frames)
	}
	// By WebSocket, with the request's login, a token of which is signed by nobody.
	for _, o := range []webclient.Options{{Basic: "plain:" + right}, {Basic: "plain:" + wrong}, {Bearer: "eyJ" + marker + ".b.c"}, {Bearer: marker}} {
		c := dial()
		o.Text = true
		w := webclient.Open(t, c, o)
		_, _ = io.WriteString(w, "CONNECT\naccept-version:1.2\n\n\x00")
		_, _ = io.WriteString(w, "DISCONNECT\n\n\x00")
		answer, _ := io.ReadAll(w)
		_, _ = out.Write(answer)
		_ = c.Close()
	}
	for _, user := range append(users, "nobody") {
		for passcode, method := range map[string]string{right: http.MethodPut, wrong: http.MethodGet} {
			r, err := http.NewRequest(method, "http://"+s.HTTPAddrs()[0].String()+"/queue/a", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth(user, passcode)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Header.Write(out)
			_, _ = io.Copy(out, answer.Body)
			_ = answer.Body.Close()
		}
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		answer, err := http.Get("http://" + s.HTTPAddrs()[0].String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(out, answer.Body)
		_ = answer.Body.Close()
	}
	// A configuration that is wrong, and one that is read again.
	for _, text := range []string{
		"users: [{name: a, passcode: " + right + "}]", "users: [{name: a, passcode: '$2a$" + right + "'}]", "users: " + right, "users: [{name: a, secret: " + right + "}]",
		"users: [{name: a, passcode: '" + hash[:30] + "', passcode_file: x}]", "auth: true\nldap: {url: 'ldap://cn:" + right + "@x', base: dc=x}", "jwt: {jwks: 'https://u:" + right + "@x/y'}",
		"ldap: {bind_passcode: " + right + "}", "auth: true\njwt: {keys: [secret]}",
	} {
		d := writeConfig(t, text)
		_ = os.WriteFile(filepath.Join(d, "secret"), []byte(marker), 0o600)
		got, err := stompserver.Load(stompserver.LoadOptions{Dir: d})
		if err == nil {
			_, err = stompserver.New(got.Config)
		}
		if err == nil {
			t.Errorf("%q is taken", text)
		}
		fmt.Fprintln(out, err)
	}
	if err := s.Reload(cfg); err != nil {
		t.Error(err)
	}
	dump := make([]byte, 4<<20)
	_, _ = out.Write(dump[:runtime.Stack(dump, true)]) // as QUIT prints it
	events.Send("DISCONNECT\nreceipt:bye\n\n^@")
	for {
		f, err := events.Read()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "%+v\n", f)
		if f.Command == "RECEIPT" {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "\n") < 200 || strings.Count(out.String(), "CONNECTED") < 12 {
		t.Errorf("there is too little to look through: %d lines of the log, %d bytes", strings.Count(log.String(), "\n"), len(out.String()))
	}
	for what, text := range map[string]string{"the log": log.String(), "what came out": out.String()} {
		for _, secret := range []string{marker, hash, hash[len(hash)-20:]} {
			for line := range strings.Lines(text) {
				if i := strings.Index(line, secret); i >= 0 {
					t.Errorf("%s has a passcode: %.300s", what, line[max(0, i-200):])
				}
			}
		}
	}
}
