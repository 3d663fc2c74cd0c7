package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadFile reads the password file at path.
func ReadFile(path string) (*File, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseFile(data), nil
}

// Edit reads the password file at path, an empty one if there is none, lets change alter it
// and puts the result in its place: whoever reads it sees the old file or the new one,
// whole, also after a power failure. Edits of one directory wait for each other, in all
// processes (but not on Windows). Mode and owner are kept; a new file has mode 0600 and, if
// root makes it, the owner of its directory, so that a server of that user can read it.
// Symbolic links are followed. If change returns an error nothing is written, and Edit
// returns that error.
func Edit(path string, change func(*File) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fileError(path, err)
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return fileError(path, err)
	}
	defer unlock()

	f := ParseFile(nil)
	data, err := readFile(path)
	if err == nil {
		f = ParseFile(data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	text := f.Bytes()
	if len(text) > MaxFile {
		return fileError(path, fmt.Errorf("would be larger than %d MiB", MaxFile>>20))
	}
	if err := replace(path, text); err != nil {
		return fileError(path, err)
	}
	return nil
}

// replace puts data in the place of the file at path.
func replace(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := inherit(tmp, path); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// inherit gives tmp the owner and the mode that the file at path has, or is to have.
func inherit(tmp *os.File, path string) error {
	old, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		dir, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			return chown(tmp, dir)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := chown(tmp, old); err != nil {
		return fmt.Errorf("its owner cannot be kept: %w", err)
	}
	return tmp.Chmod(old.Mode().Perm())
}
