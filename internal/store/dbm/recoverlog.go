package dbm

import (
	"errors"
	"fmt"

	"stompserver/internal/store"
)

// A recovery is what the log of the process before holds that the database lacks.
type recovery struct {
	d     *DBM
	files *logFiles
	mark  logMark
	layer *layer
	there bool // the files are, and can be written on
	stale []loggedGroup
}

// recoverLog reads the log that the process before may have left.
func (d *DBM) recoverLog(cfg *Config) (*recovery, error) {
	r := &recovery{d: d, files: newLogFiles(cfg), mark: logMark{closed: true}, layer: newLayer()}
	if d.mark != nil {
		r.mark = *d.mark
	}
	left, err := r.files.read(&r.mark)
	if err != nil {
		return r, err
	}
	if len(left.problems) > 0 && !cfg.StartDamaged {
		return r, &DamageError{Problems: left.problems, Count: len(left.problems)}
	}
	for _, p := range left.problems {
		cfg.Log.Error("the log of the file is damaged; what is whole was kept", "store", cfg.Path, "problem", p)
	}
	if left.cut != "" {
		cfg.Log.Warn("the log ended with what was not whole, which was cut off; it was never made durable", "store", cfg.Path, "where", left.cut)
	}
	if len(left.foreign) > 0 {
		if err := errors.Join(r.files.close(), r.files.setAside(left.foreign)); err != nil {
			return r, err
		}
	}
	r.there = left.there && len(left.foreign) == 0 && !r.mark.closed && !r.mark.unknown
	r.stale = left.stale
	r.files.salt, r.files.number, r.files.synced = r.mark.salt, r.mark.applied, r.mark.applied
	for _, g := range left.groups {
		r.layer.apply(g.rs, d.lastOf)
		f := &r.files.files[g.file]
		f.pos, f.last = max(f.pos, g.end()), g.Number
		r.files.number, r.files.at = g.Number, g.file
	}
	r.layer.upto = r.files.number
	if n := len(left.groups); n > 0 {
		cfg.Log.Info("log read", "store", cfg.Path, "groups", n)
	}
	return r, nil
}

// bringIn has the database hold all of it, and no log be there any more.
func (r *recovery) bringIn() error {
	if !r.mark.closed || len(r.layer.queues) > 0 {
		mark := logMark{salt: r.mark.salt, applied: r.files.number, closed: true}
		if err := r.d.bring(r.layer, &mark, r.files.sync); err != nil {
			if errors.Is(err, store.ErrFull) {
				err = fmt.Errorf("what its log holds cannot be brought in: %w", err)
			}
			return err
		}
	}
	r.mark.closed, r.mark.unknown = true, false
	return r.files.remove()
}

// lastOf is the highest Seq that a queue has had in the database.
func (d *DBM) lastOf(name string) store.Seq {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.queues[name]; q != nil {
		return q.last
	}
	return 0
}

// bring has the database hold what a layer holds, in one transaction that says up to where the log is
// in it. Where there is no room for that, what makes some goes first: the log, which is durable then,
// has all of it still.
func (d *DBM) bring(l *layer, mark *logMark, syncLog func() error) error {
	c := l.change(d.idOf)
	c.mark = mark
	err := d.writeOnce(c)
	if !errors.Is(err, store.ErrFull) {
		return err
	}
	if d.reserve != nil && d.reserve.Give() {
		if err = d.writeOnce(c); !errors.Is(err, store.ErrFull) {
			return err
		}
	}
	first := l.removals()
	if len(first.records) == 0 {
		return err
	}
	if e := syncLog(); e != nil {
		return e
	}
	if e := d.writeOnce(first); e != nil {
		return e
	}
	return d.writeOnce(c)
}
