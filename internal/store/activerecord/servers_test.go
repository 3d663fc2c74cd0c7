//go:build unix

package activerecord_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
)

// A server is a database server of the test's own, on a socket in a directory of its own.
type server struct {
	t      testing.TB
	dir    string
	cred   *syscall.Credential // nil: as who runs the test
	run    []string
	driver string
	dsn    string // to make databases by
	at     activerecord.Database
	cmd    *exec.Cmd
	n      atomic.Int64
	places sync.Map // database, by place
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

func newServer(t testing.TB, account string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "sql") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, dir: dir}
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

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

func (s *server) prepare(args ...string) {
	s.t.Helper()
	if out, err := s.command(args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}

// start starts it and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = s.command(s.run...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	db, err := sql.Open(s.driver, s.dsn)
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

// kill ends it as a power cut would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	if strings.Contains(s.run[0], "maria") || strings.Contains(s.run[0], "mysql") {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	_ = s.cmd.Wait()
}

// database is one of its own for each place.
func (s *server) database(t testing.TB, place string) activerecord.Config {
	t.Helper()
	name, ok := s.places.Load(place)
	if !ok {
		name = fmt.Sprint("place", s.n.Add(1))
		s.places.Store(place, name)
		db, err := sql.Open(s.driver, s.dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE DATABASE " + name.(string)); err != nil {
			t.Fatal(err)
		}
	}
	at := s.at
	at.Database = name.(string)
	return activerecord.Config{Database: at}
}

func postgres(t testing.TB) *server {
	initdb := find("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if initdb == "" {
		lacks(t, "postgresql")
	}
	if real, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = real
	}
	s := newServer(t, "postgres")
	data := filepath.Join(s.dir, "data")
	s.prepare(initdb, "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale", "-N")
	s.run = []string{filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "full_page_writes=off"}
	s.driver, s.dsn = "pgx", "host="+s.dir+" user=test dbname=postgres"
	s.at = activerecord.Database{Adapter: "postgresql", Host: s.dir, Username: "test"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func mariadb(t testing.TB) *server {
	server, install := find("mariadbd", "/usr/sbin/mariadbd"), find("mariadb-install-db")
	if server == "" || install == "" {
		lacks(t, "mariadb-server")
	}
	s := newServer(t, "mysql")
	data, socket := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "s")
	s.prepare(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	certificates(t, s.dir)
	s.run = []string{server, "--no-defaults", "--ssl-ca=" + s.dir + "/ca.pem", "--ssl-cert=" + s.dir + "/cert.pem", "--ssl-key=" + s.dir + "/key.pem", "--datadir=" + data, "--socket=" + socket, "--skip-networking", "--pid-file=" + filepath.Join(s.dir, "pid"), "--max-allowed-packet=64M", "--innodb-buffer-pool-size=64M"}
	s.driver, s.dsn = "mysql", "root@unix("+socket+")/"
	s.at = activerecord.Database{Adapter: "mysql2", Socket: socket, Username: "root"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func TestPostgreSQL(t *testing.T) {
	s := postgres(t)
	suite(t, s.database)
	t.Run("schemas", func(t *testing.T) { schemas(t, s) })
	t.Run("no text", func(t *testing.T) { noText(t, s) })
	t.Run("large pages", func(t *testing.T) { largePages(t, s.database) })
	t.Run("link", func(t *testing.T) { linked(t, s) })
}

func TestMariaDB(t *testing.T) {
	s := mariadb(t)
	suite(t, s.database)
	t.Run("encrypted", func(t *testing.T) { encrypted(t, s) })
	t.Run("too large", func(t *testing.T) { tooLarge(t, s) })
	t.Run("large pages", func(t *testing.T) { largePages(t, s.database) })
	t.Run("link", func(t *testing.T) { linked(t, s) })
	t.Run("a table of Rails", func(t *testing.T) {
		cfg := s.database(t, t.TempDir())
		db, err := sql.Open("mysql", "root@unix("+cfg.Database.Socket+")/"+cfg.Database.Database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE TABLE ar_messages (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, stomp_id varchar(255) NOT NULL, frame text NOT NULL)"); err != nil {
			t.Fatal(err)
		}
		b := open(t, cfg)
		defer b.Close()
		body := strings.Repeat("x", 1<<20) // more than its column holds
		if err := b.Write([]store.Record{put("/queue/a", 1, storetest.Message(t, "/queue/a", []byte(body)))}); err != nil {
			t.Fatal(err)
		}
		if rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<30); err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != body {
			t.Errorf("%d messages, %v", len(rs), err)
		}
	})
}

// linked is about the connection, and the lock that it holds.
func linked(t *testing.T, s *server) {
	at := place(s.database)
	t.Run("one server only", at.oneServerOnly)
	t.Run("the connection is severed", at.severed)
	t.Run("another server takes over", at.takenOver)
	t.Run("answers are lost", at.lostAnswers)
	t.Run("the database is killed", func(t *testing.T) { killed(t, s) })
	t.Run("the database is away", func(t *testing.T) { away(t, s) })
	t.Run("the database stays away", func(t *testing.T) { givenUp(t, s) })
}

// killed has the database die and come back in the middle of writes: each is there once.
func killed(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	b := open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan store.Seq, 1)
	go func() {
		seq := store.Seq(0)
		for ctx.Err() == nil {
			rs := []store.Record{put("/queue/a", seq+1, storetest.Message(t, "/queue/a", fmt.Append(nil, seq+1))), put("/queue/a", seq+2, storetest.Message(t, "/queue/a", nil)),
				{Kind: store.RecordAck, Queue: "/queue/a", Seq: seq + 2, Last: seq + 2}}
			if err := b.Write(rs); err != nil {
				t.Errorf("Write: %v", err)
				break
			}
			seq += 2
		}
		written <- seq
	}()
	for range 3 {
		time.Sleep(200 * time.Millisecond) // for the writer to be in the middle of something
		s.kill()
		time.Sleep(100 * time.Millisecond)
		s.start()
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	last := <-written
	rs, _, err := b.Read(nil, "/queue/a", 0, 1<<20, 1<<40)
	if err != nil || last == 0 {
		t.Fatal(last, err)
	}
	if len(rs) != int(last)/2 {
		t.Errorf("%d messages, want %d", len(rs), last/2)
	}
	for i, r := range rs {
		if want := fmt.Sprint(2*i + 1); string(r.Msg.Body()) != want {
			t.Fatalf("message %d is %q", i, r.Msg.Body())
		}
	}
	t.Logf("%d writes", last/2)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
