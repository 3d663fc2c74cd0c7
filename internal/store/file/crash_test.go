package file_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

var crashFlags = storetest.CrashFlags("file", 100)

// onMemory is a directory on a disk for tests; one call comes after the other there.
func onMemory(fs *vfs.Memory) file.Config {
	return file.Config{Dir: "/storage", FS: fs, RedoSize: 4 << 10, Syncs: 1, Unattended: true}
}

// A tended directory does now and then what its keeper would do, so that it is done in the same place
// each time.
type tended struct {
	*file.File
	writes int
}

func (d *tended) Write(rs []store.Record) error {
	if err := d.File.Write(rs); err != nil {
		return err
	}
	d.writes++
	if d.writes%5 == 0 {
		if err := d.Tend(d.writes%20 == 0); err != nil && !errors.Is(err, store.ErrFull) {
			return d.Sync() // which tells that it is final
		}
	}
	return nil
}

func tend(fs *vfs.Memory) (store.Backend, error) {
	f, err := file.Open(onMemory(fs))
	if err != nil {
		return nil, err
	}
	return &tended{File: f}, nil
}

// Two of them share a folder. Of two the Ruby server knows nothing, so that they share files.
var names = []string{"/queue/a/b", "/queue/a_b", "/queue/c", "/dsub/d", "/dsub/e"}

func crashes(t *testing.T) *storetest.Crashes {
	return &storetest.Crashes{
		Open: tend, Names: names, Seed: crashFlags.Seed(t),
	}
}

func TestCrash(t *testing.T) { crashes(t).Power(t, *crashFlags.Rounds, 120) }

func TestEachCall(t *testing.T) { crashes(t).EachCall(t) }

// TestNoSync cuts the power while nothing waits for the disk: what there is is whole Writes,
// in order, and all that a Sync confirmed is among it.
func TestNoSync(t *testing.T) {
	seed := crashFlags.Seed(t)
	for disk := range *crashFlags.Rounds {
		r := rand.New(rand.NewPCG(seed, uint64(disk)))
		fs := &vfs.Memory{}
		left := 30 + r.IntN(300)
		fs.Fault = func(string, string) error {
			if left--; left < 0 {
				return vfs.ErrCrashed
			}
			return nil
		}
		cfg := onMemory(fs)
		cfg.NoSync = true
		opened, err := file.Open(cfg)
		f := &tended{File: opened}
		w := &storetest.Writer{Rand: r, Names: names}
		states, now := []string{""}, storetest.State{}
		for err == nil {
			var rs []store.Record
			rs, now = w.Group(t, now)
			states = append(states, now.String())
			if err = f.Write(rs); err == nil && r.IntN(10) == 0 {
				if err = f.Sync(); err == nil {
					states = states[len(states)-1:]
				}
			}
		}
		after := fs.Crash(r)
		got, err := storetest.StateOf(openWith(t, onMemory(after)), names...)
		if err != nil || !slices.Contains(states, got.String()) {
			t.Fatalf("disk %d: %v; after the crash there is\n%s\nwhich is none of %d states since the last Sync", disk, err, got, len(states))
		}
	}
}

// TestFull: all is gone in the end, the folders too.
func TestFull(t *testing.T) {
	fs := storetest.Full(t, 4<<20, func(fs *vfs.Memory) (store.Backend, error) {
		return file.Open(file.Config{Dir: "/storage", FS: fs, RedoSize: 64 << 10})
	})
	if folders, _ := fs.Folders(); len(folders) > 0 {
		t.Errorf("the folders %q are left", folders)
	}
}

func TestFailedSync(t *testing.T) {
	storetest.FailedSync(t, func(fs *vfs.Memory) (store.Backend, error) { return file.Open(onMemory(fs)) })
}
