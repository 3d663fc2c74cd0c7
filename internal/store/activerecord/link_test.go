package activerecord_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

// at is where a test of several databases has one.
type place func(t testing.TB, place string) activerecord.Config

func (at place) oneServerOnly(t *testing.T) {
	cfg := at(t, t.TempDir())
	b := open(t, cfg)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	_, err = activerecord.Open(cfg)
	if want := fmt.Sprintf("another server uses it (process %d on %s, since ", os.Getpid(), host); !errors.Is(err, activerecord.ErrInUse) || !strings.Contains(err.Error(), want) {
		t.Errorf("a second one: %v", err)
	}
	closeIt(t, open(t, at(t, t.TempDir()))) // another place is free
	closeIt(t, b)
	closeIt(t, open(t, cfg))
}

// severed has connections lost that the database does not notice: the next one takes the lock
// from the last one.
func (at place) severed(t *testing.T) {
	b := open(t, at(t, t.TempDir()))
	for i := range 5 {
		write(t, b, text(t, "/queue/a", store.Seq(i+1), fmt.Sprint("m", i+1)))
		defer b.Sever()()
	}
	write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 2})
	if got, want := bodies(t, b, "/queue/a"), "3:m3 4:m4 5:m5"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	closeIt(t, b)
}

// takenOver has another server work with the database while the first has no connection. The
// first must never write again, whether the other one is still there or not.
func (at place) takenOver(t *testing.T) {
	for _, gone := range []bool{false, true} {
		for _, wrote := range []bool{false, true} {
			cfg := at(t, t.TempDir())
			a := open(t, cfg)
			write(t, a, text(t, "/queue/a", 1, "m1"))
			a.Sever()()
			b := open(t, cfg)
			if wrote {
				write(t, b, text(t, "/queue/a", 2, "m2"))
			}
			if gone {
				closeIt(t, b)
			}
			err := a.Write([]store.Record{text(t, "/queue/a", 2, "lost")})
			if err == nil || errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), fmt.Sprintf("another server took the database over while there was no connection (process %d", os.Getpid())) {
				t.Errorf("a Write, the other one being gone: %v, having written: %v: %v", gone, wrote, err)
			}
			if !gone {
				write(t, b, text(t, "/queue/a", 3, "m3"))
				closeIt(t, b)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			b = open(t, cfg)
			if got := bodies(t, b, "/queue/a"); strings.Contains(got, "lost") || !strings.HasPrefix(got, "1:m1") {
				t.Errorf("it holds %s", got)
			}
			closeIt(t, b)
		}
	}
}

// lostAnswers breaks the connection in the middle of Writes: what the database did is not done
// twice, and what it did not is done.
func (at place) lostAnswers(t *testing.T) {
	b := open(t, at(t, t.TempDir()))
	var want []string
	for i := range 10 {
		b.LoseAnswer(i%2 == 0)
		write(t, b, text(t, "/queue/a", store.Seq(i+1), "m"))
		want = append(want, fmt.Sprint(i+1, ":m"))
	}
	if got, want := bodies(t, b, "/queue/a"), strings.Join(want, " "); got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	closeIt(t, b)
}

func TestLink(t *testing.T) {
	at := place(func(t testing.TB, place string) activerecord.Config { return inSQLite(place) })
	t.Run("one server only", at.oneServerOnly)
	t.Run("answers are lost", at.lostAnswers)
}

// TestTableIsChanged: a number of the last Write that is not ours is final.
func TestTableIsChanged(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	write(t, b, text(t, "/queue/a", 1, "x"))
	change(t, cfg, "UPDATE stompserver_server SET writes = writes + 5")
	if err := b.Write([]store.Record{text(t, "/queue/a", 2, "y")}); err == nil || !strings.Contains(err.Error(), "was it restored from a copy?") {
		t.Errorf("Write: %v", err)
	}
	if got, want := bodies(t, b, "/queue/a"), "1:x"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	closeIt(t, b)
}

// TestBusy has another program hold the lock of the file for longer than SQLite waits.
func TestBusy(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	write(t, b, text(t, "/queue/a", 1, "x"))
	db, err := sql.Open("sqlite", cfg.Database.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, text := range []string{"BEGIN IMMEDIATE", "DELETE FROM ar_messages"} {
		if _, err := other.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	free := time.AfterFunc(1500*time.Millisecond, func() { _, _ = other.ExecContext(context.Background(), "ROLLBACK") }) // past its busy_timeout
	defer free.Stop()
	write(t, b, text(t, "/queue/a", 2, "y"))
	if got, want := bodies(t, b, "/queue/a"), "1:x 2:y"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	closeIt(t, b)
}

func TestKindOf(t *testing.T) {
	pg := func(code string) error { return &pgconn.PgError{Code: code, Message: "connection"} }
	my := func(n uint16, text string) error { return &mysqldriver.MySQLError{Number: n, Message: text} }
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "final"},
		{errors.New("a broken connection"), "final"}, // no text decides
		{context.Canceled, "final"},
		{pg("23505"), "final"}, {pg("40001"), "again"}, {pg("40P01"), "again"}, {pg("53100"), "full"}, {pg("57P01"), "lost"}, {pg("08006"), "lost"}, {pg("54000"), "unfit"},
		{my(1064, ""), "final"}, {my(1205, ""), "again"}, {my(1213, ""), "again"}, {my(1114, ""), "full"}, {my(1053, ""), "lost"}, {my(1406, ""), "unfit"},
		{my(1030, `Got error 28 "x" from storage engine`), "full"}, {my(1030, `Got error 128 "x" from storage engine`), "final"},
		{mysqldriver.ErrPktTooLarge, "unfit"}, {mysqldriver.ErrInvalidConn, "lost"},
		{driver.ErrBadConn, "lost"}, {sql.ErrConnDone, "lost"}, {io.ErrUnexpectedEOF, "lost"}, {context.DeadlineExceeded, "lost"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "lost"},
		{&net.DNSError{Err: "no such host"}, "lost"},
	} {
		for _, err := range []error{tt.err, fmt.Errorf("around it: %w", tt.err)} {
			if got := activerecord.KindOf(err); tt.err != nil && got != tt.want {
				t.Errorf("%v is %s, want %s", err, got, tt.want)
			}
		}
	}
}
