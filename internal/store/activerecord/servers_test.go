//go:build unix

package activerecord_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
	"stompserver/test/databases"
)

// A server has a database for each place.
type server struct {
	*databases.Server
	n      atomic.Int64
	places sync.Map // database, by place
}

func postgres(t testing.TB) *server { return &server{Server: databases.PostgreSQL(t)} }

func mariadb(t testing.TB) *server {
	return &server{Server: databases.MariaDB(t, func(dir string) []string {
		certificates(t, dir)
		return []string{"--ssl-ca=" + dir + "/ca.pem", "--ssl-cert=" + dir + "/cert.pem", "--ssl-key=" + dir + "/key.pem"}
	})}
}

// database is one of its own for each place.
func (s *server) database(t testing.TB, place string) activerecord.Config {
	t.Helper()
	name, ok := s.places.Load(place)
	if !ok {
		name = fmt.Sprint("place", s.n.Add(1))
		s.places.Store(place, name)
		db, err := sql.Open(s.Driver, s.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE DATABASE " + name.(string)); err != nil {
			t.Fatal(err)
		}
	}
	at := s.At
	at.Database = name.(string)
	return activerecord.Config{Database: at}
}

func TestPostgreSQL(t *testing.T) {
	s := postgres(t)
	suite(t, s.database)
	t.Run("schemas", func(t *testing.T) { schemas(t, s) })
	t.Run("no text", func(t *testing.T) { noText(t, s) })
	t.Run("many rows", func(t *testing.T) { manyRows(t, s.database(t, t.TempDir())) })
	dsn := func(cfg activerecord.Config) string {
		return strings.Replace(s.DSN, "dbname=postgres", "dbname="+cfg.Database.Database, 1)
	}
	t.Run("once", (&reach{s.database, s.Driver, dsn, "SELECT pg_database_size(current_database())"}).once)
	t.Run("large ones", func(t *testing.T) { largeOnes(t, s.database) })
	t.Run("a large one is damaged", func(t *testing.T) {
		largeDamage(t, s.database, s.Driver, dsn, "UPDATE ar_messages SET frame = frame || ' ' WHERE id IN (1, 4)")
	})
	t.Run("large pages", func(t *testing.T) { largePages(t, s.database) })
	t.Run("link", func(t *testing.T) { linked(t, s) })
}

