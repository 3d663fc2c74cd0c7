package activerecord

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// SQLite cuts its write-ahead log off, without a word, where a frame of it is not what was written. That is
// right for what was not synced: the last transaction, since each is synced before the next is written. Where
// others follow there is damage, and what they had confirmed would be lost. The log has:
//
//	head:   magic (4 bytes, big-endian as all), version (4), size of a page (4), number of the checkpoint (4),
//	        two salts (4 each), two checksums of that (4 each)
//	frames: page (4), size of the file behind this transaction, 0 but in its last frame (4), the salts, two
//	        checksums of all before it, these salts excepted; and the page
//
// The words that are summed are little-endian, if the magic is even.
const (
	logHead   = 32
	frameHead = 24
	logMagic  = 0x377f0682
)

// checkLog looks at what a crash has left of the log, before SQLite does. With NoSync nothing says that what
// was written first is there if a later frame is.
func (s *Store) checkLog() error {
	if s.cfg.NoSync {
		return nil
	}
	f, err := os.Open(s.cfg.Database.Database + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	problem, err := logProblem(f, st.Size())
	switch {
	case err != nil || problem == "":
		return err
	case s.cfg.StartDamaged:
		s.cfg.Log.Error("the write-ahead log of SQLite is damaged; what it has from there on is lost", "database", s.cfg.Database.String(), "problem", problem)
		return nil
	}
	return fmt.Errorf("its write-ahead log is damaged: %s. Restore both from a copy, or start without what the log has from there on: on_damage: start "+
		"(so too if the power went while the server ran with -c)", problem)
}

// logProblem says what is damaged in a log, "" if nothing is.
func logProblem(f io.ReaderAt, size int64) (problem string, err error) {
	if size <= logHead {
		return "", nil // no transaction was written
	}
	head := make([]byte, logHead)
	if _, err := f.ReadAt(head, 0); err != nil {
		return "", err
	}
	e := binary.BigEndian
	magic, page := e.Uint32(head), int64(e.Uint32(head[8:]))
	var sum logSum
	if magic&1 == 0 {
		sum.order = binary.LittleEndian
	} else {
		sum.order = e
	}
	sum.add(head[:24])
	if magic&^1 != logMagic || page < 512 || page > 64<<10 || page&(page-1) != 0 || !sum.is(head[24:]) {
		return "its head is damaged", nil
	}
	frame := make([]byte, frameHead+page)
	broken, behind := int64(0), 0 // the first frame that is, and the transactions that end there and later
	n := int64(0)
	for at := int64(logHead); at+frameHead+page <= size; at += frameHead + page {
		n++
		if _, err := f.ReadAt(frame, at); err != nil {
			return "", err
		}
		if broken == 0 {
			sum.add(frame[:8])
			sum.add(frame[frameHead:])
		}
		ours := string(frame[8:16]) == string(head[16:24]) // else it is of the log before this
		switch {
		case broken == 0 && ours && sum.is(frame[16:]):
		case broken == 0:
			broken = n
			fallthrough
		case ours:
			if e.Uint32(frame[4:]) != 0 {
				behind++
			}
		}
	}
	if behind < 2 {
		return "", nil
	}
	return fmt.Sprintf("frame %d is damaged, and %d transactions are from there on", broken, behind), nil
}

// A logSum is the checksum of a log up to a place.
type logSum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

func (s *logSum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.s0 += s.order.Uint32(b) + s.s1
		s.s1 += s.order.Uint32(b[4:]) + s.s0
	}
}

func (s *logSum) is(b []byte) bool {
	return s.s0 == binary.BigEndian.Uint32(b) && s.s1 == binary.BigEndian.Uint32(b[4:])
}
