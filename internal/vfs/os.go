package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the system's directory of that name, which is made if it is missing.
func Dir(name string) (Tree, error) {
	if err := MakeDir(name); err != nil {
		return nil, err
	}
	return &tree{dir: dir(name)}, nil
}

// A tree is a directory with what is needed to sync all of it at once.
type tree struct {
	dir
	whole whole
}

func (t *tree) SyncAll(folders []string) error {
	paths := make([]string, len(folders))
	for i, folder := range folders {
		paths[i] = t.path(folder)
	}
	return t.whole.sync(string(t.dir), paths)
}

// MakeDir makes a directory, and those above it, that are missing. Their names are durable then: a
// directory whose name a power cut takes is lost with all that was synced in it.
func MakeDir(name string) error {
	var missing []string
	for at := filepath.Clean(name); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	for _, made := range missing {
		// Who may write in a directory, but not read it, can make names in there and not sync them.
		if err := syncDir(filepath.Dir(made)); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

type dir string

func (d dir) path(name string) string { return filepath.Join(string(d), name) }

func (d dir) Open(name string, create bool) (File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(d.path(name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d dir) First(name string, b []byte) (int, error) { return firstOf(d.path(name), b) }

// first reads what f begins with, and closes it.
func first(f File, b []byte) (int, error) {
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return n, err
}

func (d dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d dir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d dir) Remove(name string) error { return os.Remove(d.path(name)) }

func (d dir) SyncDir() error { return syncDir(string(d)) }

func (d dir) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if pid := strings.TrimSpace(string(who)); pid != "" {
			return nil, fmt.Errorf("%w: process %s", err, pid)
		}
		return nil, err
	}
	// Who holds it, for the one who comes second. It does not matter if this fails.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	return f, nil
}

func (d dir) Folders() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d dir) Folder(name string) FS { return dir(d.path(name)) }

func (d dir) MakeFolder(name string) error {
	err := os.Mkdir(d.path(name), 0o700)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(d.path(name)) // and not where it may lead
	if err == nil && !info.IsDir() {
		err = &os.PathError{Op: "mkdir", Path: d.path(name), Err: errors.New("it is there, and no directory")}
	}
	return err
}

func (d dir) Link(folder, name, toFolder, toName string) error {
	return os.Link(filepath.Join(d.path(folder), name), filepath.Join(d.path(toFolder), toName))
}

func (d dir) RemoveFolder(name string) error { return os.Remove(d.path(name)) }

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (f file) Allocate(size int64) error { return allocate(f.File, size) }

func (f file) Sync() error { return datasync(f.File) }
