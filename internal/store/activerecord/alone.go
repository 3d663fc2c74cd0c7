package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"stompserver/internal/heap"
	"stompserver/internal/store"
)

// aloneFrom is the size of a message from which its row is read by itself, and with as little
// memory as the database allows: its frame is there once beside the body that is made of it.
const aloneFrom = 4 << 20

// readAlone is readPage for a page of one large message.
func (s *Store) readAlone(ctx context.Context, dst []store.Record, p *page) ([]store.Record, error) {
	var damage error
	which := one{rowColumns, " FROM ar_messages m WHERE m.queue = ? AND m.seq = ?", []any{[]byte(p.queue), int64(p.last)}}
	if p.copies {
		which = copyOf(p.queue, p.last)
	}
	err := s.d.alone(ctx, s, which, func(r *row) { dst, damage = s.appendRow(dst, p, r) })
	if err == nil {
		err = damage
	}
	return dst, err
}

// A one says which row, as rowColumns or copyColumns do.
type one struct {
	columns string
	from    string
	args    []any
}

func withID(id int64) one { return one{rowColumns, " FROM ar_messages m WHERE m.id = ?", []any{id}} }

func copyOf(queue string, seq store.Seq) one {
	return one{copyColumns, " FROM stompserver_copies c JOIN ar_messages m ON m.id = c.message WHERE c.queue = ? AND c.seq = ?", []any{[]byte(queue), int64(seq)}}
}

func (w *one) copied() bool { return w.columns == copyColumns }

// stored is the column of that name.
func (w *one) stored() string {
	if w.copied() {
		return "c.stored"
	}
	return "m.stored"
}

// alonePostgreSQL looks at the row where it came in: the package sql would have a copy of it.
func alonePostgreSQL(ctx context.Context, s *Store, which one, take func(*row)) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(conn any) error {
		rows, err := conn.(*stdlib.Conn).Conn().Query(ctx, s.d.bind("SELECT "+which.columns+which.from), which.args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return rows.Err()
		}
		r := row{copied: which.copied()}
		var frame, stored pgtype.DriverBytes
		var numbers [4]*int64
		if err := rows.Scan(&r.id, &r.stompID, &frame, &stored, &r.queue, &numbers[0], &numbers[1], &numbers[2], &numbers[3]); err != nil {
			return err
		}
		r.frame.b, r.stored, r.summed = frame, sql.RawBytes(stored), numbers[3] != nil
		for i, n := range []*int64{&r.seq, &r.size, &r.attempts, &r.checksum} {
			if numbers[i] != nil {
				*n = *numbers[i]
			}
		}
		r.zero = numbers[0] != nil && r.seq == 0
		take(&r)
		rows.Close()
		_, err = conn.(*stdlib.Conn).Conn().Exec(ctx, anotherRow)
		return errors.Join(rows.Err(), err)
	})
}

// anotherRow has pgx let go of the row that it read before: it holds on to each of its columns until
// there is another one in that place.
const anotherRow = "SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9"

// aloneMySQL reads a row in pieces: the driver puts one that comes as a whole together of what it
// copies again and again. The server reads all of the row for each, so they are few.
func aloneMySQL(ctx context.Context, s *Store, which one, take func(*row)) error {
	var frame, stored sql.NullInt64
	err := s.db.QueryRowContext(ctx, "SELECT LENGTH(m.frame), LENGTH("+which.stored()+")"+which.from, which.args...).Scan(&frame, &stored)
	if err == sql.ErrNoRows {
		return nil
	}
	if err != nil {
		return err
	}
	r := row{copied: which.copied()}
	if ok, err := s.pieces(ctx, which, "m.frame", &r.frame.b, frame); err != nil || !ok {
		return err
	}
	if ok, err := s.pieces(ctx, which, which.stored(), (*[]byte)(&r.stored), stored); err != nil || !ok {
		return err
	}
	without := strings.NewReplacer("m.frame", "NULL", which.stored(), "NULL").Replace(which.columns)
	rows, err := s.db.QueryContext(ctx, "SELECT "+without+which.from, which.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	was := r
	if err := r.scan(rows); err != nil {
		return err
	}
	r.frame, r.stored = was.frame, was.stored
	r.frame.spent = true
	take(&r)
	return rows.Err()
}

// pieces reads a column of a row into dst. It reports false if it is gone meanwhile.
func (s *Store) pieces(ctx context.Context, which one, column string, dst *[]byte, size sql.NullInt64) (bool, error) {
	if !size.Valid {
		return true, nil
	}
	most := max(size.Int64/8, 4<<20)
	b := make([]byte, size.Int64)
	garbage := 0
	for at := int64(0); at < size.Int64; at += most {
		rows, err := s.db.QueryContext(ctx, "SELECT SUBSTRING(CAST("+column+" AS BINARY), ?, ?)"+which.from, append([]any{at + 1, most}, which.args...)...)
		if err != nil {
			return false, err
		}
		var piece sql.RawBytes
		there := rows.Next()
		if there {
			err = rows.Scan(&piece)
		}
		copy(b[at:], piece)
		if garbage += len(piece); garbage >= heap.Much {
			heap.Collect()
			garbage = 0
		}
		if e := rows.Close(); err == nil {
			err = e
		}
		if err != nil || !there {
			return false, err
		}
	}
	*dst = b
	return true, nil
}
