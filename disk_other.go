//go:build !linux && !darwin && !freebsd && !windows

package stompserver

func diskFree(string) (bytes uint64, ok bool) { return 0, false }
