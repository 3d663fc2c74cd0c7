//go:build !linux

package vfs

import (
	"errors"
	"os"
)

func datasync(f *os.File) error { return f.Sync() }

func allocate(f *os.File, size int64) error { return f.Truncate(size) }

// A whole is the file system of a directory, which cannot be synced at once here.
type whole struct{}

func (*whole) sync(string, []string) error { return errors.ErrUnsupported }
