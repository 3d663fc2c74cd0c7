package activerecord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// A group is what one Write does.
type group struct {
	number int64    // of the Write
	phases []*phase // mostly one
	states map[string]state
}

// A phase is done in the order of its fields.
type phase struct {
	puts     []store.Record
	attempts []store.Record
	acks     map[string][]span
	acked    map[string]store.Seq // the highest of acks
}

func newPhase() *phase {
	return &phase{acks: make(map[string][]span), acked: make(map[string]store.Seq)}
}

// A span is a run of seqs to be removed.
type span struct{ first, last store.Seq }

// Write implements store.Backend. Where the disk is ours to keep room on, acks go on when it is full.
func (s *Store) Write(rs []store.Record) error {
	if len(rs) == 0 {
		return nil
	}
	if s.reserve == nil {
		return s.write(rs)
	}
	puts := slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut })
	if puts {
		// Free pages are as good. An error of another kind says that there can be no reserve.
		if err := s.reserve.Keep(); err != nil && vfs.IsFull(err) {
			free, e := s.free()
			if e != nil {
				return e
			}
			if free < reserveSize+2*sizeOfPuts(rs) {
				return fmt.Errorf("%s: %w: %w", s.cfg.Database, store.ErrFull, err)
			}
		}
	}
	err := s.write(rs)
	if !puts && errors.Is(err, store.ErrFull) {
		more := s.reserve.Give()
		moved, e := s.emptyLog()
		if e != nil {
			return e
		}
		if more || moved {
			err = s.write(rs)
		}
	}
	return err
}

