//go:build linux || darwin || freebsd

package stompserver

import "golang.org/x/sys/unix"

// diskFree is what the server may still write where dir is; ok is false if that is not known.
func diskFree(dir string) (bytes uint64, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return uint64(max(st.Bavail, 0)) * uint64(st.Bsize), true
}
