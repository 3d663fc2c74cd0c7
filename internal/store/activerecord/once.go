package activerecord

import (
	"context"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
)

// otherCopy finds the copies of a message that other queues than that of c have: one queue has it once.
const otherCopy = "SELECT 1 FROM stompserver_copies o WHERE o.message = c.message AND o.queue <> c.queue"

const releaseText = "DELETE FROM ar_messages WHERE id IN (SELECT c.message FROM stompserver_copies c WHERE c.queue = ? AND NOT EXISTS (" + otherCopy + ") AND "

// once is how many puts at the beginning of rs are one row and its copies, because they put the same message
// into several queues, or one that is large; 0: the first is no such put. What was sent to queues has a row for
// each, for the Ruby server has a queue by what its frames say.
func (s *Store) once(rs []store.Record) int {
	if rs[0].Kind != store.RecordPut {
		return 0
	}
	if len(rs) == 1 || rs[1].Msg != rs[0].Msg || !isOfTopics(rs[0].Msg.Destination()) {
		if s.large(&rs[0]) {
			return 1
		}
		return 0
	}
	seen := map[string]bool{rs[0].Queue: true}
	n := 1
	for ; n < len(rs) && rs[n].Kind == store.RecordPut && rs[n].Msg == rs[0].Msg && !seen[rs[n].Queue]; n++ {
		seen[rs[n].Queue] = true
	}
	if n == 1 && !s.large(&rs[0]) {
		return 0
	}
	return n
}

// isOfTopics reports whether what a sender named are topics alone.
func isOfTopics(dest string) bool {
	names, err := destination.Parse(dest, destination.None)
	for _, n := range names {
		if n.Kind != destination.Topic && n.Kind != destination.Headers {
			return false
		}
	}
	return err == nil
}

// body is what the row has of a message that is to have n copies, and what each copy stores of it.
func (s *Store) body(r *store.Record, n int) (f *psych.Frame, stompID string, stored []byte) {
	dest := r.Queue
	if n > 1 {
		dest = r.Msg.Destination()
	}
	f, stompID, whole := s.frame(r, dest)
	if !whole {
		stored = r.Msg.AppendRecordHead(nil)
	}
	return f, stompID, stored
}

// sizeOf is what the texts of a row take, of which there are once copies, or none.
func (s *Store) sizeOf(r *store.Record, once int) int {
	if once == 0 {
		f, id, whole := s.frame(r, r.Queue)
		n := len(id) + psych.Size(f)
		if !whole {
			n += r.Msg.RecordSize()
		}
		return n
	}
	f, id, _ := s.body(r, once)
	return len(id) + psych.Size(f)
}

// insertOnce puts a row and its copies.
func (s *Store) insertOnce(ctx context.Context, rs []store.Record) error {
	f, id, stored := s.body(&rs[0], len(rs))
	var texts int64
	var err error
	if s.large(&rs[0]) {
		texts, err = s.d.large(ctx, s, &long{stompID: id, frame: f, frameSize: psych.Size(f)})
	} else {
		doc := psych.Document(f)
		texts = sumOfTexts(id, doc, nil)
		err = s.exec(ctx, "INSERT INTO ar_messages (stomp_id, frame, seq) VALUES ("+s.d.place(1, 2)+", 0)", id, view(doc))
	}
	if err != nil {
		return err
	}
	size := int64(rs[0].Msg.Size())
	const columns = 6
	for len(rs) > 0 {
		n := min(len(rs), mostRows)
		var b strings.Builder
		b.WriteString("INSERT INTO stompserver_copies (message, queue, seq, size, attempts, stored, checksum) VALUES ")
		args := make([]any, 0, n*columns)
		for i := range rs[:n] {
			r := &rs[i]
			args = append(args, []byte(r.Queue), int64(r.Seq), size, int64(r.Attempts), stored, sumOfCopy(texts, []byte(r.Queue), int64(r.Seq), size, stored))
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("(" + s.d.newest + "," + s.d.place(i*columns+1, columns) + ")")
		}
		if err := s.exec(ctx, b.String(), args...); err != nil {
			return err
		}
		rs = rs[n:]
	}
	return nil
}

// removeCopies removes spans of a queue's copies, and the rows of those that are the last, but for those of
// rows that are kept.
func (s *Store) removeCopies(ctx context.Context, queue string, spans []span, kept []int64) error {
	end := ""
	if strings.Contains(s.d.release, " IN (SELECT") {
		end = ")"
	}
	return s.eachSpan(queue, spans, func(seqs string, args []any) error {
		if err := s.exec(ctx, s.d.bind(s.d.release+"("+strings.ReplaceAll(seqs, "seq", "c.seq")+")"+butThese("c.message", kept)+end), args...); err != nil {
			return err
		}
		return s.exec(ctx, s.d.bind("DELETE FROM stompserver_copies WHERE queue = ? AND ("+seqs+")"+butThese("message", kept)), args...)
	})
}
