package journal_test

import (
	"errors"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

func dir(t testing.TB, name string) vfs.FS {
	t.Helper()
	d, err := vfs.Dir(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t testing.TB, cfg journal.Config) *journal.Journal {
	t.Helper()
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func spooled(t testing.TB, b store.Backend) store.Store {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: b, Brief: true, Window: 1 << 20, Memory: 4 << 20, Failed: func(err error) { t.Errorf("failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// small makes segments of a size that tests fill many of. They do not wait for the disk:
// what they are after is the same without.
func small(t testing.TB, place string) journal.Config {
	return journal.Config{FS: dir(t, place), SegmentSize: 1 << 20, NoSync: true}
}

func TestBackend(t *testing.T) {
	storetest.RunBackend(t, func(t testing.TB, place string) store.Backend { return open(t, small(t, place)) })
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return spooled(t, open(t, small(t, t.TempDir()))) })
	storetest.RunDurable(t, func(t testing.TB, place string) store.Store { return spooled(t, open(t, small(t, place))) })
}

func BenchmarkJournal(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store {
		return spooled(t, open(t, journal.Config{FS: dir(t, t.TempDir())}))
	})
}

func TestOneProcessOnly(t *testing.T) {
	place := t.TempDir()
	j := open(t, small(t, place))
	_, err := journal.Open(small(t, place))
	if !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("a second Open: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, small(t, place)).Close(); err != nil {
		t.Fatal(err)
	}
}
