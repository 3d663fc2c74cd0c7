package activerecord

import (
	"context"
	"database/sql"
)

// Sever has the connection that writes lost on this side alone: the database keeps it, and
// with it the lock. It returns what ends it there as well.
func (s *Store) Sever() (end func()) {
	c := s.conn
	s.conn, s.stmts = nil, nil
	return func() { discard(c) }
}

// LoseAnswer has the connection break in the next Write, before it or with the answer to its
// COMMIT.
func (s *Store) LoseAnswer(done bool) {
	was := s.d
	d := *was
	s.d = &d
	broken := func(err error) error {
		s.d = was
		if err != nil {
			return err
		}
		s.disconnect()
		return sql.ErrConnDone
	}
	d.batch = func(ctx context.Context, s *Store, g *group) error {
		if !done {
			return broken(nil)
		}
		if was.batch != nil {
			return broken(was.batch(ctx, s, g))
		}
		return broken(s.inTransaction(ctx, func() error {
			if err := s.fence(ctx, g.number); err != nil {
				return err
			}
			return s.apply(ctx, g)
		}))
	}
}

// KindOf is kindOf, by name.
func KindOf(err error) string {
	return [...]string{"final", "lost", "again", "full", "unfit"}[kindOf(err)]
}
