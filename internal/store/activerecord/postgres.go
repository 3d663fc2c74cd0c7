package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
)

const postgresLock = "hashtext('stompserver'), hashtext(current_schema())"

var postgresqlDialect = dialect{
	open: openPostgreSQL,
	create: []string{
		`CREATE TABLE IF NOT EXISTS ar_messages (id bigserial PRIMARY KEY, stomp_id varchar NOT NULL, frame text NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS stompserver_queues (name bytea NOT NULL PRIMARY KEY, last bigint NOT NULL, marked bigint NOT NULL)`,
		serverTable,
		`CREATE TABLE IF NOT EXISTS stompserver_copies (queue bytea NOT NULL, seq bigint NOT NULL, message bigint NOT NULL, size bigint, attempts integer NOT NULL, stored bytea, checksum bigint, PRIMARY KEY (queue, seq))`,
	},
	columns: [...]string{"bytea", "bigint", "bigint", "integer", "bytea", "bigint"},
	index: []string{
		`CREATE INDEX IF NOT EXISTS stompserver_place ON ar_messages (queue, seq, size)`,
		`CREATE INDEX IF NOT EXISTS stompserver_copied ON stompserver_copies (message)`,
	},
	upsert:  `INSERT INTO stompserver_queues (name, last, marked) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET last = excluded.last, marked = excluded.marked`,
	newest:  "lastval()",
	release: releaseText,
	number:  true,
	begin:   "BEGIN",
	bytes:   "convert_to(m.frame, 'UTF8')",
	scanned: scannedBy("OCTET_LENGTH"),
	longest: 1<<30 - 1<<20,
	name:    2600, // an entry of an index is a third of a page at most
	lock: func(ctx context.Context, c *sql.Conn) (ok bool, err error) {
		err = c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock("+postgresLock+")").Scan(&ok)
		return ok, err
	},
	unlock: "SELECT pg_advisory_unlock_all()",
	me:     "SELECT pg_backend_pid()",
	end: `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database()
		AND l.locktype = 'advisory' AND l.granted AND l.classid::bigint = hashtext('stompserver')::bigint & 4294967295
		AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295 AND l.pid = ?::bigint`,
	batch: pipeline,
	large: copyIn,
	alone: aloneOfServer,
	sync:  syncPostgreSQL,
}

func openPostgreSQL(d Database, noSync bool) (*sql.DB, error) {
	var b strings.Builder
	add := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	host := d.Host
	if host == "" && d.Socket != "" {
		host = d.Socket
	}
	add("host", host)
	add("port", d.Port)
	add("user", d.Username)
	add("password", d.Password)
	add("dbname", d.Database)
	add("sslmode", d.SSLMode)
	add("sslrootcert", d.SSLCA)
	add("sslcert", d.SSLCert)
	add("sslkey", d.SSLKey)
	add("search_path", d.SchemaSearchPath)
	add("connect_timeout", "10")
	cfg, err := pgx.ParseConfig(b.String())
	if err != nil {
		return nil, err
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "stompserver"
	}
	cfg.RuntimeParams["client_encoding"] = "UTF8" // whatever the database has
	if noSync {
		cfg.RuntimeParams["synchronous_commit"] = "off"
	}
	// A plan is kept that was made while the table was empty: it must not be one that reads
	// all of it.
	plan := stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off")
		if err == nil && !noSync { // whatever waits for more than that stays
			_, err = c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
		}
		return err
	})
	return stdlib.OpenDB(*cfg, plan), nil
}

// pipeline does a group in one round trip: all statements are sent at once, and are one
// transaction.
func pipeline(ctx context.Context, s *Store, g *group) error {
	if s.hasLarge(g) {
		return s.inOrder(ctx, g)
	}
	var b pgx.Batch
	// A division by zero is what undoes the rest if nothing was changed.
	b.Queue("WITH changed AS ("+s.d.bind(fenceText)+" RETURNING 1) SELECT 1 / COUNT(*) FROM changed", g.number, s.owner, g.number-1)
	for _, p := range g.phases {
		for _, puts := range p.puts {
			if puts.once {
				s.queueOnce(&b, puts.rs)
			} else {
				s.queuePuts(&b, puts.rs)
			}
		}
		s.queueAttempts(&b, g, p.attempts)
		for name, spans := range p.acks {
			s.queueAcks(&b, g, name, merge(spans))
		}
	}
	queueStates(&b, g.states)
	return s.conn.Raw(func(conn any) error {
		c := conn.(*stdlib.Conn).Conn()
		results := c.SendBatch(ctx, &b)
		var err error
		for range b.Len() {
			if _, err = results.Exec(); err != nil {
				break
			}
		}
		err = errors.Join(err, results.Close())
		var pg *pgconn.PgError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &pg) && pg.Code == "22012":
			return errStale
		case pgconn.SafeToRetry(err):
			return err
		case c.IsClosed():
			return &commitError{&closedError{err}}
		}
		return &commitError{err}
	})
}

// A closedError is of a connection that has ended, whatever the reason.
type closedError struct{ err error }

func (e *closedError) Error() string { return "the connection has ended: " + e.err.Error() }
func (e *closedError) Unwrap() error { return e.err }

