package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
)

// Files in folders lie among the others, as folder/file.

func split(name string) (folder, file string) {
	folder, file, found := strings.Cut(name, "/")
	if !found {
		return "", name
	}
	return folder, file
}

// holds reports whether the folder that name is in is there.
func (m *Memory) holds(name string) bool {
	folder, _ := split(name)
	_, ok := m.folders[folder]
	return ok || folder == ""
}

func (m *Memory) list(folder string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.names {
		if f, file := split(name); f == folder {
			names = append(names, file)
		}
	}
	slices.Sort(names)
	return names
}

func (m *Memory) syncDir(folder string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault("syncdir", folder); err != nil {
		return err
	}
	m.init()
	m.syncNames(folder)
	return nil
}

// syncNames makes durable which names there are in a folder. Called with mu held.
func (m *Memory) syncNames(folder string) {
	in := func(name string, _ *inode) bool { f, _ := split(name); return f == folder }
	maps.DeleteFunc(m.durable, in)
	for name, n := range m.names {
		if in(name, n) {
			m.durable[name] = n
		}
	}
	if folder != "" {
		return
	}
	for name := range m.folders {
		m.folders[name] = true
	}
	clear(m.gone)
	maps.DeleteFunc(m.durable, func(name string, _ *inode) bool { return !m.holds(name) })
}

// SyncAll implements Tree. A failure loses what it was to make durable, as that of a Sync does.
func (m *Memory) SyncAll(folders []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.fault("syncall", "")
	m.init()
	for name, n := range m.names {
		if folder, _ := split(name); folder != "" && !slices.Contains(folders, folder) {
			continue // that it is durable, too, is nothing to rely on
		}
		switch {
		case err == nil:
			n.sync()
		case !errors.Is(err, errors.ErrUnsupported):
			n.dirty = nil
		}
	}
	if err != nil {
		return err
	}
	for _, folder := range append(slices.Clone(folders), "") {
		m.syncNames(folder)
	}
	return nil
}

// crashFolders decides which folders are there after a crash.
func (m *Memory) crashFolders(after *Memory, r *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(m.folders)) {
		if m.folders[name] || r.IntN(2) == 0 {
			after.folders[name] = true
		}
	}
	for name := range m.gone {
		after.folders[name] = true
	}
}

// Folders implements Tree.
func (m *Memory) Folders() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.folders)), nil
}

// MakeFolder implements Tree.
func (m *Memory) MakeFolder(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	if _, ok := m.folders[name]; ok {
		return nil
	}
	if err := m.fault("mkdir", name); err != nil {
		return err
	}
	m.folders[name] = m.gone[name]
	delete(m.gone, name)
	return nil
}

// Link implements Tree.
func (m *Memory) Link(folder, name, toFolder, toName string) error {
	from, to := folder+"/"+name, toFolder+"/"+toName
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault("link", to); err != nil {
		return err
	}
	n := m.names[from]
	switch {
	case n == nil || !m.holds(to):
		return &fs.PathError{Op: "link", Path: from, Err: fs.ErrNotExist}
	case m.names[to] != nil:
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	m.names[to] = n
	return nil
}

// RemoveFolder implements Tree.
func (m *Memory) RemoveFolder(name string) error {
	if len(m.list(name)) > 0 {
		return &fs.PathError{Op: "rmdir", Path: name, Err: syscall.ENOTEMPTY}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault("rmdir", name); err != nil {
		return err
	}
	if m.folders[name] {
		m.gone[name] = true
	}
	delete(m.folders, name)
	return nil
}

// Folder implements Tree.
func (m *Memory) Folder(name string) FS { return memoryFolder{m, name} }

type memoryFolder struct {
	m    *Memory
	name string
}

func (f memoryFolder) path(name string) string { return f.name + "/" + name }

func (f memoryFolder) Open(name string, create bool) (File, error) {
	return f.m.Open(f.path(name), create)
}

func (f memoryFolder) First(name string, b []byte) (int, error) {
	return f.m.First(f.path(name), b)
}

func (f memoryFolder) List() ([]string, error) {
	f.m.mu.Lock()
	there := f.m.holds(f.path(""))
	f.m.mu.Unlock()
	if !there {
		return nil, &fs.PathError{Op: "open", Path: f.name, Err: fs.ErrNotExist}
	}
	return f.m.list(f.name), nil
}

func (f memoryFolder) Rename(from, to string) error { return f.m.Rename(f.path(from), f.path(to)) }
func (f memoryFolder) Remove(name string) error     { return f.m.Remove(f.path(name)) }
func (f memoryFolder) SyncDir() error               { return f.m.syncDir(f.name) }

func (f memoryFolder) Lock(string) (io.Closer, error) { return nil, errors.ErrUnsupported }
