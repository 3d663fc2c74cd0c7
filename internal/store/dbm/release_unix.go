//go:build unix

package dbm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// release has the process let go of the pages of v, which stay in the system's memory: else a file
// that is read as a whole is counted as the memory of who reads it. It is for what a transaction
// that only reads was given, which is the file itself and nothing else.
func release(v []byte) {
	page := uintptr(os.Getpagesize())
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(v)))
	skip := -begin & (page - 1)
	if uintptr(len(v)) < skip+page {
		return
	}
	_ = unix.Madvise(v[skip:skip+(uintptr(len(v))-skip)&^(page-1)], unix.MADV_DONTNEED)
}
