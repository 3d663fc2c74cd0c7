package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Write implements store.Backend.
func (d *DBM) Write(rs []store.Record) error {
	if len(rs) == 0 {
		return nil
	}
	if err := d.write(rs); err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	return nil
}

// write has acks go on when the disk is full: there is room kept for them. A transaction writes new pages
// for all that it changes, and what it replaces is free for the next but one.
func (d *DBM) write(rs []store.Record) error {
	puts := slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut })
	if puts && d.reserve != nil {
		// Free pages are as good. An error of another kind says that there can be no reserve.
		if err := d.reserve.Keep(); err != nil && vfs.IsFull(err) && d.free() < reserveSize+2*sizeOfPuts(rs) {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
	}
	err := d.writeOnce(&change{records: rs})
	if errors.Is(err, store.ErrFull) && !puts && d.reserve != nil && d.reserve.Give() {
		err = d.writeOnce(&change{records: rs})
	}
	return err
}

// reserveSize is enough for a path down the tree, with a page of large values at its end.
const (
	reserveSize = 4 << 20
	reserveName = ".reserve" // behind the name of the file
)

// free is how many bytes there are within the file that the next transaction can write. What the last one has made
// free is pending until that begins, and may be all that many acks gave: nobody else might ever come.
func (d *DBM) free() int64 {
	s := d.db.Stats()
	return int64(s.FreePageN+s.PendingPageN) * int64(d.db.Info().PageSize)
}

func sizeOfPuts(rs []store.Record) (n int64) {
	for i := range rs {
		if rs[i].Kind == store.RecordPut && (i == 0 || rs[i-1].Msg != rs[i].Msg) {
			n += int64(rs[i].Msg.Size())
		}
	}
	return n
}

func (d *DBM) writeOnce(c *change) (err error) {
	defer guard(&err)()
	if d.unswept {
		if err := d.sweepUp(); err != nil {
			return err
		}
	}
	touched := d.touch(c) // as they will be, if this succeeds
	runs := d.runs(c.records)
	w := newPartWriter(&d.sizes, c.records, runs, touched)
	if err = d.writeAhead(w); err == nil {
		err = d.update(func(tx *bbolt.Tx) error {
			if c.mark != nil {
				if err := tx.Bucket(metaBucket).Put(logKey, c.mark.append()); err != nil {
					return err
				}
			}
			return d.apply(tx, w, c, runs, touched)
		})
	}
	if cap(d.buf) > mostKept {
		d.buf = nil
	}
	if err != nil {
		if d.isFull(err) {
			err = fmt.Errorf("%w: %w", store.ErrFull, err)
			if d.unswept {
				err = errors.Join(err, d.sweepUp())
			}
		}
		return err
	}
	d.unswept = false
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, r := range touched {
		d.queues[name] = r
	}
	return nil
}

// transact is bbolt's Update. But where that finds damage it does not look through all pages for free
// ones, on a goroutine that cannot recover.
func (d *DBM) transact(do func(*bbolt.Tx) error) error {
	tx, err := d.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing, if it was committed
	d.writing = uint64(tx.ID())
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// failing is transact with what comes at the end of each transaction, and may have it fail.
func (d *DBM) failing(fail func() error) func(func(*bbolt.Tx) error) error {
	return func(do func(*bbolt.Tx) error) error {
		return d.transact(func(tx *bbolt.Tx) error {
			if err := do(tx); err != nil {
				return err
			}
			return fail()
		})
	}
}

// isFull reports whether a transaction failed for want of room, and nothing of it is in the file. A
// failed sync is final, whatever it says: what it was to make durable may be gone. So is all that
// comes when the new head has been written.
func (d *DBM) isFull(err error) bool {
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		if path.Op != "write" || !vfs.IsFull(err) {
			return false
		}
	case strings.HasPrefix(err.Error(), "file resize error: "): // bbolt's text of what ftruncate says
	default:
		return false
	}
	newest := uint64(0)
	err = d.db.View(func(tx *bbolt.Tx) error {
		newest = uint64(tx.ID())
		return nil
	})
	return err == nil && newest < d.writing
}

// touch makes a copy of the record of each queue that changes.
func (d *DBM) touch(c *change) map[string]*record {
	touched := make(map[string]*record)
	touch := func(name string) *record {
		r := touched[name]
		if r != nil {
			return r
		}
		r = new(record)
		if was := d.queues[name]; was != nil {
			*r = *was
		} else {
			d.lastID++
			r.id = d.lastID
		}
		touched[name] = r
		return r
	}
	for i := range c.records {
		touch(c.records[i].Queue)
	}
	for name := range c.lasts {
		touch(name)
	}
	return touched
}

