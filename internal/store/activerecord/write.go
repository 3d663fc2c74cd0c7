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
	puts     []puts
	attempts []store.Record
	acks     map[string][]span
	acked    map[string]store.Seq // the highest of acks
}

func newPhase() *phase {
	return &phase{acks: make(map[string][]span), acked: make(map[string]store.Seq)}
}

// puts are rows each, or are, of which once says that, one row and its copies.
type puts struct {
	rs   []store.Record
	once bool
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
	s.announce(g)
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

// announce has those who read look for copies and rows where they may be once g is done.
func (s *Store) announce(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range g.states {
		if was := s.queues[name]; st.row > was.row || st.copied > was.copied {
			was.row, was.copied = st.row, st.copied
			s.queues[name] = was
		}
	}
}

// sort gathers what is to be done into few statements. Puts can go before everything else and
// acks behind it, but for a put that an ack before it would remove: that begins a phase.
func (s *Store) sort(rs []store.Record) *group {
	g := &group{phases: []*phase{newPhase()}, states: make(map[string]state)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(rs) > 0 {
		r := &rs[0]
		n := 1
		switch {
		case s.d.name > 0 && len(r.Queue) > s.d.name: // a mark or the like: it has no messages
		case r.Kind == store.RecordPut:
			once := s.once(rs)
			n = max(n, once)
			s.addPuts(g, rs[:n], once > 0)
		default:
			s.add(g, r)
		}
		rs = rs[n:]
	}
	return g
}

// state is what a queue has come to in g. Called with mu held.
func (s *Store) state(g *group, queue string) state {
	if st, ok := g.states[queue]; ok {
		return st
	}
	return s.queues[queue]
}

func (s *Store) addPuts(g *group, rs []store.Record, once bool) {
	p := g.phases[len(g.phases)-1]
	if slices.ContainsFunc(rs, func(r store.Record) bool { return r.Seq <= p.acked[r.Queue] }) {
		p = newPhase()
		g.phases = append(g.phases, p)
	}
	if last := len(p.puts) - 1; !once && last >= 0 && !p.puts[last].once {
		p.puts[last].rs = append(p.puts[last].rs, rs...)
	} else {
		p.puts = append(p.puts, puts{slices.Clip(rs), once}) // append copies it
	}
	for i := range rs {
		st := s.state(g, rs[i].Queue)
		st.last = max(st.last, rs[i].Seq)
		if once {
			st.copied = max(st.copied, rs[i].Seq)
		} else {
			st.row = max(st.row, rs[i].Seq)
		}
		g.states[rs[i].Queue] = st
	}
}

// add adds what is no put.
func (s *Store) add(g *group, r *store.Record) {
	p := g.phases[len(g.phases)-1]
	st := s.state(g, r.Queue)
	switch r.Kind {
	case store.RecordAttempts:
		p.attempts = append(p.attempts, *r)
	case store.RecordAck:
		last := min(r.Last, st.last) // behind it there never was one
		if r.Seq <= last {
			p.acks[r.Queue] = append(p.acks[r.Queue], span{r.Seq, last})
			p.acked[r.Queue] = max(p.acked[r.Queue], last)
		}
	case store.RecordMark:
		if st.marked != r.Seq {
			st.marked = r.Seq
			g.states[r.Queue] = st
		}
	}
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
	for i, n := 0, 0; i < len(rs); i += n {
		r := &rs[i]
		once := s.once(rs[i:])
		if n = max(1, once); r.Kind != store.RecordPut {
			continue
		}
		if 2*grows*r.Msg.Size()+1024 >= s.longest {
			if size := s.sizeOf(r, once); size+1024 >= s.longest {
				refused.Err = fmt.Errorf("the message takes %d bytes as a row, and the database takes %d", size, s.longest-1024)
				for k := range n {
					refused.Records = append(refused.Records, i+k)
				}
				continue
			}
		}
		for k := range n {
			if name := rs[i+k].Queue; s.d.name > 0 && len(name) > s.d.name {
				refused.Err = fmt.Errorf("the name of the queue has %d bytes, and may have %d", len(name), s.d.name)
				refused.Records = append(refused.Records, i+k)
			}
		}
	}
	if len(refused.Records) == 0 {
		return nil
	}
	return refused
}

// singleOut finds out which messages the database does not take, one by one, and leaves none.
func (s *Store) singleOut(rs []store.Record, err error) error {
	refused := &store.RefusedError{}
	for i, n := 0, 0; i < len(rs); i += n {
		once := s.once(rs[i:])
		if n = max(1, once); rs[i].Kind != store.RecordPut {
			continue
		}
		e := s.withConn(func(ctx context.Context) error {
			err := s.inTransaction(ctx, func() error {
				if err := s.insert(ctx, puts{rs[i : i+n], once > 0}); err != nil {
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
			refused.Err = e
			for k := range n {
				refused.Records = append(refused.Records, i+k)
			}
		}
	}
	if len(refused.Records) == 0 {
		return err
	}
	return refused
}

var errUndo = errors.New("it was for a trial")
