package activerecord

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stompserver/internal/heap"
	"stompserver/internal/message"
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

// A scan is what there was, and is to be done, so far.
type scan struct {
	copies bool // there are some
	damage DamageError
	taken  int     // rows
	left   []int64 // ids of rows whose copies are gone
}

// scan reads all rows: whether they are what was written, and to take over those that another
// program wrote.
func (s *Store) scan(ctx context.Context) error {
	var sc scan
	var err error
	if _, err = s.neverTwice(ctx, "ar_messages", false); err != nil {
		return err
	}
	if sc.copies, err = s.neverTwice(ctx, "stompserver_copies", true); err != nil {
		return err
	}
	if sc.copies {
		if err := s.dropCopies(ctx); err != nil {
			return err
		}
	}
	for after, more := int64(-1<<62), true; more; {
		var p scanned
		if p, err = s.scanPage(ctx, after, &sc); err != nil {
			return fmt.Errorf("ar_messages: %w", err)
		}
		if err := s.adopt(ctx, p.strays); err != nil {
			return err
		}
		after, more = p.last, p.more
		sc.taken += len(p.strays)
	}
	if sc.damage.Count > 0 && !s.cfg.StartDamaged {
		return &sc.damage
	}
	if sc.taken > 0 {
		s.cfg.Log.Info("messages taken over that another program wrote", "messages", sc.taken)
	}
	if n := len(sc.left); n > 0 {
		slices.Sort(sc.left)
		s.cfg.Log.Warn("no queue has these messages any more, for their rows of stompserver_copies are gone; they are left where they are",
			"database", s.cfg.Database.String(), "messages", n, "rows", sc.left[:min(n, mostNamed)])
	}
	return nil
}

// neverTwice looks that no seq of a table is used twice, whatever happened to the states, and which queues have
// anything there.
func (s *Store) neverTwice(ctx context.Context, table string, copies bool) (some bool, err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT queue, MAX(seq) FROM "+table+" WHERE queue IS NOT NULL GROUP BY queue")
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var seq any
		if err := rows.Scan(&name, &seq); err != nil {
			return false, err
		}
		some = true
		var r row
		st := s.queues[string(name)]
		if last, ok := r.number(seq); ok && last > 0 && last < 1<<62 {
			st.last = max(st.last, store.Seq(last))
		}
		if copies {
			st.copied = st.last
		} else {
			st.row = st.last
		}
		s.queues[string(name)] = st
	}
	return some, rows.Err()
}

// dropCopies drops those of rows that another program has removed.
func (s *Store) dropCopies(ctx context.Context) error {
	res, err := s.conn.ExecContext(ctx, "DELETE FROM stompserver_copies WHERE NOT EXISTS (SELECT 1 FROM ar_messages m WHERE m.id = stompserver_copies.message)")
	if err != nil {
		return fmt.Errorf("stompserver_copies: %w", err)
	}
	if n, err := res.RowsAffected(); err == nil && n > 0 {
		s.cfg.Log.Info("another program has removed messages, of which queues had copies", "database", s.cfg.Database.String(), "copies", n)
	}
	return nil
}

// scanned is what a page of rows had.
type scanned struct {
	strays []stray
	bodies map[int64]body // by id
	last   int64
	more   bool
}

// A body is a row that there may be copies of.
type body struct {
	texts  int64 // their sum
	ours   bool  // it is a message of no other
	copied bool
}

func (s *Store) scanPage(ctx context.Context, after int64, sc *scan) (p scanned, err error) {
	p.bodies = make(map[int64]body)
	if p.more, err = s.scanRows(ctx, after, &p, sc); err != nil || len(p.bodies) == 0 {
		return p, err
	}
	if sc.copies {
		if err := s.scanCopies(ctx, after, &p, sc); err != nil {
			return p, err
		}
	}
	p.strays = slices.DeleteFunc(p.strays, func(st stray) bool { return p.bodies[st.id].copied })
	for id, b := range p.bodies {
		if b.ours && !b.copied {
			sc.left = append(sc.left, id)
		}
	}
	return p, nil
}

