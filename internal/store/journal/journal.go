// Package journal keeps queues in a log of segments, made for a disk: what many clients do
// is one write and one sync, messages lie where they were written until they are acked, and
// memory holds eight bytes of each.
//
// The log is a row of segments, files of a fixed size that are used again when all in them
// is gone. A Write appends a group of records under one checksum. A segment that is full is
// sealed with an index of what is in it, so that a start reads the indexes and only the last
// segment itself. Docs/journal.md has the format.
package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Config is where a journal is and how it behaves. The zero value of each field but FS is
// its default.
type Config struct {
	FS vfs.FS // its directory

	SegmentSize int64 // bytes of a segment; default 64 MiB

	// StartDamaged has Open go on without what is damaged, and Read without messages that
	// are. Otherwise either is an error. A torn end of the log is no damage.
	StartDamaged bool

	// NoSync has Write return before the disk confirms it; Sync is to be called.
	NoSync bool

	Log *slog.Logger // default: none
}

// A Journal is a store.Backend, and a store.Syncer.
type Journal struct {
	cfg  Config
	fs   vfs.FS
	log  *slog.Logger
	lock io.Closer

	files sync.RWMutex // held for reading by who reads files, else by who gives one up

	mu       sync.Mutex // guards what follows against Read; Write alone changes it
	queues   map[string]*queue
	segments []*segment // in order; the last is written to
	floor    store.Seq  // no queue that is forgotten had a Seq above it

	// What follows belongs to Write.
	number  uint64   // the highest of a segment
	group   uint64   // the last that was written
	synced  uint64   // the last that is durable
	spare   []string // files that wait to be segments again
	reserve bool     // there is a file of room for acks on a full disk
	out     vfs.Gather
	index   []byte // what this group adds to the index of the segment
	places  []uint32
	to      []target
	keys    []key
	failure error
	victim  *segment // being copied, to be free
}

var (
	_ store.Backend = (*Journal)(nil)
	_ store.Syncer  = (*Journal)(nil)
)

// A segment is one file of the log.
type segment struct {
	number   uint64
	name     string
	file     vfs.File
	size     int64
	salt     uint64
	first    uint64 // its first group
	last     uint64 // its last group, or the one before its first
	pos      int64  // where the next group goes
	promised int64  // how long the file was made; less if it was cut at a stop
	blank    int64  // up to here it was written to before, so that a sync need not note it
	index    []byte // as long as it is written to
	ids      uint64 // queues that have a number in it
	live     int    // messages in it that are not acked, each as often as it is in a queue
	puts     int    // messages that were put into it, likewise
	shared   shared // those that several queues have
	sealed   bool
	needs    map[*segment]bool // older ones, of which it has acks
}

const (
	defaultSize = 64 << 20
	reserveSize = 4 << 20
	reserveName = "reserve"
	lockName    = "lock"
	mostSpare   = 4
	blankAhead  = 1 << 20
)

func segmentName(n uint64) string { return fmt.Sprintf("%012d.journal", n) }
func spareName(n uint64) string   { return fmt.Sprintf("%012d.spare", n) }

// fail makes err the answer to every later Write.
func (j *Journal) fail(err error) error {
	if j.failure == nil {
		j.failure = fmt.Errorf("journal: %w", err)
	}
	return j.failure
}

func (j *Journal) current() *segment { return j.segments[len(j.segments)-1] }

func (j *Journal) queue(name string) *queue {
	q := j.queues[name]
	if q == nil {
		q = &queue{name: name}
		j.queues[name] = q
	}
	return q
}

// Queues implements store.Backend.
func (j *Journal) Queues() ([]store.Info, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var infos []store.Info
	if j.floor > 0 {
		infos = append(infos, store.Info{Last: j.floor})
	}
	for _, q := range j.queues {
		i := store.Info{Name: q.name, Last: q.last, Count: q.count, Bytes: q.bytes(), Marked: q.marked}
		if q.count > 0 {
			i.First = q.runs[0].first()
		}
		infos = append(infos, i)
	}
	return infos, nil
}

