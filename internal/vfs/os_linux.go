package vfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == unix.EINTR:
			continue
		case errors.Is(err, unix.EOPNOTSUPP):
			return f.Truncate(size)
		}
		return os.NewSyscallError("fallocate", err)
	}
}

// A whole is the file system of a directory, which can be synced at once. What fails to be written
// is told to descriptors that were open by then, so there is one as long as the process uses it.
type whole struct {
	once sync.Once
	fd   int
	dev  uint64
	err  error
}

// reporting are file systems whose syncfs is known to tell what could not be written; others may
// write elsewhere, or later, and say nothing.
var reporting = []uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC}

func (w *whole) open(name string) error {
	w.once.Do(func() {
		if !reports(release()) {
			w.err = fmt.Errorf("syncfs of this kernel does not tell of errors: %w", errors.ErrUnsupported)
			return
		}
		var kind unix.Statfs_t
		var info unix.Stat_t
		if w.fd, w.err = unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); w.err != nil {
			w.err = fmt.Errorf("%w: %w", errors.ErrUnsupported, w.err)
			return
		}
		w.err = errors.Join(unix.Fstatfs(w.fd, &kind), unix.Fstat(w.fd, &info))
		w.dev = info.Dev
		for _, magic := range reporting {
			if w.err == nil && uint32(kind.Type) == magic {
				return
			}
		}
		_ = unix.Close(w.fd)
		w.err = fmt.Errorf("syncfs of this file system may not tell of errors: %w", errors.ErrUnsupported)
	})
	return w.err
}

func (w *whole) sync(name string, folders []string) error {
	if err := w.open(name); err != nil {
		return err
	}
	for _, folder := range folders { // something may be mounted there
		var info unix.Stat_t
		if err := unix.Stat(folder, &info); err == nil && info.Dev != w.dev {
			return fmt.Errorf("%s is on another file system: %w", folder, errors.ErrUnsupported)
		}
	}
	for {
		err := unix.Syncfs(w.fd)
		if err != unix.EINTR {
			return os.NewSyscallError("syncfs", err)
		}
	}
}

func release() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// reports says whether syncfs of a kernel tells what could not be written: since Linux 5.8.
func reports(release string) bool {
	var version [2]int
	for i, part := range strings.SplitN(release, ".", 3)[:min(2, strings.Count(release, ".")+1)] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return false
		}
		version[i] = n
	}
	return version[0] > 5 || version[0] == 5 && version[1] >= 8
}
