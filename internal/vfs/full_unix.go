//go:build unix

package vfs

import "syscall"

var systemFull = []error{syscall.EDQUOT, syscall.EFBIG}
