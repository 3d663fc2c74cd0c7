// Package vfs is what stores need of a file system and the standard library does not say in
// one word.
package vfs

import (
	"errors"
	"syscall"
)

// IsFull reports whether err means that there is no room left: a full disk, a quota, a limit
// of the process.
func IsFull(err error) bool {
	for _, e := range full {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var full = append([]error{syscall.ENOSPC}, systemFull...)
