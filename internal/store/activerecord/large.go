package activerecord

import (
	"context"
	"encoding/hex"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/stdlib"

	"stompserver/internal/heap"
	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
)

// largeFrom is the size of a body from which the frame is never in memory, where the database can be
// given it in pieces: PostgreSQL by COPY, MySQL by a variable that grows. SQLite has to be handed a
// value as a whole, which its driver copies, and which it copies once more into the row.
const largeFrom = 1 << 20

// large reports whether a message is put in pieces.
func (s *Store) large(r *store.Record) bool {
	return s.d.large != nil && len(r.Msg.Body()) >= largeFrom
}

func (s *Store) hasLarge(g *group) bool {
	return slices.ContainsFunc(g.phases, func(p *phase) bool {
		return slices.ContainsFunc(p.puts, func(r store.Record) bool { return s.large(&r) })
	})
}

// A long is what is written of a message in pieces.
type long struct {
	rec       *store.Record
	stompID   string
	frame     *psych.Frame
	frameSize int
	stored    []byte // what is before the body; nil: nothing is stored
}

func (s *Store) long(r *store.Record) *long {
	f, id, whole := s.frame(r)
	l := &long{rec: r, stompID: id, frame: f, frameSize: psych.Size(f)}
	if !whole {
		l.stored = r.Msg.AppendRecordHead(nil)
	}
	return l
}

func (l *long) storedSize() int {
	if l.stored == nil {
		return 0
	}
	return len(l.stored) + len(l.rec.Msg.Body())
}

func (l *long) size() int { return len(l.stompID) + l.frameSize + l.storedSize() }

// pieces yields what is stored beside the frame, if anything.
func (l *long) pieces(yield func([]byte) bool) {
	if l.stored == nil || !yield(l.stored) {
		return
	}
	for piece := range slices.Chunk(l.rec.Msg.Body(), 64<<10) {
		if !yield(piece) {
			return
		}
	}
}

// summed is a sequence of pieces that are added to a sum.
func summed(sum *uint32, pieces iter.Seq[[]byte]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for piece := range pieces {
			*sum = crc32.Update(*sum, castagnoli, piece)
			if !yield(piece) {
				return
			}
		}
	}
}

func (l *long) framePieces(yield func([]byte) bool) { psych.Pieces(l.frame, yield) }

func (l *long) beginSum() uint32 { return sumOfSizes(l.stompID, l.frameSize, l.storedSize()) }

// endSum is the checksum of the row, once all pieces were summed.
func (l *long) endSum(sum uint32) int64 {
	return sumOfPlace(int64(sum), []byte(l.rec.Queue), int64(l.rec.Seq), int64(l.rec.Msg.Size()))
}

// copyIn puts a row into PostgreSQL.
func copyIn(ctx context.Context, s *Store, l *long) error {
	in := newPieceReader(l.copyLine)
	defer in.close()
	return s.conn.Raw(func(conn any) error {
		c := conn.(*stdlib.Conn).Conn()
		_, err := c.PgConn().CopyFrom(ctx, in, "COPY ar_messages (stomp_id, queue, seq, size, attempts, frame, stored, checksum) FROM STDIN")
		if err != nil && c.IsClosed() {
			return &closedError{err}
		}
		return err
	})
}

// copyLine yields a row as the text format of COPY has it: tabs between the columns, a backslash
// before what means something.
func (l *long) copyLine(yield func([]byte) bool) {
	r, sum := l.rec, l.beginSum()
	b := appendCopied(nil, []byte(l.stompID))
	b = hex.AppendEncode(append(b, '\t', '\\', '\\', 'x'), []byte(r.Queue))
	for _, n := range []int64{int64(r.Seq), int64(r.Msg.Size()), int64(r.Attempts)} {
		b = strconv.AppendInt(append(b, '\t'), n, 10)
	}
	b = append(b, '\t')
	for piece := range summed(&sum, l.framePieces) {
		if b = appendCopied(b, piece); !yield(b) {
			return
		}
		b = b[:0]
	}
	if b = append(b, '\t', '\\'); l.stored == nil {
		b = append(b, 'N')
	} else {
		b = append(b, '\\', 'x')
		for piece := range summed(&sum, l.pieces) {
			if b = hex.AppendEncode(b, piece); !yield(b) {
				return
			}
			b = b[:0]
		}
	}
	b = strconv.AppendInt(append(b, '\t'), l.endSum(sum), 10)
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

// concatenate puts a row into MySQL. What the variables hold is no larger than a row may be.
func concatenate(ctx context.Context, s *Store, l *long) error {
	r, sum := l.rec, l.beginSum()
	if err := s.grow(ctx, "@stompserver_frame", true, l.frameSize, summed(&sum, l.framePieces)); err != nil {
		return err
	}
	stored := "NULL"
	if l.stored != nil {
		stored = "@stompserver_stored"
		if err := s.grow(ctx, stored, false, l.storedSize(), summed(&sum, l.pieces)); err != nil {
			return err
		}
	}
	if err := s.exec(ctx, "INSERT INTO ar_messages (stomp_id, frame, queue, seq, size, attempts, stored, checksum) VALUES (?, @stompserver_frame, ?, ?, ?, ?, "+stored+", ?)",
		l.stompID, []byte(r.Queue), int64(r.Seq), int64(r.Msg.Size()), int64(r.Attempts), l.endSum(sum)); err != nil {
		return err
	}
	return s.exec(ctx, "SET @stompserver_frame = NULL, @stompserver_stored = NULL")
}

// grow makes a variable of n bytes. The server copies what there is of it for each piece that is
// added, so they are few.
func (s *Store) grow(ctx context.Context, name string, text bool, n int, pieces iter.Seq[[]byte]) error {
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
		var arg any = b
		if text {
			arg = view(b)
		}
		if garbage += 4 * len(b); garbage >= 2*heap.Much { // what the driver made of those before
			heap.Collect()
			garbage = 0
		}
		err := s.exec(ctx, "SET "+name+" = "+value, arg)
		b = make([]byte, 0, most)
		return err
	}
	for piece := range pieces {
		for len(piece) > 0 {
			k := min(len(piece), most-len(b))
			if text && k < len(piece) {
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
