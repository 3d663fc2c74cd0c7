package activerecord

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	sqlitedriver "modernc.org/sqlite" // the driver sqlite

	"stompserver/internal/vfs"
)

var sqliteDialect = dialect{
	open: openSQLite,
	create: []string{
		`CREATE TABLE IF NOT EXISTS ar_messages (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, stomp_id varchar NOT NULL, frame text NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS stompserver_queues (name blob NOT NULL PRIMARY KEY, last bigint NOT NULL, marked bigint NOT NULL)`,
		serverTable,
		`CREATE TABLE IF NOT EXISTS stompserver_copies (queue blob NOT NULL, seq bigint NOT NULL, message bigint NOT NULL, size bigint, attempts integer NOT NULL, stored blob, checksum bigint,
			PRIMARY KEY (queue, seq)) WITHOUT ROWID`,
	},
	columns: [...]string{"blob", "bigint", "bigint", "integer", "blob", "bigint"},
	index: []string{
		`CREATE INDEX IF NOT EXISTS stompserver_place ON ar_messages (queue, seq, size)`,
		`CREATE INDEX IF NOT EXISTS stompserver_copied ON stompserver_copies (message)`,
	},
	upsert:   `INSERT INTO stompserver_queues (name, last, marked) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last, marked = excluded.marked`,
	newest:   "last_insert_rowid()", // which a table WITHOUT ROWID does not change
	release:  releaseText,
	scanned:  scannedBy("octet_length"),
	prepares: true,
	begin:    "BEGIN IMMEDIATE",
	longest:  1e9 - 1<<20, // SQLITE_MAX_LENGTH is of a row
	settle:   checkSQLite,
	large:    fillIn,
	alone:    aloneSQLite,
	sums:     sumsSQLite,
	sync:     checkpoint,
}

func openSQLite(d Database, noSync bool) (*sql.DB, error) {
	sync := "FULL"
	if noSync {
		sync = "NORMAL" // of a write-ahead log: whole after a power cut, and synced by a checkpoint
	}
	// So does SQLite as distributions build it. A journaling file system would write down when the file was
	// changed, which takes as long as the rest. Systems that have no such call keep to what they have.
	_, _ = sqlitedriver.Fdatasync(true)
	q := url.Values{}
	for _, p := range []string{"busy_timeout(1000)", "journal_mode(wal)", "synchronous(" + sync + ")", "cell_size_check(1)"} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	path := d.Database
	if runtime.GOOS == "windows" {
		path = "/" + filepath.ToSlash(path)
	}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
}

// lockFile keeps other processes off a database of SQLite.
func lockFile(d Database) (io.Closer, error) {
	fs, err := vfs.Dir(filepath.Dir(d.Database))
	if err != nil {
		return nil, err
	}
	return fs.Lock(filepath.Base(d.Database) + ".lock")
}

// checkSQLite has SQLite look whether its pages and indexes fit together: a message that no
// index leads to would be lost without a word. An index is made anew, if that is allowed.
func checkSQLite(ctx context.Context, c *sql.Conn, cfg *Config) error {
	problems, err := integrity(ctx, c)
	if err != nil || len(problems) == 0 {
		return err
	}
	if cfg.StartDamaged {
		cfg.Log.Error("the file of SQLite is damaged; its indexes are made anew", "database", cfg.Database.String(), "problems", problems)
		if _, err := c.ExecContext(ctx, "REINDEX"); err != nil {
			return fmt.Errorf("REINDEX: %w", err)
		}
		if problems, err = integrity(ctx, c); err != nil || len(problems) == 0 {
			return err
		}
		return fmt.Errorf("the file is damaged: %s. What it still has is brought out by: sqlite3 FILE .recover", strings.Join(problems, "; "))
	}
	return fmt.Errorf("the file is damaged: %s. Restore it from a copy, or start with its indexes made anew: on_damage: start", strings.Join(problems, "; "))
}

func integrity(ctx context.Context, c *sql.Conn) (problems []string, err error) {
	rows, err := c.QueryContext(ctx, "PRAGMA integrity_check(5)")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if text != "ok" {
			problems = append(problems, text)
		}
	}
	return problems, rows.Err()
}

// checkpoint brings the write-ahead log to the file, and both to the disk. SQLite says in a
// row, not by an error, that it could not.
func checkpoint(ctx context.Context, s *Store) error {
	var busy, pages, moved int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(FULL)").Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	if busy != 0 || moved < pages {
		return errReader
	}
	return nil
}
