package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// What bbolt has in its first two pages, each behind a head of 16 bytes: which of them was written
// last, how large pages are and how many there are.
const (
	metaAt    = 16
	metaSize  = 64
	metaMagic = 0xED0CDAED
)

// checkSize finds a file that was cut: bbolt would read behind its end, on a goroutine of its own, and
// that ends the process.
func checkSize(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	page := int64(os.Getpagesize())
	last, need := uint64(0), int64(0)
	for i := range int64(2) {
		var b [metaSize]byte
		if _, err := f.ReadAt(b[:], i*page+metaAt); err == io.EOF {
			continue
		} else if err != nil {
			return err
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSize-8])
		if binary.NativeEndian.Uint32(b[:]) != metaMagic || binary.NativeEndian.Uint64(b[56:]) != sum.Sum64() {
			continue // bbolt says so, if it is both
		}
		page = int64(binary.NativeEndian.Uint32(b[8:]))
		if tx := binary.NativeEndian.Uint64(b[48:]); tx >= last {
			last, need = tx, int64(binary.NativeEndian.Uint64(b[40:]))*page
		}
	}
	if st.Size() < need {
		return fmt.Errorf("%s: the file is damaged: it has %d bytes and is to have %d. Restore it from a copy", path, st.Size(), need)
	}
	return nil
}
