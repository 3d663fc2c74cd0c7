package journal

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

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
