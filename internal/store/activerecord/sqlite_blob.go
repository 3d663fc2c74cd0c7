package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"stompserver/internal/message"
)

// SQLite can be given a value piece by piece, and be asked for it so. A statement cannot do that, and the package
// sql knows nothing of it: so it is done beside the driver, with the library that the driver calls. A row's value
// is put in its place as so many zeros first, which SQLite makes without having them in memory, if nothing but
// NULLs, zeros and ones stands behind them in the row. So large messages have their places apart from their rows.

// pieceSize is how much of a value is moved at a time.
const pieceSize = 64 << 10

// A liteError is what SQLite says to what the driver has no part in.
type liteError struct {
	code int
	text string
}

func (e *liteError) Error() string { return fmt.Sprintf("%s (%d)", e.text, e.code) }

// A frameOf is the frame of one row, in pieces.
type frameOf struct {
	tls  *libc.TLS
	db   uintptr
	blob uintptr
	buf  uintptr // pieceSize bytes of the library's memory
	at   int32
}

var errDriver = errors.New("the driver of SQLite does not say which its connection is: it is of a version that is not known here")

// openFrame opens the frame of the row with that id, by a connection that does nothing else meanwhile.
func openFrame(conn any, id int64, write bool) (_ *frameOf, err error) {
	db := handleOf(conn)
	if db == 0 {
		return nil, errDriver
	}
	f := &frameOf{tls: libc.NewTLS(), db: db}
	defer func() {
		if err != nil {
			_ = f.close()
		}
	}()
	if f.buf = libc.Xmalloc(f.tls, pieceSize); f.buf == 0 {
		return nil, &liteError{sqlite3.SQLITE_NOMEM, "out of memory"}
	}
	var names [3]uintptr
	for i, name := range []string{"main", "ar_messages", "frame"} {
		if names[i], err = libc.CString(name); err != nil {
			return nil, err
		}
		defer libc.Xfree(f.tls, names[i])
	}
	flags := int32(0)
	if write {
		flags = 1
	}
	place := libc.Xcalloc(f.tls, 1, 8) // where the library puts the handle
	if place == 0 {
		return nil, &liteError{sqlite3.SQLITE_NOMEM, "out of memory"}
	}
	defer libc.Xfree(f.tls, place)
	code := sqlite3.Xsqlite3_blob_open(f.tls, db, names[0], names[1], names[2], id, flags, place)
	f.blob = *(*uintptr)(pointer(place))
	return f, f.failed(code)
}

// handleOf is the connection of the library that one of the driver has, 0 if it does not tell.
func handleOf(conn any) uintptr {
	v := reflect.ValueOf(conn)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	db := v.Elem().FieldByName("db")
	if !db.IsValid() || db.Kind() != reflect.Uintptr {
		return 0
	}
	return uintptr(db.Uint())
}

// pointer is for memory of the library, which the collector does not know.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func (f *frameOf) failed(code int32) error {
	if code == sqlite3.SQLITE_OK {
		return nil
	}
	return &liteError{int(sqlite3.Xsqlite3_extended_errcode(f.tls, f.db)), libc.GoString(sqlite3.Xsqlite3_errmsg(f.tls, f.db))}
}

func (f *frameOf) size() int { return int(sqlite3.Xsqlite3_blob_bytes(f.tls, f.blob)) }

func (f *frameOf) piece(n int) []byte { return unsafe.Slice((*byte)(pointer(f.buf)), n) }

// write puts b behind what was written before.
func (f *frameOf) write(b []byte) error {
	for len(b) > 0 {
		n := copy(f.piece(pieceSize), b)
		if err := f.failed(sqlite3.Xsqlite3_blob_write(f.tls, f.blob, f.buf, int32(n), f.at)); err != nil {
			return err
		}
		f.at += int32(n)
		b = b[n:]
	}
	return nil
}

// read fills b with what follows what was read before.
func (f *frameOf) read(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		if err := f.failed(sqlite3.Xsqlite3_blob_read(f.tls, f.blob, f.buf, int32(n), f.at)); err != nil {
			return err
		}
		copy(b, f.piece(n))
		f.at += int32(n)
		b = b[n:]
	}
	return nil
}

