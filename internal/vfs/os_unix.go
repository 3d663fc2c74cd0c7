//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var systemFull = []error{syscall.EDQUOT, syscall.EFBIG}

var systemFailing = []error{syscall.EROFS}

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// firstOf opens, reads and closes a file. Package os makes five calls more of it, for what a file that can
// be waited for needs.
func firstOf(name string, b []byte) (n int, err error) {
	fd := -1
	err = again(func() error {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	err = again(func() error {
		n, err = unix.Pread(fd, b, 0)
		return err
	})
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: name, Err: err}
	}
	return n, nil
}

func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
