//go:build unix

package databases

import (
	"database/sql"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stompserver/internal/store/activerecord"
)

// A Server is a database server of a test's own.
type Server struct {
	Dir    string
	Driver string
	DSN    string                // to make databases by
	At     activerecord.Database // but for which
	Socket string                // its name in Dir

	t    testing.TB
	cred *syscall.Credential // nil: as who runs the test
	run  []string
	cmd  *exec.Cmd
}

// lacks skips the test, or fails it where nothing may be missing.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TEST_REQUIRE_ALL") == "1" {
		t.Fatalf("%s is not installed", what)
	}
	t.Skipf("%s is not installed", what)
}

func find(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		if all, _ := filepath.Glob(name); len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return ""
}

func newServer(t testing.TB, account string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "sql") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, Dir: dir}
	if os.Getuid() == 0 { // they refuse to run as root
		u, err := user.Lookup(account)
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return s
}

func (s *Server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "HOME="+s.Dir, "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

func (s *Server) prepare(args ...string) {
	s.t.Helper()
	if out, err := s.command(args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}

// Start starts it and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = s.command(s.run...)
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := db.Ping()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("%s does not answer: %v\n%s", s.run[0], err, text)
		}
	}
}

// Kill ends it as a power cut would.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *Server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	if strings.Contains(s.run[0], "maria") || strings.Contains(s.run[0], "mysql") {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	_ = s.cmd.Wait()
}

// PostgreSQL starts one that ends with the test.
func PostgreSQL(t testing.TB) *Server {
	initdb := find("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if initdb == "" {
		lacks(t, "postgresql")
	}
	if real, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = real
	}
	s := newServer(t, "postgres")
	data := filepath.Join(s.Dir, "data")
	s.prepare(initdb, "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale", "-N")
	s.run = []string{filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", s.Dir, "-c", "listen_addresses=", "-c", "full_page_writes=off"}
	s.Driver, s.DSN, s.Socket = "pgx", "host="+s.Dir+" user=test dbname=postgres", ".s.PGSQL.5432"
	s.At = activerecord.Database{Adapter: "postgresql", Host: s.Dir, Username: "test"}
	s.Start()
	t.Cleanup(s.stop)
	return s
}

// MariaDB starts one that ends with the test. With, if it is not nil, is given its directory, and
// says what else is on its command line.
func MariaDB(t testing.TB, with func(dir string) []string) *Server {
	server, install := find("mariadbd", "/usr/sbin/mariadbd"), find("mariadb-install-db")
	if server == "" || install == "" {
		lacks(t, "mariadb-server")
	}
	s := newServer(t, "mysql")
	data, socket := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "s")
	s.prepare(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	s.run = []string{server, "--no-defaults", "--datadir=" + data, "--socket=" + socket, "--skip-networking", "--pid-file=" + filepath.Join(s.Dir, "pid"), "--max-allowed-packet=64M", "--innodb-buffer-pool-size=64M"}
	if with != nil {
		s.run = append(s.run, with(s.Dir)...)
	}
	s.Driver, s.DSN, s.Socket = "mysql", "root@unix("+socket+")/", filepath.Base(socket)
	s.At = activerecord.Database{Adapter: "mysql2", Socket: socket, Username: "root"}
	s.Start()
	t.Cleanup(s.stop)
	return s
}
