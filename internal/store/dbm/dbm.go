// Package dbm keeps queues in one file of bbolt, as the Ruby server kept them in a dbm.
//
// The file holds these buckets. "queues" has a record for each queue, under its name: what
// Info tells. "messages" has the messages, under the number of their queue and their Seq,
// both big-endian, so that a queue lies together and in order: a CRC-32C of these and of what
// follows, how often the message was handed out, and its stored form (message.AppendRecord).
// "parts" has the bodies of large ones, "holders" how many queues have a message that is stored once
// for several (shared.go).
//
// A DBM syncs each Write, as bbolt's file is not whole after a power cut otherwise. For those who do not
// wait for the disk a Logged has a log in front of it (group.go), and what the file lacks in memory
// (layer.go). "meta" says up to where the log is in the file.
package dbm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
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

	// NoSync has Write return before the disk confirms it. A power cut may damage the file then, even
	// what a Sync before it made durable: it is for tests, and for what can be made again.
	NoSync bool

	// LogFS is where OpenLogged keeps its log; default the directory of the file.
	LogFS vfs.FS

	// StartDamaged has Open put what is whole of a damaged file in its place, and log what is
	// missing. Otherwise damage is an error.
	StartDamaged bool

	Log *slog.Logger // default: none

	logSizes *logSizes    // default: the usual ones
	fail     func() error // of tests: called at the end of each transaction but that of the start, which fails with its error
}

// A DBM is a store.Backend.
type DBM struct {
	db     *bbolt.DB
	update func(func(*bbolt.Tx) error) error // of db
	path   string
	sizes  sizes
	floor  store.Seq
	mark   *logMark // what it said of its log when it was opened; nil: nothing

	// What follows belongs to Write.
	lastID uint64

	lastShared uint64 // the highest number of a message of several queues

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

// Version 1 had no checksums for anything but the content of messages. Version 2 knew no log, and stored
// a message anew for each queue.
const version = "3"

func known(v string) bool { return v == version || v == "1" || v == "2" }

// Open opens the file, or makes it. Another process that has it open is an error. So is damage, a
// *DamageError, unless StartDamaged is set. What a process that had a log left in it is brought into
// the file.
func Open(cfg Config) (_ *DBM, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", cfg.Path, err)
		}
	}()
	d, err := open(&cfg)
	if err != nil {
		return nil, err
	}
	r, err := d.recoverLog(&cfg)
	if err == nil {
		err = r.bringIn()
	}
	if err != nil {
		return nil, errors.Join(err, r.files.close(), d.Close())
	}
	return d, nil
}

// open is Open without the log.
func open(cfg *Config) (*DBM, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeFile(cfg.Path); err != nil {
		return nil, err
	}
	if err := check(cfg); err != nil {
		return nil, err
	}
	d, err := openFile(*cfg)
	if err != nil {
		return nil, err
	}
	dir, err := vfs.Dir(filepath.Dir(cfg.Path))
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if cfg.LogFS == nil {
		cfg.LogFS = dir
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
	if cfg.fail != nil {
		d.update = d.failing(cfg.fail)
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
	if m := meta.Get(logKey); m != nil {
		if d.mark, err = parseLogMark(m); err != nil {
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
	if _, err := tx.CreateBucketIfNotExists(holdersBucket); err != nil {
		return err
	}
	d.lastShared = lastShared(messages)
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
