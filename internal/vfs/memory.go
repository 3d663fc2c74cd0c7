package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// A Memory is a disk for tests. The zero value is empty. What was written is there for
// everyone at once, but only what was synced outlives Crash.
type Memory struct {
	// Fault is called before each call that changes or syncs something, with what it is
	// and the name of the file; its error fails the call. A failed Sync loses what it was
	// to make durable, as disks do.
	Fault func(op, name string) error

	// Room is how many bytes all files may have; 0 is no limit.
	Room int64

	mu      sync.Mutex
	names   map[string]*inode // as processes see them
	durable map[string]*inode // as a crash leaves them
	folders map[string]bool   // by name; true: as a crash leaves them too
	gone    map[string]bool   // folders that were removed, and that a crash leaves
	locked  bool
	calls   int
}

type inode struct {
	data   []byte
	synced []byte  // what a crash leaves
	dirty  []patch // what was written since, in order
}

type patch struct {
	at   int64
	data []byte // nil: the size became at
}

// ErrCrashed is returned by files that were open when the disk crashed.
var ErrCrashed = errors.New("vfs: the machine has crashed")

// Calls is how many calls were made that Fault heard of.
func (m *Memory) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *Memory) fault(op, name string) error {
	m.calls++
	if m.Fault == nil {
		return nil
	}
	m.mu.Unlock() // it may look at the disk
	defer m.mu.Lock()
	return m.Fault(op, name)
}

func (m *Memory) init() {
	if m.names == nil {
		m.names, m.durable = make(map[string]*inode), make(map[string]*inode)
		m.folders, m.gone = make(map[string]bool), make(map[string]bool)
	}
}

// Crash cuts the power: names and contents that were not synced are lost, or kept in part,
// torn at any byte, as r says. Files that are open are useless from now on.
func (m *Memory) Crash(r *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	after := &Memory{Room: m.Room}
	after.init()
	m.crashFolders(after, r)
	// What has several names is one file. But one that was moved, which is not durable, may have both
	// names, and is two then: no file system gives it both, and which of them it is need not be played.
	stays, moved := make(map[*inode]*inode), make(map[*inode]*inode)
	crash := func(n *inode, left map[*inode]*inode) *inode {
		if left[n] == nil {
			left[n] = n.crash(r)
		}
		return left[n]
	}
	for _, name := range slices.Sorted(maps.Keys(m.durable)) {
		if n := m.durable[name]; !after.holds(name) {
			continue
		} else if m.names[name] == n {
			after.names[name] = crash(n, stays)
		} else {
			after.names[name] = n.crash(r)
		}
	}
	// A name that was made, moved or removed without SyncDir may be durable all the same.
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		n := m.names[name]
		if m.durable[name] == n || !after.holds(name) || r.IntN(2) != 0 {
			continue
		}
		if stays[n] != nil {
			after.names[name] = stays[n]
		} else {
			after.names[name] = crash(n, moved)
		}
	}
	after.durable = maps.Clone(after.names)
	m.names = nil
	m.init()
	m.Fault = func(string, string) error { return ErrCrashed }
	return after
}

func (n *inode) crash(r *rand.Rand) *inode {
	data := slices.Clone(n.synced)
	for _, p := range n.dirty {
		switch r.IntN(3) {
		case 0: // lost
			continue
		case 1: // torn
			if len(p.data) > 0 {
				from := r.IntN(len(p.data))
				to := from + r.IntN(len(p.data)-from)
				if r.IntN(2) == 0 {
					from = 0
				}
				p = patch{p.at + int64(from), p.data[from:to]}
				if len(p.data) == 0 {
					continue
				}
			}
		}
		data = p.apply(data)
	}
	return &inode{data: data, synced: slices.Clone(data)}
}

func (p patch) apply(data []byte) []byte {
	if p.data == nil {
		if int64(len(data)) > p.at {
			return data[:p.at]
		}
		return append(data, make([]byte, p.at-int64(len(data)))...)
	}
	if end := p.at + int64(len(p.data)); end > int64(len(data)) {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[p.at:], p.data)
	return data
}

