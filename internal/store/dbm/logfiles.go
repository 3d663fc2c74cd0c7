package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"stompserver/internal/heap"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// The log is two files that take turns: while what is in one is brought into the database the other one
// is written to. One is free when the database has all that is in it.
type logFiles struct {
	fs    vfs.FS
	files [2]logFile
	at    int // the one that is written to
	sizes logSizes

	salt   uint64
	number uint64 // of the last group
	synced uint64
	enc    encoder
}

type logFile struct {
	name string
	file vfs.File
	pos  int64  // where the next group goes
	last uint64 // the number of the last group
}

// logSizes say how large things are.
type logSizes struct {
	file int64 // bytes of a file of the log
	acks int64 // of these, what only Writes take that put nothing
	cost int   // of a layer that takes no more messages
}

var usualLogSizes = logSizes{file: 20 << 20, acks: 4 << 20, cost: 16 << 20}

// most is how large a group may be.
func (s *logSizes) most() int64 { return s.file - s.acks }

// logNames are behind the name of the database.
var logNames = [2]string{".log-1", ".log-2"}

func newLogFiles(cfg *Config) *logFiles {
	l := &logFiles{fs: cfg.LogFS, sizes: usualLogSizes}
	if cfg.logSizes != nil {
		l.sizes = *cfg.logSizes
	}
	for i := range l.files {
		l.files[i].name = filepath.Base(cfg.Path) + logNames[i]
	}
	return l
}

