package activerecord

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"stompserver/internal/store"
)

// apply does a group a statement at a time, within a transaction.
func (s *Store) apply(ctx context.Context, g *group) error {
	for _, p := range g.phases {
		if err := s.applyPhase(ctx, g, p); err != nil {
			return err
		}
	}
	return s.saveStates(ctx, g.states)
}

func (s *Store) applyPhase(ctx context.Context, g *group, p *phase) error {
	for _, puts := range p.puts {
		if err := s.insert(ctx, puts); err != nil {
			return err
		}
	}
	for _, r := range p.attempts {
		rows, copies := s.has(g, r.Queue, r.Seq)
		if rows {
			if err := s.exec(ctx, s.d.bind(triedRow), int64(r.Attempts), []byte(r.Queue), int64(r.Seq)); err != nil {
				return err
			}
		}
		if copies {
			if err := s.exec(ctx, s.d.bind(triedCopy), int64(r.Attempts), []byte(r.Queue), int64(r.Seq)); err != nil {
				return err
			}
		}
	}
	for name, spans := range p.acks {
		spans = merge(spans)
		kept := s.keptOf(name, spans)
		rows, copies := s.has(g, name, spans[0].first)
		if rows {
			if err := s.remove(ctx, name, spans, kept); err != nil {
				return err
			}
		}
		if copies {
			if err := s.removeCopies(ctx, name, spans, kept); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	triedRow  = "UPDATE ar_messages SET attempts = ? WHERE queue = ? AND seq = ?"
	triedCopy = "UPDATE stompserver_copies SET attempts = ? WHERE queue = ? AND seq = ?"
)

// has reports whether a queue may have rows, and copies, from seq on, when g is done.
func (s *Store) has(g *group, queue string, seq store.Seq) (rows, copies bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state(g, queue)
	return seq <= st.row || seq > st.copied, seq <= st.copied
}

// mostRows is how many rows one statement has. Those that are prepared are there for each number of rows.
const mostRows = 64

const (
	putColumns = "stomp_id, frame, queue, seq, size, attempts, stored, checksum"
	putCount   = 8
	putBytes   = 4 << 20 // of one INSERT, if it has several rows
)

func (s *Store) insert(ctx context.Context, p puts) error {
	if p.once {
		return s.insertOnce(ctx, p.rs)
	}
	puts := p.rs
	texts := make([]text, 0, min(len(puts), mostRows)) // that were made, of the first puts
	most := putBytes
	if s.statement > 0 {
		most = min(most, s.statement/4) // escapes double it
	}
	for len(puts) > 0 {
		n := min(len(puts), mostRows)
		size := 0
		for i := 0; i < n; i++ {
			if i == len(texts) {
				texts = append(texts, s.text(&puts[i]))
			}
			if size += texts[i].size() + 200; size > most && i > 0 {
				n = i
			}
		}
		if err := s.insertRows(ctx, puts[:n], texts); err != nil {
			return err
		}
		puts, texts = puts[n:], texts[n:]
	}
	return nil
}

func (s *Store) insertRows(ctx context.Context, puts []store.Record, texts []text) error {
	args := make([]any, 0, len(puts)*putCount)
	var b strings.Builder
	b.WriteString("INSERT INTO ar_messages (" + putColumns + ") VALUES ")
	for i := range puts {
		r, t := &puts[i], &texts[i]
		args = append(args, t.stompID, t.frame, []byte(r.Queue), int64(r.Seq), int64(r.Msg.Size()), int64(r.Attempts), t.stored, t.checksum)
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + s.d.place(i*putCount+1, putCount) + ")")
	}
	if s.bundle != nil && len(puts) >= preparedFrom {
		return s.bundle.apart(ctx, b.String(), args)
	}
	return s.exec(ctx, b.String(), args...)
}

// remove removes spans of a queue, but not the rows that are kept.
func (s *Store) remove(ctx context.Context, queue string, spans []span, kept []int64) error {
	return s.eachSpan(queue, spans, func(seqs string, args []any) error {
		return s.exec(ctx, s.d.bind("DELETE FROM ar_messages WHERE queue = ? AND ("+seqs+")"+butThese("id", kept)), args...)
	})
}

// butThese is what keeps rows with these ids out of a condition.
func butThese(column string, ids []int64) string {
	if len(ids) == 0 {
		return ""
	}
	return " AND " + column + " NOT IN (" + strings.Join(strings.Fields(strings.Trim(fmt.Sprint(ids), "[]")), ", ") + ")"
}

// eachSpan does something with spans of a queue, as a condition on seq, and the queue and values for it. Few
// conditions are different.
func (s *Store) eachSpan(queue string, spans []span, do func(seqs string, args []any) error) error {
	var single, runs []any // seqs; first and last of each run
	for _, sp := range spans {
		if sp.first == sp.last {
			single = append(single, int64(sp.first))
		} else {
			runs = append(runs, int64(sp.first), int64(sp.last))
		}
	}
	for len(runs) > 0 {
		n := min(len(runs)/2, mostRows)
		if s.d.prepares {
			n = 1
		}
		if err := do("seq BETWEEN ? AND ?"+strings.Repeat(" OR seq BETWEEN ? AND ?", n-1), append([]any{[]byte(queue)}, runs[:2*n]...)); err != nil {
			return err
		}
		runs = runs[2*n:]
	}
	for len(single) > 0 {
		n := min(len(single), mostRows)
		if err := do("seq IN (?"+strings.Repeat(", ?", n-1)+")", append([]any{[]byte(queue)}, single[:n]...)); err != nil {
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

// exec runs one statement of the connection that writes.
func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	if s.bundle != nil {
		return s.bundle.add(ctx, query, args)
	}
	_, err := s.run(ctx, query, args...)
	return err
}

// run is exec of what is not to be gathered.
func (s *Store) run(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if !s.d.prepares { // pgx does it by itself, and MySQL is given the values in the text
		return s.conn.ExecContext(ctx, query, args...)
	}
	return s.prepared(ctx, query, args...)
}

// prepared runs a statement that is prepared once.
func (s *Store) prepared(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st := s.stmts[query]
	if st == nil {
		var err error
		if st, err = s.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		if len(s.stmts) < mostPrepared {
			s.stmts[query] = st
		} else { // one that names damaged rows
			defer st.Close()
		}
	}
	return st.ExecContext(ctx, args...)
}

const mostPrepared = 6 * mostRows // rows and copies are put, and each is removed one by one or in runs

// inTransaction does all of it, or nothing.
func (s *Store) inTransaction(ctx context.Context, do func() error) error {
	if _, err := s.run(ctx, s.d.begin); err != nil {
		return err
	}
	return s.end(ctx, do())
}

// end commits a transaction, or undoes it if err is not nil.
func (s *Store) end(ctx context.Context, err error) error {
	if err == nil {
		if _, err = s.run(ctx, "COMMIT"); err == nil {
			return nil
		}
		err = &commitError{err}
	}
	if kindOf(err) == lost {
		return err // and the transaction with it
	}
	// SQLite has rolled back by itself after some errors, and then says that there is nothing to
	// do. Whatever else it is: what the connection was left in is not known.
	if _, e := s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); e != nil && (!s.d.prepares || kindOf(e) != final) {
		s.disconnect()
	}
	return err
}
