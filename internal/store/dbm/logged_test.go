package dbm_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// inDir does not wait for the disk, as open does not.
func inDir(dir string) dbm.Config {
	return dbm.Config{Path: filepath.Join(dir, "queues.db"), NoSync: true, LogFS: unsynced(dir)}
}

// An unsynced directory is one that is never synced.
type unsynced string

func (u unsynced) dir() vfs.FS {
	fs, err := vfs.Dir(string(u))
	if err != nil {
		panic(err)
	}
	return fs
}

func (u unsynced) Open(name string, create bool) (vfs.File, error) {
	f, err := u.dir().Open(name, create)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

func (u unsynced) First(name string, b []byte) (int, error) { return u.dir().First(name, b) }
func (u unsynced) List() ([]string, error)                  { return u.dir().List() }
func (u unsynced) Rename(from, to string) error             { return u.dir().Rename(from, to) }
func (u unsynced) Remove(name string) error                 { return u.dir().Remove(name) }
func (u unsynced) SyncDir() error                           { return nil }
func (u unsynced) Lock(name string) (io.Closer, error)      { return u.dir().Lock(name) }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }

// small has a log that is full again and again.
func small(dir string) dbm.Config { return inDir(dir).SmallLog(64<<10, 8<<10, 10_000) }

func openLogged(t testing.TB, cfg dbm.Config) *dbm.Logged {
	t.Helper()
	b, err := dbm.OpenLogged(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoggedBackend(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(t testing.TB, dir string) store.Backend
	}{
		{"as it is", func(t testing.TB, dir string) store.Backend { return openLogged(t, inDir(dir)) }},
		{"a small log", func(t testing.TB, dir string) store.Backend { return openLogged(t, small(dir)) }},
		{"synced all the time", func(t testing.TB, dir string) store.Backend { return syncing{openLogged(t, inDir(dir))} }},
		{"killed in place of closed", func(t testing.TB, dir string) store.Backend { return killed{openLogged(t, small(dir))} }},
	} {
		t.Run(c.name, func(t *testing.T) { storetest.RunBackend(t, c.open) })
	}
}

// A syncing backend is synced after each Write.
type syncing struct{ *dbm.Logged }

func (s syncing) Write(rs []store.Record) error {
	if err := s.Logged.Write(rs); err != nil {
		return err
	}
	return s.Sync()
}

// A killed backend is never closed as it should be.
type killed struct{ *dbm.Logged }

func (k killed) Close() error {
	k.Abandon()
	return nil
}

func TestLoggedStore(t *testing.T) {
	spooled := func(t testing.TB, dir string) store.Store {
		st, err := spool.Open(spool.Config{
			Backend: openLogged(t, small(dir)), Brief: true, Window: 1 << 20, Memory: 4 << 20, Checkpoint: 10 * time.Millisecond,
			Failed: func(err error) { t.Errorf("failed: %v", err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	storetest.Run(t, func(t testing.TB) store.Store { return spooled(t, t.TempDir()) })
	storetest.RunDurable(t, spooled)
}

func ack(queue string, first, last store.Seq) store.Record {
	return store.Record{Kind: store.RecordAck, Queue: queue, Seq: first, Last: last}
}

func write(t testing.TB, b store.Backend, rs ...store.Record) {
	t.Helper()
	if err := b.Write(rs); err != nil {
		t.Fatal(err)
	}
}

// logsIn are the files of the log that are in a directory.
func logsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "queues.db.log-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestReceiptsDoNotWait: a Write returns while neither the log nor the database can be synced.
func TestReceiptsDoNotWait(t *testing.T) {
	dir := t.TempDir()
	l := openLogged(t, inDir(dir))
	held, passed := make(chan struct{}), make(chan struct{})
	l.DB().FailAt(func() error {
		close(held)
		<-passed
		return nil
	})
	write(t, l, put(t, "/queue/a", 1, "one"))
	if err := l.Sync(); err != nil { // what it begins is held up
		t.Fatal(err)
	}
	<-held
	write(t, l, put(t, "/queue/a", 2, "two"), put(t, "/queue/b", 1, "three"))
	write(t, l, ack("/queue/a", 1, 1))
	for queue, want := range map[string]string{"/queue/a": "two", "/queue/b": "three"} {
		rs, _, err := l.Read(nil, queue, 0, 10, 1<<20)
		if err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != want {
			t.Errorf("%s: %v, %v", queue, rs, err)
		}
	}
	l.DB().FailAt(func() error { return nil })
	close(passed)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if names := logsIn(t, dir); len(names) > 0 {
		t.Errorf("after a clean stop there is %q", names)
	}
	b := open(t, dir).(*dbm.DBM)
	holds(t, b, 0, "two", "three")
	_ = b.Close()
}

// TestAckedInTheLog: what is put and acked in time never reaches the database.
func TestAckedInTheLog(t *testing.T) {
	dir := t.TempDir()
	l := openLogged(t, inDir(dir))
	for seq := store.Seq(1); seq <= 100; seq++ {
		write(t, l, put(t, "/queue/a", seq, "passes"), put(t, "/queue/b", seq, text(2_000_000)))
		write(t, l, ack("/queue/a", seq, seq), ack("/queue/b", seq, seq))
	}
	write(t, l, put(t, "/queue/a", 101, "stays"))
	if err := l.Drain(); err != nil {
		t.Fatal(err)
	}
	if n := l.DB().Stored(); n != 1 {
		t.Errorf("the database has %d messages, want 1", n)
	}
	if st, err := os.Stat(filepath.Join(dir, "queues.db")); err != nil || st.Size() > 20<<20 { // it grows by 16 MiB
		t.Errorf("the database has %d bytes, %v", st.Size(), err)
	}
	infos, err := l.Queues()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Name == "/queue/a" && (i.Last != 101 || i.Count != 1) || i.Name == "/queue/b" && (i.Last != 100 || i.Count != 0) {
			t.Errorf("%+v", i)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKilled: what was written is there after a kill, whoever opens it next.
func TestKilled(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(t *testing.T, dir string) store.Backend
	}{
		{"with a log", func(t *testing.T, dir string) store.Backend { return openLogged(t, inDir(dir)) }},
		{"without one", func(t *testing.T, dir string) store.Backend { return open(t, dir) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLogged(t, inDir(dir))
			write(t, l, put(t, "/queue/a", 1, "one"), put(t, "/queue/a", 2, "two"), put(t, "/queue/b", 1, text(3_000_000)))
			if err := l.Drain(); err != nil {
				t.Fatal(err)
			}
			write(t, l, ack("/queue/a", 1, 1), put(t, "/queue/a", 3, "three"),
				store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 2, Attempts: 5},
				store.Record{Kind: store.RecordMark, Queue: "/queue/a", Seq: 3})
			l.Abandon()
			for life := range 2 {
				b := c.open(t, dir)
				rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, r := range rs {
					got = append(got, fmt.Sprintf("%d:%s:%d", r.Seq, r.Msg.Body(), r.Attempts))
				}
				if s := strings.Join(got, " "); s != "2:two:5 3:three:0" {
					t.Errorf("life %d: %s", life, s)
				}
				infos, err := b.Queues()
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range infos {
					if i.Name == "/queue/a" && (i.Count != 2 || i.First != 2 || i.Last != 3 || i.Marked != 3) {
						t.Errorf("%+v", i)
					}
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				if names := logsIn(t, dir); len(names) > 0 {
					t.Errorf("life %d: after a clean stop there is %q", life, names)
				}
			}
		})
	}
}