// make makes the files anew, with room, or none: where there is too little the error is ErrFull.
func (l *logFiles) make(salt uint64) (err error) {
	defer func() {
		if err != nil {
			_ = l.remove()
		}
	}()
	if err := l.remove(); err != nil {
		return err
	}
	for i := range l.files {
		f := &l.files[i]
		if f.file, err = l.fs.Open(f.name, true); err == nil {
			err = f.file.Allocate(l.sizes.file)
		}
		if vfs.IsFull(err) {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
		if err != nil {
			return err
		}
	}
	l.salt, l.number, l.synced, l.at = salt, 0, 0, 0
	return l.fs.SyncDir()
}

// remove closes the files, and removes them.
func (l *logFiles) remove() error {
	err := l.close()
	for i := range l.files {
		f := &l.files[i]
		f.pos, f.last = 0, 0
		if e := l.fs.Remove(f.name); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (l *logFiles) close() (err error) {
	for i := range l.files {
		if f := l.files[i].file; f != nil {
			err = errors.Join(err, f.Close())
			l.files[i].file = nil
		}
	}
	return err
}

// free says that the database has all up to a group, and reports how many bytes of the log it lacks.
func (l *logFiles) free(applied uint64) (used int64) {
	for i := range l.files {
		if f := &l.files[i]; f.last <= applied {
			f.pos = 0
		}
		used += l.files[i].pos
	}
	return used
}

// turnIfFull goes on in the other file, if it is free, where this one has no room for a group.
func (l *logFiles) turnIfFull(n int64, puts bool) {
	if !l.fits(n, puts) {
		l.turn()
	}
}

// turn goes on in the other file, if it is free, and not if this one is.
func (l *logFiles) turn() {
	if l.files[l.at].pos > 0 && l.files[1-l.at].pos == 0 {
		l.at = 1 - l.at
	}
}

// fits reports whether there is room for a group of so many bytes.
func (l *logFiles) fits(n int64, puts bool) bool {
	room := l.sizes.file - l.files[l.at].pos
	if puts {
		room -= l.sizes.acks
	}
	return n <= room
}

// write writes the group that is encoded. It is in the system's memory then.
func (l *logFiles) write() error {
	f := &l.files[l.at]
	number := l.number + 1
	layout.Put(&l.enc.out, group.Head{Salt: l.salt, Number: number, Synced: l.synced})
	if err := l.enc.out.WriteTo(f.file, f.pos); err != nil {
		if vfs.IsFull(err) {
			return fmt.Errorf("%w: %s: %w", store.ErrFull, f.name, err)
		}
		return fmt.Errorf("%s: %w", f.name, err)
	}
	f.pos += layout.Aligned(l.enc.out.Len())
	f.last, l.number = number, number
	return nil
}

// sync makes durable what was written. It may be called beside write.
func (l *logFiles) sync() error {
	for i := range l.files {
		if f := &l.files[i]; f.file != nil {
			if err := f.file.Sync(); err != nil {
				return fmt.Errorf("%s could not be synced; what it holds is not sure any more: %w", f.name, err)
			}
		}
	}
	return nil
}

// A loggedGroup is a group that was found.
type loggedGroup struct {
	group.Head
	rs   []store.Record
	file int
	at   int64 // where it is in the file
}

func (g *loggedGroup) end() int64 { return layout.Aligned(layout.End(g.at, &g.Head)) }

// A leftLog is the log that a process left behind.
type leftLog struct {
	groups   []loggedGroup // that the database lacks, in order
	stale    []loggedGroup // that lie behind a gap, and are of no use
	problems []string
	cut      string   // what was cut off; empty: nothing
	foreign  []string // files that are the log of another database
	there    bool     // both files are
}

// read reads the log of the process before, which mark tells of. The files stay open.
func (l *logFiles) read(mark *logMark) (*leftLog, error) {
	left := &leftLog{there: true}
	var all []loggedGroup
	broken := make(map[uint64]string)
	for i := range l.files {
		f := &l.files[i]
		var err error
		if f.file, err = l.fs.Open(f.name, false); errors.Is(err, fs.ErrNotExist) {
			left.there = false
			if !mark.closed && !mark.unknown {
				left.problems = append(left.problems, fmt.Sprintf("%s is missing", f.name))
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := readAll(f.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		found, foreign, bad := scanLog(b, i, mark, func(number uint64, at int64) { broken[number] = fmt.Sprintf("%s at %d", f.name, at) })
		for _, problem := range bad {
			left.problems = append(left.problems, f.name+": "+problem)
		}
		if foreign {
			left.foreign = append(left.foreign, f.name)
			left.problems = append(left.problems, fmt.Sprintf("%s is the log of another file", f.name))
		}
		if all = append(all, found...); len(b) >= heap.Much {
			b = nil
			heap.Collect()
		}
	}
	l.chain(left, all, broken, mark)
	return left, nil
}

// scanLog finds the groups of a file that the database lacks. Foreign says that they are of another one. Broken is
// told of what may have been a group.
func scanLog(b []byte, file int, mark *logMark, broken func(number uint64, at int64)) (found []loggedGroup, foreign bool, problems []string) {
	from := group.Bytes(b)
	for at := int64(0); ; {
		h, next, ok, _ := layout.Find(from, at, func(*group.Head) bool { return true }) // nothing can fail
		if !ok {
			return found, foreign, problems
		}
		at = next
		whole, _ := layout.Whole(from, at, &h)
		ours := mark.unknown || h.Salt == mark.salt
		switch {
		case !whole:
			if ours {
				broken(h.Number, at)
			}
			at += layout.Align
			continue
		case !ours:
			foreign = foreign || at == 0
		case h.Number > mark.applied:
			rs, err := parseRecords(b[layout.Records(at):layout.End(at, &h)])
			if err != nil {
				problems = append(problems, fmt.Sprintf("group %d makes no sense, though its checksum fits: %v", h.Number, err))
				break
			}
			found = append(found, loggedGroup{Head: h, rs: rs, file: file, at: at})
		}
		at = layout.Aligned(layout.End(at, &h))
	}
}

// chain puts in order what was found, and looks what is missing. What a power cut has torn is the end,
// and of what comes behind a gap nothing tells that it had been durable; otherwise it is damage.
func (l *logFiles) chain(left *leftLog, all []loggedGroup, broken map[uint64]string, mark *logMark) {
	slices.SortFunc(all, func(a, b loggedGroup) int { return int(int64(a.Number) - int64(b.Number)) })
	last := mark.applied
	if mark.unknown && len(all) > 0 { // how far the database is nobody knows: what is in one piece up to the end may be done twice
		from := len(all) - 1
		for from > 0 && all[from].Number == all[from-1].Number+1 && all[from].Salt == all[from-1].Salt {
			from--
		}
		all = all[from:]
		last = all[0].Number - 1
	}
	for i, g := range all {
		if g.Number != last+1 {
			durable := slices.ContainsFunc(all[i:], func(g loggedGroup) bool { return g.Proves(last + 1) })
			if !durable {
				left.cut, left.stale = fmt.Sprintf("%s behind group %d", l.files[g.file].name, last), all[i:]
				break
			}
			left.problems = append(left.problems, fmt.Sprintf("of the log what stood between the groups %d and %d is damaged or missing", last, g.Number))
		}
		left.groups = append(left.groups, g)
		last = g.Number
	}
	for number, where := range broken {
		if number > last && left.cut == "" {
			left.cut = where
		}
	}
}

// wipe has groups that are of no use not be taken for others later.
func (l *logFiles) wipe(stale []loggedGroup) error {
	for _, g := range stale {
		if _, err := l.files[g.file].file.WriteAt(make([]byte, group.HeadSize), g.at); err != nil {
			return err
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return l.sync()
}

func readAll(f vfs.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return b[:n], nil
}

// setAside keeps files under another name.
func (l *logFiles) setAside(names []string) error {
	for _, name := range names {
		if err := l.fs.Rename(name, name+time.Now().UTC().Format(".damaged-20060102-150405.000")); err != nil {
			return err
		}
	}
	return nil
}

// A logMark is what the database says of its log.
type logMark struct {
	salt    uint64
	applied uint64 // the last group that it has
	closed  bool   // it has all, and there is no log any more
	unknown bool   // nothing of this is known any more
}

var logKey = []byte("log")

func (m *logMark) append() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.salt)
	b = binary.BigEndian.AppendUint64(b, m.applied)
	state := byte(0)
	switch {
	case m.unknown:
		state = 2
	case m.closed:
		state = 1
	}
	b = append(b, state)
	return binary.BigEndian.AppendUint32(b, sumOf(logKey, b))
}

func parseLogMark(b []byte) (*logMark, error) {
	if len(b) != 21 || binary.BigEndian.Uint32(b[17:]) != sumOf(logKey, b[:17]) {
		return nil, errors.New("the record of its log is damaged")
	}
	return &logMark{salt: binary.BigEndian.Uint64(b), applied: binary.BigEndian.Uint64(b[8:]), closed: b[16] == 1, unknown: b[16] == 2}, nil
}
