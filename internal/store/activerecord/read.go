package activerecord

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Queues implements store.Backend.
func (s *Store) Queues() (infos []store.Info, err error) {
	err = s.again(func(ctx context.Context) error {
		infos = nil
		rows, err := s.db.QueryContext(ctx, "SELECT queue, COALESCE(MIN(seq), 0), COUNT(*), COALESCE(SUM(size), 0) FROM ar_messages WHERE queue IS NOT NULL GROUP BY queue")
		if err != nil {
			return err
		}
		defer rows.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		seen := make(map[string]bool)
		for rows.Next() {
			var name []byte
			var first, count, size any
			if err := rows.Scan(&name, &first, &count, &size); err != nil {
				return err
			}
			seen[string(name)] = true
			infos = append(infos, s.info(string(name), float(first), float(count), float(size)))
		}
		for name, st := range s.queues {
			if !seen[name] {
				infos = append(infos, store.Info{Name: name, Last: st.last, Marked: st.marked})
			}
		}
		if s.floor > 0 {
			infos = append(infos, store.Info{Last: s.floor})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	return infos, nil
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
func (s *Store) info(name string, first, count, size float64) store.Info {
	st := s.queues[name]
	i := store.Info{Name: name, Last: st.last, Marked: st.marked, Count: int(count)}
	for _, d := range s.damaged[name] {
		i.Count--
		size -= float64(d.size)
	}
	if i.Count <= 0 {
		i.Count = 0
		return i
	}
	i.First = min(store.Seq(max(first, 1)), st.last)
	i.Bytes = int64(min(max(size, float64(i.Count)*message.Overhead), math.MaxInt64/2))
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
}

// cut finds out where p ends.
func (s *Store) cut(ctx context.Context, p *page, max int, size int64) error {
	rows, err := s.db.QueryContext(ctx, s.d.bind("SELECT seq, size FROM ar_messages WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"), []byte(p.queue), int64(p.after), max+1+s.damagedIn(p.queue))
	if err != nil {
		return err
	}
	defer rows.Close()
	*p = page{queue: p.queue, after: p.after, last: p.after}
	for rows.Next() {
		var r row
		var seq, bytes any
		if err := rows.Scan(&seq, &bytes); err != nil {
			return err
		}
		r.seq, _ = r.number(seq)
		r.size, _ = r.number(bytes)
		if store.Seq(r.seq) <= p.last { // it is twice, or no number
			continue
		}
		damaged := s.isDamaged(p.queue, r.seq)
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
			p.count++
			p.size += r.size
		}
		p.last = store.Seq(r.seq)
	}
	return rows.Err()
}

func (s *Store) damagedIn(queue string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.damaged[queue])
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
	text := s.d.bind("SELECT " + rowColumns + " FROM ar_messages WHERE queue = ? AND seq > ? AND seq <= ? ORDER BY seq")
	rows, err := s.db.QueryContext(ctx, text, []byte(p.queue), int64(p.after), int64(p.last))
	if err != nil {
		return dst, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
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
		damage := &DamageError{}
		damage.add(r.id, err)
		return dst, damage
	case s.noteDamage(r):
		s.cfg.Log.Error("a damaged message is left out", "database", s.cfg.Database.String(), "row", r.id, "destination", p.queue, "err", err)
	}
	return dst, nil
}
