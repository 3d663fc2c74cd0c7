package activerecord

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"stompserver/internal/store"
)

// ErrInUse says that another server works with the table.
var ErrInUse = errors.New("another server uses it")

// errTaken is final: another server has worked with the table while ours had no connection.
var errTaken = errors.New("another server took the database over")

var (
	// errStale says that a Write did not find the table as the one before it left it.
	errStale = errors.New("the last write is not what it was")

	// errHeld says that the database gives our lock to a connection that is no more.
	errHeld = errors.New("the database has not given up the lock of the connection that was lost")

	// errReader says that a checkpoint was not whole.
	errReader = errors.New("another program reads the file and keeps it from being synced")
)

// A kind says what to do about an error.
type kind int

const (
	final kind = iota
	lost       // the connection is gone, or the server is not there: connect again
	again      // the same may succeed when it is tried again
	full       // there is no room
	unfit      // the database will not have these values, ever
)

// kindOf goes by types and codes: texts change with versions and languages.
func kindOf(err error) kind {
	var pg *pgconn.PgError
	var my *mysqldriver.MySQLError
	var lite *sqlitedriver.Error
	var own *liteError
	var closed *closedError
	switch {
	case err == nil, errors.Is(err, errTaken):
		return final
	case errors.As(err, &closed):
		return lost
	case errors.Is(err, errStale), errors.Is(err, errHeld), errors.Is(err, errReader):
		return again
	case errors.As(err, &pg):
		return kindOfPostgreSQL(pg.Code)
	case errors.As(err, &my):
		return kindOfMySQL(my)
	case errors.As(err, &own):
		return kindOfSQLite(own.code)
	case errors.As(err, &lite):
		return kindOfSQLite(lite.Code())
	case errors.Is(err, mysqldriver.ErrPktTooLarge):
		return unfit
	}
	return kindOfOthers(err)
}

func kindOfSQLite(code int) kind {
	switch code & 0xff {
	case sqlite3.SQLITE_FULL:
		return full
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
		return again
	case sqlite3.SQLITE_TOOBIG:
		return unfit
	}
	return final
}

func kindOfPostgreSQL(code string) kind {
	switch code {
	case "53100":
		return full
	case "40001", "40P01", "53200", "55P03", "57014": // serialization, deadlock, memory, lock, cancelled
		return again
	case "53300", "57P01", "57P02", "57P03", "57P05", "25006": // the last: this one may only be read by now
		return lost
	case "22001", "22021", "22P05", "54000": // too long, or no text in the database's encoding
		return unfit
	}
	if strings.HasPrefix(code, "08") {
		return lost
	}
	return final
}

// noSpace is ENOSPC, as the server's system names it within an error.
var noSpace = regexp.MustCompile(`\b28\b`)

func kindOfMySQL(e *mysqldriver.MySQLError) kind {
	switch e.Number {
	case 1021, 1114:
		return full
	case 3, 1026, 1030: // of the file system
		if noSpace.MatchString(e.Message) {
			return full
		}
	case 1205, 1213, 1317: // lock, deadlock, interrupted
		return again
	case 1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1290, 1836, 1927, 2006, 2013, 3169:
		return lost
	case 1153, 1301, 1366, 1406: // larger than a packet; no text; longer than its column
		return unfit
	}
	return final
}

// kindOfOthers tells errors of the network from ours.
func kindOfOthers(err error) kind {
	var network net.Error
	var errno syscall.Errno
	var connecting *pgconn.ConnectError
	switch {
	case errors.Is(err, context.Canceled):
		return final
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded), errors.As(err, &connecting),
		errors.Is(err, mysqldriver.ErrInvalidConn), errors.Is(err, mysqldriver.ErrBusyBuffer), errors.Is(err, mysqldriver.ErrMalformPkt),
		errors.Is(err, mysqldriver.ErrPktSync), errors.As(err, &network), errors.As(err, &errno), pgconn.SafeToRetry(err):
		return lost
	}
	return final
}

// A DamageError names rows that are not what was written.
type DamageError struct {
	Rows  []int64 // ids, of the first ones
	Count int
	First error

	seq store.Seq // of the row, where it was read
}

const mostNamed = 20

func (e *DamageError) add(id int64, err error) {
	if e.Count++; e.Count == 1 {
		e.First = err
	}
	if len(e.Rows) < mostNamed {
		e.Rows = append(e.Rows, id)
	}
}

func (e *DamageError) Error() string {
	ids := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(e.Rows)), ", "), "[]")
	if e.Count == 1 {
		return fmt.Sprintf("ar_messages: the row with id %s is damaged: %v. %s", ids, e.First, damageAdvice)
	}
	if e.Count > len(e.Rows) {
		ids += " …"
	}
	return fmt.Sprintf("ar_messages: %d rows are damaged, those with id %s; the first one: %v. %s", e.Count, ids, e.First, damageAdvice)
}

const damageAdvice = "Restore them from a copy, remove them, or start with what is whole: on_damage: start"

func (e *DamageError) Unwrap() error { return e.First }
