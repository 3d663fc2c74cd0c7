package dbm_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var crashFlags = storetest.CrashFlags("dbm", 30)

var queues = []string{"/queue/a", "/queue/b", "/queue/c"}

// A life is one between two crashes, on a disk for tests below the log. The database is in a directory: of
// it a crash leaves what was committed.
type life struct {
	*testing.T
	dir  string
	fs   *vfs.Memory
	rnd  *rand.Rand
	w    *storetest.Writer
	been []storetest.State // since what is sure to outlive a power cut
}

func (l *life) now() storetest.State { return l.been[len(l.been)-1] }

func (l *life) config() dbm.Config {
	cfg := inDir(l.dir).SmallLog(32<<10, 4<<10, 20_000)
	cfg.LogFS = l.fs
	return cfg
}

// found looks at what a crash left: one of the states that there were.
func (l *life) found(b store.Backend) {
	l.Helper()
	got, err := storetest.StateOf(b, queues...)
	if err != nil {
		l.Fatal(err)
	}
	for i := len(l.been) - 1; i >= 0; i-- {
		if l.been[i].String() == got.String() {
			l.been = l.been[i : i+1]
			return
		}
	}
	l.Fatalf("there is\n%.3000s\nwhich is none of %d states; sure was\n%.3000s", got, len(l.been), l.been[0])
}

// live plays until something fails, or for so many Writes.
func (l *life) live(b *dbm.Logged, writes int) error {
	l.Helper()
	for range writes {
		rs, after := l.w.Group(l.T, l.now())
		l.been = append(l.been, after)
		if err := b.Write(rs); err != nil {
			return err
		}
		switch k := l.rnd.IntN(60); {
		case k < 3:
			if err := b.Sync(); err != nil {
				return err
			}
			l.been = l.been[len(l.been)-1:]
		case k == 3:
			if got, err := storetest.StateOf(b, queues...); err != nil || got.String() != l.now().String() {
				l.Fatalf("it holds, %v\n%.3000s\nwant\n%.3000s", err, got, l.now())
			}
		case k == 4:
			if err := b.Drain(); err != nil {
				return err
			}
			l.been = l.been[len(l.been)-1:]
		}
	}
	return nil
}

// TestPowerCuts cuts the power again and again: what is there afterwards is of one moment, and nothing of before a
// Sync is missing.
func TestPowerCuts(t *testing.T) {
	seed := crashFlags.Seed(t)
	for disk := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, disk))
		l := &life{T: t, dir: t.TempDir(), fs: &vfs.Memory{}, rnd: rnd, w: &storetest.Writer{Rand: rnd, Names: queues}, been: []storetest.State{{}}}
		for range *crashFlags.Rounds {
			l.fs.Fault = nil
			b, err := dbm.OpenLogged(l.config())
			if err != nil {
				t.Fatal(err)
			}
			l.found(b)
			left := rnd.IntN(200)
			l.fs.Fault = func(string, string) error {
				if left--; left < 0 {
					return vfs.ErrCrashed
				}
				return nil
			}
			err = l.live(b, rnd.IntN(150))
			if err == nil && rnd.IntN(4) == 0 {
				if err = b.Close(); err == nil {
					l.been = l.been[len(l.been)-1:]
					continue
				}
				l.fs = l.fs.Crash(rnd)
			} else {
				l.fs = l.fs.Crash(rnd)
				b.Abandon()
			}
			if err != nil && !errors.Is(err, vfs.ErrCrashed) {
				t.Fatal(err)
			}
		}
	}
}

// TestKills ends the process again and again: nothing that was written is missing.
func TestKills(t *testing.T) {
	rnd := rand.New(rand.NewPCG(crashFlags.Seed(t), 1))
	l := &life{T: t, dir: t.TempDir(), fs: &vfs.Memory{}, rnd: rnd, w: &storetest.Writer{Rand: rnd, Names: queues}, been: []storetest.State{{}}}
	crashed := errors.New("crashed")
	for range *crashFlags.Rounds {
		b, err := dbm.OpenLogged(l.config())
		if err != nil {
			t.Fatal(err)
		}
		l.found(b)
		left := rnd.IntN(10) // transactions
		b.DB().FailAt(func() error {
			if left--; left < 0 {
				return crashed
			}
			return nil
		})
		if err := l.live(b, rnd.IntN(150)); err != nil && !errors.Is(err, crashed) {
			t.Fatal(err)
		} else if err == nil {
			l.been = l.been[len(l.been)-1:]
		} else {
			l.been = l.been[max(0, len(l.been)-2):]
		}
		l.fs = l.fs.Clone()
		b.Abandon()
	}
}

