//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package stompserver

import "golang.org/x/sys/unix"

func physicalMemory() int64 {
	for _, name := range []string{"hw.memsize", "hw.physmem64", "hw.physmem"} {
		if n, err := unix.SysctlUint64(name); err == nil {
			return int64(n)
		}
	}
	return 0
}
