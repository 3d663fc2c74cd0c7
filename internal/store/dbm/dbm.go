// Package dbm keeps queues in one file of bbolt, as the Ruby server kept them in a dbm.
//
// The file holds three buckets. "queues" has a record for each queue, under its name: what
// Info tells. "messages" has the messages, under the number of their queue and their Seq,
// both big-endian, so that a queue lies together and in order: a CRC-32C of these and of what
// follows, how often the message was handed out, and its stored form (message.AppendRecord).
// "parts" has the bodies of large ones.
package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
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

	// NoSync has Write return before the disk confirms it. A power cut may damage the file then, even
	// what a Sync before it made durable: it is for tests, and for what can be made again.
	NoSync bool

	// StartDamaged has Open put what is whole of a damaged file in its place, and log what is
	// missing. Otherwise damage is an error.
	StartDamaged bool

	Log *slog.Logger // default: none
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
	writing uint64 // bbolt's number of the last transaction
	reserve *vfs.Reserve

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

// Version 1 had no checksums for anything but the content of messages.
const version = "2"

func known(v string) bool { return v == version || v == "1" }

// Open opens the file, or makes it. Another process that has it open is an error. So is damage, a
// *DamageError, unless StartDamaged is set.
func Open(cfg Config) (_ *DBM, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", cfg.Path, err)
		}
	}()
	if err := makeFile(cfg.Path); err != nil {
		return nil, err
	}
	if err := check(&cfg); err != nil {
		return nil, err
	}
	d, err := openFile(cfg)
	if err != nil {
		return nil, err
	}
	dir, err := vfs.Dir(filepath.Dir(cfg.Path))
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.reserve = &vfs.Reserve{FS: dir, Name: filepath.Base(cfg.Path) + reserveName, Size: reserveSize}
	_ = d.reserve.Keep() // if there is no room now, what is put is refused
	return d, nil
}

// openFile opens a file in which there is no damage.
func openFile(cfg Config) (d *DBM, err error) {
	defer guard(&err)()
	db, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout: patience, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoSync: cfg.NoSync,
		InitialMmapSize: mapped,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errInUse
	}
	if err != nil {
		return nil, err
	}
	d = &DBM{db: db, path: cfg.Path, sizes: usualSizes, queues: make(map[string]*record)}
	d.update = d.transact
	if err = d.update(d.load); err == nil && d.unswept {
		err = d.sweepUp()
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return d, nil
}

// patience is how long a process that has the file open is waited for.
const patience = 500 * time.Millisecond

var errInUse = errors.New("another process has it open")

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
// is, end in an error. It is called as: defer guard(&err)().
func guard(err *error) func() {
	was := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(was)
		if p := recover(); p != nil {
			*err = &DamageError{Problems: []string{fmt.Sprint(p)}, Count: 1}
		}
	}
}

func (d *DBM) load(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	v := string(meta.Get(versionKey))
	if v != "" && !known(v) {
		return fmt.Errorf("it has version %q of the format, known is %s", v, version)
	}
	if v != version {
		if err := meta.Put(versionKey, []byte(version)); err != nil {
			return err
		}
	}
	if f := meta.Get(floorKey); f != nil {
		if d.floor, err = parseFloor(f); err != nil {
			return err
		}
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
		r, err := parseQueue(name, v)
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
	return meta.Put(floorKey, appendFloor(d.floor))
}

// A record is what is stored of a queue itself.
type record struct {
	id     uint64
	last   store.Seq
	marked store.Seq
	count  uint64
	bytes  int64
}

// append makes what is stored of the queue: five numbers, and a CRC-32C of its name and them.
func (r *record) append(name []byte) []byte {
	var dst []byte
	for _, n := range []uint64{r.id, uint64(r.last), uint64(r.marked), r.count, uint64(r.bytes)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return binary.BigEndian.AppendUint32(dst, sumOf(name, dst))
}

var errRecord = errors.New("its record is damaged")

func parseQueue(name, b []byte) (*record, error) {
	var v [5]uint64
	rest := b
	for i := range v {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			return nil, errRecord
		}
		v[i], rest = n, rest[size:]
	}
	switch {
	case len(rest) == 0: // of version 1
	case len(rest) != 4 || binary.BigEndian.Uint32(rest) != sumOf(name, b[:len(b)-4]):
		return nil, errRecord
	}
	return &record{id: v[0], last: store.Seq(v[1]), marked: store.Seq(v[2]), count: v[3], bytes: int64(v[4])}, nil
}

func appendFloor(floor store.Seq) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(floor))
	return binary.BigEndian.AppendUint32(b, sumOf(floorKey, b))
}

