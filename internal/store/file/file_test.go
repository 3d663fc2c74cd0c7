package file_test

import (
	"errors"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

func openWith(t testing.TB, cfg file.Config) *file.File {
	t.Helper()
	f, err := file.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// open does not wait for the disk: what these tests are after is the same without. The log is
// so small that it is brought to the files all the time.
func open(t testing.TB, dir string) store.Backend {
	return openWith(t, file.Config{Dir: dir, NoSync: true, RedoSize: 16 << 10})
}

func spooledOn(t testing.TB, b store.Backend) store.Store {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: b, Window: 1 << 20, Memory: 4 << 20, Failed: func(err error) { t.Errorf("failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func spooled(t testing.TB, dir string) store.Store { return spooledOn(t, open(t, dir)) }

func TestBackend(t *testing.T) { storetest.RunBackend(t, open) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return spooled(t, t.TempDir()) })
	storetest.RunDurable(t, func(t testing.TB, dir string) store.Store {
		return spooledOn(t, openWith(t, file.Config{Dir: dir, NoSync: true}))
	})
}

func BenchmarkFile(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store { return spooledOn(t, openWith(t, file.Config{Dir: t.TempDir()})) })
}

func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	f := openWith(t, file.Config{Dir: dir})
	_, err := file.Open(file.Config{Dir: dir})
	if !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("a second Open: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openWith(t, file.Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
}
