package activerecord

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"time"
)

// The table stompserver_server has one row: who has the database, and the number of its last
// Write. Each Write changes it, if it is as the Write before left it, and fails otherwise. So
// it is proved that nobody else has written, and known what became of a COMMIT whose answer
// was lost.
const serverTable = `CREATE TABLE IF NOT EXISTS stompserver_server (id integer NOT NULL PRIMARY KEY, owner varchar(255) NOT NULL, writes bigint NOT NULL)`

// newOwner names this process, for the one who comes second, and this Open of it.
func newOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return fmt.Sprintf("process %d on %.100s, since %s, %s", os.Getpid(), host, time.Now().UTC().Format("2006-01-02 15:04:05 UTC"), rand.Text()[:8])
}

// What a server that was killed leaves is noticed by the database a moment later.
const (
	lockTries = 20
	lockPause = 100 * time.Millisecond
)

// connect takes the connection that writes, and with it the lock. Alone is for Open: nobody
// else's claim is there yet that could be ours.
func (s *Store) connect(ctx context.Context) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	if err := s.hold(ctx, c); err != nil {
		discard(c)
		return err
	}
	s.conn, s.stmts = c, make(map[string]*sql.Stmt)
	return nil
}

func (s *Store) hold(ctx context.Context, c *sql.Conn) error {
	if s.d.lock != nil {
		if err := s.take(ctx, c); err != nil {
			return err
		}
		if err := c.QueryRowContext(ctx, s.d.me).Scan(&s.session); err != nil {
			return err
		}
	}
	s.longest = s.d.longest
	if s.d.limit == nil {
		return nil
	}
	n, err := s.d.limit(ctx, c)
	if err != nil {
		return err
	}
	s.statement = n
	s.longest = min(s.longest, n-64<<10)
	return nil
}

// take takes the lock. Once we have signed it is ours to take back from the connection that
// was lost, and that the database may not know to be gone.
func (s *Store) take(ctx context.Context, c *sql.Conn) error {
	for try := 0; ; try++ {
		ok, err := s.d.lock(ctx, c)
		if ok || err != nil {
			return err
		}
		owner, _, err := s.signed(ctx, c)
		switch {
		case !s.claimed && try == lockTries:
			return inUse(owner)
		case !s.claimed:
			time.Sleep(lockPause)
			continue
		case err != nil:
			return err
		case owner != s.owner:
			return takenBy(owner)
		case try > 0:
			return errHeld
		}
		if err := s.endOld(ctx, c); err != nil {
			return err
		}
	}
}

// endOld ends our connection that was lost.
func (s *Store) endOld(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, s.d.bind(s.d.end), s.session)
	if kindOf(err) == lost {
		return err
	}
	return nil // it is gone already, or it is seen at the lock that it is not
}

func inUse(owner string) error {
	if owner != "" {
		owner = " (" + owner + ")"
	}
	return fmt.Errorf("%w%s: stop that one, or give this one a database of its own", ErrInUse, owner)
}

func takenBy(owner string) error {
	return fmt.Errorf("%w while there was no connection (%s): what it wrote is not known here. Stop one of the two", errTaken, owner)
}

// signed tells who has signed, and the number of the last Write; nobody is no error.
func (s *Store) signed(ctx context.Context, c *sql.Conn) (owner string, writes int64, err error) {
	err = c.QueryRowContext(ctx, "SELECT owner, writes FROM stompserver_server WHERE id = 1").Scan(&owner, &writes)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return owner, writes, err
}

// claim signs.
func (s *Store) claim(ctx context.Context) error {
	owner, writes, err := s.signed(ctx, s.conn)
	if err != nil {
		return err
	}
	if owner == "" {
		err = s.exec(ctx, s.d.bind("INSERT INTO stompserver_server (id, owner, writes) VALUES (1, ?, ?)"), s.owner, writes)
	} else {
		err = s.exec(ctx, s.d.bind("UPDATE stompserver_server SET owner = ? WHERE id = 1"), s.owner)
	}
	s.writes, s.claimed = writes, err == nil
	return err
}

// proved reports whether Write number n is done, and fails unless it and the one before it
// are the last that there were.
func (s *Store) proved(ctx context.Context, n int64) (done bool, err error) {
	owner, writes, err := s.signed(ctx, s.conn)
	switch {
	case err != nil:
		return false, err
	case owner != s.owner:
		return false, takenBy(owner)
	case writes != n && writes != n-1:
		return false, fmt.Errorf("%w: the last write has the number %d, and not %d; was it restored from a copy?", errTaken, writes, n-1)
	}
	return writes == n, nil
}

// fence is the first change of each Write. It fails if the Write before is not the last.
func (s *Store) fence(ctx context.Context, n int64) error {
	res, err := s.run(ctx, s.d.bind(fenceText), n, s.owner, n-1)
	if err != nil {
		return err
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return errors.Join(errStale, err)
	}
	return nil
}

const fenceText = "UPDATE stompserver_server SET writes = ? WHERE id = 1 AND owner = ? AND writes = ?"

// disconnect gives the connection up for good.
func (s *Store) disconnect() {
	if s.conn == nil {
		return
	}
	for _, st := range s.stmts {
		_ = st.Close()
	}
	discard(s.conn)
	s.conn, s.stmts = nil, nil
}

// discard has the pool throw a connection away, which may be in the middle of something.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
}

// withConn does something with the connection that writes, and gets another one if it is lost.
func (s *Store) withConn(do func(ctx context.Context) error) error { return s.withConnWhile(nil, do) }

func (s *Store) withConnWhile(unsure func() bool, do func(ctx context.Context) error) error {
	return s.againWhile(unsure, func(ctx context.Context) error {
		if s.conn == nil {
			if err := s.connect(ctx); err != nil {
				return err
			}
		}
		err := do(ctx)
		if kindOf(err) == lost {
			s.disconnect()
		}
		return err
	})
}
