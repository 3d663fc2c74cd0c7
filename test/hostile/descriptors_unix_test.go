//go:build unix

package hostile_test

import "syscall"

// descriptors are the files that this process and the server, which inherits the limit, may
// each have open.
func descriptors() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	if more := lim; more.Max < 20_000 { // only root may
		more.Cur, more.Max = 20_000, 20_000
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
			return 20_000
		}
	}
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	return int(min(lim.Cur, 1<<20))
}