func (s *Store) scanRows(ctx context.Context, after int64, p *scanned, sc *scan) (more bool, err error) {
	columns := rowColumns
	if s.d.scanned != "" {
		columns = s.d.scanned
	}
	rows, err := s.conn.QueryContext(ctx, s.d.bind("SELECT "+columns+" FROM ar_messages m WHERE m.id > ? ORDER BY m.id LIMIT ?"), after, scanRows)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	look := func(r *row) {
		var err error
		if ours := r.queue == nil && r.zero && !r.summed; ours || sc.copies {
			p.bodies[r.id] = body{texts: r.sumOfTexts(), ours: ours}
		}
		switch {
		case r.summed:
			err = r.verify()
		case p.bodies[r.id].ours: // its copies are looked at
		default:
			var st stray
			if st, err = r.stray(); err == nil {
				p.strays = append(p.strays, st)
			}
		}
		if err == nil {
			return
		}
		sc.damage.add(r.id, err)
		if s.cfg.StartDamaged {
			s.tellDamage(r, err)
		}
	}
	p.last = after
	n, garbage := 0, 0
	for ; rows.Next(); n++ {
		var r row
		if err := r.scan(rows); err != nil {
			return false, fmt.Errorf("behind the row with id %d: %w", p.last, err)
		}
		p.last = r.id
		if garbage += len(r.frame.b) + len(r.stored); garbage >= heap.Much {
			heap.Collect()
			garbage = 0
		}
		if r.frame.b != nil || s.d.scanned == "" {
			look(&r)
			continue
		}
		alone := s.d.alone
		if (r.summed || r.queue == nil && r.zero) && s.d.sums != nil { // there is no need for a message
			alone = s.d.sums
		}
		if err := alone(ctx, s, withID(r.id), look); err != nil {
			return false, fmt.Errorf("the row with id %d: %w", r.id, err)
		}
	}
	return n == scanRows, rows.Err()
}

// scanCopies looks at the copies of a page of rows. Those that were mended by hand have no checksum.
func (s *Store) scanCopies(ctx context.Context, after int64, p *scanned, sc *scan) error {
	mended, err := s.verifyCopies(ctx, after, p, sc)
	if err != nil {
		return err
	}
	text := s.d.bind("UPDATE stompserver_copies SET size = ?, checksum = ? WHERE queue = ? AND seq = ?")
	for _, r := range mended {
		var damage error
		err := s.d.alone(ctx, s, copyOf(string(r.queue), store.Seq(r.seq)), func(whole *row) {
			texts := whole.sumOfTexts()
			var m *message.Message
			if m, damage = whole.message(); damage == nil {
				r.size = int64(m.Size())
				r.checksum = sumOfCopy(texts, r.queue, r.seq, r.size, whole.stored)
			}
		})
		if err == nil && damage == nil {
			err = s.exec(ctx, text, r.size, r.checksum, r.queue, r.seq)
		}
		if err != nil {
			return err
		}
		if damage != nil {
			s.noteCopy(&r, damage, sc)
		}
	}
	return nil
}

func (s *Store) verifyCopies(ctx context.Context, after int64, p *scanned, sc *scan) (mended []row, err error) {
	rows, err := s.conn.QueryContext(ctx, s.d.bind("SELECT c.message, '', NULL, c.stored, c.queue, c.seq, c.size, c.attempts, c.checksum FROM stompserver_copies c WHERE c.message > ? AND c.message <= ?"), after, p.last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r := row{copied: true}
		if err := r.scan(rows); err != nil {
			return nil, fmt.Errorf("stompserver_copies: behind those of the row with id %d: %w", after, err)
		}
		b, ok := p.bodies[r.id]
		if !ok { // it has come just now
			continue
		}
		b.copied = true
		p.bodies[r.id] = b
		switch {
		case !r.odd && !r.summed:
			mended = append(mended, row{queue: r.queue, seq: r.seq, id: r.id})
		case r.odd || sumOfCopy(b.texts, r.queue, r.seq, r.size, r.stored) != r.checksum:
			s.noteCopy(&r, errSum, sc)
		}
	}
	return mended, rows.Err()
}

// noteCopy notes that a copy is damaged, or its row.
func (s *Store) noteCopy(r *row, err error, sc *scan) {
	if n := len(sc.damage.Rows); n == 0 || sc.damage.Rows[n-1] != r.id {
		sc.damage.add(r.id, err)
	}
	if s.cfg.StartDamaged {
		s.tellDamage(r, err)
	}
}

// stray looks at a row that has no checksum.
func (r *row) stray() (stray, error) {
	texts := r.sumOfTexts()
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
	st.checksum = texts // the place is known later
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
		st.row = max(st.row, r.seq)
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
