package auth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"stompserver/internal/auth"
	"stompserver/test/certificate"
	"stompserver/test/slapd"
)

func openDirectory(t testing.TB, c auth.DirectoryConfig) *auth.Directory {
	t.Helper()
	d, err := c.OpenDirectory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// searching finds users of s as its service.
func searching(s *slapd.Server) auth.DirectoryConfig {
	return auth.DirectoryConfig{
		URLs: []string{s.URL}, BindDN: slapd.Service, BindFile: s.BindFile, Base: slapd.People, Filter: "(|(uid={username})(mail={username}))",
		Groups: auth.GroupConfig{Base: slapd.Groups, Prefix: "stompserver."},
	}
}

// enter fails unless login with passcode is the user of that name, with those roles.
func enter(t *testing.T, d auth.Authenticator, login, passcode, name string, roles ...string) *auth.Identity {
	t.Helper()
	id, err := d.Authenticate(t.Context(), login, passcode)
	if err != nil {
		t.Errorf("%q: %v", login, err)
		return nil
	}
	if id.Name != name || !slices.Equal(id.Grant.Roles, roles) {
		t.Errorf("%q is %+v, want %q with the roles %q", login, id, name, roles)
	}
	return id
}

// fails fails unless login with passcode ends in err.
func fails(t *testing.T, d auth.Authenticator, login, passcode string, want error) {
	t.Helper()
	if id, err := d.Authenticate(t.Context(), login, passcode); !errors.Is(err, want) || id != nil {
		t.Errorf("%q with %q: %v, %v; want %v", login, passcode, id, err, want)
	}
}

const strange = `a,b+ (c*)\`

func TestDirectory(t *testing.T) {
	s := slapd.Start(t)
	d := openDirectory(t, searching(s))
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // over a connection that was used before, too
		enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till")
		enter(t, d, "ann@example.org", "ann's passcode", "ann", auth.NoRole) // memberUid is of the login
		enter(t, d, "ann", "ann's passcode", "ann", auth.NoRole, "monitor")
		// However it is spelt, it is one user, with the rights of one.
		enter(t, d, "JOE", "joe's passcode", "joe", auth.NoRole, "till")
		enter(t, d, strange, "strange passcode", strange, auth.NoRole, "till")
	}
	for _, c := range [][2]string{
		{"joe", "ann's passcode"}, {"joe", "joe's passcode "}, {"joe", ""}, {"ann", ""}, {"", "joe's passcode"}, {"nobody", "joe's passcode"},
		{"bare", "x"}, {"bare", ""},
		// What would mean something in a filter, if it were not escaped.
		{"*", "joe's passcode"}, {"j*", "joe's passcode"}, {"joe)(uid=*", "joe's passcode"}, {"*)(uid=joe", "joe's passcode"}, {"joe)(&", "joe's passcode"},
		{`j\6fe`, "joe's passcode"}, {"joe\x00", "joe's passcode"}, {"joe\n", "joe's passcode"}, {"jo\xff", "joe's passcode"}, {strings.Repeat("j", 300), "x"},
		// Two users have it.
		{"shared@example.org", "joe's passcode"}, {"shared@example.org", "ann's passcode"},
	} {
		fails(t, d, c[0], c[1], auth.ErrDenied)
	}
}

// TestDirectoryByTemplate has users searched for by nobody, and by themselves.
func TestDirectoryByTemplate(t *testing.T) {
	s := slapd.Start(t)
	c := auth.DirectoryConfig{URLs: []string{s.URL}, UserDN: "uid={username}," + slapd.People}
	d := openDirectory(t, c)
	for range 2 {
		if id := enter(t, d, "joe", "joe's passcode", "joe"); id != nil && id.Listed {
			t.Error("it is said that joe can be looked up without a passcode")
		}
		enter(t, d, "JOE", "joe's passcode", "joe")
		enter(t, d, strange, "strange passcode", strange)
	}
	for _, login := range []string{"nobody", "", "joe,ou=people", "joe,dc=example,dc=org", "joe+cn=Joe", `joe\`, "*"} {
		fails(t, d, login, "joe's passcode", auth.ErrDenied)
	}
	fails(t, d, "joe", "", auth.ErrDenied)
	if d.CanRefresh() {
		t.Error("it says that it can look users up")
	}
	c.BindDN, c.BindFile = slapd.Service, s.BindFile
	c.Groups = auth.GroupConfig{Base: slapd.Groups, Prefix: "stompserver."}
	d = openDirectory(t, c)
	enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till")
	if id, err := d.Lookup(t.Context(), "Joe"); err != nil || id.Name != "joe" || !slices.Contains(id.Grant.Roles, "till") {
		t.Errorf("joe is %+v, %v", id, err)
	}
	if id, err := d.Lookup(t.Context(), "nobody"); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("nobody is %+v, %v", id, err)
	}
}

// TestDirectoryTLS: passcodes go to nobody whose certificate is not right.
func TestDirectoryTLS(t *testing.T) {
	s := slapd.Start(t)
	other, _ := certificate.Write(t, t.TempDir(), "other", "localhost")
	for _, row := range []struct {
		name string
		with func(*auth.DirectoryConfig)
		want error
	}{
		{"ldaps", func(c *auth.DirectoryConfig) { c.URLs = []string{s.Secure}; c.CA = s.CA }, nil},
		{"StartTLS", func(c *auth.DirectoryConfig) { c.StartTLS = true; c.CA = s.CA }, nil},
		{"ldaps, of the system's", func(c *auth.DirectoryConfig) { c.URLs = []string{s.Secure} }, auth.ErrAway},
		{"ldaps, of another", func(c *auth.DirectoryConfig) { c.URLs = []string{s.Secure}; c.CA = other }, auth.ErrAway},
		{"StartTLS, of another", func(c *auth.DirectoryConfig) { c.StartTLS = true; c.CA = other }, auth.ErrAway},
		{"another name", func(c *auth.DirectoryConfig) {
			c.URLs = []string{strings.Replace(s.Secure, "localhost", "127.0.0.1", 1)}
			c.CA = s.CA
		}, auth.ErrAway},
		{"ldaps where there is no TLS", func(c *auth.DirectoryConfig) {
			c.URLs = []string{strings.Replace(s.URL, "ldap:", "ldaps:", 1)}
			c.Timeout = 200 * time.Millisecond
		}, auth.ErrAway},
		{"no file of the authority", func(c *auth.DirectoryConfig) { c.URLs = []string{s.Secure}; c.CA = "none" }, auth.ErrAway},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := searching(s)
			row.with(&c)
			_, err := openDirectory(t, c).Authenticate(t.Context(), "joe", "joe's passcode")
			if !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "passcode") {
				t.Errorf("a passcode is in the error: %v", err)
			}
		})
	}
}

// TestDirectoryAway: a directory that is away is no wrong login, and one that is back is asked.
func TestDirectoryAway(t *testing.T) {
	s := slapd.Start(t)
	silent := fake(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := searching(s)
	c.URLs = []string{"ldap://127.0.0.1:1", silent, s.URL}
	c.Timeout = 2 * time.Second // which is for the third, too
	d := openDirectory(t, c)
	enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till") // by the third
	s.Stop()
	for range 3 {
		began := time.Now()
		fails(t, d, "joe", "joe's passcode", auth.ErrAway)
		fails(t, d, "joe", "wrong", auth.ErrAway)
		fails(t, d, "joe", "", auth.ErrDenied) // nobody need be asked about that
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it takes %v to say that nobody answers", took)
		}
	}
	s.Run()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := d.Authenticate(t.Context(), "joe", "joe's passcode"); err == nil {
			break
		} else if !errors.Is(err, auth.ErrAway) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	fails(t, d, "joe", "wrong", auth.ErrDenied)
	if err := os.WriteFile(s.BindFile, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, openDirectory(t, c), "joe", "joe's passcode", auth.ErrAway) // the service is not let in
}

// TestDirectoryCache: what succeeded is not asked about for a while, what did not is.
func TestDirectoryCache(t *testing.T) {
	s := slapd.Start(t)
	c := searching(s)
	c.Cache = time.Hour
	d := openDirectory(t, c)
	joe := "uid=joe," + slapd.People
	enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till")
	s.Replace(joe, "userPassword", "new")
	enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till")
	enter(t, d, "joe", "new", "joe", auth.NoRole, "till")
	fails(t, d, "joe", "wrong", auth.ErrDenied)
	d.Forget()
	fails(t, d, "joe", "joe's passcode", auth.ErrDenied)
	s.Stop()
	fails(t, d, "joe", "new", auth.ErrAway)
	s.Run()
	d = openDirectory(t, c)
	id := enter(t, d, "joe", "new", "joe", auth.NoRole, "till")
	s.Remove(joe)
	if err := d.Refresh(t.Context(), []*auth.Identity{id}); err != nil {
		t.Error(err)
	}
	fails(t, d, "joe", "new", auth.ErrDenied)
}

// TestDirectoryStill: what becomes of users who are logged in.
func TestDirectoryStill(t *testing.T) {
	s := slapd.Start(t)
	d := openDirectory(t, searching(s))
	joe := enter(t, d, "joe@example.org", "joe's passcode", "joe", auth.NoRole, "till")
	ann := enter(t, d, "ann", "ann's passcode", "ann", auth.NoRole, "monitor")
	if joe == nil || ann == nil || !joe.Listed {
		t.Fatal(joe, ann)
	}
	look := func() {
		t.Helper()
		if err := d.Refresh(t.Context(), []*auth.Identity{joe, ann, joe, {Name: "of the file"}}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if now := d.Still(joe); now == nil || now.Name != "joe" || !slices.Equal(now.Grant.Roles, joe.Grant.Roles) {
		t.Fatalf("joe is %+v", now)
	}
	s.Replace("cn=stompserver.till,"+slapd.Groups, "member", "uid=bare,"+slapd.People)
	look()
	if now := d.Still(joe); now == nil || !slices.Equal(now.Grant.Roles, []string{auth.NoRole}) {
		t.Errorf("joe is %+v", now)
	}
	s.Replace("cn=stompserver.till,"+slapd.Groups, "member", "uid=joe,"+slapd.People)
	again := enter(t, d, "joe@example.org", "joe's passcode", "joe", auth.NoRole, "till")
	if now := d.Still(again); now == nil || !slices.Equal(now.Grant.Roles, again.Grant.Roles) {
		t.Errorf("joe, who has logged in again, is %+v", now)
	}
	s.Remove("uid=joe," + slapd.People)
	s.Stop()
	if err := d.Refresh(t.Context(), []*auth.Identity{joe, ann}); !errors.Is(err, auth.ErrAway) {
		t.Errorf("nobody answers: %v", err)
	}
	if d.Still(joe) == nil || d.Still(ann) == nil {
		t.Error("who could not be looked up is gone")
	}
	s.Run()
	for deadline := time.Now().Add(time.Minute); d.Ping(t.Context()) != nil && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	look()
	if now := d.Still(joe); now != nil {
		t.Errorf("joe, who was removed, is %+v", now)
	}
	if d.Still(ann) == nil {
		t.Error("ann is gone")
	}
}

// fake is a server that speaks as it likes.
func fake(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range all {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "ldap://" + l.Addr().String()
}

// TestDirectoryFaulty: whatever a server says, the answer comes in time and is that nobody knows.
func TestDirectoryFaulty(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	say := func(b ...byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = c.Write(b)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	ok := []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00} // to a bind
	pair := certificate.Make(t, "localhost")
	for name, serve := range map[string]func(net.Conn){
		"silence":           func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"leaves":            func(net.Conn) {},
		"leaves when asked": func(c net.Conn) { _, _ = c.Read(make([]byte, 10)) },
		"nonsense":          say([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...),
		"a huge length":     say(0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01),
		"a huge string":     say(0x04, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01),
		"of no end":         say(bytes.Repeat([]byte{0x30, 0x80}, 4096)...),
		"another message":   say(0x30, 0x0c, 0x02, 0x01, 0x63, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00),
		"half an answer":    say(ok[:6]...),
		"then silence":      say(ok...),
		"busy":              say(0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x33, 0x04, 0x00, 0x04, 0x00),
		"drop by drop": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			for _, err := c.Write([]byte{0x30, 0x83, 0x03, 0x00, 0x00}); err == nil; _, err = c.Write([]byte{0x04, 0x00}) {
				time.Sleep(10 * time.Millisecond)
			}
		},
		"a flood": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			one := append([]byte{0x30, 0x82, 0x10, 0x00, 0x02, 0x01, 0x63, 0x04, 0x82, 0x0f, 0xf9}, make([]byte, 0xff9)...)
			for _, err := c.Write(one); err == nil; _, err = c.Write(one) {
			}
		},
		"TLS": func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", StartTLS"}[secure], func(t *testing.T) {
				t.Parallel()
				d := openDirectory(t, auth.DirectoryConfig{
					URLs: []string{fake(t, serve)}, BindDN: "cn=x", BindFile: file, Base: "dc=x", Filter: "(uid={username})", Timeout: 300 * time.Millisecond, StartTLS: secure,
				})
				began := time.Now()
				fails(t, d, "joe", "marker", auth.ErrAway)
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it takes %v", took)
				}
			})
		}
	}
}

// TestDirectoryManyAtOnce: equal logins are one question, connections few, and a client that
// leaves costs the others nothing.
func TestDirectoryManyAtOnce(t *testing.T) {
	s := slapd.Start(t)
	d := openDirectory(t, searching(s))
	leaves, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				enter(t, d, "joe", "joe's passcode", "joe", auth.NoRole, "till")
			case 1:
				enter(t, d, "ann", "ann's passcode", "ann", auth.NoRole, "monitor")
			case 2:
				fails(t, d, "joe", "wrong", auth.ErrDenied)
			default:
				_, _ = d.Authenticate(leaves, "joe", "joe's passcode")
			}
		})
	}
	leave()
	wg.Wait()
	if n := s.Connections(); n > 8 {
		t.Errorf("there were %d connections", n)
	}
}

// TestSeveralWithDirectory: users of the file come before those of the directory, who cannot take their names.
func TestSeveralWithDirectory(t *testing.T) {
	s := slapd.Start(t)
	var log bytes.Buffer
	c := searching(s)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	file := open(t, auth.Config{}, write(t, "ann:local\nboss:boss\n"))
	all := auth.Several{Passwd: file, Directory: openDirectory(t, c)}
	enter(t, all, "boss", "boss", "boss")
	enter(t, all, "joe", "joe's passcode", "joe", auth.NoRole, "till")
	enter(t, all, "ann", "local", "ann")
	for _, login := range []string{"ann", "ANN", "ann@example.org"} {
		fails(t, all, login, "ann's passcode", auth.ErrDenied)
	}
	if !strings.Contains(log.String(), "has the name of one of the password file") {
		t.Errorf("the log does not say so: %s", &log)
	}
	for _, login := range []string{"ann", "joe", "nobody"} { // whoever knows it, or nobody
		began := time.Now()
		fails(t, all, login, "x", auth.ErrDenied)
		if took := time.Since(began); took < 250*time.Millisecond {
			t.Errorf("%s: a refusal took %v", login, took)
		}
	}
}

func TestDirectoryConfig(t *testing.T) {
	good := auth.DirectoryConfig{URLs: []string{"ldaps://x"}, Base: "dc=x", Filter: "(uid={username})"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		want string
		with func(*auth.DirectoryConfig)
	}{
		{"no url", func(c *auth.DirectoryConfig) { c.URLs = nil }},
		{"not the address", func(c *auth.DirectoryConfig) { c.URLs = []string{"http://x"} }},
		{"not the address", func(c *auth.DirectoryConfig) { c.URLs = []string{"ldap://x/dc=x?uid"} }},
		{"has no login in it", func(c *auth.DirectoryConfig) { c.URLs = []string{"ldap://u:p@x"} }},
		{"names no socket", func(c *auth.DirectoryConfig) { c.URLs = []string{"ldapi://x"} }},
		{"neither is there", func(c *auth.DirectoryConfig) { c.Base = "" }},
		{"set either", func(c *auth.DirectoryConfig) { c.UserDN = "uid={username}" }},
		{"belong together", func(c *auth.DirectoryConfig) { c.BindDN = "cn=x" }},
		{`filter: "uid={username}" is not a filter`, func(c *auth.DirectoryConfig) { c.Filter = "uid={username}" }},
		{`user_dn: "{username}" is not the name of an entry`, func(c *auth.DirectoryConfig) { c.Base, c.Filter, c.UserDN = "", "", "{username}" }},
		{"every user's", func(c *auth.DirectoryConfig) { c.Filter = "(uid=x)" }},
		{"not the name of an entry", func(c *auth.DirectoryConfig) { c.Base = "x" }},
		{"groups.filter", func(c *auth.DirectoryConfig) { c.Groups.Filter = "(" }},
	} {
		c := good
		row.with(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
}

// FuzzEscapes: whatever a login is, it is one value of the filter and of the name.
func FuzzEscapes(f *testing.F) {
	for _, s := range []string{"joe", "*", "a)(b=c", strange, " #", "a\x00b", "é", "x=y,z", "\xff", `\2a`, `"`, "<;>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, login string) {
		filter, err := ldap.CompileFilter(auth.Fill("(&(uid={username})(x=y))", ldap.EscapeFilter, login))
		if err != nil {
			t.Fatal(err)
		}
		if len(filter.Children) != 2 {
			t.Fatalf("%q is more than a value: %d parts", login, len(filter.Children))
		}
		first := filter.Children[0]
		if first.Tag != ldap.FilterEqualityMatch || first.Children[1].Data.String() != login {
			t.Fatalf("%q has become %v", login, first)
		}
		if !auth.Askable(login) {
			return
		}
		dn, err := ldap.ParseDN(auth.Fill("uid={username},dc=x", ldap.EscapeDN, login))
		if err != nil {
			t.Fatalf("%q: %v", login, err)
		}
		if len(dn.RDNs) != 2 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[0].Attributes[0].Value != login {
			t.Fatalf("%q has become %v", login, dn)
		}
	})
}
