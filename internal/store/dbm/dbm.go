// Package dbm keeps queues in one file of bbolt, as the Ruby server kept them in a dbm.
//
// The file holds three buckets. "queues" has a record for each queue, under its name: what
// Info tells. "messages" has the messages, under the number of their queue and their Seq,
// both big-endian, so that a queue lies together and in order: a CRC-32C of what follows,
// how often the message was handed out, and its stored form (message.AppendRecord). "parts"
// has the bodies of large ones.
package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Config says where the file is.
type Config struct {
	Path string // of the file, which is made if there is none

	// NoSync has Write return before the disk confirms it; Sync is to be called.
	NoSync bool
}

// A DBM is a store.Backend.
type DBM struct {
	db     *bbolt.DB
	update func(func(*bbolt.Tx) error) error // of db
	path   string
	sizes  sizes
	floor  store.Seq

	// What follows belongs to Write.
	lastID  uint64
	unswept bool // there may be parts without a message
	buf     []byte

	mu     sync.Mutex         // guards what follows; Write alone changes it
	queues map[string]*record // none of which is changed
}

var _ store.Backend = (*DBM)(nil)

var (
	queuesBucket   = []byte("queues")
	messagesBucket = []byte("messages")
	metaBucket     = []byte("meta")
	versionKey     = []byte("version")
	floorKey       = []byte("floor")
)

const version = "1"

// Open opens the file, or makes it. Another process that has it open is an error.
func Open(cfg Config) (d *DBM, err error) {
	defer guard(cfg.Path, &err)()
	if err := checkSize(cfg.Path); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout: 500 * time.Millisecond, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoSync: cfg.NoSync,
		InitialMmapSize: mapped,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: another process has it open", cfg.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	d = &DBM{db: db, update: db.Update, path: cfg.Path, sizes: usualSizes, queues: make(map[string]*record)}
	if err = db.Update(d.load); err == nil && d.unswept {
		err = d.sweepUp()
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	return d, nil
}

// mapped is how much of the file has addresses from the start, which costs nothing: where the file
// outgrows them, bbolt copies all that the transaction is about to write. Windows would make the
// file as large, and 32 bits have no addresses to spare.
var mapped = func() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return 0
	}
	return 1 << 30
}()

// guard has what bbolt does with a damaged file, which is to panic or to look where nothing
// is, end in an error. It is called as: defer guard(path, &err)().
func guard(path string, err *error) func() {
	was := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(was)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%s: the file is damaged: %v", path, p)
		}
	}
}