// TestEachCallOfTheLog has each call fail in turn: what is there afterwards is what was confirmed, or that and what
// was under way.
func TestEachCallOfTheLog(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(fault.Error(), func(t *testing.T) {
			for n := 1; ; n++ {
				rnd := rand.New(rand.NewPCG(7, 7))
				l := &life{T: t, dir: t.TempDir(), fs: &vfs.Memory{}, rnd: rnd, w: &storetest.Writer{Rand: rnd, Names: queues}, been: []storetest.State{{}}}
				calls := 0
				l.fs.Fault = func(string, string) error {
					if calls++; calls == n {
						return fault
					}
					return nil
				}
				b, err := dbm.OpenLogged(l.config())
				for i := 0; err == nil && i < 40; i++ {
					rs, after := l.w.Group(t, l.now())
					if err = b.Write(rs); errors.Is(err, store.ErrFull) {
						err = nil
						if got, e := storetest.StateOf(b, queues...); e != nil || got.String() != l.now().String() {
							t.Fatalf("call %d: after a Write that found no room left, %v\n%s\nwant\n%s", n, e, got, l.now())
						}
						continue
					}
					if err == nil {
						l.been = []storetest.State{after}
					} else {
						l.been = append(l.been, after)
					}
					if err == nil && i%10 == 9 {
						err = b.Sync()
					}
				}
				if err != nil && !errors.Is(err, fault) {
					t.Fatalf("call %d: %v", n, err)
				}
				if b != nil {
					if e := b.Close(); err == nil && e != nil && !errors.Is(e, fault) {
						t.Fatalf("call %d: Close: %v", n, e)
					}
				}
				l.fs.Fault = nil
				if b, err = dbm.OpenLogged(l.config()); err != nil {
					t.Fatalf("call %d failed, and then the start: %v", n, err)
				}
				l.found(b)
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				if calls < n {
					if n < 40 {
						t.Errorf("there were only %d calls", n)
					}
					return
				}
			}
		})
	}
}