func (m *Memory) used() (n int64) {
	counted := make(map[*inode]bool, len(m.names))
	for _, i := range m.names {
		if !counted[i] {
			counted[i] = true
			n += int64(len(i.data))
		}
	}
	return n
}

// Open implements FS.
func (m *Memory) Open(name string, create bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	n := m.names[name]
	if n == nil && !create || !m.holds(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if n == nil {
		if err := m.fault("create", name); err != nil {
			return nil, err
		}
		n = &inode{}
		m.names[name] = n
	}
	return &memoryFile{m: m, n: n, name: name}, nil
}

// First implements FS.
func (m *Memory) First(name string, b []byte) (int, error) {
	f, err := m.Open(name, false)
	if err != nil {
		return 0, err
	}
	return first(f, b)
}

// List implements FS.
func (m *Memory) List() ([]string, error) { return m.list(""), nil }

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault("rename", from); err != nil {
		return err
	}
	n := m.names[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(m.names, from)
	m.names[to] = n
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault("remove", name); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir() error { return m.syncDir("") }

// Lock implements FS.
func (m *Memory) Lock(string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, ErrLocked
	}
	m.locked = true
	return unlock{m}, nil
}

type unlock struct{ m *Memory }

func (u unlock) Close() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.m.locked = false
	return nil
}

// Damage changes the stored byte at of a file by xor.
func (m *Memory) Damage(name string, at int64, xor byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	if n == nil || at >= int64(len(n.data)) {
		return fmt.Errorf("vfs: %s has no byte %d", name, at)
	}
	n.data[at] ^= xor
	return nil
}

// Truncate cuts a stored file.
func (m *Memory) Truncate(name string, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[name]; n != nil {
		n.data = n.data[:min(size, int64(len(n.data)))]
		n.synced = slices.Clone(n.data)
	}
}

// Clone is a copy of the disk as it is, without a crash.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Memory{Room: m.Room}
	c.init()
	copies := make(map[*inode]*inode)
	for name, n := range m.names {
		if copies[n] == nil {
			copies[n] = &inode{data: slices.Clone(n.data), synced: slices.Clone(n.data)}
		}
		c.names[name] = copies[n]
	}
	c.durable = maps.Clone(c.names)
	for name := range m.folders {
		c.folders[name] = true
	}
	return c
}

type memoryFile struct {
	m    *Memory
	n    *inode
	name string
}

func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.fault("write", f.name)
	if err != nil && !IsFull(err) {
		return 0, err
	}
	grows := at + int64(len(b)) - int64(len(f.n.data))
	if err == nil && f.m.Room > 0 && grows > 0 && f.m.used()+grows > f.m.Room {
		err = syscall.ENOSPC
	}
	if err != nil {
		b = b[:len(b)/2] // a part of it gets through
	}
	if len(b) > 0 {
		f.change(patch{at, slices.Clone(b)})
	}
	return len(b), err
}

func (f *memoryFile) change(p patch) {
	f.n.data = p.apply(f.n.data)
	f.n.dirty = append(f.n.dirty, p)
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memoryFile) Allocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.fault("allocate", f.name); err != nil {
		return err
	}
	size = max(size, int64(len(f.n.data)))
	if f.m.Room > 0 && f.m.used()+size-int64(len(f.n.data)) > f.m.Room {
		return syscall.ENOSPC
	}
	f.change(patch{at: size})
	return nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.fault("truncate", f.name); err != nil {
		return err
	}
	f.change(patch{at: size})
	return nil
}

func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.fault("sync", f.name); err != nil {
		f.n.dirty = nil // dropped, and the next Sync finds nothing to do
		return err
	}
	f.n.sync()
	return nil
}

// sync makes durable what was written and not dropped.
func (n *inode) sync() {
	for _, p := range n.dirty {
		n.synced = p.apply(n.synced)
	}
	n.dirty = nil
}

func (f *memoryFile) Close() error { return nil }
