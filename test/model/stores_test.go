package model_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/file"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// A place is where a store keeps its messages: it can be opened again, and lose its power.
type place interface {
	open(window int64) (store.Store, error)

	// arm has the power go in the middle of what comes next, at call n of the disk.
	arm(n int)

	// crash cuts the power if that has not happened yet. What is open is of no use any more.
	crash(r *rand.Rand) error
}

// stores are the kinds of stores, each with how to make a place in a directory that is empty.
var stores = map[string]func(dir string) place{
	"memory":    func(string) place { return inMemory{} },
	"reference": func(string) place { return &onReference{} },
	"journal": func(string) place {
		return &onDisk{make: func(fs *vfs.Memory) (store.Backend, error) {
			return journal.Open(journal.Config{FS: fs, SegmentSize: 16 << 10})
		}}
	},
	"file": func(string) place {
		return &onDisk{make: func(fs *vfs.Memory) (store.Backend, error) {
			return file.Open(file.Config{Dir: "/storage", FS: fs, RedoSize: 8 << 10, Syncs: 1, Unattended: true})
		}}
	},
	"dbm": func(dir string) place {
		return &inFiles{dir: dir, make: func(dir string) (store.Backend, error) {
			return dbm.Open(dbm.Config{Path: filepath.Join(dir, "queues.db"), NoSync: true})
		}}
	},
	"activerecord": func(dir string) place {
		return &inFiles{dir: dir, make: func(dir string) (store.Backend, error) {
			at := activerecord.Database{Adapter: "sqlite3", Database: filepath.Join(dir, "db")}
			return activerecord.Open(activerecord.Config{Database: at, NoSync: true})
		}}
	},
}

func openSpool(b store.Backend, window int64) (store.Store, error) {
	return spool.Open(spool.Config{Backend: b, Window: window, Brief: true})
}

// inMemory is the memory store, which outlives nothing.
type inMemory struct{}

func (inMemory) open(int64) (store.Store, error) { return spool.New(), nil }
func (inMemory) arm(int)                         {}
func (inMemory) crash(*rand.Rand) error          { return nil }

// onDisk is a backend on a disk for tests, which forgets what was not synced.
type onDisk struct {
	fs   vfs.Memory
	now  *vfs.Memory
	make func(*vfs.Memory) (store.Backend, error)
}

func (p *onDisk) open(window int64) (store.Store, error) {
	if p.now == nil {
		p.now = &p.fs
	}
	b, err := p.make(p.now)
	if err != nil {
		return nil, err
	}
	return openSpool(b, window)
}

func (p *onDisk) arm(n int) {
	p.now.Fault = func(string, string) error {
		if n--; n < 0 {
			return vfs.ErrCrashed
		}
		return nil
	}
}

func (p *onDisk) crash(r *rand.Rand) error {
	p.now = p.now.Crash(r)
	return nil
}

// onReference is the backend that is as simple as can be.
type onReference struct {
	ref storetest.Reference
	cut *cut
}

func (p *onReference) open(window int64) (store.Store, error) {
	p.cut = &cut{Backend: &p.ref, left: -1}
	return openSpool(p.cut, window)
}

func (p *onReference) arm(n int) { p.cut.arm(n, func() error { return nil }) }

func (p *onReference) crash(*rand.Rand) error { return p.cut.now() }

// inFiles is a backend in real files. They are copied when the process is to be killed.
type inFiles struct {
	dir  string
	next string // the copy
	make func(dir string) (store.Backend, error)
	cut  *cut
}

func (p *inFiles) open(window int64) (store.Store, error) {
	b, err := p.make(p.dir)
	if err != nil {
		return nil, err
	}
	p.cut = &cut{Backend: b, left: -1}
	return openSpool(p.cut, window)
}

func (p *inFiles) arm(n int) { p.cut.arm(n, p.copy) }

func (p *inFiles) copy() error {
	p.next = p.dir + "+"
	return os.CopyFS(p.next, readable{os.DirFS(p.dir)})
}

func (p *inFiles) crash(*rand.Rand) error {
	if p.cut.kill == nil {
		p.arm(0)
	}
	err := p.cut.now()
	p.dir = p.next
	return err
}

// readable leaves lock files out, which another process may not open everywhere.
type readable struct{ fs.FS }

func (r readable) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(r.FS, name)
	kept := all[:0]
	for _, e := range all {
		if filepath.Ext(e.Name()) != ".lock" {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// A cut is a backend whose process is killed before or after one of its Writes.
type cut struct {
	store.Backend
	kill func() error // keeps what there is
	left int          // Writes until then; negative: any number
	late bool         // after it
	dead error
}

func (c *cut) arm(n int, kill func() error) { c.left, c.late, c.kill = n/2, n%2 == 1, kill }

// now kills it, if that has not happened.
func (c *cut) now() error {
	if c.dead != nil {
		return nil
	}
	c.dead = errKilled
	if c.kill == nil {
		return nil
	}
	return c.kill()
}

var errKilled = errors.New("the process was killed")

func (c *cut) Write(rs []store.Record) error {
	switch {
	case c.dead != nil:
		return c.dead
	case c.left != 0:
		c.left--
		return c.Backend.Write(rs)
	case c.late:
		if err := c.Backend.Write(rs); err != nil {
			return err
		}
	}
	if err := c.now(); err != nil {
		return err
	}
	return c.dead
}
