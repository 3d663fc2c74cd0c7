// Package slapd starts a directory for tests: OpenLDAP's slapd, on free ports of this machine, as
// a user without privileges, with a few users and groups.
package slapd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"stompserver/test/certificate"
)

// What is in the directory.
const (
	Base      = "dc=example,dc=org"
	People    = "ou=people," + Base
	Groups    = "ou=groups," + Base
	Service   = "cn=stompserver," + Base // may read all but passcodes
	ServicePW = "the service's passcode"
	admin     = "cn=admin," + Base
	adminPW   = "the administrator's"
)

// A Server is a directory.
type Server struct {
	URL, Secure string // ldap:// and ldaps://
	CA          string // file of its certificate
	BindFile    string // with the passcode of Service

	t   testing.TB
	dir string
	cmd *exec.Cmd
}

const ldif = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example

dn: cn=stompserver,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: the service's passcode

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit

dn: uid=joe,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Joe
sn: Doe
mail: joe@example.org
mail: shared@example.org
userPassword: joe's passcode

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Ann
sn: Doe
mail: ann@example.org
mail: shared@example.org
userPassword: ann's passcode

dn: uid=a\2cb\2b (c*)\5c,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Strange
sn: Strange
userPassword: strange passcode

dn: uid=bare,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Bare
sn: Bare

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit

dn: cn=stompserver.till,ou=groups,dc=example,dc=org
objectClass: groupOfNames
member: uid=joe,ou=people,dc=example,dc=org
member: uid=a\2cb\2b (c*)\5c,ou=people,dc=example,dc=org

dn: cn=admin,ou=groups,dc=example,dc=org
objectClass: groupOfNames
member: uid=joe,ou=people,dc=example,dc=org

dn: cn=stompserver.monitor,ou=groups,dc=example,dc=org
objectClass: posixGroup
gidNumber: 7
memberUid: ann
`

// Start starts one, which Cleanup ends. The test is skipped where slapd is not installed, or fails
// where nothing may be missing.
func Start(t testing.TB) *Server {
	t.Helper()
	slapd, slapadd := find("slapd"), find("slapadd")
	if slapd == "" || slapadd == "" {
		if os.Getenv("TEST_REQUIRE_ALL") == "1" {
			t.Fatal("slapd is not installed")
		}
		t.Skip("slapd is not installed")
	}
	dir, err := os.MkdirTemp("", "slapd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, dir: dir, BindFile: filepath.Join(dir, "service.secret")}
	cert, key := certificate.Write(t, dir, "slapd", "localhost")
	s.CA = cert
	schema := "/etc/ldap/schema"
	if _, err := os.Stat(schema); err != nil {
		schema = "/etc/openldap/schema"
	}
	conf := ""
	for _, name := range []string{"core", "cosine", "inetorgperson", "nis"} {
		conf += fmt.Sprintf("include %s/%s.schema\n", schema, name)
	}
	for _, modules := range []string{"/usr/lib/ldap", "/usr/lib64/openldap", "/usr/lib/openldap"} {
		if all, _ := filepath.Glob(modules + "/back_mdb*"); len(all) > 0 {
			conf += fmt.Sprintf("modulepath %s\nmoduleload back_mdb\nmoduleload back_monitor\n", modules)
			break
		}
	}
	conf += fmt.Sprintf(`pidfile %[1]s/pid
argsfile %[1]s/args
TLSCertificateFile %[2]s
TLSCertificateKeyFile %[3]s
database mdb
maxsize 16777216
suffix %[4]s
rootdn %[5]s
rootpw "%[6]s"
directory %[1]s/db
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="%[7]s" by dn.exact="%[8]s" read by self read by * none
access to * by dn.exact="%[8]s" read by users search by * none
database monitor
access to * by dn.exact="%[5]s" read
`, dir, cert, key, Base, admin, adminPW, People, Service)
	for name, text := range map[string]string{"conf": conf, "ldif": ldif, "service.secret": ServicePW + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	own(t, dir)
	add := s.command(slapadd, "-q", "-f", filepath.Join(dir, "conf"), "-l", filepath.Join(dir, "ldif"))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	s.URL, s.Secure = "ldap://localhost:"+freePort(t), "ldaps://localhost:"+freePort(t)
	s.Run()
	t.Cleanup(s.Stop)
	return s
}

func find(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(path); err == nil {
			return path
		}
	}
	return ""
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Run has it run again after Stop, and returns when it answers.
func (s *Server) Run() {
	s.t.Helper()
	where := strings.ReplaceAll(s.URL+"/ "+s.Secure+"/", "localhost", "127.0.0.1")
	s.cmd = s.command(find("slapd"), "-d", "0", "-f", filepath.Join(s.dir, "conf"), "-h", where)
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := ldap.DialURL(s.URL)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(out.Name())
			s.t.Fatalf("slapd does not answer: %v\n%s", err, text)
		}
	}
}

// Stop ends it. What it holds is kept for Run.
func (s *Server) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(os.Interrupt)
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Admin is a connection of the administrator.
func (s *Server) Admin() *ldap.Conn {
	s.t.Helper()
	c, err := ldap.DialURL(s.URL)
	if err == nil {
		err = c.Bind(admin, adminPW)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Remove takes an entry out.
func (s *Server) Remove(dn string) {
	s.t.Helper()
	if err := s.Admin().Del(ldap.NewDelRequest(dn, nil)); err != nil {
		s.t.Fatal(err)
	}
}

// Replace gives an entry other values of an attribute.
func (s *Server) Replace(dn, attribute string, values ...string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace(attribute, values)
	if err := s.Admin().Modify(m); err != nil {
		s.t.Fatal(err)
	}
}

// Connections is how many connections it has now, but for those of root's own.
func (s *Server) Connections() int {
	s.t.Helper()
	found, err := s.Admin().Search(ldap.NewSearchRequest("cn=Current,cn=Connections,cn=Monitor", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", []string{"monitorCounter"}, nil))
	if err != nil || len(found.Entries) != 1 {
		s.t.Fatal(found, err)
	}
	n, err := strconv.Atoi(found.Entries[0].GetAttributeValue("monitorCounter"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n - 1
}
