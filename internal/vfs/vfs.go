// Package vfs is the few calls that stores make on files, in two forms: the system's, and
// one in memory for tests, whose disk forgets what was not synced, tears what was being
// written, fills up and fails when it is told to.
package vfs

import (
	"errors"
	"io"
	"syscall"
)

// An FS is one directory. Names are of files in it, without a slash.
type FS interface {
	// Open opens a file, and makes it if create is set. A file that is missing is an
	// error that fs.ErrNotExist is in.
	Open(name string, create bool) (File, error)

	// First reads what a file begins with, as much as b has room for, with one call: fewer bytes are all of
	// it, as a rule. Where it is small that is quicker than to open it.
	First(name string, b []byte) (int, error)

	// List tells the names of all files, in order.
	List() ([]string, error)

	Rename(from, to string) error
	Remove(name string) error

	// SyncDir makes durable which names there are.
	SyncDir() error

	// Lock keeps other processes off the directory until the result is closed. That one
	// of them was faster is an error that ErrLocked is in.
	Lock(name string) (io.Closer, error)
}

// A Tree is a directory with folders in it, one deep. Names of folders are without a slash too.
type Tree interface {
	FS

	// Folders tells the names of all folders, in order. What only points to one is none.
	Folders() ([]string, error)

	// Folder is a folder, which need not be there before something is done in it.
	Folder(name string) FS

	// MakeFolder makes a folder, if it is not there already.
	MakeFolder(name string) error

	// Link has a file in a folder go by a further name, in another. There are file systems that have no such
	// thing, or not for these, and systems that forbid it, each with an error of its own.
	Link(folder, name, toFolder, toName string) error

	// RemoveFolder removes a folder, which must be empty.
	RemoveFolder(name string) error

	// SyncAll makes durable all that was changed in these folders, contents and names, and in
	// the directory itself, with one call for all of it. An error that errors.ErrUnsupported is
	// in says that the system has no such call, or would not tell if it failed; nothing was
	// done then. Any other error is that of a Sync: what was changed is not sure any more.
	SyncAll(folders []string) error
}

// A File is an open file. Reads may run beside each other and beside writes elsewhere in it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	Size() (int64, error)

	// Allocate makes the file size long, with room on the disk for all of it where the
	// system can promise that.
	Allocate(size int64) error

	// Truncate cuts the file.
	Truncate(size int64) error

	// Sync makes the content durable, and the size.
	Sync() error
}

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process uses it")

// IsFull reports whether err means that there is no room left: a full disk, a quota, a limit
// of the process, which may have too many files open. It passes.
func IsFull(err error) bool {
	for _, e := range full {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IsFailing reports whether err means that the disk fails, or takes nothing any more.
func IsFailing(err error) bool {
	for _, e := range failing {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var failing = append([]error{syscall.EIO}, systemFailing...)

var full = append([]error{syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE}, systemFull...)
