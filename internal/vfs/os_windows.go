package vfs

import (
	"os"

	"golang.org/x/sys/windows"
)

var systemFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}

var systemFailing = []error{windows.ERROR_WRITE_PROTECT, windows.ERROR_CRC, windows.ERROR_WRITE_FAULT, windows.ERROR_IO_DEVICE}

func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{Offset: 1 << 30}) // beyond what is in it, so that others can read who it is
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return err
}

func firstOf(name string, b []byte) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	return first(file{f}, b)
}

// syncDir has nothing to do: names are durable with the file.
func syncDir(string) error { return nil }
