package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// A DamageError says what of a journal is not what was written.
type DamageError struct{ Problems []string }

func (e *DamageError) Error() string {
	s := "the journal is damaged: " + e.Problems[0]
	if n := len(e.Problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s + ". Nothing was changed. Restore it from a copy, or start with what is whole: on_damage: start"
}

// Open opens the journal in cfg.FS, or makes one. Damage is a *DamageError, unless
// StartDamaged is set.
func Open(cfg Config) (*Journal, error) {
	j := newJournal(cfg)
	lock, err := j.fs.Lock(lockName)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.lock = lock
	if err := j.open(); err != nil {
		for _, s := range j.segments {
			_ = s.file.Close()
		}
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

func newJournal(cfg Config) *Journal {
	if cfg.SegmentSize <= 0 {
		cfg.SegmentSize = defaultSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Journal{cfg: cfg, fs: cfg.FS, log: cfg.Log, queues: make(map[string]*queue)}
}

func (j *Journal) open() error {
	begin := time.Now()
	r := &recovery{j: j}
	if err := r.run(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if len(r.problems) > 0 {
		if !j.cfg.StartDamaged {
			return &DamageError{r.problems}
		}
		for _, p := range r.problems {
			j.log.Error("the journal is damaged", "problem", p)
		}
	}
	for _, c := range r.cut {
		j.log.Warn("an unfinished write was cut off; it was never confirmed", "where", c)
	}
	j.synced = j.group
	j.forgetEmpty()
	if n := len(j.segments); n > 0 {
		j.log.Info("journal read", "segments", n, "messages", j.count(), "took", time.Since(begin).Round(time.Millisecond))
	}
	for _, name := range r.useless {
		if err := j.fs.Remove(name); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	for i, s := range j.segments {
		if !s.sealed && i+1 < len(j.segments) {
			if err := j.seal(s, j.segments[i+1].number); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
		}
	}
	return j.roll(0, 0, true)
}

func (j *Journal) count() (n int) {
	for _, q := range j.queues {
		n += q.count
	}
	return n
}

// forgetEmpty drops queues without messages, so that names do not gather for ever.
func (j *Journal) forgetEmpty() {
	for name, q := range j.queues {
		if q.count == 0 {
			j.floor = max(j.floor, q.last)
			delete(j.queues, name)
		}
	}
}

// A recovery reads a journal.
type recovery struct {
	j        *Journal
	deep     bool // look at every group, whatever the indexes say
	problems []string
	cut      []string
	useless  []string // files
	freed    map[uint64]bool
	names    map[uint64]*queue // by their number in the segment
	expect   uint64            // the group that must come next, 0: not known
	groups   int
}

func (r *recovery) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *recovery) run() error {
	names, err := r.j.fs.List()
	if err != nil {
		return err
	}
	r.freed = make(map[uint64]bool)
	for _, name := range names {
		var n uint64
		switch {
		case name == "new":
			r.useless = append(r.useless, name)
		case name == reserveName:
			r.j.reserve = true
		case strings.HasSuffix(name, ".spare"):
			r.spare(name)
		case strings.HasSuffix(name, ".journal"):
			if _, err := fmt.Sscanf(name, "%d.journal", &n); err != nil || segmentName(n) != name {
				continue
			}
			if err := r.openSegment(n, name); err != nil {
				return err
			}
		}
	}
	segments := r.j.segments
	slices.SortFunc(segments, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
	heads := make([]*snap, len(segments))
	for i, s := range segments {
		if heads[i], err = r.head(s); err != nil {
			return err
		}
	}
	segments, heads = r.leftovers(segments, heads)
	r.j.segments = segments
	for i, s := range segments {
		if heads[i] == nil {
			continue
		}
		if i == 0 || segments[i-1].number+1 != s.number || heads[i-1] == nil {
			r.expect = 0 // what was between is not needed any more
		}
		next := uint64(0)
		if i+1 < len(segments) {
			next = segments[i+1].number
		}
		r.apply(heads[i])
		if err := r.segment(s, next); err != nil {
			return err
		}
	}
	for i, s := range segments {
		if heads[i] == nil && !r.freed[s.number] {
			r.problem("%s: its header is damaged, so that nothing of it can be read", s.name)
		}
	}
	if n := len(heads); n > 0 && heads[n-1] != nil {
		r.missing(heads[n-1])
	}
	r.dropFreed(heads)
	return nil
}

// leftovers sorts out segments that the newest one does not know of: they were given up
// before it began, and the disk did not hear of it.
func (r *recovery) leftovers(segments []*segment, heads []*snap) (ss []*segment, hs []*snap) {
	n := len(segments)
	if n == 0 || heads[n-1] == nil {
		return segments, heads
	}
	for i, s := range segments {
		if i < n-1 && !slices.Contains(heads[n-1].older, s.number) {
			_ = s.file.Close()
			r.useless = append(r.useless, s.name)
			continue
		}
		ss, hs = append(ss, s), append(hs, heads[i])
	}
	return ss, hs
}

// spare takes a file that waits to be used again, if it is whole.
func (r *recovery) spare(name string) {
	f, err := r.j.fs.Open(name, false)
	if err != nil {
		return
	}
	size, err := f.Size()
	_ = f.Close()
	if err != nil || size != r.j.cfg.SegmentSize || len(r.j.spare) >= mostSpare {
		r.useless = append(r.useless, name)
		return
	}
	r.j.spare = append(r.j.spare, name)
}

func (r *recovery) openSegment(n uint64, name string) error {
	f, err := r.j.fs.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return err
	}
	r.j.number = max(r.j.number, n)
	r.j.segments = append(r.j.segments, &segment{
		number: n, name: name, file: f, size: size, needs: make(map[*segment]bool), sealed: true,
	})
	return nil
}

// head reads the beginning of a segment; nil says that it makes no sense.
func (r *recovery) head(s *segment) (*snap, error) {
	fixed := make([]byte, headSize)
	if err := readFull(s.file, fixed, 0); err != nil {
		return nil, err
	}
	h, n, sum, err := parseHead(fixed)
	if err != nil && err != errHead {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if err != nil || h.number != s.number || int64(headSize)+int64(n) > s.size {
		return nil, nil
	}
	b := append(fixed[:headSize-4:headSize-4], make([]byte, n)...)
	if err := readFull(s.file, b[headSize-4:], headSize); err != nil {
		return nil, err
	}
	sn, ok := parseSnapshot(b[headSize-4:])
	if !ok || checksum(b) != sum {
		return nil, nil
	}
	s.salt, s.first, s.last, s.promised = h.salt, h.group, h.group-1, h.size
	s.pos = aligned(int64(headSize + n))
	return &sn, nil
}

// segment reads one segment whose head is known.
func (r *recovery) segment(s *segment, next uint64) error {
	r.names = make(map[uint64]*queue)
	if r.expect != 0 && s.first != r.expect {
		r.problem("%s begins with group %d, expected was %d: what was between is missing", s.name, s.first, r.expect)
	}
	t, sealed, err := r.trailer(s)
	if err != nil {
		return err
	}
	s.sealed = sealed
	switch {
	case s.size < s.promised && !(sealed && t.next == 0):
		r.problem("%s has %d bytes of %d: its end is missing", s.name, s.size, s.promised)
	case sealed && t.next != 0 && next == 0:
		r.problem("%s is missing: it follows %s", segmentName(t.next), s.name)
	}
	if sealed && !r.deep {
		index := make([]byte, t.length)
		if err := readFull(s.file, index, t.index); err != nil {
			return err
		}
		if checksum(index) == t.sum {
			if !r.index(s, index) {
				return fmt.Errorf("%s: its index makes no sense, though its checksum fits", s.name)
			}
			s.last, r.j.group, r.expect = t.group, max(r.j.group, t.group), t.group+1
			return nil
		}
		r.j.log.Warn("the index of a segment is damaged, so all of the segment is read", "file", s.name)
	}
	end := s.size
	if sealed {
		end = t.index
	}
	if err := r.scan(s, end, sealed); err != nil {
		return err
	}
	if sealed && s.last < t.group {
		r.problem("%s: groups %d to %d are missing", s.name, s.last+1, t.group)
		s.last = t.group
	}
	r.j.group = max(r.j.group, s.last)
	r.expect = s.last + 1
	return nil
}

func (r *recovery) trailer(s *segment) (trailer, bool, error) {
	if s.size < headSize+trailerSize {
		return trailer{}, false, nil
	}
	b := make([]byte, trailerSize)
	if err := readFull(s.file, b, s.size-trailerSize); err != nil {
		return trailer{}, false, err
	}
	t, ok := parseTrailer(b)
	ok = ok && t.number == s.number && t.index >= s.pos && t.index+int64(t.length) <= s.size-trailerSize
	return t, ok, nil
}

// index applies the index of a sealed segment; false says that it makes no sense.
func (r *recovery) index(s *segment, b []byte) bool {
	p := parser{b: b, index: true}
	var rec record
	for p.next(&rec) {
		if !r.record(s, &rec) {
			return false
		}
	}
	return !p.bad
}

// scan reads the groups of a segment up to end.
func (r *recovery) scan(s *segment, end int64, sealed bool) error {
	b := make([]byte, end)
	if err := readFull(s.file, b[s.pos:], s.pos); err != nil {
		return err
	}
	want := s.first
	for {
		g, ok := parseGroup(b[s.pos:], s.salt)
		if ok && g.number == want {
			p := parser{b: b[s.pos+groupSize:][:g.length], at: s.pos + groupSize}
			var rec record
			for p.next(&rec) {
				if !r.record(s, &rec) {
					p.bad = true
					break
				}
				if !sealed {
					s.index = appendIndex(s.index, &rec)
				}
				if rec.kind == kindQueue {
					s.ids = max(s.ids, rec.queue+1)
				}
			}
			if p.bad {
				r.problem("%s: group %d at %d makes no sense", s.name, g.number, s.pos)
			}
			r.groups++
			s.last = g.number
			want++
			s.pos = aligned(s.pos + groupSize + int64(g.length))
			if s.pos >= end {
				return nil
			}
			continue
		}
		// The end of the log, or a hole in it: is there a later group that was written
		// when this one was durable?
		at, later, found := r.later(s, b, want, sealed)
		if !found {
			if len(b)-int(s.pos) >= 4 && binary.LittleEndian.Uint32(b[s.pos:]) == groupMagic && !sealed {
				r.cut = append(r.cut, fmt.Sprintf("%s at %d", s.name, s.pos))
			}
			return nil
		}
		r.problem("%s: groups %d to %d, at %d to %d, are damaged", s.name, want, later.number-1, s.pos, at)
		want, s.pos = later.number, at
	}
}

// later looks for a group behind a broken one that shows that to be damage.
func (r *recovery) later(s *segment, b []byte, want uint64, sealed bool) (int64, group, bool) {
	for at := s.pos + align; at+groupSize <= int64(len(b)); at += align {
		if binary.LittleEndian.Uint32(b[at:]) != groupMagic || binary.LittleEndian.Uint64(b[at+16:]) != s.salt {
			continue
		}
		if g, ok := parseGroup(b[at:], s.salt); ok && g.number > want && (g.synced >= want || sealed) {
			return at, g, true
		}
	}
	return 0, group{}, false
}

// record applies one record, and reports false if it speaks of a queue nobody named.
func (r *recovery) record(s *segment, rec *record) bool {
	j := r.j
	switch rec.kind {
	case kindQueue:
		r.names[rec.queue] = j.queue(string(rec.name))
		return true
	case kindFree:
		r.freed[rec.segment] = true
		return true
	}
	q := r.names[rec.queue]
	if q == nil {
		return false
	}
	switch rec.kind {
	case kindPut:
		if rec.offset > 1<<32-1 {
			return false
		}
		q.put(s, rec.seq, uint32(rec.offset))
		q.tried(rec.seq, rec.attempts)
		q.puts++
		q.size += int64(rec.length) + storedOverhead
		s.puts++
	case kindAck:
		q.remove(rec.seq, rec.last, s)
	case kindMark:
		q.marked = rec.seq
	case kindAttempts:
		if q.has(rec.seq) {
			q.tried(rec.seq, rec.attempts)
		}
	}
	return true
}

// storedOverhead is what a message costs in memory beyond the bytes it has in the journal.
const storedOverhead = 180

// missing looks whether all segments are there that the last one knew of.
func (r *recovery) missing(last *snap) {
	for _, n := range last.older {
		if r.freed[n] || slices.ContainsFunc(r.j.segments, func(s *segment) bool { return s.number == n }) {
			continue
		}
		r.problem("%s is missing", segmentName(n))
	}
}

// apply takes over what a snapshot says of queues, before the groups behind it.
func (r *recovery) apply(sn *snap) {
	r.j.floor = max(r.j.floor, sn.floor)
	for _, sq := range sn.queues {
		q := r.j.queue(sq.name)
		q.last = max(q.last, sq.last)
		q.marked = sq.marked
		for seq, n := range sq.tries {
			if q.has(seq) {
				q.tried(seq, n)
			}
		}
	}
}

// dropFreed closes segments that a group says are not needed, where the process ended before
// it could give them up, and those of which nothing can be read. What seems to be live in
// the former is not: whatever said that it was acked may have been given up as well.
func (r *recovery) dropFreed(heads []*snap) {
	gone := map[*segment]bool{}
	for i, s := range r.j.segments {
		if r.freed[s.number] || heads[i] == nil {
			gone[s] = true
			_ = s.file.Close()
			if r.freed[s.number] {
				r.useless = append(r.useless, s.name)
			}
		}
	}
	r.j.segments = slices.DeleteFunc(r.j.segments, func(s *segment) bool { return gone[s] })
	if len(gone) == 0 {
		return
	}
	for _, s := range r.j.segments {
		for g := range gone {
			delete(s.needs, g)
		}
	}
	for _, q := range r.j.queues {
		q.runs = slices.DeleteFunc(q.runs, func(r *run) bool {
			if gone[r.seg] {
				q.count -= r.live
			}
			return gone[r.seg]
		})
	}
}

func readFull(f vfs.File, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if err == io.EOF {
		clear(b[n:]) // what is missing is taken for zeros, which is nothing
		return nil
	}
	return err
}

// A Report is what Check found.
type Report struct {
	Segments int
	Groups   int
	Queues   []store.Info
	Problems []string // damage
	Cut      []string // unfinished writes that a start will cut off, which is no damage
}

// Check reads all of a journal and verifies every checksum. It changes nothing; no process
// may have the journal open.
func Check(cfg Config) (*Report, error) {
	j := newJournal(cfg)
	lock, err := j.fs.Lock(lockName)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer lock.Close()
	r := &recovery{j: j, deep: true}
	err = r.run()
	defer func() {
		for _, s := range j.segments {
			_ = s.file.Close()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	rep := &Report{Segments: len(j.segments), Groups: r.groups, Problems: r.problems, Cut: r.cut}
	rep.Queues, err = j.Queues()
	return rep, err
}