// free is how many bytes of SQLite's file hold nothing.
func (s *Store) free() (bytes int64, err error) {
	err = s.withConn(func(ctx context.Context) error {
		var pages, size int64
		err := s.conn.QueryRowContext(ctx, "SELECT f.freelist_count, p.page_size FROM pragma_freelist_count f, pragma_page_size p").Scan(&pages, &size)
		bytes = pages * size
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	return bytes, err
}

func sizeOfPuts(rs []store.Record) (n int64) {
	for i := range rs {
		if rs[i].Kind == store.RecordPut {
			n += int64(rs[i].Msg.Size())
		}
	}
	return n
}

// emptyLog gives back what SQLite's write-ahead log takes, if there is room for what it has.
func (s *Store) emptyLog() (done bool, err error) {
	err = s.withConn(func(ctx context.Context) error {
		var busy, pages, moved int
		err := s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
		done = err == nil && busy == 0
		return err
	})
	switch {
	case err == nil || kindOf(err) == full:
		return done, nil
	default:
		return false, fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
}

func (s *Store) write(rs []store.Record) error {
	if refused := s.tooLarge(rs); refused != nil {
		return refused
	}
	g := s.sort(rs)
	err := s.commit(g)
	if kindOf(err) == unfit {
		err = s.singleOut(rs, err)
	}
	var refused *store.RefusedError
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, store.ErrAway):
		return err
	case kindOf(err) == full:
		return fmt.Errorf("%s: %w: %w", s.cfg.Database, store.ErrFull, err)
	case err != nil:
		return fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range g.states {
		s.queues[name] = st
	}
	return nil
}

// commit does g, once, however often the connection is lost meanwhile, perhaps with the answer
// to a COMMIT.
func (s *Store) commit(g *group) error {
	g.number = s.writes + 1
	unsure, tried := false, false // whether it is done
	err := s.withConnWhile(func() bool { return unsure }, func(ctx context.Context) error {
		if tried {
			done, err := s.proved(ctx, g.number)
			if err != nil || done {
				return err
			}
			unsure = false
		}
		tried = true
		err := s.do(ctx, g)
		var ended *commitError
		unsure = errors.As(err, &ended)
		return err
	})
	if err == nil {
		s.writes = g.number
	}
	return err
}

func (s *Store) do(ctx context.Context, g *group) error {
	if s.d.batch != nil {
		return s.d.batch(ctx, s, g)
	}
	return s.inOrder(ctx, g)
}

// inOrder does g a statement at a time.
func (s *Store) inOrder(ctx context.Context, g *group) error {
	return s.inTransaction(ctx, func() error {
		if err := s.fence(ctx, g.number); err != nil {
			return err
		}
		return s.apply(ctx, g)
	})
}

// A commitError is of a COMMIT: it may have been done.
type commitError struct{ err error }

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// sort gathers what is to be done into few statements. Puts can go before everything else and
// acks behind it, but for a put that an ack before it would remove: that begins a phase.
func (s *Store) sort(rs []store.Record) *group {
	p := newPhase()
	g := &group{phases: []*phase{p}, states: make(map[string]state)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs {
		if s.d.name > 0 && len(r.Queue) > s.d.name {
			continue // a mark or the like: it has no messages
		}
		st, ok := g.states[r.Queue]
		if !ok {
			st = s.queues[r.Queue]
		}
		switch r.Kind {
		case store.RecordPut:
			if r.Seq <= p.acked[r.Queue] {
				p = newPhase()
				g.phases = append(g.phases, p)
			}
			p.puts = append(p.puts, r)
			st.last = max(st.last, r.Seq)
		case store.RecordAttempts:
			p.attempts = append(p.attempts, r)
		case store.RecordAck:
			last := min(r.Last, st.last) // behind it there never was one
			if r.Seq <= last {
				p.acks[r.Queue] = append(p.acks[r.Queue], span{r.Seq, last})
				p.acked[r.Queue] = max(p.acked[r.Queue], last)
			}
		case store.RecordMark:
			st.marked = r.Seq
		}
		if ok || st != s.queues[r.Queue] {
			g.states[r.Queue] = st
		}
	}
	return g
}

// merge puts spans in order, and those together that follow each other.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	all := spans[:1]
	for _, sp := range spans[1:] {
		if end := &all[len(all)-1]; sp.first <= end.last+1 {
			end.last = max(end.last, sp.last)
		} else {
			all = append(all, sp)
		}
	}
	return all
}

// keptOf are the ids of damaged rows within spans: nobody has acked those.
func (s *Store) keptOf(queue string, spans []span) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []int64{} // an array without one, to PostgreSQL, and not NULL
	for _, d := range s.damaged[queue] {
		if slices.ContainsFunc(spans, func(sp span) bool { return d.seq >= int64(sp.first) && d.seq <= int64(sp.last) }) {
			ids = append(ids, d.id)
		}
	}
	return ids
}

// grows is how many bytes YAML makes of one at most, \u2028 being three already.
const grows = 4

// tooLarge names the messages that no row can hold.
func (s *Store) tooLarge(rs []store.Record) error {
	refused := &store.RefusedError{}
	for i := range rs {
		r := &rs[i]
		if r.Kind != store.RecordPut {
			continue
		}
		switch {
		case s.d.name > 0 && len(r.Queue) > s.d.name:
			refused.Err = fmt.Errorf("the name of the queue has %d bytes, and may have %d", len(r.Queue), s.d.name)
		case 2*grows*r.Msg.Size()+1024 < s.longest:
			continue
		default:
			size := s.long(r).size()
			if size+1024 < s.longest {
				continue
			}
			refused.Err = fmt.Errorf("the message takes %d bytes as a row, and the database takes %d", size, s.longest-1024)
		}
		refused.Records = append(refused.Records, i)
	}
	if len(refused.Records) == 0 {
		return nil
	}
	return refused
}

// singleOut finds out which messages the database does not take, one by one, and leaves none.
func (s *Store) singleOut(rs []store.Record, err error) error {
	refused := &store.RefusedError{}
	for i := range rs {
		if rs[i].Kind != store.RecordPut {
			continue
		}
		e := s.withConn(func(ctx context.Context) error {
			err := s.inTransaction(ctx, func() error {
				if err := s.insert(ctx, rs[i:i+1]); err != nil {
					return err
				}
				return errUndo
			})
			if errors.Is(err, errUndo) {
				return nil
			}
			return err
		})
		switch {
		case e == nil:
		case kindOf(e) != unfit:
			return e
		default:
			refused.Records, refused.Err = append(refused.Records, i), e
		}
	}
	if len(refused.Records) == 0 {
		return err
	}
	return refused
}

var errUndo = errors.New("it was for a trial")
