// Package file keeps queues as the Ruby server did: a folder for each queue, a file for each
// message, and the index of them, qinfo. A directory that the Ruby server wrote is taken over
// as it is; one that was closed here the Ruby server can go on with.
//
// A Write goes to a redo log, as one group with one sync. When that is full, and at Sync and
// Close, what it says is brought to the files: those of messages that were acked are removed,
// as far as they are there still, messages that have none get one, and then a new state is put
// in place of the old, which begins a new log. When it is full the messages of its second half are
// written into the next one instead: so a message that is acked soon never has a file of its own.
// Once a log is half full each Write brings some of the oldest messages to the files, so that none
// has to wait for all of it. After a crash the log is played again; a file
// that it does not mention is whole. Goroutines that sync files end with the Write.
//
// The directory holds
//
//	_queue_a/HOST-SECONDS-qID-SEQ   a message, in the Ruby server's form (frame.go)
//	qinfo                           the Ruby server's index, written at Sync and Close
//	stompserver.state               numbers, marks, tries, which qinfo is ours (state.go)
//	stompserver.redo, .redo2        the log (redo.go), one of the two
//	stompserver.lock                who has it open
//
// As long as qinfo is the one that we wrote, the names of files say which messages there are.
// If it is another the Ruby server was at work: then qinfo says it, and what there is of ours
// that it does not list comes behind.
package file

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

const (
	stateName = "stompserver.state"
	lockName  = "stompserver.lock"
	qinfoName = "qinfo"
	newSuffix = ".new"

	defaultRedo = 64 << 20
	redoReserve = 256 << 10 // of the log, for acks when the disk is full
)

var redoNames = [2]string{"stompserver.redo", "stompserver.redo2"}

// Config is where the directory is and how it is treated. The zero value of each field but
// Dir is its default.
type Config struct {
	Dir string   // its name, of which qinfo tells the Ruby server
	FS  vfs.Tree // default: that of the system

	// StartDamaged has Open go on without what is damaged, and Read without messages that
	// are. Otherwise either is an error.
	StartDamaged bool

	// NoSync has Write return before the disk confirms it; Sync is to be called.
	NoSync bool

	RedoSize int64 // bytes of the redo log; default 64 MiB
	Syncs    int   // files that are synced side by side; default 16

	Log *slog.Logger // default: none
}

// A File is a store.Backend, and a store.Syncer.
type File struct {
	cfg  Config
	fs   vfs.Tree
	log  *slog.Logger
	lock io.Closer

	files sync.RWMutex // held for reading by who reads files, else by who removes some

	orphans []path // files that the index does not list; found by Open

	mu     sync.Mutex // guards queues and what they hold against Read; Write alone changes it
	queues map[string]*queue
	floor  store.Seq

	// What follows belongs to Write.
	prefix     string
	nextID     uint64
	digests    []digest // that qinfo may have
	salt       uint64
	redo       vfs.File
	log2       int             // which of the logs it is
	spare      vfs.File        // the other one; nil: it was not needed yet
	spareSize  int64           // of its file
	size       int64           // of the log's file
	pos        int64           // where the next group goes
	number     uint64          // of the last group
	synced     uint64          // of the last that is durable
	logged     []logged        // what is in the log and may have no file, in order
	dead       []path          // files of messages that are acked
	holds      map[string]int  // by folder that is there: files of messages
	touched    map[string]bool // folders that are to be synced, and if the directory is
	topTouched bool
	dirty      bool // qinfo is not up to date
	indexed    time.Time
	took       time.Duration // to write qinfo
	out        vfs.Gather
	failure    error
}

// A path is a file in a folder.
type path struct{ folder, name string }

var (
	_ store.Backend = (*File)(nil)
	_ store.Syncer  = (*File)(nil)
)

// fail makes err the answer to every later Write.
func (f *File) fail(err error) error {
	if f.failure == nil {
		f.failure = fmt.Errorf("file: %w", err)
	}
	return f.failure
}

func (f *File) nameOf(q *queue, seq store.Seq) string {
	if name, ok := q.foreign[seq]; ok {
		return name
	}
	return messageName(f.prefix, q.id, seq)
}

// sorted is the queues by name.
func (f *File) sorted() []*queue {
	qs := make([]*queue, 0, len(f.queues))
	for _, name := range slices.Sorted(maps.Keys(f.queues)) {
		qs = append(qs, f.queues[name])
	}
	return qs
}

// Queues implements store.Backend.
func (f *File) Queues() ([]store.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var infos []store.Info
	if f.floor > 0 {
		infos = append(infos, store.Info{Last: f.floor})
	}
	for _, q := range f.queues {
		infos = append(infos, q.info())
	}
	return infos, nil
}

// Write implements store.Backend: a group in the redo log, and one sync.
func (f *File) Write(rs []store.Record) error {
	if f.failure != nil {
		return f.failure
	}
	if len(rs) == 0 {
		return nil
	}
	acks := !slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut })
	f.encode(rs)
	n := aligned(f.out.Len())
	if f.pos > 0 && f.pos+n > f.cfg.RedoSize {
		switch err := f.turn(); {
		case err == nil:
			f.encode(rs)
			n = aligned(f.out.Len())
		case !errors.Is(err, store.ErrFull) || !acks || f.pos+n > f.room():
			return err
		}
	}
	defer f.out.Reset(0, mostKept) // then it holds no body any longer
	if f.out.Len() > 1<<32-1 {
		return f.fail(fmt.Errorf("a group of %d bytes is too large", f.out.Len()))
	}
	putGroup(&f.out, f.salt, f.number+1, f.synced)
	if err := f.out.WriteTo(f.redo, f.pos); err != nil {
		if !vfs.IsFull(err) {
			return f.fail(err)
		}
		if f.pos+n > f.size { // give back what it took
			if err := f.redo.Truncate(f.size); err != nil {
				return f.fail(err)
			}
		}
		return fmt.Errorf("file: %w: %w", store.ErrFull, err)
	}
	if !f.cfg.NoSync {
		if err := f.redo.Sync(); err != nil {
			return f.fail(fmt.Errorf("%s could not be synced; what it holds is not sure any more: %w", redoNames[f.log2], err))
		}
		f.synced = f.number + 1
	}
	f.number++
	f.pos += n
	f.size = max(f.size, f.pos)
	f.dirty = true
	f.apply(rs)
	for i := range rs {
		if rs[i].Kind == store.RecordPut {
			f.logged = append(f.logged, logged{f.queues[rs[i].Queue], rs[i].Seq, f.pos - n})
		}
	}
	if err := f.fileSome(); err != nil {
		return err
	}
	if err := f.unlinkSome(2*len(rs) + 16); err != nil {
		return err
	}
	return nil
}

