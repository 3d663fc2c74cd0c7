//go:build linux

package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	sqlite "modernc.org/sqlite" // its driver
)

// transactions tells how many the store has made durable, by what it writes down itself: the
// number of the transaction in bbolt's file, or that of the group in the database.
func (r *runner) transactions(ctx context.Context) (int64, error) {
	switch {
	case r.kind.key == "dbm":
		return boltTransactions(filepath.Join(r.dir, ".stompserver", "queues.db"))
	case r.kind.queue == "activerecord":
		db, err := r.sql()
		if err != nil {
			return 0, err
		}
		defer db.Close()
		var n int64
		err = db.QueryRowContext(ctx, "SELECT writes FROM stompserver_server WHERE id = 1").Scan(&n)
		return n, err
	}
	return 0, errors.New("it has no transactions")
}

// boltTransactions reads the newer of the two heads of a file of bbolt.
func boltTransactions(file string) (newest int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const txid = 16 + 48 // the head of a page, and what stands before it in the meta
	for i := range 2 {
		var b [8]byte
		if _, err := f.ReadAt(b[:], int64(i*os.Getpagesize())+txid); err != nil {
			return 0, err
		}
		newest = max(newest, int64(binary.NativeEndian.Uint64(b[:])))
	}
	return newest, nil
}

// sql opens the database of the store.
func (r *runner) sql() (*sql.DB, error) {
	if r.db != nil {
		return sql.Open(r.db.driver, r.db.dsn)
	}
	return sql.Open("sqlite", "file:"+filepath.Join(r.dir, ".stompserver", "stompserver_development")+"?_pragma=busy_timeout(10000)")
}

func (r *runner) param(i int) string {
	if r.kind.key == "postgresql" {
		return fmt.Sprintf("$%d", i)
	}
	return "?"
}

// A bare is the library below a store without the store: it puts rows of the same size, so
// many a transaction.
type bare interface {
	put(ctx context.Context, rows int) error
	Close() error
}

func (r *runner) bare(ctx context.Context) (bare, error) {
	if r.kind.key == "dbm" {
		return newBareBolt(filepath.Join(r.dir, "bare.db"))
	}
	return newBareSQL(ctx, r)
}

type bareBolt struct {
	*bbolt.DB
	n     uint64
	value []byte
}

var bareBucket = []byte("messages")

func newBareBolt(path string) (*bareBolt, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bareBucket); return err })
	return &bareBolt{DB: db, value: sendFrame("/queue/bench")}, err
}

func (b *bareBolt) put(_ context.Context, rows int) error {
	return b.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bareBucket)
		bucket.FillPercent = 0.95 // keys come in order
		for range rows {
			b.n++
			if err := bucket.Put(binary.BigEndian.AppendUint64(make([]byte, 8, 16), b.n), b.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// A bareSQL has the table of the store, index included, and puts copies of one of its rows.
type bareSQL struct {
	*sql.DB
	conn  *sql.Conn
	r     *runner
	begin string
	row   []any
	seq   int64
	stmts map[int]*sql.Stmt
}

const bareColumns = "stomp_id, frame, queue, attempts, stored, seq"

func newBareSQL(ctx context.Context, r *runner) (_ *bareSQL, err error) {
	from, err := r.sql()
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var id, frame string
	var queue, stored []byte
	var attempts int64
	if err := from.QueryRowContext(ctx, "SELECT stomp_id, frame, queue, attempts, stored FROM ar_messages ORDER BY id LIMIT 1").Scan(&id, &frame, &queue, &attempts, &stored); err != nil {
		return nil, fmt.Errorf("a row to copy: %w", err)
	}
	b := &bareSQL{r: r, begin: "BEGIN", row: []any{id, frame, queue, attempts, stored}, stmts: make(map[int]*sql.Stmt)}
	var create []string
	switch r.kind.key {
	case "sqlite":
		b.begin = "BEGIN IMMEDIATE"
		_, _ = sqlite.Fdatasync(true) // as the server has it
		b.DB, err = sql.Open("sqlite", "file:"+filepath.Join(r.dir, "bare.sqlite")+"?_pragma=journal_mode(wal)&_pragma=synchronous(FULL)")
		create = []string{"CREATE TABLE IF NOT EXISTS ar_messages (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, stomp_id varchar NOT NULL, frame text NOT NULL, queue blob, seq bigint, attempts integer, stored blob)"}
	case "postgresql":
		b.DB, err = sql.Open("pgx", r.db.library())
		create = []string{"CREATE TABLE IF NOT EXISTS ar_messages (id bigserial PRIMARY KEY, stomp_id varchar NOT NULL, frame text NOT NULL, queue bytea, seq bigint, attempts integer, stored bytea)"}
	default:
		b.DB, err = sql.Open("mysql", r.db.library())
		create = []string{"CREATE TABLE IF NOT EXISTS ar_messages (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, stomp_id varchar(255) NOT NULL, frame longtext NOT NULL, queue varbinary(255), seq bigint, attempts int, stored longblob) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.DB.Close()
		}
	}()
	for _, q := range append(create, "CREATE UNIQUE INDEX stompserver_order ON ar_messages (queue, seq)") {
		if _, err := b.DB.ExecContext(ctx, q); err != nil {
			return nil, err
		}
	}
	b.conn, err = b.DB.Conn(ctx)
	return b, err
}

func (b *bareSQL) put(ctx context.Context, rows int) error {
	if _, err := b.conn.ExecContext(ctx, b.begin); err != nil {
		return err
	}
	st := b.stmts[rows]
	if st == nil {
		var q strings.Builder
		q.WriteString("INSERT INTO ar_messages (" + bareColumns + ") VALUES ")
		for i, n := 0, 1; i < rows; i++ {
			sep := ",("
			if i == 0 {
				sep = "("
			}
			for range len(b.row) + 1 {
				q.WriteString(sep + b.r.param(n))
				sep = ","
				n++
			}
			q.WriteString(")")
		}
		var err error
		if st, err = b.conn.PrepareContext(ctx, q.String()); err != nil {
			return err
		}
		b.stmts[rows] = st
	}
	args := make([]any, 0, rows*(len(b.row)+1))
	for range rows {
		b.seq++
		args = append(append(args, b.row...), b.seq)
	}
	if _, err := st.ExecContext(ctx, args...); err != nil {
		return err
	}
	_, err := b.conn.ExecContext(ctx, "COMMIT")
	return err
}

func (b *bareSQL) Close() error { return errors.Join(b.conn.Close(), b.DB.Close()) }

// putFor is how many rows a second b puts.
func putFor(ctx context.Context, b bare, rows int, d time.Duration) (float64, error) {
	n, begin := 0, time.Now()
	for ; time.Since(begin) < d; n += rows {
		if err := b.put(ctx, rows); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
