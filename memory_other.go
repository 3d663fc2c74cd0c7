//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package stompserver

func physicalMemory() int64 { return 0 }
