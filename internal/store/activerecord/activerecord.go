// Package activerecord keeps queues in the table of the Ruby server, ar_messages, in SQLite,
// PostgreSQL or MySQL. A row is a message: frame is the YAML that a Rails model with
// "serialize :frame" reads, stomp_id the message-id in the form of the Ruby server.
//
// Four columns are added, which may be NULL, so that the Ruby server can still write: queue
// and seq order the messages; attempts is how often one was handed out; stored is its stored
// form (message.AppendRecord), for the few that YAML cannot tell whole, such as those with a
// header twice. Rows without a queue are taken over at the start, in the order of their id.
// The table stompserver_queues has the highest seq used and the mark of each queue, and two
// rows of our own: "floor", which no forgotten queue had a seq above, and "group", the number
// of the last Write.
package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"stompserver/internal/message"
	"stompserver/internal/ruby/messageid"
	"stompserver/internal/store"
)

// Config says where the table is. The zero value of each field but Database is its default.
type Config struct {
	Database Database

	// StartDamaged has rows that are no frames left out, with a warning. Otherwise one is
	// an error.
	StartDamaged bool

	// NoSync has Write return before the disk confirms it, where the database can do that
	// for one client (MySQL cannot); Sync is to be called.
	NoSync bool

	// Patience is how long a database that is away is waited for; default one minute.
	Patience time.Duration

	Log *slog.Logger // default: none
}

// A Store is a store.Backend.
type Store struct {
	cfg  Config
	d    *dialect
	db   *sql.DB
	host string // in stomp_id
	lock io.Closer

	// What follows belongs to Write.
	conn    *sql.Conn // holds the lock of the database; nil when it was lost
	stmts   map[string]*sql.Stmt
	maxSize int // of a statement in bytes; 0: no limit
	group   uint64

	mu     sync.Mutex // guards what follows
	queues map[string]state
	floor  store.Seq
}

// A state is what stompserver_queues has of a queue.
type state struct{ last, marked store.Seq }

var (
	_ store.Backend = (*Store)(nil)
	_ store.Syncer  = (*Store)(nil)
)

const (
	floorName = "floor"
	groupName = "group"
)

// ErrInUse says that another server works with the table.
var ErrInUse = errors.New("another server uses it: stop that one, or give this one a database of its own")

// Open connects to the database, and makes the tables that are missing.
func Open(cfg Config) (_ *Store, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	d := dialects[cfg.Database.Adapter]
	if d == nil {
		return nil, fmt.Errorf("adapter %q is not known", cfg.Database.Adapter)
	}
	s := &Store{cfg: cfg, d: d, host: messageid.Host(), queues: make(map[string]state)}
	defer func() {
		if err != nil {
			_ = s.close()
			err = fmt.Errorf("%s: %w", cfg.Database, err)
		}
	}()
	if d.lock == nil {
		if s.lock, err = lockFile(cfg.Database); err != nil {
			return nil, err
		}
	}
	if s.db, err = sql.Open(d.driver, d.dsn(cfg.Database, cfg.NoSync)); err != nil {
		return nil, err
	}
	ctx := context.Background()
	for _, step := range []func(context.Context) error{s.create, s.connect, s.load, s.adopt, s.forget} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// create makes tables, columns and index that are missing.
func (s *Store) create(ctx context.Context) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, text := range s.d.create {
		if _, err := c.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	if s.d.widen != "" {
		var kind string
		err := c.QueryRowContext(ctx, "SELECT DATA_TYPE FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'ar_messages' AND column_name = 'frame'").Scan(&kind)
		if err == nil && !strings.EqualFold(kind, "longtext") {
			_, err = c.ExecContext(ctx, s.d.widen)
		}
		if err != nil {
			return fmt.Errorf("the column frame, which is to hold frames of any size: %w", err)
		}
	}
	for i, name := range []string{"queue", "seq", "attempts", "stored"} {
		rows, err := c.QueryContext(ctx, "SELECT "+name+" FROM ar_messages WHERE 1 = 0")
		if err == nil {
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
			continue
		}
		if lost(err) {
			return err
		}
		if _, err := c.ExecContext(ctx, "ALTER TABLE ar_messages ADD COLUMN "+name+" "+s.d.columns[i]+" NULL"); err != nil {
			return fmt.Errorf("adding the column %s to ar_messages: %w", name, err)
		}
	}
	if _, err := c.ExecContext(ctx, s.d.index); err != nil && !isThere(err) {
		return err
	}
	return nil
}

// connect takes the connection that writes, and with it the lock.
func (s *Store) connect(ctx context.Context) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	ok := true
	if s.d.lock != nil {
		ok, err = s.d.lock(ctx, c, s.cfg.Database)
	}
	if err == nil && ok && s.d.maxSize != nil {
		s.maxSize, err = s.d.maxSize(ctx, c)
	}
	if err == nil && !ok {
		err = ErrInUse
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	s.conn, s.stmts = c, make(map[string]*sql.Stmt)
	return nil
}

// disconnect gives the connection up for good: the pool must not give it to others.
func (s *Store) disconnect() {
	if s.conn == nil {
		return
	}
	for _, st := range s.stmts {
		_ = st.Close()
	}
	_ = s.conn.Raw(func(any) error { return errBad })
	_ = s.conn.Close()
	s.conn, s.stmts = nil, nil
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
			return err
		}
		switch string(name) {
		case floorName:
			s.floor = store.Seq(last)
		case groupName:
			s.group = uint64(last)
		default:
			s.queues[string(name)] = state{store.Seq(last), store.Seq(marked)}
		}
	}
	return rows.Err()
}