// leftLog makes a log of which some is durable, in two groups each, and kills who wrote it.
func leftLog(t *testing.T) (dir string, log []byte) {
	t.Helper()
	dir = t.TempDir()
	b := openLogged(t, inDir(dir).SmallLog(64<<10, 8<<10, 1<<20))
	gate := make(chan struct{})
	b.DB().FailAt(func() error { // nothing reaches the database
		<-gate
		return errors.New("killed")
	})
	for seq := store.Seq(1); seq <= 6; seq++ {
		write(t, b, put(t, "/queue/a", seq, "needle"+string(rune('0'+seq))+text(300)), put(t, "/queue/b", seq, "other"))
		if seq == 4 {
			if err := b.Sync(); err != nil { // 5 and 6 are in the other file
				t.Fatal(err)
			}
		}
	}
	close(gate)
	b.Abandon()
	log, err := os.ReadFile(filepath.Join(dir, "queues.db.log-1"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, log
}

// TestDamagedLog: what is damaged in the middle is told, and the rest is taken over if that is wanted.
func TestDamagedLog(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(t *testing.T, dir string, log []byte)
		said string
		want string
	}{
		{"in the middle", func(t *testing.T, dir string, log []byte) {
			rewrite(t, dir, bytes.Replace(log, []byte("needle2"), []byte("noodle2"), 1))
		}, "between the groups 1 and 3 is damaged", "1 3 4 5 6"},
		{"the first", func(t *testing.T, dir string, log []byte) {
			rewrite(t, dir, bytes.Replace(log, []byte("needle1"), []byte("noodle1"), 1))
		}, "between the groups 0 and 2 is damaged", "2 3 4 5 6"},
		{"the last that was durable", func(t *testing.T, dir string, log []byte) {
			rewrite(t, dir, bytes.Replace(log, []byte("needle4"), []byte("noodle4"), 1))
		}, "between the groups 3 and 5 is damaged", "1 2 3 5 6"},
		{"a file is gone", func(t *testing.T, dir string, log []byte) {
			if err := os.Remove(filepath.Join(dir, "queues.db.log-1")); err != nil {
				t.Fatal(err)
			}
		}, "queues.db.log-1 is missing", "5 6"},
		{"a file is cut", func(t *testing.T, dir string, log []byte) {
			rewrite(t, dir, log[:bytes.Index(log, []byte("needle2"))])
		}, "between the groups 1 and 5 is damaged", "1 5 6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, log := leftLog(t)
			c.harm(t, dir, log)
			for _, open := range []func(dbm.Config) (store.Backend, error){
				func(cfg dbm.Config) (store.Backend, error) { return dbm.Open(cfg) },
				func(cfg dbm.Config) (store.Backend, error) { return dbm.OpenLogged(cfg) },
			} {
				var damage *dbm.DamageError
				if _, err := open(inDir(dir)); !errors.As(err, &damage) || !strings.Contains(err.Error(), c.said) {
					t.Fatalf("it says %v, want %q", err, c.said)
				}
			}
			var said bytes.Buffer
			cfg := inDir(dir)
			cfg.StartDamaged, cfg.Log = true, slog.New(slog.NewTextHandler(&said, nil))
			b, err := dbm.OpenLogged(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(said.String(), c.said) {
				t.Errorf("the log does not say %q: %s", c.said, said.String())
			}
			var got []string
			rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20)
			for _, r := range rs {
				got = append(got, string(r.Msg.Body()[6:7]))
			}
			if s := strings.Join(got, " "); err != nil || s != c.want {
				t.Errorf("there is %s, %v, want %s", s, err, c.want)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			next, err := dbm.Open(inDir(dir))
			if err != nil {
				t.Fatalf("the start after that: %v", err)
			}
			_ = next.Close()
		})
	}
}

func rewrite(t *testing.T, dir string, log []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "queues.db.log-1"), log, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTornLog: what a power cut tore at the end is cut off, and told.
func TestTornLog(t *testing.T) {
	dir, _ := leftLog(t)
	path := filepath.Join(dir, "queues.db.log-2")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(log, []byte("needle5"), make([]byte, 7), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cfg := inDir(dir)
	cfg.Log = slog.New(slog.NewTextHandler(&said, nil))
	b, err := dbm.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if rs, _, err := b.Read(nil, "/queue/a", 0, 10, 1<<20); err != nil || len(rs) != 4 {
		t.Errorf("%d messages, %v, want 4", len(rs), err)
	}
	if !strings.Contains(said.String(), "was cut off") {
		t.Errorf("nothing was said: %s", said.String())
	}
}

// TestForeignLog: a log that is of another file is not brought into this one, and not lost without a word.
func TestForeignLog(t *testing.T) {
	dir, log := leftLog(t)
	other := t.TempDir()
	b := openLogged(t, inDir(other))
	write(t, b, put(t, "/queue/a", 1, "own"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	rewrite(t, other, log)
	if _, err := dbm.Open(inDir(other)); err == nil || !strings.Contains(err.Error(), "log of another file") {
		t.Fatalf("it says %v", err)
	}
	cfg := inDir(other)
	cfg.StartDamaged = true
	next, err := dbm.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, next, 0, "own")
	_ = next.Close()
	if kept, err := filepath.Glob(filepath.Join(other, "queues.db.log-1.damaged-*")); err != nil || len(kept) != 1 {
		t.Errorf("%q, %v", kept, err)
	}
	_ = dir
}

// TestDamagedFileAndLog: of a damaged database what is whole is kept, and its log brought into that.
func TestDamagedFileAndLog(t *testing.T) {
	for _, mark := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "queues.db")
		b := openLogged(t, inDir(dir))
		for seq := store.Seq(1); seq <= 20; seq++ {
			write(t, b, put(t, "/queue/a", seq, fmt.Sprint("needle", seq, " ")))
		}
		if err := b.Drain(); err != nil {
			t.Fatal(err)
		}
		write(t, b, put(t, "/queue/a", 21, "in the log"), ack("/queue/a", 3, 3))
		b.Abandon()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		broken := bytes.ReplaceAll(data, []byte("needle7 "), []byte("noodle7 "))
		if mark { // what is said of the log is damaged as well
			broken = bytes.ReplaceAll(broken, append([]byte("log"), data[bytes.LastIndex(data, []byte("log"))+3:][:4]...), []byte("log\x00\x00\x00\x00"))
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := inDir(dir)
		cfg.StartDamaged = true
		next, err := dbm.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		rs, _, err := next.Read(nil, "/queue/a", 0, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[store.Seq]bool)
		for _, r := range rs {
			seen[r.Seq] = true
		}
		// Where it is not known what the database has, all that is left of the log is brought in.
		if seen[3] || seen[7] != mark || !seen[21] || len(seen) < 19 {
			t.Errorf("there is %v", seen)
		}
		_ = next.Close()
	}
}