func TestMariaDB(t *testing.T) {
	s := mariadb(t)
	suite(t, s.database)
	t.Run("encrypted", func(t *testing.T) { encrypted(t, s) })
	t.Run("too large", func(t *testing.T) { tooLarge(t, s) })
	t.Run("many rows", func(t *testing.T) { manyRows(t, s.database(t, t.TempDir())) })
	t.Run("many rows, and no prepared statement is to be had", func(t *testing.T) {
		db, err := sql.Open(s.Driver, s.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("SET GLOBAL max_prepared_stmt_count = 0"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := db.Exec("SET GLOBAL max_prepared_stmt_count = DEFAULT"); err != nil {
				t.Error(err)
			}
		}()
		manyRows(t, s.database(t, t.TempDir()))
	})
	dsn := func(cfg activerecord.Config) string { return s.DSN + cfg.Database.Database }
	t.Run("once", (&reach{s.database, s.Driver, dsn, "SELECT CAST(SUM(file_size) AS SIGNED) FROM information_schema.innodb_sys_tablespaces WHERE name LIKE CONCAT(DATABASE(), '/%')"}).once)
	t.Run("large ones", func(t *testing.T) { largeOnes(t, s.database) })
	t.Run("a large one is damaged", func(t *testing.T) {
		largeDamage(t, s.database, s.Driver, dsn, "UPDATE ar_messages SET frame = CONCAT(frame, ' ') WHERE id IN (1, 4)")
	})
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
	t.Run("the connection breaks in a large message", func(t *testing.T) { brokenLarge(t, s) })
	t.Run("the database is killed", func(t *testing.T) { killed(t, s) })
	t.Run("the database is away", func(t *testing.T) { away(t, s) })
	t.Run("the database stays away", func(t *testing.T) { givenUp(t, s) })
}

// A between carries what a store and its database say, and breaks off where it is told to.
type between struct {
	net.Listener
	to  string
	cut atomic.Int64 // after how many bytes of the store, once; 0 for never
}

// newBetween listens where a database of the same name would.
func newBetween(t *testing.T, s *server) *between {
	t.Helper()
	dir := filepath.Join(s.Dir, "between") // a socket's path must be short
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &between{to: filepath.Join(s.Dir, s.Socket)}
	var err error
	if w.Listener, err = net.Listen("unix", filepath.Join(dir, s.Socket)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	go func() {
		for {
			c, err := w.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return w
}

func (w *between) carry(c net.Conn) {
	defer c.Close()
	db, err := net.Dial("unix", w.to)
	if err != nil {
		return
	}
	defer db.Close()
	go func() {
		_, _ = io.Copy(c, db)
		_ = c.Close()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if left := w.cut.Load(); left > 0 {
			if w.cut.Store(max(left-int64(n), 0)); left <= int64(n) {
				return
			}
		}
		if _, e := db.Write(b[:n]); err != nil || e != nil {
			return
		}
	}
}

// brokenLarge has the connection break in the middle of a message that is put in pieces: it is
// there once.
func brokenLarge(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	w := newBetween(t, s)
	if cfg.Database.Socket != "" {
		cfg.Database.Socket = w.Addr().String()
	} else {
		cfg.Database.Host = filepath.Dir(w.Addr().String())
	}
	b := open(t, cfg)
	large := strings.Repeat("0123456789abcdef", 4<<20/16)
	for i := range int64(8) {
		w.cut.Store(1<<20 + i<<17)
		write(t, b, text(t, "/queue/a", store.Seq(i+1), large))
		if w.cut.Load() > 0 {
			t.Error("the connection did not break")
		}
		rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<30)
		if err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != large {
			t.Fatalf("%d messages, %v", len(rs), err)
		}
		write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: store.Seq(i + 1), Last: store.Seq(i + 1)})
	}
	closeIt(t, b)
}

// killed has the database die and come back in the middle of writes: each is there once.
func killed(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	b := open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	written, wrote := make(chan []store.Seq, 1), make(chan struct{}, 1)
	go func() {
		var all []store.Seq
		defer func() { written <- all }()
		seq := store.Seq(0)
		large := make([]byte, 2<<20)
		defer close(wrote)
		for n := 0; ctx.Err() == nil; n++ {
			var body []byte
			few := store.Seq(1)
			switch n % 10 {
			case 0:
				body = large
			case 1, 3, 5, 7, 9:
				few = 20
			}
			var rs []store.Record
			var kept []store.Seq
			for i := range few {
				kept = append(kept, seq+i+1)
				rs = append(rs, put("/queue/a", seq+i+1, storetest.Message(t, "/queue/a", fmt.Append(nil, seq+i+1))))
			}
			gone := seq + few + 1
			rs = append(rs, put("/queue/a", gone, storetest.Message(t, "/queue/a", body)), ack("/queue/a", gone, gone))
			err := b.Write(rs)
			if errors.Is(err, store.ErrAway) {
				continue // it took long to come back; nothing of this was written
			}
			if err != nil {
				t.Errorf("Write: %v", err)
				break
			}
			seq = gone
			all = append(all, kept...)
			select {
			case wrote <- struct{}{}:
			default:
			}
		}
	}()
	for range 3 {
		for range 3 { // the first may have been there before the kill
			<-wrote
		}
		time.Sleep(200 * time.Millisecond) // for the writer to be in the middle of something
		s.Kill()
		time.Sleep(100 * time.Millisecond)
		s.Start()
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	want := <-written
	rs, _, err := b.Read(nil, "/queue/a", 0, 1<<20, 1<<40)
	if err != nil || len(want) == 0 {
		t.Fatal(len(want), err)
	}
	if len(rs) != len(want) {
		t.Errorf("%d messages, want %d", len(rs), len(want))
	}
	for i, r := range rs {
		if r.Seq != want[i] || string(r.Msg.Body()) != fmt.Sprint(want[i]) {
			t.Fatalf("message %d is %d, %q, want %d", i, r.Seq, r.Msg.Body(), want[i])
		}
	}
	t.Logf("%d messages", len(want))
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