func (f *frameOf) close() error {
	var err error
	if f.blob != 0 {
		err = f.failed(sqlite3.Xsqlite3_blob_close(f.tls, f.blob))
	}
	libc.Xfree(f.tls, f.buf)
	f.tls.Close()
	return err
}

// fillIn puts a row into SQLite. It is all NULL but for the frame.
func fillIn(ctx context.Context, s *Store, l *long) (texts int64, err error) {
	if err := s.exec(ctx, "INSERT INTO ar_messages (stomp_id, frame, seq) VALUES (?, zeroblob(?), 0)", l.stompID, int64(l.frameSize)); err != nil {
		return 0, err
	}
	var id int64
	if err := s.conn.QueryRowContext(ctx, "SELECT last_insert_rowid()").Scan(&id); err != nil {
		return 0, err
	}
	err = s.conn.Raw(func(conn any) (err error) {
		defer runtime.KeepAlive(conn)
		f, err := openFrame(conn, id, true)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		for piece := range l.pieces {
			if err := f.write(piece); err != nil {
				return err
			}
		}
		return nil
	})
	return int64(l.texts), err
}

// aloneSQLite reads a row whose frame comes in pieces.
func aloneSQLite(ctx context.Context, s *Store, which one, take func(*row)) error {
	return inPieces(ctx, s, which, take, func(r *row, f *frameOf) error {
		n := f.size()
		r.frame = bytesOf{b: make([]byte, n, n+len(message.Tail)), spent: true}
		return f.read(r.frame.b)
	})
}

// sumsSQLite has no frame in memory.
func sumsSQLite(ctx context.Context, s *Store, which one, take func(*row)) error {
	return inPieces(ctx, s, which, take, func(r *row, f *frameOf) error {
		sum := sumOfSizes(r.stompID, f.size(), len(r.stored))
		b := make([]byte, pieceSize)
		for n := f.size(); n > 0; n -= len(b) {
			b = b[:min(n, len(b))]
			if err := f.read(b); err != nil {
				return err
			}
			sum = crc32.Update(sum, castagnoli, b)
		}
		texts := int64(crc32.Update(sum, castagnoli, r.stored))
		r.texts = &texts
		return nil
	})
}

// inPieces has all of a row as it is at one moment.
func inPieces(ctx context.Context, s *Store, which one, take func(*row), read func(*row, *frameOf) error) (err error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		if _, e := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); e != nil {
			discard(c)
			err = errors.Join(err, e)
		}
	}()
	r, err := withoutFrame(ctx, c, which)
	if r == nil || err != nil {
		return err
	}
	if r.frame.b == nil {
		if err := c.Raw(func(conn any) error { return r.readFrame(conn, read) }); err != nil {
			return err
		}
	}
	take(r)
	return nil
}

// withoutFrame is a row but for its frame; nil: there is none. A text that SQLite does not keep in UTF-8 is no
// matter of pieces.
func withoutFrame(ctx context.Context, c *sql.Conn, which one) (*row, error) {
	const wide = "CASE WHEN typeof(m.frame) = 'text' AND (SELECT encoding <> 'UTF-8' FROM pragma_encoding) THEN m.frame END"
	rows, err := c.QueryContext(ctx, "SELECT "+strings.Replace(which.columns, "m.frame", wide, 1)+which.from, which.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	r := &row{copied: which.copied()}
	if err := r.scan(rows); err != nil {
		return nil, err
	}
	r.stored = append(sql.RawBytes(nil), r.stored...)
	return r, nil
}

func (r *row) readFrame(conn any, read func(*row, *frameOf) error) (err error) {
	defer runtime.KeepAlive(conn)
	f, err := openFrame(conn, r.id, false)
	var lite *liteError
	if errors.As(err, &lite) && lite.code == sqlite3.SQLITE_ERROR {
		return nil // it is no text, but a number for instance: its checksum does not fit
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return read(r, f)
}
