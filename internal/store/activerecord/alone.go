package activerecord

import (
	"context"
	"database/sql"
	"strings"

	"stompserver/internal/heap"
	"stompserver/internal/message"
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

// anotherRow has pgx let go of the row that it read before: it holds on to each of its columns until
// there is another one in that place.
const anotherRow = "SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9"

// aloneOfServer reads a row in pieces: of one that comes as a whole there are two, for drivers put it together of
// what they copy, and hold what they read before. The server reads all of the row for each, so they are few.
func aloneOfServer(ctx context.Context, s *Store, which one, take func(*row)) error {
	var frame, stored sql.NullInt64
	text := s.d.bind("SELECT LENGTH(" + s.d.bytes + "), LENGTH(" + which.stored() + ")" + which.from)
	err := s.db.QueryRowContext(ctx, text, which.args...).Scan(&frame, &stored)
	if err == sql.ErrNoRows {
		return nil
	}
	if err != nil {
		return err
	}
	r := row{copied: which.copied()}
	if ok, err := s.pieces(ctx, which, s.d.bytes, &r.frame.b, frame); err != nil || !ok {
		return err
	}
	if ok, err := s.pieces(ctx, which, which.stored(), (*[]byte)(&r.stored), stored); err != nil || !ok {
		return err
	}
	without := strings.NewReplacer("m.frame", "NULL", which.stored(), "NULL").Replace(which.columns)
	rows, err := s.db.QueryContext(ctx, s.d.bind("SELECT "+without+which.from), which.args...)
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

// pieces reads what a row has in bytes into dst, with room behind it. It reports false if it is gone meanwhile.
func (s *Store) pieces(ctx context.Context, which one, column string, dst *[]byte, size sql.NullInt64) (bool, error) {
	if !size.Valid {
		return true, nil
	}
	most := max(size.Int64/8, 4<<20)
	b := make([]byte, size.Int64, int(size.Int64)+len(message.Tail))
	text := s.d.bind("SELECT SUBSTRING(" + column + " FROM ? FOR ?)" + which.from)
	if s.d.number { // or it does not know which of its functions is meant
		text = s.d.bind("SELECT SUBSTRING(" + column + " FROM ?::integer FOR ?::integer)" + which.from)
	}
	garbage := 0
	for at := int64(0); at < size.Int64; at += most {
		rows, err := s.db.QueryContext(ctx, text, append([]any{at + 1, most}, which.args...)...)
		if err != nil {
			return false, err
		}
		var piece sql.RawBytes
		there := rows.Next()
		if there {
			err = rows.Scan(&piece)
		}
		copy(b[at:], piece)
		garbage += 2 * len(piece) // as it came, and as it was handed over
		piece = nil
		if e := rows.Close(); err == nil {
			err = e
		}
		if err != nil || !there {
			return false, err
		}
		if garbage >= heap.Much { // now that nobody has the last one any more
			heap.Collect()
			garbage = 0
		}
	}
	*dst = b
	return true, nil
}