func (d *DBM) load(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	switch v := string(meta.Get(versionKey)); v {
	case version:
	case "":
		if err := meta.Put(versionKey, []byte(version)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("it has version %q of the format, known is %s", v, version)
	}
	if f := meta.Get(floorKey); len(f) == 8 {
		d.floor = store.Seq(binary.BigEndian.Uint64(f))
	}
	messages, err := tx.CreateBucketIfNotExists(messagesBucket)
	if err != nil {
		return err
	}
	parts, err := tx.CreateBucketIfNotExists(partsBucket)
	if err != nil {
		return err
	}
	_, _, d.unswept = firstStray(parts, messages)
	queues, err := tx.CreateBucketIfNotExists(queuesBucket)
	if err != nil {
		return err
	}
	var empty [][]byte
	err = queues.ForEach(func(name, v []byte) error {
		r, err := parseQueue(v)
		if err != nil {
			return fmt.Errorf("queue %q: %w", name, err)
		}
		d.lastID = max(d.lastID, r.id)
		if r.count == 0 { // forgotten, so that names do not gather for ever
			empty = append(empty, append([]byte(nil), name...))
			d.floor = max(d.floor, r.last)
			return nil
		}
		d.queues[string(name)] = r
		return nil
	})
	if err != nil || len(empty) == 0 {
		return err
	}
	for _, name := range empty {
		if err := queues.Delete(name); err != nil {
			return err
		}
	}
	return meta.Put(floorKey, binary.BigEndian.AppendUint64(nil, uint64(d.floor)))
}

// A record is what is stored of a queue itself.
type record struct {
	id     uint64
	last   store.Seq
	marked store.Seq
	count  uint64
	bytes  int64
}

func (r *record) append(dst []byte) []byte {
	for _, n := range []uint64{r.id, uint64(r.last), uint64(r.marked), r.count, uint64(r.bytes)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func parseQueue(b []byte) (*record, error) {
	var v [5]uint64
	for i := range v {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errors.New("its record is damaged")
		}
		v[i], b = n, b[size:]
	}
	return &record{id: v[0], last: store.Seq(v[1]), marked: store.Seq(v[2]), count: v[3], bytes: int64(v[4])}, nil
}

func appendKey(dst []byte, id uint64, seq store.Seq) []byte {
	dst = binary.BigEndian.AppendUint64(dst, id)
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

func keySeq(k []byte) store.Seq { return store.Seq(binary.BigEndian.Uint64(k[8:])) }

// Write implements store.Backend.
func (d *DBM) Write(rs []store.Record) (err error) {
	defer guard(d.path, &err)()
	if len(rs) == 0 {
		return nil
	}
	if d.unswept {
		if err := d.sweepUp(); err != nil {
			return fmt.Errorf("%s: %w", d.path, err)
		}
	}
	touched := d.touch(rs) // as they will be, if this succeeds
	w := newPartWriter(&d.sizes, rs, touched)
	if err = d.writeAhead(w); err == nil {
		err = d.update(func(tx *bbolt.Tx) error { return d.apply(tx, w) })
	}
	if cap(d.buf) > mostKept {
		d.buf = nil
	}
	if err != nil {
		if vfs.IsFull(err) {
			err = fmt.Errorf("%w: %w", store.ErrFull, err)
			if d.unswept {
				err = errors.Join(err, d.sweepUp())
			}
		}
		return fmt.Errorf("%s: %w", d.path, err)
	}
	d.unswept = false
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, r := range touched {
		d.queues[name] = r
	}
	return nil
}

// touch makes a copy of the record of each queue of rs.
func (d *DBM) touch(rs []store.Record) map[string]*record {
	touched := make(map[string]*record)
	for i := range rs {
		if touched[rs[i].Queue] != nil {
			continue
		}
		r := new(record)
		if was := d.queues[rs[i].Queue]; was != nil {
			*r = *was
		} else {
			d.lastID++
			r.id = d.lastID
		}
		touched[rs[i].Queue] = r
	}
	return touched
}

// apply makes the changes of a Write, and puts those parts that are not there yet.
func (d *DBM) apply(tx *bbolt.Tx, p *partWriter) error {
	if err := p.put(tx, p.left); err != nil {
		return err
	}
	w := writer{tx: tx, messages: tx.Bucket(messagesBucket), parts: tx.Bucket(partsBucket), sizes: p.sizes, buf: d.buf[:0]}
	w.messages.FillPercent = 0.95 // keys come in order
	for i := range p.rs {
		if err := w.apply(p.touched[p.rs[i].Queue], &p.rs[i]); err != nil {
			return err
		}
	}
	queues := tx.Bucket(queuesBucket)
	for name, r := range p.touched {
		if err := queues.Put([]byte(name), r.append(nil)); err != nil {
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
	sizes    *sizes
	buf      []byte
	keys     [][]byte
}

func (w *writer) apply(r *record, rec *store.Record) error {
	switch rec.Kind {
	case store.RecordPut:
		r.count++
		r.bytes += int64(rec.Msg.Size())
		r.last = max(r.last, rec.Seq)
		return w.messages.Put(w.key(r.id, rec.Seq), w.value(rec.Msg, 0))
	case store.RecordAck:
		return w.remove(r, rec.Seq, rec.Last)
	case store.RecordMark:
		r.marked = rec.Seq
	case store.RecordAttempts:
		v := w.messages.Get(w.key(r.id, rec.Seq))
		if v == nil {
			return nil
		}
		v, err := w.tried(v, rec.Attempts)
		if err != nil {
			return nil // it says so when it is read
		}
		return w.messages.Put(w.key(r.id, rec.Seq), v)
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

// Read implements store.Backend.
func (d *DBM) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	defer guard(d.path, &err)()
	d.mu.Lock()
	r := d.queues[queue]
	d.mu.Unlock()
	if r == nil {
		return dst, false, nil
	}
	err = d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(messagesBucket).Cursor()
		for k, v := c.Seek(appendKey(nil, r.id, after+1)); len(k) == 16 && binary.BigEndian.Uint64(k) == r.id; k, v = c.Next() {
			if max <= 0 || size <= 0 {
				more = true
				return nil
			}
			m, attempts, err := parse(tx, k, v)
			if err != nil {
				return fmt.Errorf("message %d of %s: %w", keySeq(k), queue, err)
			}
			dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: keySeq(k), Msg: m, Attempts: attempts})
			max--
			size -= int64(m.Size())
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", d.path, err)
	}
	return dst, more, err
}

// Queues implements store.Backend.
func (d *DBM) Queues() (infos []store.Info, err error) {
	defer guard(d.path, &err)()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.floor > 0 {
		infos = append(infos, store.Info{Last: d.floor})
	}
	err = d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(messagesBucket).Cursor()
		for name, r := range d.queues {
			i := store.Info{Name: name, Last: r.last, Count: int(r.count), Bytes: r.bytes, Marked: r.marked}
			if k, _ := c.Seek(appendKey(nil, r.id, 0)); len(k) == 16 && binary.BigEndian.Uint64(k) == r.id {
				i.First = keySeq(k)
			}
			infos = append(infos, i)
		}
		return nil
	})
	return infos, err
}

// Sync makes durable what was written without.
func (d *DBM) Sync() error { return d.db.Sync() }

// Close implements store.Backend.
func (d *DBM) Close() error {
	return errors.Join(d.db.Sync(), d.db.Close())
}
