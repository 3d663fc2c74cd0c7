package file

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// The log is a chain of segments, files of a fixed size whose numbers follow each other. The state
// says with which one it begins; the last one is written to. A segment is given up when no message
// in it is without a file, and is used again, for what is written over is quicker to sync.
const (
	segmentStart = "stompserver.redo-"
	spareStart   = "stompserver.spare-"
	reserveName  = "stompserver.reserve"
	madeName     = "stompserver.made" // a segment until it has its room

	mostSpares  = 2
	mostReserve = 4 << 20
	mostBlank   = 1 << 20

	mostGroup = 1<<32 - 1 - 4096 // what a place can tell
)

// Before there was a chain there were two logs of these names, which took turns.
var redoBefore = [2]string{"stompserver.redo", "stompserver.redo2"}

// A segment is one file of the log.
type segment struct {
	number uint64
	name   string
	first  uint64 // the number of its first group
	last   uint64 // and of its last; less than first: it has none
	pos    int64  // where the next group goes
	size   int64  // of the file
	blank  int64  // up to here it was written to before

	live int // messages that are in it and have no file
}

func segmentName(n uint64) string { return fmt.Sprintf("%s%012d", segmentStart, n) }
func spareName(n uint64) string   { return fmt.Sprintf("%s%012d", spareStart, n) }

// numberOf undoes segmentName and spareName.
func numberOf(name, start string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, start)
	n, err := strconv.ParseUint(digits, 10, 32)
	return n, ok && err == nil && fmt.Sprintf("%s%012d", start, n) == name
}

// segment is the one of that number.
func (f *File) segment(n uint64) *segment {
	return f.chain[sort.Search(len(f.chain), func(i int) bool { return f.chain[i].number >= n })]
}

// current is the segment that is written to.
func (f *File) current() *segment { return f.chain[len(f.chain)-1] }

// roll begins a new segment with room for a group of n bytes. Called with turn held.
func (f *File) roll(n int64, acks bool) error {
	if err := f.syncLog(); err != nil { // what is in a segment is sure before there is another one
		return err
	}
	next := &segment{number: f.lastSegment + 1, first: f.number + 1, last: f.number, size: max(f.cfg.RedoSize, n)}
	next.name = segmentName(next.number)
	file, err := f.newSegment(next, n, acks)
	if err != nil {
		return err
	}
	if f.redo != nil {
		if err := f.redo.Close(); err != nil {
			return f.fail(err)
		}
	}
	f.redo, f.lastSegment, f.rolled = file, next.number, true
	f.mu.Lock()
	f.chain = append(f.chain, next)
	f.mu.Unlock()
	return nil
}

// newSegment makes the file of a segment, of one that was used before if there is such. If there
// is no room for another one and only acks are to come, it is the reserve.
func (f *File) newSegment(s *segment, need int64, acks bool) (vfs.File, error) {
	from, err := madeName, error(nil)
	if n := len(f.spares); n > 0 && s.size == f.cfg.RedoSize {
		from = f.spares[n-1]
	} else if err = f.allocate(madeName, s.size); vfs.IsFull(err) && acks && f.reserve && need <= f.reserveSize() {
		from, s.size, err = reserveName, f.reserveSize(), nil
	}
	if err == nil {
		err = f.fs.Rename(from, s.name)
	}
	if err != nil {
		return nil, f.full(err)
	}
	switch from {
	case reserveName:
		f.reserve = false
	case madeName:
	default:
		f.spares = f.spares[:len(f.spares)-1]
		s.blank = s.size
	}
	if err := f.fs.SyncDir(); err != nil { // whether a crash would leave it is not known
		return nil, f.fail(err)
	}
	file, err := f.fs.Open(s.name, false)
	return file, f.full(err)
}

// full makes an error final, unless it is one of a full disk, which the caller is told as such.
func (f *File) full(err error) error {
	switch {
	case err == nil || errors.Is(err, store.ErrFull) || f.failed() != nil:
		return err
	case vfs.IsFull(err):
		return fmt.Errorf("file: %w: %w", store.ErrFull, err)
	}
	return f.fail(err)
}

// allocate makes a file with room.
func (f *File) allocate(name string, size int64) error {
	file, err := f.fs.Open(name, true)
	if err != nil {
		return err
	}
	err = errors.Join(file.Allocate(size), file.Close())
	if err != nil {
		err = errors.Join(err, f.fs.Remove(name))
	}
	return err
}

func (f *File) reserveSize() int64 { return min(mostReserve, f.cfg.RedoSize) }

// keepReserve sees to it that there is room for acks, without which no message is taken.
func (f *File) keepReserve() error {
	if f.reserve {
		return nil
	}
	if err := f.allocate(reserveName, f.reserveSize()); err != nil {
		return f.full(err)
	}
	f.reserve = true
	return nil
}

// syncLog makes durable what the log has. Called with turn held.
func (f *File) syncLog() error {
	if f.synced == f.number {
		return nil
	}
	if err := f.redo.Sync(); err != nil {
		return f.fail(fmt.Errorf("%s could not be synced; what it holds is not sure any more: %w", f.current().name, err))
	}
	f.synced = f.number
	return nil
}

// recycle gives up segments that the state does not know any more. Called with files and turn held.
func (f *File) recycle(old []*segment) error {
	for _, s := range old {
		name := spareName(s.number)
		var err error
		if s.size == f.cfg.RedoSize && len(f.spares) < mostSpares {
			if err = f.fs.Rename(s.name, name); err == nil {
				f.spares = append(f.spares, name)
			}
		} else {
			err = f.fs.Remove(s.name)
		}
		if err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}
