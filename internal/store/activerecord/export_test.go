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
		if err != nil {
			return err
		}
		s.disconnect()
		return &commitError{sql.ErrConnDone}
	}
	d.batch = func(ctx context.Context, s *Store, g *group) error {
		s.d = was
		if !done {
			return broken(nil)
		}
		return broken(s.do(ctx, g))
	}
}

// KindOf is kindOf, by name.
func KindOf(err error) string {
	return [...]string{"final", "lost", "again", "full", "unfit"}[kindOf(err)]
}

// HandleOf is handleOf.
func HandleOf(conn any) uintptr { return handleOf(conn) }