// adopt gives rows that another program wrote a queue and a seq.
func (s *Store) adopt(ctx context.Context) error {
	type row struct {
		id    int64
		queue string
		seq   store.Seq
	}
	if err := s.adoptLast(ctx); err != nil {
		return err
	}
	for after, n := int64(-1<<62), 0; ; {
		rows, err := s.conn.QueryContext(ctx, "SELECT id, frame FROM ar_messages WHERE queue IS NULL AND id > "+s.d.param(1)+" ORDER BY id LIMIT 500", after)
		if err != nil {
			return err
		}
		var page []row
		read := 0
		for rows.Next() {
			read++
			var frame []byte
			if err := rows.Scan(&after, &frame); err != nil {
				return errors.Join(err, rows.Close())
			}
			m, err := parse(frame, "")
			if err != nil {
				err = fmt.Errorf("ar_messages: the row with id %d is damaged: %w", after, err)
				if !s.cfg.StartDamaged {
					return errors.Join(err, rows.Close())
				}
				s.cfg.Log.Warn("message left out", "err", err)
				continue
			}
			st := s.queues[m.Destination()]
			st.last = max(st.last, s.floor) + 1
			s.queues[m.Destination()] = st
			page = append(page, row{after, m.Destination(), st.last})
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if read == 0 {
			if n > 0 {
				s.cfg.Log.Info("messages taken over that another program wrote", "messages", n)
			}
			return nil
		}
		touched := make(map[string]state)
		err = s.inTransaction(ctx, func() error {
			for _, r := range page {
				touched[r.queue] = s.queues[r.queue]
				if err := s.exec(ctx, "UPDATE ar_messages SET queue = "+s.d.param(1)+", seq = "+s.d.param(2)+" WHERE id = "+s.d.param(3), []byte(r.queue), int64(r.seq), r.id); err != nil {
					return err
				}
			}
			return s.saveStates(ctx, touched)
		})
		if err != nil {
			return err
		}
		n += len(page)
	}
}

// adoptLast looks that no seq is used twice, whatever happened to the states.
func (s *Store) adoptLast(ctx context.Context) error {
	rows, err := s.conn.QueryContext(ctx, "SELECT queue, MAX(seq) FROM ar_messages WHERE queue IS NOT NULL GROUP BY queue")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var last int64
		if err := rows.Scan(&name, &last); err != nil {
			return err
		}
		st := s.queues[string(name)]
		st.last = max(st.last, store.Seq(last))
		s.queues[string(name)] = st
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
		if i.Name != "" && i.Count == 0 {
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
			if err := s.exec(ctx, "DELETE FROM stompserver_queues WHERE name = "+s.d.param(1), []byte(name)); err != nil {
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

// Queues implements store.Backend.
func (s *Store) Queues() (infos []store.Info, err error) {
	err = s.again(func(ctx context.Context) error {
		infos = nil
		rows, err := s.db.QueryContext(ctx, "SELECT queue, MIN(seq), COUNT(*), SUM(LENGTH(frame)) FROM ar_messages WHERE queue IS NOT NULL GROUP BY queue")
		if err != nil {
			return err
		}
		defer rows.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		seen := make(map[string]bool)
		for rows.Next() {
			var name []byte
			var first, count, size int64
			if err := rows.Scan(&name, &first, &count, &size); err != nil {
				return err
			}
			st := s.queues[string(name)]
			seen[string(name)] = true
			infos = append(infos, store.Info{Name: string(name), First: store.Seq(first), Last: st.last, Count: int(count),
				Bytes: size + count*message.Overhead, Marked: st.marked})
		}
		for name, st := range s.queues {
			if !seen[name] {
				infos = append(infos, store.Info{Name: name, Last: st.last, Marked: st.marked})
			}
		}
		if s.floor > 0 {
			infos = append(infos, store.Info{Last: s.floor})
		}
		return rows.Err()
	})
	return infos, err
}

// Read implements store.Backend.
func (s *Store) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	query := "SELECT id, seq, stomp_id, frame, attempts, stored FROM ar_messages WHERE queue = " + s.d.param(1) + " AND seq > " + s.d.param(2) + " ORDER BY seq LIMIT " + s.d.param(3)
	begin := len(dst)
	err = s.again(func(ctx context.Context) error {
		dst, more = dst[:begin], false
		rows, err := s.db.QueryContext(ctx, query, []byte(queue), int64(after), max+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		n, left := 0, size
		for rows.Next() {
			if n++; n > max || left <= 0 {
				more = true
				return nil
			}
			var id, seq int64
			var stompID string
			var frame, record sql.RawBytes
			var attempts sql.NullInt64
			if err := rows.Scan(&id, &seq, &stompID, &frame, &attempts, &record); err != nil {
				return err
			}
			m, err := parseRow(frame, stompID, record)
			if err != nil {
				err = fmt.Errorf("%s: ar_messages: the row with id %d is damaged: %w", s.cfg.Database, id, err)
				if !s.cfg.StartDamaged {
					return err
				}
				s.cfg.Log.Warn("message left out", "err", err)
				continue
			}
			dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: store.Seq(seq), Msg: m, Attempts: uint32(attempts.Int64)})
			left -= int64(m.Size())
		}
		return rows.Err()
	})
	return dst, more, err
}

// again does something with the database until it works, or fails for another reason than a
// lost connection, or patience ends.
func (s *Store) again(do func(ctx context.Context) error) error {
	begin := time.Now()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := do(context.Background())
		if !lost(err) || time.Since(begin) > s.cfg.Patience {
			return err
		}
		s.cfg.Log.Warn("the database is away, and is tried again", "database", s.cfg.Database.String(), "err", err)
		time.Sleep(pause)
	}
}

// Sync makes durable what was written without.
func (s *Store) Sync() error {
	if !s.cfg.NoSync {
		return nil
	}
	return s.withConn(func(ctx context.Context) error {
		switch s.cfg.Database.Adapter {
		case sqlite:
			_, err := s.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(FULL)")
			return err
		case postgresql: // a commit that waits for the disk takes those before it along
			return s.inTransaction(ctx, func() error {
				if _, err := s.conn.ExecContext(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
					return err
				}
				return s.exec(ctx, s.d.upsert, []byte(groupName), int64(s.group), int64(0))
			})
		}
		return nil
	})
}

// Close implements store.Backend.
func (s *Store) Close() error {
	var err error
	if s.conn != nil {
		err = s.Sync()
	}
	return errors.Join(err, s.close())
}

func (s *Store) close() error {
	var err error
	s.disconnect()
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
