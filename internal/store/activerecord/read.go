package activerecord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Queues implements store.Backend.
func (s *Store) Queues() (infos []store.Info, err error) {
	err = s.again(func(ctx context.Context) error {
		infos = nil
		held := make(map[string]tally)
		for _, table := range []string{"ar_messages WHERE queue IS NOT NULL", "stompserver_copies"} {
			if err := s.tally(ctx, held, table); err != nil {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, t := range held {
			infos = append(infos, s.info(name, t))
		}
		for name, st := range s.queues {
			if _, ok := held[name]; !ok {
				infos = append(infos, store.Info{Name: name, Last: st.last, Marked: st.marked})
			}
		}
		if s.floor > 0 {
			infos = append(infos, store.Info{Last: s.floor})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	return infos, nil
}

// A tally is what a queue has.
type tally struct{ first, count, size float64 }

// tally adds what the queues have in a table.
func (s *Store) tally(ctx context.Context, held map[string]tally, table string) error {
	rows, err := s.db.QueryContext(ctx, "SELECT queue, COALESCE(MIN(seq), 0), COUNT(*), COALESCE(SUM(size), 0) FROM "+table+" GROUP BY queue")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var first, count, size any
		if err := rows.Scan(&name, &first, &count, &size); err != nil {
			return err
		}
		t, ok := held[string(name)]
		if f := float(first); !ok || f < t.first {
			t.first = f
		}
		t.count += float(count)
		t.size += float(size)
		held[string(name)] = t
	}
	return rows.Err()
}

// float takes whatever a damaged row may make of a sum.
func float(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case string:
		f, _ := strconv.ParseFloat(v, 64)
		return f
	case []byte:
		f, _ := strconv.ParseFloat(string(v), 64)
		return f
	}
	return 0
}

// info tells of a queue, without the rows that are damaged. Called with mu held.
func (s *Store) info(name string, t tally) store.Info {
	st := s.queues[name]
	i := store.Info{Name: name, Last: st.last, Marked: st.marked, Count: int(t.count)}
	for _, d := range s.damaged[name] {
		i.Count--
		t.size -= float64(d.size)
	}
	if i.Count <= 0 {
		i.Count = 0
		return i
	}
	i.First = min(store.Seq(max(t.first, 1)), st.last)
	i.Bytes = int64(min(max(t.size, float64(i.Count)*message.Overhead), math.MaxInt64/2))
	return i
}

// Read implements store.Backend. Where a page ends is found out by the sizes alone, so that no
// more is read than is wanted.
func (s *Store) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	begin := len(dst)
	for {
		p := page{queue: queue, after: after}
		read := len(dst)
		err = s.again(func(ctx context.Context) error {
			dst = dst[:read]
			if err := s.cut(ctx, &p, max, size); err != nil || p.last == after {
				return err
			}
			readPage := s.readPage
			if p.alone {
				readPage = s.readAlone
			}
			dst, err = readPage(ctx, dst, &p)
			return err
		})
		var damage *DamageError
		if errors.As(err, &damage) && len(dst) > begin {
			return dst, true, nil // those before it can be had
		}
		if err != nil {
			return dst[:begin], false, fmt.Errorf("%s: %w", s.cfg.Database, err)
		}
		max, size, after = max-p.count, size-p.size, p.last
		if !p.more || p.last == p.after || !p.early && len(dst) > begin { // the second: none may be read
			return dst, p.more, nil
		}
	}
}

// A page is the messages of a queue that follow after, up to last.
type page struct {
	queue       string
	after, last store.Seq
	count       int
	size        int64
	more        bool // others follow
	early       bool // and it ends for the sake of a large one
	alone       bool // last is all of it, and large
	rows        bool // some of it may be rows
	copies      bool // some of it are copies; all, if it is alone
}

// cut finds out where p ends.
func (s *Store) cut(ctx context.Context, p *page, max int, size int64) error {
	inRows, inCopies, damages := s.whereIs(p.queue, p.after)
	var text string
	args := []any{[]byte(p.queue), int64(p.after), max + 1 + damages}
	switch {
	case inRows && inCopies:
		text = "SELECT * FROM (" + cutRows + ") AS r UNION ALL SELECT * FROM (" + cutCopies + ") AS c ORDER BY seq"
		args = append(args, args...)
	case inCopies:
		text = cutCopies
	default:
		text = cutRows
	}
	rows, err := s.db.QueryContext(ctx, s.d.bind(text), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	*p = page{queue: p.queue, after: p.after, last: p.after}
	for rows.Next() {
		var r row
		var seq, bytes any
		if err := rows.Scan(&seq, &bytes, &r.copied); err != nil {
			return err
		}
		r.seq, _ = r.number(seq)
		r.size, _ = r.number(bytes)
		if store.Seq(r.seq) <= p.last { // it is twice, or no number
			continue
		}
		damaged := s.cfg.StartDamaged && s.isDamaged(p.queue, r.seq) // else it is read, and that fails
		if damaged && p.alone {
			continue
		}
		if !damaged {
			large := r.size >= aloneFrom
			full := p.count == max || p.size >= size
			if full || p.alone || large && p.count > 0 {
				p.more, p.early = true, !full
				return nil
			}
			p.alone = large
			p.copies, p.rows = p.copies || r.copied, p.rows || !r.copied
			p.count++
			p.size += r.size
		}
		p.last = store.Seq(r.seq)
	}
	return rows.Err()
}

const (
	cutRows   = "SELECT seq, size, 0 AS copied FROM ar_messages WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
	cutCopies = "SELECT seq, size, 1 AS copied FROM stompserver_copies WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
)

// whereIs tells whether what a queue has behind after may be rows, or copies, and how many are damaged of all.
func (s *Store) whereIs(queue string, after store.Seq) (rows, copies bool, damaged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.queues[queue]
	copies = after < st.copied
	return after < st.row || !copies, copies, len(s.damaged[queue])
}

func (s *Store) isDamaged(queue string, seq int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.damaged[queue] {
		if d.seq == seq {
			return true
		}
	}
	return false
}

// readPage appends the messages of p, up to one that is damaged, which is an error unless such
// are to be left out.
func (s *Store) readPage(ctx context.Context, dst []store.Record, p *page) ([]store.Record, error) {
	if !p.copies {
		return s.readFrom(ctx, dst, p, one{columns: rowColumns, from: " FROM ar_messages m WHERE m.queue = ? AND m.seq > ? AND m.seq <= ? ORDER BY m.seq"})
	}
	copies := one{columns: copyColumns, from: " FROM stompserver_copies c JOIN ar_messages m ON m.id = c.message WHERE c.queue = ? AND c.seq > ? AND c.seq <= ? ORDER BY c.seq"}
	begin := len(dst)
	dst, damage := s.readFrom(ctx, dst, p, copies)
	if !p.rows {
		return dst, damage
	}
	behind := *p // what is to be read of the rows: nothing behind a copy that is damaged
	var damaged *DamageError
	switch {
	case errors.As(damage, &damaged):
		behind.last = damaged.seq - 1
	case damage != nil:
		return dst, damage
	}
	behind.copies = false
	dst, err := s.readPage(ctx, dst, &behind)
	if errors.As(err, &damaged) { // nor behind a row that is
		dst = slices.DeleteFunc(dst, func(r store.Record) bool { return r.Queue == p.queue && r.Seq > damaged.seq })
	}
	slices.SortFunc(dst[begin:], func(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return dst, cmp.Or(err, damage)
}

// readFrom appends the messages of p that are rows, or those that are copies.
func (s *Store) readFrom(ctx context.Context, dst []store.Record, p *page, from one) ([]store.Record, error) {
	rows, err := s.db.QueryContext(ctx, s.d.bind("SELECT "+from.columns+from.from), []byte(p.queue), int64(p.after), int64(p.last))
	if err != nil {
		return dst, err
	}
	defer rows.Close()
	for rows.Next() {
		r := row{copied: from.copied()}
		if err := r.scan(rows); err != nil {
			return dst, err
		}
		if dst, err = s.appendRow(dst, p, &r); err != nil {
			return dst, err
		}
	}
	return dst, rows.Err()
}

// appendRow appends the message of a row. If it is damaged that is an error, unless such are to be
// left out.
func (s *Store) appendRow(dst []store.Record, p *page, r *row) ([]store.Record, error) {
	var m *message.Message
	err := r.verify()
	if err == nil && (string(r.queue) != p.queue || r.seq <= int64(p.after) || r.seq > int64(p.last)) {
		err = errors.New("the index leads to another row")
	}
	if err == nil {
		m, err = r.message()
	}
	switch {
	case err == nil:
		dst = append(dst, store.Record{Kind: store.RecordPut, Queue: p.queue, Seq: store.Seq(r.seq), Msg: store.Unhosted(m, p.queue), Attempts: uint32(r.attempts)})
	case !s.cfg.StartDamaged:
		s.noteDamage(r)
		damage := &DamageError{seq: store.Seq(r.seq)}
		damage.add(r.id, err)
		return dst, damage
	case s.noteDamage(r):
		s.cfg.Log.Error("a damaged message is left out", "database", s.cfg.Database.String(), "row", r.id, "destination", p.queue, "err", err)
	}
	return dst, nil
}
