package dbm

import (
	"math"

	"go.etcd.io/bbolt"

	"stompserver/internal/store"
)

// layers are those that lie on the database, the lower one first. Called with mu held.
func (l *Logged) layers() []*layer {
	if l.frozen != nil {
		return []*layer{l.frozen, l.current}
	}
	return []*layer{l.current}
}

// view begins to read: what the layers have of a queue, and the database, at one moment.
func (l *Logged) view(queue string, after store.Seq, most int) (*view, *bbolt.Tx, error) {
	for {
		l.mu.Lock()
		v, epoch := viewOf(l.layers(), queue, after, most), l.epoch
		l.mu.Unlock()
		tx, err := l.db.db.Begin(false)
		if err != nil {
			return nil, nil, err
		}
		l.mu.Lock()
		same := epoch == l.epoch
		l.mu.Unlock()
		if same { // the database has no more than v knows of
			return v, tx, nil
		}
		_ = tx.Rollback()
	}
}

// Read implements store.Backend.
func (l *Logged) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	rs, more, err = l.read(dst, queue, after, max, size)
	return rs, more, l.wrap(err)
}

func (l *Logged) read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	rs = dst
	defer guard(&err)()
	v, tx, err := l.view(queue, after, max)
	if err != nil {
		return dst, false, err
	}
	defer func() { _ = tx.Rollback() }()
	return v.read(tx, dst, queue, l.db.idOf(queue), after, max, size)
}

// idOf is the number of a queue; 0: there is none.
func (d *DBM) idOf(name string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.queues[name]; q != nil {
		return q.id
	}
	return 0
}

// Queues implements store.Backend.
func (l *Logged) Queues() (infos []store.Info, err error) {
	defer guard(&err)()
	l.applying.Lock() // so that the database stays as it is
	defer l.applying.Unlock()
	infos, err = l.db.Queues()
	if err != nil {
		return nil, err
	}
	at := make(map[string]int)
	for i := range infos {
		at[infos[i].Name] = i
	}
	l.mu.Lock()
	views := make(map[string]*view)
	for _, layer := range l.layers() {
		for name := range layer.queues {
			if views[name] == nil {
				views[name] = viewOf(l.layers(), name, 0, math.MaxInt)
			}
		}
	}
	l.mu.Unlock()
	err = l.db.db.View(func(tx *bbolt.Tx) error {
		for name, v := range views {
			i, known := at[name]
			if !known {
				i = len(infos)
				infos = append(infos, store.Info{Name: name})
			}
			v.info(tx, &infos[i], l.db.idOf(name))
		}
		return nil
	})
	return infos, l.wrap(err)
}
