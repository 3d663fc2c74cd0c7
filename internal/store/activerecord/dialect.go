package activerecord

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// A dialect is in what the databases differ.
type dialect struct {
	open func(d Database, noSync bool) (*sql.DB, error)

	create  []string  // makes the tables that are missing
	columns [6]string // types of added
	index   []string
	upsert  string // of a queue's state: name, last, marked
	newest  string // the id that the last row of ar_messages got
	release string // deletes the rows of a queue's copies that are the last; what is to come is a condition on c, the copies
	number  bool   // parameters are $1, $2 …

	prepares bool // statements are to be prepared, and by us
	begin    string

	bytes   string // what m.frame is in UTF-8; of a server
	scanned string // what is read of every row at the start, if not rowColumns: large frames are NULL, and read alone

	longest int // bytes of a row at most, if the server does not say less
	name    int // bytes of a queue's name at most; 0: no limit

	// What a server has on top; nil for a file.
	lock   func(ctx context.Context, c *sql.Conn) (bool, error)
	unlock string
	me     string // asks for the number of a connection
	end    string // ends the connection of that number, if it has the lock

	settle func(ctx context.Context, c *sql.Conn, cfg *Config) error             // after the tables are there; may be nil
	limit  func(ctx context.Context, c *sql.Conn) (int, error)                   // bytes of a statement; nil: longest will do
	batch  func(ctx context.Context, s *Store, g *group) error                   // does a group at once; nil: a statement at a time
	large  func(ctx context.Context, s *Store, l *long) (texts int64, err error) // puts a row that is large, in pieces, and sums it up; nil: it takes it as a whole
	alone  func(ctx context.Context, s *Store, which one, take func(*row)) error // reads one row, if it is there
	sums   func(ctx context.Context, s *Store, which one, take func(*row)) error // likewise, but of its frame the sum alone; nil: as alone
	sync   func(ctx context.Context, s *Store) error                             // nil: nothing to do
}

var dialects = map[string]*dialect{sqlite: &sqliteDialect, postgresql: &postgresqlDialect, mysql: &mysqlDialect}

// scannedBy is rowColumns, where the length of a large text says that it is to be read alone.
func scannedBy(length string) string {
	small := fmt.Sprintf("CASE WHEN %s(m.frame) < %d THEN ", length, aloneFrom)
	return strings.NewReplacer("m.frame", small+"m.frame END", "m.stored", small+"m.stored END").Replace(rowColumns)
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

// bind puts the parameters of the database in the place of each question mark.
func (d *dialect) bind(query string) string {
	if !d.number {
		return query
	}
	parts := strings.Split(query, "?")
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(d.param(i))
		}
		b.WriteString(p)
	}
	return b.String()
}
