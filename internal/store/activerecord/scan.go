package activerecord

import (
	"context"
	"errors"
	"fmt"

	"stompserver/internal/heap"
	"stompserver/internal/store"
)

// A stray is a row that is taken over: it had no checksum, and perhaps no place.
type stray struct {
	id, size, checksum int64
	queue              string
	seq                store.Seq
	placed             bool // it has a place already
	stompID            string
}

const scanRows = 500

// scan reads all rows: whether they are what was written, and to take over those that another
// program wrote.
func (s *Store) scan(ctx context.Context) error {
	if err := s.neverTwice(ctx); err != nil {
		return err
	}
	var damage DamageError
	taken := 0
	for after, more := int64(-1<<62), true; more; {
		var strays []stray
		var err error
		if strays, after, more, err = s.scanPage(ctx, after, &damage); err != nil {
			return fmt.Errorf("ar_messages: %w", err)
		}
		if err := s.adopt(ctx, strays); err != nil {
			return err
		}
		taken += len(strays)
	}
	if damage.Count > 0 && !s.cfg.StartDamaged {
		return &damage
	}
	if taken > 0 {
		s.cfg.Log.Info("messages taken over that another program wrote", "messages", taken)
	}
	return nil
}

// neverTwice looks that no seq is used twice, whatever happened to the states.
func (s *Store) neverTwice(ctx context.Context) error {
	rows, err := s.conn.QueryContext(ctx, "SELECT queue, MAX(seq) FROM ar_messages WHERE queue IS NOT NULL GROUP BY queue")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var seq any
		if err := rows.Scan(&name, &seq); err != nil {
			return err
		}
		var r row
		if last, ok := r.number(seq); ok && last > 0 && last < 1<<62 {
			st := s.queues[string(name)]
			st.last = max(st.last, store.Seq(last))
			s.queues[string(name)] = st
		}
	}
	return rows.Err()
}

func (s *Store) scanPage(ctx context.Context, after int64, damage *DamageError) (strays []stray, last int64, more bool, err error) {
	columns := rowColumns
	if s.d.scanned != "" {
		columns = s.d.scanned
	}
	rows, err := s.conn.QueryContext(ctx, s.d.bind("SELECT "+columns+" FROM ar_messages WHERE id > ? ORDER BY id LIMIT ?"), after, scanRows)
	if err != nil {
		return nil, after, false, err
	}
	defer rows.Close()
	look := func(r *row) {
		var err error
		if r.summed {
			err = r.verify()
		} else {
			var st stray
			if st, err = r.stray(); err == nil {
				strays = append(strays, st)
			}
		}
		if err == nil {
			return
		}
		damage.add(r.id, err)
		if s.cfg.StartDamaged {
			s.tellDamage(r, err)
		}
	}
	n, garbage := 0, 0
	for ; rows.Next(); n++ {
		var r row
		if err := r.scan(rows); err != nil {
			return nil, after, false, fmt.Errorf("behind the row with id %d: %w", after, err)
		}
		after = r.id
		if garbage += len(r.frame.b) + len(r.stored); garbage >= heap.Much {
			heap.Collect()
			garbage = 0
		}
		if r.frame.b != nil || s.d.scanned == "" {
			look(&r)
		} else if err := s.d.alone(ctx, s, withID(r.id), look); err != nil {
			return nil, after, false, fmt.Errorf("the row with id %d: %w", r.id, err)
		}
	}
	return strays, after, n == scanRows, rows.Err()
}

// stray looks at a row that has no checksum.
func (r *row) stray() (stray, error) {
	m, err := r.message()
	if err == nil && (r.odd || r.queue != nil && r.seq <= 0) {
		err = errors.New("its place is none")
	}
	if err != nil {
		return stray{}, err
	}
	st := stray{id: r.id, size: int64(m.Size()), queue: string(r.queue), seq: store.Seq(r.seq), placed: r.queue != nil, stompID: r.stompID}
	if !st.placed {
		st.queue = m.Destination()
	}
	// The place is known later; the sum is begun with what is at hand.
	st.checksum = sumOfTexts(st.stompID, r.frame.b, r.stored)
	return st, nil
}

// tellDamage logs a damaged row, and keeps in mind that it is to stay.
func (s *Store) tellDamage(r *row, err error) {
	s.cfg.Log.Error("a damaged message is left out", "database", s.cfg.Database.String(), "row", r.id, "destination", string(r.queue), "err", err)
	s.noteDamage(r)
}

// noteDamage reports whether it was news.
func (s *Store) noteDamage(r *row) bool {
	if r.queue == nil {
		return true // no ack comes near it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(r.queue)
	for _, d := range s.damaged[name] {
		if d.id == r.id {
			return false
		}
	}
	s.damaged[name] = append(s.damaged[name], damagedRow{r.id, r.seq, r.size})
	return true
}

// adopt gives rows a place, behind all others, and a checksum.
func (s *Store) adopt(ctx context.Context, strays []stray) error {
	if len(strays) == 0 {
		return nil
	}
	touched := make(map[string]state)
	for i := range strays {
		r := &strays[i]
		st := s.queues[r.queue]
		if !r.placed {
			st.last = max(st.last, s.floor) + 1
			r.seq = st.last
		}
		s.queues[r.queue], touched[r.queue] = st, st
		r.checksum = sumOfPlace(r.checksum, []byte(r.queue), int64(r.seq), r.size)
	}
	text := s.d.bind("UPDATE ar_messages SET queue = ?, seq = ?, size = ?, checksum = ? WHERE id = ?")
	return s.inTransaction(ctx, func() error {
		for _, r := range strays {
			if err := s.exec(ctx, text, []byte(r.queue), int64(r.seq), r.size, r.checksum, r.id); err != nil {
				return fmt.Errorf("taking over the row with id %d: %w", r.id, err)
			}
		}
		return s.saveStates(ctx, touched)
	})
}