func parseFloor(b []byte) (store.Seq, error) {
	if len(b) != 8 && (len(b) != 12 || binary.BigEndian.Uint32(b[8:]) != sumOf(floorKey, b[:8])) {
		return 0, errors.New("the record of the queues that were forgotten is damaged")
	}
	return store.Seq(binary.BigEndian.Uint64(b)), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the checksum of a value, and of the key that it belongs to.
func sumOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

func appendKey(dst []byte, id uint64, seq store.Seq) []byte {
	dst = binary.BigEndian.AppendUint64(dst, id)
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

func keySeq(k []byte) store.Seq { return store.Seq(binary.BigEndian.Uint64(k[8:])) }

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
	err := d.writeOnce(rs)
	if errors.Is(err, store.ErrFull) && !puts && d.reserve != nil && d.reserve.Give() {
		err = d.writeOnce(rs)
	}
	return err
}

// reserveSize is enough for a path down the tree, with a page of large values at its end.
const (
	reserveSize = 4 << 20
	reserveName = ".reserve" // behind the name of the file
)

// free is how many bytes there are within the file that a transaction can write.
func (d *DBM) free() int64 { return int64(d.db.Stats().FreePageN) * int64(d.db.Info().PageSize) }

func sizeOfPuts(rs []store.Record) (n int64) {
	for i := range rs {
		if rs[i].Kind == store.RecordPut {
			n += int64(rs[i].Msg.Size())
		}
	}
	return n
}

func (d *DBM) writeOnce(rs []store.Record) (err error) {
	defer guard(&err)()
	if d.unswept {
		if err := d.sweepUp(); err != nil {
			return err
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
	sizes    *sizes
	buf      []byte
	keys     [][]byte
}

func (w *writer) apply(r *record, rec *store.Record) error {
	switch rec.Kind {
	case store.RecordPut:
		key := w.key(r.id, rec.Seq)
		if rec.Seq > r.last || w.messages.Get(key) == nil {
			r.count++
			r.bytes += int64(rec.Msg.Size())
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
	d.mu.Lock()
	r := d.queues[queue]
	d.mu.Unlock()
	if r == nil {
		return dst, false, nil
	}
	if dst, more, err = d.read(dst, queue, r.id, after, max, size); err != nil {
		err = fmt.Errorf("%s: %w", d.path, err)
	}
	return dst, more, err
}

func (d *DBM) read(dst []store.Record, queue string, id uint64, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	defer func() { rs = dst }()
	defer guard(&err)()
	err = d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(messagesBucket).Cursor()
		parts := &storedParts{tx: tx}
		for k, v := c.Seek(appendKey(nil, id, after+1)); len(k) == 16 && binary.BigEndian.Uint64(k) == id; k, v = c.Next() {
			if max <= 0 || size <= 0 {
				more = true
				return nil
			}
			parts.key = k
			m, attempts, err := parse(k, v, parts)
			if err != nil {
				return fmt.Errorf("message %d of %s: %w", keySeq(k), queue, err)
			}
			dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: keySeq(k), Msg: m, Attempts: attempts})
			max--
			size -= int64(m.Size())
		}
		return nil
	})
	return dst, more, err
}

// Queues implements store.Backend.
func (d *DBM) Queues() (infos []store.Info, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", d.path, err)
		}
	}()
	defer guard(&err)()
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
	if d.reserve != nil {
		d.reserve.Give()
	}
	return errors.Join(d.db.Sync(), d.db.Close())
}
