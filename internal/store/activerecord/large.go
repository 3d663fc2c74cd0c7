package activerecord

import (
	"context"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/stdlib"

	"stompserver/internal/heap"
	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
)

// largeFrom is the size of a body from which the frame is never in memory, where the database can be
// given it in pieces: PostgreSQL by COPY, MySQL by a variable that grows, SQLite by filling in what there is
// of a row. A statement would have to have a value as a whole, which drivers copy, and SQLite once more into the row.
const largeFrom = 1 << 20

// large reports whether a message is put in pieces.
func (s *Store) large(r *store.Record) bool {
	return s.d.large != nil && len(r.Msg.Body()) >= largeFrom
}

func (s *Store) hasLarge(g *group) bool {
	return slices.ContainsFunc(g.phases, func(p *phase) bool {
		return slices.ContainsFunc(p.puts, func(p puts) bool { return p.once && s.large(&p.rs[0]) })
	})
}

// A long is a row that is put in pieces.
type long struct {
	stompID   string
	frame     *psych.Frame
	frameSize int
	texts     uint32 // their sum, as far as there were pieces
}

// pieces yields the frame, and sums it up.
func (l *long) pieces(yield func([]byte) bool) {
	l.texts = sumOfSizes(l.stompID, l.frameSize, 0)
	psych.Pieces(l.frame, func(piece []byte) bool {
		l.texts = crc32.Update(l.texts, castagnoli, piece)
		return yield(piece)
	})
}

// copyIn puts a row into PostgreSQL.
func copyIn(ctx context.Context, s *Store, l *long) (texts int64, err error) {
	in := newPieceReader(l.copyLine)
	defer in.close()
	err = s.conn.Raw(func(conn any) error {
		c := conn.(*stdlib.Conn).Conn()
		_, err := c.PgConn().CopyFrom(ctx, in, "COPY ar_messages (stomp_id, seq, frame) FROM STDIN")
		if err != nil && c.IsClosed() {
			return &closedError{err}
		}
		return err
	})
	if err != nil {
		return 0, err // pgx may still be reading, and so the sum be growing
	}
	return int64(l.texts), nil
}

// copyLine yields a row as the text format of COPY has it: tabs between the columns, a backslash
// before what means something.
func (l *long) copyLine(yield func([]byte) bool) {
	b := append(appendCopied(nil, []byte(l.stompID)), "\t0\t"...)
	for piece := range l.pieces {
		if b = appendCopied(b, piece); !yield(b) {
			return
		}
		b = b[:0]
	}
	yield(append(b, '\n'))
}

func appendCopied(dst, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '\\':
			dst = append(dst, '\\', '\\')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// A pieceReader reads pieces. It may be closed while somebody reads, as pgx does after it has given up.
type pieceReader struct {
	mu   sync.Mutex
	next func() ([]byte, bool)
	stop func()
	rest []byte
	done bool
}

func newPieceReader(pieces iter.Seq[[]byte]) *pieceReader {
	r := &pieceReader{}
	r.next, r.stop = iter.Pull(pieces)
	return r
}

func (r *pieceReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.rest) == 0 {
		ok := !r.done
		if ok {
			r.rest, ok = r.next()
		}
		if !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *pieceReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	r.stop()
}

// concatenate puts a row into MySQL. What the variable holds is no larger than a row may be.
func concatenate(ctx context.Context, s *Store, l *long) (texts int64, err error) {
	if err := s.grow(ctx, "@stompserver_frame", l.frameSize, l.pieces); err != nil {
		return 0, err
	}
	if err := s.exec(ctx, "INSERT INTO ar_messages (stomp_id, frame, seq) VALUES (?, @stompserver_frame, 0)", l.stompID); err != nil {
		return 0, err
	}
	return int64(l.texts), s.exec(ctx, "SET @stompserver_frame = NULL")
}

// grow makes a variable of n bytes. The server copies what there is of it for each piece that is
// added, so they are few.
func (s *Store) grow(ctx context.Context, name string, n int, pieces iter.Seq[[]byte]) error {
	most := max(n/16, 1<<20)
	if s.statement > 0 {
		most = min(most, s.statement/4) // escapes double it
	}
	var b []byte
	first := true
	garbage := 0
	send := func() error {
		value := "?"
		if !first {
			value = "CONCAT(" + name + ", ?)"
		}
		first = false
		if garbage += 4 * len(b); garbage >= 2*heap.Much { // what the driver made of those before
			heap.Collect()
			garbage = 0
		}
		err := s.exec(ctx, "SET "+name+" = "+value, view(b))
		b = make([]byte, 0, most)
		return err
	}
	for piece := range pieces {
		for len(piece) > 0 {
			k := min(len(piece), most-len(b))
			if k < len(piece) {
				for k > 0 && !utf8.RuneStart(piece[k]) {
					k--
				}
			}
			b = append(b, piece[:k]...)
			if piece = piece[k:]; len(b)+utf8.UTFMax > most {
				if err := send(); err != nil {
					return err
				}
			}
		}
	}
	return send()
}