// apply makes the changes of a Write, and puts those parts that are not there yet.
func (d *DBM) apply(tx *bbolt.Tx, p *partWriter, c *change, runs []run, touched map[string]*record) error {
	if err := p.put(tx, p.left); err != nil {
		return err
	}
	w := writer{
		tx: tx, messages: tx.Bucket(messagesBucket), parts: tx.Bucket(partsBucket), holders: tx.Bucket(holdersBucket),
		sizes: p.sizes, buf: d.buf[:0],
	}
	w.messages.FillPercent = 0.95 // keys come in order
	rs := c.records
	for i := 0; len(rs) > 0; i++ {
		n, err := 1, error(nil)
		if runs != nil && runs[i].n > 1 {
			n = runs[i].n
			err = w.putShared(touched, rs[:n], runs[i].id)
		} else {
			err = w.apply(touched[rs[0].Queue], &rs[0])
		}
		if err != nil {
			return err
		}
		rs = rs[n:]
	}
	if err := errors.Join(w.putReferences(), w.settle()); err != nil {
		return err
	}
	for name, last := range c.lasts {
		r := touched[name]
		r.last = max(r.last, last)
	}
	queues := tx.Bucket(queuesBucket)
	for name, r := range touched {
		if err := queues.Put([]byte(name), r.append([]byte(name))); err != nil {
			return err
		}
	}
	d.buf = w.buf
	return nil
}

// mostKept is how much memory is kept from one transaction for the next.
const mostKept = 8 << 20

// A writer makes the changes of one transaction. Keys and values must stay as they are until
// that ends, so they are laid out behind each other.
type writer struct {
	tx       *bbolt.Tx
	messages *bbolt.Bucket
	parts    *bbolt.Bucket
	holders  *bbolt.Bucket
	sizes    *sizes
	buf      []byte
	keys     [][]byte
	gone     map[uint64]uint64 // references to messages of several queues
	refs     []keyed           // such references that are to be put
}

func (w *writer) apply(r *record, rec *store.Record) error {
	if rec.Kind != store.RecordPut && len(w.refs) > 0 {
		if err := w.putReferences(); err != nil {
			return err
		}
	}
	switch rec.Kind {
	case store.RecordPut:
		key, err := w.prepare(r, rec, w.sizes.large(rec))
		if err != nil {
			return err
		}
		r.last = max(r.last, rec.Seq)
		return w.messages.Put(key, w.value(key, rec.Msg, 0))
	case store.RecordAck:
		return w.remove(r, rec.Seq, rec.Last)
	case store.RecordMark:
		r.marked = rec.Seq
	case store.RecordAttempts:
		key := w.key(r.id, rec.Seq)
		v := w.messages.Get(key)
		if v == nil {
			return nil
		}
		v, err := w.tried(key, v, rec.Attempts)
		if err != nil {
			return nil // it says so when it is read
		}
		return w.messages.Put(key, v)
	}
	return nil
}

// room returns where n bytes may be appended to buf without moving what is there.
func (w *writer) room(n int) []byte {
	if cap(w.buf)-len(w.buf) < n {
		w.buf = make([]byte, 0, max(n, 2*cap(w.buf), 64<<10))
	}
	return w.buf[len(w.buf):]
}

func (w *writer) key(id uint64, seq store.Seq) []byte {
	k := appendKey(w.room(16)[:0], id, seq)
	w.buf = w.buf[:len(w.buf)+len(k)]
	return k
}

var errDamaged = errors.New("its checksum does not fit: the message is damaged")

func (w *writer) remove(r *record, first, last store.Seq) error {
	c := w.messages.Cursor()
	w.keys = w.keys[:0]
	for k, v := c.Seek(w.key(r.id, first)); len(k) == 16 && binary.BigEndian.Uint64(k) == r.id && keySeq(k) <= last; k, v = c.Next() {
		r.count--
		if n, err := sizeOf(v); err == nil {
			r.bytes -= int64(n)
		}
		w.keys = append(w.keys, k)
		if id, ok := referenceOf(k, v); ok {
			w.letGo(id)
		}
		if liesInParts(v) {
			if err := removeParts(w.parts, r.id, keySeq(k), 0); err != nil {
				return err
			}
		}
	}
	for _, k := range w.keys {
		if err := w.messages.Delete(k); err != nil {
			return err
		}
	}
	if r.count == 0 {
		r.bytes = 0
	}
	return nil
}
