package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"

	"stompserver/internal/store"
)

// added are the columns that ar_messages is given; their types are the dialect's.
var added = [...]string{"queue", "seq", "size", "attempts", "stored", "checksum"}

// create makes tables, columns and index that are missing. Called with the lock held.
func (s *Store) create(ctx context.Context) error {
	for _, text := range s.d.create {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	have, err := columnsOf(ctx, s.conn, "ar_messages")
	if err != nil {
		return err
	}
	for _, name := range []string{"id", "stomp_id", "frame"} {
		if !slices.Contains(have, name) {
			return fmt.Errorf("the table ar_messages has no column %s: it is not the Ruby server's", name)
		}
	}
	if s.d.settle != nil {
		if err := s.d.settle(ctx, s.conn, &s.cfg); err != nil {
			return err
		}
	}
	for i, name := range added {
		if slices.Contains(have, name) {
			continue
		}
		if _, err := s.conn.ExecContext(ctx, "ALTER TABLE ar_messages ADD COLUMN "+name+" "+s.d.columns[i]+" NULL"); err != nil {
			return fmt.Errorf("adding the column %s to ar_messages: %w", name, err)
		}
	}
	for _, text := range s.d.index {
		if _, err := s.conn.ExecContext(ctx, text); err != nil && !isThere(err) {
			return err
		}
	}
	return nil
}

// isThere reports whether err says that an index exists already.
func isThere(err error) bool {
	var my *mysqldriver.MySQLError
	return errors.As(err, &my) && my.Number == 1061
}

func columnsOf(ctx context.Context, c *sql.Conn, table string) ([]string, error) {
	rows, err := c.QueryContext(ctx, "SELECT * FROM "+table+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names, rows.Err()
}

// load reads the states.
func (s *Store) load(ctx context.Context) error {
	rows, err := s.conn.QueryContext(ctx, "SELECT name, last, marked FROM stompserver_queues")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var last, marked int64
		if err := rows.Scan(&name, &last, &marked); err != nil {
			return fmt.Errorf("stompserver_queues: %w", err)
		}
		if last < 0 || marked < 0 {
			return fmt.Errorf("stompserver_queues: the row of %q is damaged", name)
		}
		if string(name) == floorName {
			s.floor = store.Seq(last)
		} else {
			s.queues[string(name)] = state{last: store.Seq(last), marked: store.Seq(marked)}
		}
	}
	return rows.Err()
}

// forget drops the states of queues that are empty, but for the highest seq among them.
func (s *Store) forget(ctx context.Context) error {
	infos, err := s.Queues()
	if err != nil {
		return err
	}
	var empty []string
	floor := s.floor
	for _, i := range infos {
		if i.Name != "" && i.Count == 0 && len(s.damaged[i.Name]) == 0 {
			empty = append(empty, i.Name)
			floor = max(floor, i.Last)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	err = s.inTransaction(ctx, func() error {
		if err := s.exec(ctx, s.d.upsert, []byte(floorName), int64(floor), int64(0)); err != nil {
			return err
		}
		for _, name := range empty {
			if err := s.exec(ctx, s.d.bind("DELETE FROM stompserver_queues WHERE name = ?"), []byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = floor
	for _, name := range empty {
		delete(s.queues, name)
	}
	return nil
}
