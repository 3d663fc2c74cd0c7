//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var systemFull = []error{syscall.EDQUOT, syscall.EFBIG}

// linkless says that a file cannot have another name, or no more of them, or not there.
var linkless = []error{syscall.EPERM, syscall.EXDEV, syscall.EMLINK, syscall.ENOSYS, syscall.EOPNOTSUPP}

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
