package activerecord

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	sqlitedriver "modernc.org/sqlite"

	"stompserver/internal/vfs"
)

// A dialect is in what the databases differ.
type dialect struct {
	driver string
	dsn    func(d Database, noSync bool) string

	create  []string // makes the tables that are missing
	columns []string // type of queue, seq, attempts and record
	widen   string   // makes the frame hold any size; empty: it does
	index   string
	upsert  string // of a queue's state: name, last, marked
	number  bool   // parameters are $1, $2 …

	rows    int // of an INSERT at most
	lock    func(ctx context.Context, c *sql.Conn, d Database) (bool, error)
	maxSize func(ctx context.Context, c *sql.Conn) (int, error) // of a statement; nil: no limit
}

const stateTable = `CREATE TABLE IF NOT EXISTS stompserver_queues (name %s NOT NULL PRIMARY KEY, last bigint NOT NULL, marked bigint NOT NULL)`

var dialects = map[string]*dialect{
	sqlite: {
		driver: "sqlite",
		dsn: func(d Database, noSync bool) string {
			sync := "FULL"
			if noSync {
				sync = "NORMAL" // of a write-ahead log: whole after a power cut, and synced by a checkpoint
			}
			q := url.Values{}
			for _, p := range []string{"busy_timeout(10000)", "journal_mode(wal)", "synchronous(" + sync + ")"} {
				q.Add("_pragma", p)
			}
			q.Set("_txlock", "immediate")
			return "file:" + (&url.URL{Path: d.Database}).EscapedPath() + "?" + q.Encode()
		},
		create: []string{
			`CREATE TABLE IF NOT EXISTS ar_messages (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, stomp_id varchar NOT NULL, frame text NOT NULL)`,
			fmt.Sprintf(stateTable, "blob"),
		},
		columns: []string{"blob", "bigint", "integer", "blob"},
		index:   `CREATE UNIQUE INDEX IF NOT EXISTS stompserver_order ON ar_messages (queue, seq)`,
		upsert:  `INSERT INTO stompserver_queues (name, last, marked) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last, marked = excluded.marked`,
		rows:    500,
	},
	postgresql: {
		driver: "pgx",
		dsn: func(d Database, noSync bool) string {
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
			add("connect_timeout", "10")
			if noSync {
				add("synchronous_commit", "off")
			}
			return b.String()
		},
		create: []string{
			`CREATE TABLE IF NOT EXISTS ar_messages (id bigserial PRIMARY KEY, stomp_id varchar NOT NULL, frame text NOT NULL)`,
			fmt.Sprintf(stateTable, "bytea"),
		},
		columns: []string{"bytea", "bigint", "integer", "bytea"},
		index:   `CREATE UNIQUE INDEX IF NOT EXISTS stompserver_order ON ar_messages (queue, seq)`,
		upsert:  `INSERT INTO stompserver_queues (name, last, marked) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET last = excluded.last, marked = excluded.marked`,
		number:  true,
		rows:    500,
		lock: func(ctx context.Context, c *sql.Conn, d Database) (ok bool, err error) {
			err = c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtext('stompserver'), 'ar_messages'::regclass::oid::int)`).Scan(&ok)
			return ok, err
		},
	},
	mysql: {
		driver: "mysql",
		dsn: func(d Database, noSync bool) string {
			c := mysqldriver.NewConfig()
			c.User, c.Passwd, c.DBName = d.Username, d.Password, d.Database
			switch {
			case d.Socket != "":
				c.Net, c.Addr = "unix", d.Socket
			default:
				host, port := d.Host, d.Port
				if host == "" {
					host = "127.0.0.1"
				}
				if port == "" {
					port = "3306"
				}
				c.Net, c.Addr = "tcp", net.JoinHostPort(host, port)
			}
			c.InterpolateParams = true
			c.Collation = "utf8mb4_bin"
			switch d.SSLMode {
			case "preferred":
				c.TLSConfig = "preferred"
			case "required": // encrypted, whoever it is
				c.TLSConfig = "skip-verify"
			case "verify_ca", "verify_identity":
				c.TLSConfig = "true"
			}
			return c.FormatDSN()
		},
		create: []string{
			"CREATE TABLE IF NOT EXISTS ar_messages (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, stomp_id varchar(255) NOT NULL, frame longtext NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
			fmt.Sprintf(stateTable, "varbinary(255)") + " ENGINE=InnoDB",
		},
		columns: []string{"varbinary(255)", "bigint", "int", "longblob"},
		widen:   "ALTER TABLE ar_messages MODIFY frame longtext CHARACTER SET utf8mb4 NOT NULL",
		index:   "CREATE UNIQUE INDEX stompserver_order ON ar_messages (queue, seq)",
		upsert:  "INSERT INTO stompserver_queues (name, last, marked) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE last = VALUES(last), marked = VALUES(marked)",
		rows:    500,
		lock: func(ctx context.Context, c *sql.Conn, d Database) (bool, error) {
			var got sql.NullInt64
			err := c.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('stompserver.', LEFT(DATABASE(), 50)), 0)").Scan(&got)
			return got.Int64 == 1, err
		},
		maxSize: func(ctx context.Context, c *sql.Conn) (n int, err error) {
			err = c.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&n)
			return n, err
		},
	},
}

// place spells the n parameters after the first ones, comma separated.
func (d *dialect) place(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(d.param(first + i))
	}
	return b.String()
}

// param spells the parameter i, of which the first is 1.
func (d *dialect) param(i int) string {
	if d.number {
		return "$" + strconv.Itoa(i)
	}
	return "?"
}

// lockFile keeps other processes off a database of SQLite.
func lockFile(d Database) (io.Closer, error) {
	fs, err := vfs.Dir(filepath.Dir(d.Database))
	if err != nil {
		return nil, err
	}
	return fs.Lock(filepath.Base(d.Database) + ".lock")
}

// lost reports whether err means that the connection is gone, or the server not there yet.
func lost(err error) bool {
	var pg *pgconn.PgError
	var my *mysqldriver.MySQLError
	var lite *sqlitedriver.Error
	var connecting *pgconn.ConnectError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57P") || pg.Code == "53300"
	case errors.As(err, &my):
		return my.Number == 1053 || my.Number == 1040 || my.Number == 1927 || my.Number == 1079
	case errors.As(err, &lite):
		return false
	case errors.As(err, &connecting):
		return true
	}
	var n net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysqldriver.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &n) ||
		strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "connection")
}

// full reports whether err means that there is no room left.
func full(err error) bool {
	var pg *pgconn.PgError
	var my *mysqldriver.MySQLError
	var lite *sqlitedriver.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code == "53100"
	case errors.As(err, &my):
		return my.Number == 1114 || my.Number == 1021 || my.Number == 1153
	case errors.As(err, &lite):
		return lite.Code()&0xff == 13 // SQLITE_FULL
	}
	return errors.Is(err, mysqldriver.ErrPktTooLarge)
}
