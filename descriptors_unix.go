//go:build unix

package stompserver

import "syscall"

// openFiles is how many files and connections the process may have open, 0 if that is unknown
// or any number. Go raises the soft limit to the hard one before main.
func openFiles() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > 1<<31-1 {
		return 0
	}
	return int(r.Cur)
}