// roll begins a new segment with room for a group of n bytes and an index of that of it.
// Of what is left for acks it takes if only they are to come.
func (j *Journal) roll(n, index int64, acks bool) error {
	h := head{number: j.number + 1, group: j.group + 1, salt: newSalt(), size: j.cfg.SegmentSize}
	h.snap = j.snapshot()
	need := layout.Aligned(headSize+int64(len(h.snap))) + layout.Aligned(n) + index + trailerSize + 4096
	h.size = max(h.size, layout.Aligned(need))
	if h.size > 1<<32-1 {
		return fmt.Errorf("a group of %d bytes is too large", n)
	}
	seg, err := j.newFile(&h, need, acks)
	if err != nil {
		return err
	}
	old := (*segment)(nil)
	if len(j.segments) > 0 {
		old = j.current()
	}
	j.number = seg.number
	j.mu.Lock()
	j.segments = append(j.segments, seg)
	j.mu.Unlock()
	if old != nil && !old.sealed {
		if err := j.seal(old, seg.number); err != nil {
			return j.fail(err)
		}
	}
	if !j.reserve {
		j.makeReserve()
	}
	return nil
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// newFile makes the file of a segment: of a spare one, anew, or of the reserve.
func (j *Journal) newFile(h *head, need int64, acks bool) (*segment, error) {
	from, blank := "", int64(0)
	if n := len(j.spare); n > 0 && h.size == j.cfg.SegmentSize {
		from, j.spare = j.spare[n-1], j.spare[:n-1]
		blank = h.size
	}
	try := func(from string, size, blank int64) (*segment, error) {
		temp := from
		if temp == "" {
			temp = "new"
		}
		f, err := j.fs.Open(temp, from == "")
		if err != nil {
			return nil, err
		}
		if from == "" {
			err = f.Allocate(size)
		}
		h.size = size
		b := h.append(nil)
		if err == nil {
			_, err = f.WriteAt(b, 0)
		}
		if err == nil {
			err = f.Sync()
		}
		name := segmentName(h.number)
		if err == nil {
			err = j.fs.Rename(temp, name)
		}
		if err == nil {
			if err = j.fs.SyncDir(); err != nil {
				// A crash may leave the new segment or not: were the old one written on,
				// the next start could not tell which of them is the newest.
				err = j.fail(fmt.Errorf("the name of %s could not be synced: %w", name, err))
			}
		}
		if err != nil {
			_ = f.Close()
			if from == "" {
				_ = j.fs.Remove(temp)
			}
			return nil, err
		}
		return &segment{
			number: h.number, name: name, file: f, size: size, salt: h.salt, first: h.group, last: h.group - 1,
			pos: layout.Aligned(int64(len(b))), blank: max(blank, int64(len(b))), needs: make(map[*segment]bool),
		}, nil
	}
	seg, err := try(from, h.size, blank)
	if j.failure != nil {
		return nil, j.failure
	}
	if err != nil && vfs.IsFull(err) && acks && j.reserve && need <= reserveSize {
		j.reserve = false
		seg, err = try(reserveName, reserveSize, 0)
	}
	// The reserve may be used up, and a start needs a segment too: a small one has room for acks.
	for _, size := range []int64{reserveSize, reserveSize / 4, reserveSize / 16} {
		if err != nil && j.failure == nil && vfs.IsFull(err) && acks && need <= size {
			seg, err = try("", size, 0)
		}
	}
	if j.failure == nil && err != nil && vfs.IsFull(err) {
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	} else if err != nil {
		err = j.fail(err)
	}
	return seg, err
}

// makeReserve keeps some room back, so that acks can go on when the disk is full. It does
// not matter if there is none.
func (j *Journal) makeReserve() {
	f, err := j.fs.Open(reserveName, true)
	if err == nil {
		err = f.Allocate(reserveSize)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		_ = j.fs.Remove(reserveName)
	}
	j.reserve = err == nil
}

// seal ends a segment with its index. Next is the number of the one that follows; 0 at a
// stop, when the file is cut behind it.
func (j *Journal) seal(s *segment, next uint64) error {
	if next != 0 && s.size < s.promised { // it was cut, and its index needs the room
		if err := s.file.Allocate(s.promised); err != nil {
			return err
		}
		s.size = s.promised
	}
	t := trailer{number: s.number, index: s.pos, length: len(s.index), sum: checksum(s.index), group: s.last, next: next}
	b := s.index
	end := s.size - trailerSize
	if next == 0 {
		end = s.pos + int64(len(b))
	}
	if s.pos+int64(len(b)) > end {
		return fmt.Errorf("%s: its index of %d bytes does not fit", s.name, len(b))
	}
	if _, err := s.file.WriteAt(b, s.pos); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(t.append(nil), end); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if next == 0 { // only now: a file that is cut must have its end
		if err := s.file.Truncate(end + trailerSize); err != nil {
			return err
		}
		s.size = end + trailerSize
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	j.synced = max(j.synced, s.last)
	s.sealed, s.index = true, nil
	j.clip(s)
	return nil
}

// clip gives back the room that the runs of a segment grew into.
func (j *Journal) clip(s *segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, q := range j.queues {
		if n := len(q.runs); n > 0 && q.runs[n-1].seg == s {
			r := q.runs[n-1]
			r.locs = append(make([]loc, 0, len(r.locs)), r.locs...)
		}
	}
}

// Sync implements store.Syncer.
func (j *Journal) Sync() error {
	if j.failure != nil {
		return j.failure
	}
	if j.synced == j.group {
		return nil
	}
	if err := j.current().file.Sync(); err != nil {
		return j.fail(err)
	}
	j.synced = j.group
	return nil
}

// Close implements store.Backend: it ends the log with an index, so that the next start is
// quick.
func (j *Journal) Close() error {
	err := j.failure
	if err == nil {
		err = j.seal(j.current(), 0)
	}
	for _, s := range j.segments {
		err = errors.Join(err, s.file.Close())
	}
	return errors.Join(err, j.lock.Close())
}