func (s *Store) queuePuts(b *pgx.Batch, puts []store.Record) {
	for len(puts) > 0 {
		var ids, frames []string
		var queues, stored [][]byte
		var seqs, sizes, attempts, sums []int64
		bytes := 0
		for len(puts) > 0 && bytes < putBytes {
			r := &puts[0]
			t := s.text(r)
			ids, frames, stored, sums = append(ids, t.stompID), append(frames, t.frame), append(stored, t.stored), append(sums, t.checksum)
			queues, seqs, sizes, attempts = append(queues, []byte(r.Queue)), append(seqs, int64(r.Seq)), append(sizes, int64(r.Msg.Size())), append(attempts, int64(r.Attempts))
			bytes += t.size()
			puts = puts[1:]
		}
		b.Queue(`INSERT INTO ar_messages (stomp_id, frame, queue, seq, size, attempts, stored, checksum)
			SELECT stomp_id, frame, queue, seq, size, attempts, stored, checksum
			FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bigint[])
			WITH ORDINALITY AS r (stomp_id, frame, queue, seq, size, attempts, stored, checksum, n) ORDER BY n`,
			ids, frames, queues, seqs, sizes, attempts, stored, sums)
	}
}

// queueOnce puts a row and its copies.
func (s *Store) queueOnce(b *pgx.Batch, rs []store.Record) {
	f, id, stored := s.body(&rs[0], len(rs))
	doc := psych.Document(f)
	texts, size := sumOfTexts(id, doc, nil), int64(rs[0].Msg.Size())
	queues, seqs, attempts, sums := make([][]byte, len(rs)), make([]int64, len(rs)), make([]int64, len(rs)), make([]int64, len(rs))
	for i := range rs {
		queues[i], seqs[i], attempts[i] = []byte(rs[i].Queue), int64(rs[i].Seq), int64(rs[i].Attempts)
		sums[i] = sumOfCopy(texts, queues[i], seqs[i], size, stored)
	}
	b.Queue(`WITH m AS (INSERT INTO ar_messages (stomp_id, frame, seq) VALUES ($1, $2, 0) RETURNING id)
		INSERT INTO stompserver_copies (queue, seq, message, size, attempts, stored, checksum)
		SELECT c.queue, c.seq, m.id, $3::bigint, c.attempts, $4::bytea, c.checksum
		FROM m, unnest($5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[]) AS c (queue, seq, attempts, checksum)`,
		id, view(doc), size, stored, queues, seqs, attempts, sums)
}

func (s *Store) queueAttempts(b *pgx.Batch, g *group, rs []store.Record) {
	if len(rs) == 0 {
		return
	}
	queues, seqs, attempts := make([][]byte, len(rs)), make([]int64, len(rs)), make([]int64, len(rs))
	var anyRows, anyCopies bool
	for i := range rs {
		queues[i], seqs[i], attempts[i] = []byte(rs[i].Queue), int64(rs[i].Seq), int64(rs[i].Attempts)
		rows, copies := s.has(g, rs[i].Queue, rs[i].Seq)
		anyRows, anyCopies = anyRows || rows, anyCopies || copies
	}
	for table, some := range map[string]bool{"ar_messages": anyRows, "stompserver_copies": anyCopies} {
		if some {
			b.Queue("UPDATE "+table+` m SET attempts = t.attempts FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS t (queue, seq, attempts)
				WHERE m.queue = t.queue AND m.seq = t.seq`, queues, seqs, attempts)
		}
	}
}

func (s *Store) queueAcks(b *pgx.Batch, g *group, queue string, spans []span) {
	low, top := make([]int64, len(spans)), make([]int64, len(spans))
	for i, sp := range spans {
		low[i], top[i] = int64(sp.first), int64(sp.last)
	}
	kept := s.keptOf(queue, spans)
	rows, copies := s.has(g, queue, spans[0].first)
	if copies {
		b.Queue(`DELETE FROM ar_messages WHERE id IN (SELECT c.message FROM unnest($2::bigint[], $3::bigint[]) AS s (low, top)
			JOIN stompserver_copies c ON c.queue = $1 AND c.seq BETWEEN s.low AND s.top WHERE c.message <> ALL ($4::bigint[]) AND NOT EXISTS (`+otherCopy+`))`, []byte(queue), low, top, kept)
		b.Queue(`DELETE FROM stompserver_copies c USING unnest($2::bigint[], $3::bigint[]) AS s (low, top)
			WHERE c.queue = $1 AND c.seq BETWEEN s.low AND s.top AND c.message <> ALL ($4::bigint[])`, []byte(queue), low, top, kept)
	}
	switch {
	case !rows:
	case len(spans) == 1 && len(kept) == 0:
		b.Queue("DELETE FROM ar_messages WHERE queue = $1 AND seq BETWEEN $2 AND $3", []byte(queue), low[0], top[0])
	default:
		b.Queue(`DELETE FROM ar_messages m USING unnest($2::bigint[], $3::bigint[]) AS s (low, top)
			WHERE m.queue = $1 AND m.seq BETWEEN s.low AND s.top AND m.id <> ALL ($4::bigint[])`, []byte(queue), low, top, kept)
	}
}

func queueStates(b *pgx.Batch, states map[string]state) {
	if len(states) == 0 {
		return
	}
	var names [][]byte
	var last, marked []int64
	for name, st := range states {
		names, last, marked = append(names, []byte(name)), append(last, int64(st.last)), append(marked, int64(st.marked))
	}
	b.Queue(`INSERT INTO stompserver_queues (name, last, marked) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])
		ON CONFLICT (name) DO UPDATE SET last = excluded.last, marked = excluded.marked`, names, last, marked)
}

// syncPostgreSQL commits something with waiting for the disk, which takes along all before it.
func syncPostgreSQL(ctx context.Context, s *Store) error {
	return s.inTransaction(ctx, func() error {
		if _, err := s.conn.ExecContext(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		return s.exec(ctx, "UPDATE stompserver_server SET writes = writes WHERE id = 1")
	})
}