// mostKept is how much memory is kept from one group for the next.
const mostKept = 8 << 20

// room is how long the log is, with what is kept back for acks.
func (f *File) room() int64 { return f.cfg.RedoSize + min(redoReserve, f.cfg.RedoSize/4) }

// encode makes a group of rs in out.
func (f *File) encode(rs []store.Record) {
	f.out.Reset(groupSize, mostKept)
	named := make(map[*queue]bool)
	for i := range rs {
		q := f.queue(rs[i].Queue)
		if !q.named && !named[q] {
			named[q] = true
			f.out.Buf = appendQueue(f.out.Buf, q)
		}
		addRecord(&f.out, q.id, &rs[i])
	}
}

func (f *File) queue(name string) *queue {
	q := f.queues[name]
	if q == nil {
		q = newQueue(name, folderName(name), f.nextID)
		f.nextID++
		f.mu.Lock()
		f.queues[name] = q
		f.mu.Unlock()
	}
	return q
}

// apply brings what is known up to date with what was written.
func (f *File) apply(rs []store.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range rs {
		q, r := f.queues[rs[i].Queue], &rs[i]
		q.named = true
		switch r.Kind {
		case store.RecordPut:
			f.put(q, r.Seq, r.Msg)
			q.enqueued++
		case store.RecordAck:
			q.dequeued += f.ack(q, r.Seq, r.Last)
		case store.RecordMark:
			q.marked = r.Seq
		case store.RecordAttempts:
			f.tried(q, r.Seq, r.Attempts)
		}
	}
}

func (f *File) put(q *queue, seq store.Seq, m *message.Message) {
	there := q.has(seq) // as far as a log is played again
	q.add(seq, int64(m.Size()))
	q.pending[seq] = &pending{msg: m, there: there}
}

// ack removes messages, and reports how many there were.
func (f *File) ack(q *queue, first, last store.Seq) (n int64) {
	q.remove(first, last, func(seq store.Seq) {
		n++
		if p := q.pending[seq]; p == nil || p.there {
			f.dead = append(f.dead, path{q.folder, f.nameOf(q, seq)})
		}
	})
	return n
}

// tried notes how often a message was handed out. The Ruby server counts how often it was
// put back, in all of a queue as well.
func (f *File) tried(q *queue, seq store.Seq, n uint32) {
	if q.has(seq) {
		q.exceptions += int64(n) - int64(q.tries[seq])
		q.tries[seq] = n
	}
}

// Sync implements store.Syncer. It writes qinfo too, unless that takes too much of the time.
func (f *File) Sync() error {
	if f.failure != nil {
		return f.failure
	}
	if err := f.syncRedo(); err != nil {
		return err
	}
	if !f.dirty || time.Since(f.indexed) < 20*f.took {
		return nil
	}
	begin := time.Now()
	err := f.flush(true, false)
	f.indexed = time.Now()
	f.took = f.indexed.Sub(begin)
	if errors.Is(err, store.ErrFull) { // the log has it all
		f.log.Warn("no room left to write the index", "err", err)
		return nil
	}
	return err
}

func (f *File) syncRedo() error {
	if f.synced == f.number {
		return nil
	}
	if err := f.redo.Sync(); err != nil {
		return f.fail(err)
	}
	f.synced = f.number
	return nil
}

// Close implements store.Backend: it leaves the directory as the Ruby server wants it.
func (f *File) Close() error {
	err := f.failure
	if err == nil {
		err = f.syncRedo()
	}
	if err == nil {
		err = f.flush(true, true)
	}
	if f.spare != nil {
		err = errors.Join(err, f.spare.Close())
	}
	return errors.Join(err, f.redo.Close(), f.lock.Close())
}

// Open opens the directory, or makes it. Damage is a *DamageError, unless StartDamaged is
// set.
func Open(cfg Config) (*File, error) {
	if cfg.RedoSize <= 0 {
		cfg.RedoSize = defaultRedo
	}
	if cfg.Syncs <= 0 {
		cfg.Syncs = 16
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.FS == nil {
		fs, err := vfs.Dir(cfg.Dir)
		if err != nil {
			return nil, err
		}
		cfg.FS = fs
	}
	if dir, err := filepath.Abs(cfg.Dir); err == nil {
		cfg.Dir = filepath.ToSlash(dir)
	}
	f := &File{cfg: cfg, fs: cfg.FS, log: cfg.Log, queues: make(map[string]*queue), holds: make(map[string]int), touched: make(map[string]bool), nextID: 1, dirty: true}
	lock, err := f.fs.Lock(lockName)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	f.lock = lock
	if err := f.open(); err != nil {
		if f.redo != nil {
			_ = f.redo.Close()
		}
		_ = lock.Close()
		return nil, err
	}
	return f, nil
}
