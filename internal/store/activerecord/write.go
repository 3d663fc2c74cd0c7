package activerecord

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"

	"stompserver/internal/store"
)

// errBad has the pool throw a connection away.
var errBad = driver.ErrBadConn

// isThere reports whether err says that an index exists already.
func isThere(err error) bool {
	var my *mysqldriver.MySQLError
	return errors.As(err, &my) && my.Number == 1061
}

// A group is what one Write does.
type group struct {
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

// Write implements store.Backend.
func (s *Store) Write(rs []store.Record) error {
	if len(rs) == 0 {
		return nil
	}
	g := s.sort(rs)
	s.group++
	tried := false
	err := s.withConn(func(ctx context.Context) error {
		if tried {
			// The connection was lost, perhaps with the answer to a COMMIT.
			var n int64
			err := s.conn.QueryRowContext(ctx, "SELECT last FROM stompserver_queues WHERE name = "+s.d.param(1), []byte(groupName)).Scan(&n)
			if err == nil && uint64(n) == s.group || lost(err) {
				return err
			}
		}
		tried = true
		return s.inTransaction(ctx, func() error { return s.apply(ctx, g) })
	})
	if err != nil {
		if full(err) {
			return fmt.Errorf("%s: %w: %w", s.cfg.Database, store.ErrFull, err)
		}
		return fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range g.states {
		s.queues[name] = st
	}
	return nil
}

// withConn does something with the connection that writes, and gets another one if it is lost.
func (s *Store) withConn(do func(ctx context.Context) error) error {
	return s.again(func(ctx context.Context) error {
		if s.conn == nil {
			err := s.connect(ctx)
			if errors.Is(err, ErrInUse) {
				// The database may not know yet that our own last connection is gone.
				return fmt.Errorf("%w: %w", errBad, err)
			}
			if err != nil {
				return err
			}
		}
		err := do(ctx)
		if lost(err) {
			s.disconnect()
		}
		return err
	})
}

// sort gathers what is to be done into few statements. Puts can go before everything else and
// acks behind it, but for a put that an ack before it would remove: that begins a phase.
func (s *Store) sort(rs []store.Record) *group {
	p := newPhase()
	g := &group{phases: []*phase{p}, states: make(map[string]state)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs {
		st, ok := g.states[r.Queue]
		if !ok {
			st = s.queues[r.Queue]
			g.states[r.Queue] = st
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
			p.acks[r.Queue] = append(p.acks[r.Queue], span{r.Seq, r.Last})
			p.acked[r.Queue] = max(p.acked[r.Queue], r.Last)
		case store.RecordMark:
			st.marked = r.Seq
		}
		g.states[r.Queue] = st
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

func (s *Store) apply(ctx context.Context, g *group) error {
	for _, p := range g.phases {
		if err := s.applyPhase(ctx, p); err != nil {
			return err
		}
	}
	if err := s.saveStates(ctx, g.states); err != nil {
		return err
	}
	return s.exec(ctx, s.d.upsert, []byte(groupName), int64(s.group), int64(0))
}

func (s *Store) applyPhase(ctx context.Context, p *phase) error {
	if err := s.insert(ctx, p.puts); err != nil {
		return err
	}
	for _, r := range p.attempts {
		if err := s.exec(ctx, "UPDATE ar_messages SET attempts = "+s.d.param(1)+" WHERE queue = "+s.d.param(2)+" AND seq = "+s.d.param(3), int64(r.Attempts), []byte(r.Queue), int64(r.Seq)); err != nil {
			return err
		}
	}
	for name, spans := range p.acks {
		if err := s.remove(ctx, name, merge(spans)); err != nil {
			return err
		}
	}
	return nil
}

// chunks are how many rows one statement has: few sizes, so that each is prepared once.
var chunks = []int{256, 32, 4, 1}

const columns = 6

func (s *Store) insert(ctx context.Context, puts []store.Record) error {
	args := make([]any, 0, chunks[0]*columns)
	for len(puts) > 0 {
		n := fit(len(puts))
		size := 0
		for i, r := range puts[:n] { // MySQL bounds a statement, its escapes included
			if size += 2*r.Msg.Size() + 1024; s.maxSize > 0 && size > s.maxSize && i > 0 {
				n = fit(i)
				break
			}
		}
		args = args[:0]
		for _, r := range puts[:n] {
			frame, id, record := s.row(r)
			args = append(args, id, frame, []byte(r.Queue), int64(r.Seq), int64(r.Attempts), record)
		}
		var b strings.Builder
		b.WriteString("INSERT INTO ar_messages (stomp_id, frame, queue, seq, attempts, stored) VALUES ")
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("(" + s.d.place(i*columns+1, columns) + ")")
		}
		if err := s.exec(ctx, b.String(), args...); err != nil {
			return err
		}
		puts = puts[n:]
	}
	return nil
}

// fit is the largest chunk that n rows fill.
func fit(n int) int {
	for _, c := range chunks {
		if c <= n {
			return c
		}
	}
	return 1
}

func (s *Store) remove(ctx context.Context, queue string, spans []span) error {
	var single []store.Seq
	for _, sp := range spans {
		if sp.first == sp.last {
			single = append(single, sp.first)
			continue
		}
		if err := s.exec(ctx, "DELETE FROM ar_messages WHERE queue = "+s.d.param(1)+" AND seq BETWEEN "+s.d.param(2)+" AND "+s.d.param(3), []byte(queue), int64(sp.first), int64(sp.last)); err != nil {
			return err
		}
	}
	for len(single) > 0 {
		n := fit(len(single))
		args := []any{[]byte(queue)}
		for _, seq := range single[:n] {
			args = append(args, int64(seq))
		}
		if err := s.exec(ctx, "DELETE FROM ar_messages WHERE queue = "+s.d.param(1)+" AND seq IN ("+s.d.place(2, n)+")", args...); err != nil {
			return err
		}
		single = single[n:]
	}
	return nil
}

func (s *Store) saveStates(ctx context.Context, states map[string]state) error {
	for name, st := range states {
		if err := s.exec(ctx, s.d.upsert, []byte(name), int64(st.last), int64(st.marked)); err != nil {
			return err
		}
	}
	return nil
}

// exec runs one statement of the connection that writes. It is prepared once.
func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	if s.d.driver != "sqlite" { // pgx does it by itself, and MySQL is given the values in the text
		_, err := s.conn.ExecContext(ctx, query, args...)
		return err
	}
	st := s.stmts[query]
	if st == nil {
		var err error
		if st, err = s.conn.PrepareContext(ctx, query); err != nil {
			return err
		}
		s.stmts[query] = st
	}
	_, err := st.ExecContext(ctx, args...)
	return err
}

// inTransaction does all of it, or nothing.
func (s *Store) inTransaction(ctx context.Context, do func() error) error {
	begin := "BEGIN"
	if s.cfg.Database.Adapter == sqlite {
		begin = "BEGIN IMMEDIATE"
	}
	if _, err := s.conn.ExecContext(ctx, begin); err != nil {
		return err
	}
	err := do()
	if err == nil {
		if _, err = s.conn.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	if _, e := s.conn.ExecContext(ctx, "ROLLBACK"); e != nil && !lost(err) && !strings.Contains(e.Error(), "no transaction") {
		s.disconnect() // what it was left in is not known
	}
	return err
}
