// Package file keeps queues as the Ruby server did: a folder for each queue, a file for each
// message, and the index of them, qinfo. A directory that the Ruby server wrote is taken over
// as it is; one that was closed here the Ruby server can go on with.
//
// A Write goes to a log, as one group with one sync, and there its messages are at home: each is
// known by its place, and read from there. A message that is acked in time never has a file. The
// others get theirs later: once the store is calm (keeper.go), and at Close. The log is a chain of
// segments (segment.go), as long as it has to be; those that it begins with are given up when all in
// them is acked or has a file. If little is left in them that is written once more, at the end. A
// start reads the log, but for the bodies, and is ready; nothing has to become a file for that.
//
// The directory holds
//
//	_queue_a/HOST-SECONDS-qID-SEQ   a message, in the Ruby server's form (frame.go). Where that does not know
//	                                the queues, which is so for durable subscriptions, one that several have
//	                                is one file with a name in the folder of each
//	qinfo                           the Ruby server's index, written at Close
//	stompserver.state               numbers, marks, tries, which qinfo is ours, where the log begins (state.go)
//	stompserver.redo-N              the segments of the log (group.go)
//	stompserver.spare-N             files that were segments, and will be again
//	stompserver.reserve             room for a segment of acks, if the disk is full
//	stompserver.lock                who has it open
//
// As long as qinfo is the one that we wrote, the names of files say which messages there are, and the
// log which besides. If it is another the Ruby server was at work: then qinfo says it, and what there
// is of ours that it does not list comes behind.
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
	"sync/atomic"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

const (
	stateName = "stompserver.state"
	lockName  = "stompserver.lock"
	qinfoName = "qinfo"
	newSuffix = ".new"

	defaultRedo = 64 << 20
)

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

	// Unattended has no keeper started: Tend is to be called now and then.
	Unattended bool

	RedoSize int64 // bytes of a segment of the log; default 64 MiB
	Syncs    int   // files that are synced side by side where they cannot be together; default 16

	Log *slog.Logger // default: none
}

// A File is a store.Backend, and a store.Syncer.
//
// Its locks are taken in the order in which they stand here.
type File struct {
	cfg     Config
	fs      vfs.Tree
	log     *slog.Logger
	lock    io.Closer
	failure atomic.Pointer[error] // final
	leaving atomic.Bool           // Close is not to make files
	leftOut sync.Map              // by messageID: damaged ones that were told of
	freed   atomic.Uint64         // grows with all that makes room on the disk

	orphans []path // files that the index does not list; found by Open

	work sync.Mutex // of who does what need not be done at once: the keeper, Close; guards what follows

	cursor     cursor
	walked     uint64          // the segment for whose sake that began anew
	rescued    uint64          // the segment that stays, for messages in it cannot be read
	pace       pace            // guarded by turn as well
	digests    []digest        // that qinfo may have
	holds      map[string]int  // by folder that is there: files of messages
	touched    map[string]bool // folders that are to be synced, and if the directory is
	topTouched bool
	vacant     map[string]bool // folders that hold none, as far as they were not removed
	unlinked   bool            // a further name was refused; that was told
	told       bool            // that the disk is full

	files sync.RWMutex // held for reading by who reads files, else by who removes some

	turn sync.Mutex // of who writes to the log; guards what follows

	prefix      string
	nextID      uint64
	salt        uint64
	redo        vfs.File // the current segment
	lastSegment uint64   // the highest number of one
	spares      []string
	reserve     bool   // there is one
	number      uint64 // of the last group
	synced      uint64 // of the last that is durable
	link        uint32 // the sum of the last
	records     int    // that were written
	rolled      bool   // a segment was begun
	idle        bool   // the keeper waits until it is roused
	out         vfs.Gather
	anew        bool // what is encoded is the first of a segment
	named       map[*queue]bool
	naming      []*queue
	offsets     []int64 // of the records, in the segment
	to          []target

	mu        sync.Mutex // guards queues and what they hold against Read; who has turn may read without
	queues    map[string]*queue
	ids       map[uint64]*queue
	floor     store.Seq  // no queue that is forgotten had a Seq above it
	chain     []*segment // the log, in order
	live      int        // messages that are in the log alone
	liveBytes int64
	among     map[place]int // of what lies in the log once for several queues: by how many it is live
	dead      []dead        // files of messages that are acked, in order

	wake, stop, done chan struct{} // of the keeper
}

var (
	_ store.Backend = (*File)(nil)
	_ store.Syncer  = (*File)(nil)
	_ store.Leaver  = (*File)(nil)
)

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
	f := &File{
		cfg: cfg, fs: cfg.FS, log: cfg.Log, nextID: 1,
		queues: make(map[string]*queue), ids: make(map[uint64]*queue), among: make(map[place]int), named: make(map[*queue]bool),
		holds: make(map[string]int), touched: make(map[string]bool), vacant: make(map[string]bool),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
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
	if cfg.Unattended {
		close(f.done)
	} else {
		go f.tendAll() // ended by Close
	}
	return f, nil
}

// Tend does what the keeper would do now, and with calm set what it would do if nothing had been
// written for a while.
func (f *File) Tend(calm bool) error {
	f.work.Lock()
	defer f.work.Unlock()
	if err := f.tidy(); err != nil || !calm {
		return err
	}
	f.removeFolders()
	for {
		if n, err := f.fileSome(everywhere); n == 0 || err != nil {
			return err
		}
	}
}

// Leave implements store.Leaver: the messages that are in the log stay there.
func (f *File) Leave() { f.leaving.Store(true) }

// errLeft says that Close was to leave messages in the log.
var errLeft = errors.New("file: left in the log")

// Close implements store.Backend: it leaves the directory as the Ruby server wants it. Each message
// has a file then, unless it was to Leave. What is killed meanwhile loses nothing.
func (f *File) Close() error {
	close(f.stop)
	<-f.done
	f.work.Lock()
	defer f.work.Unlock()
	err := f.failed()
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.settle()
	}
	if err == errLeft {
		f.log.Info("messages stay in the log, without files for the Ruby server", "messages", f.live)
		err = nil
	}
	err = f.full(err)
	if f.redo != nil {
		err = errors.Join(err, f.redo.Close())
	}
	return errors.Join(err, f.lock.Close())
}

// tellEvery is how often Close tells how far it is.
const tellEvery = 5 * time.Second

// settle gives files to all messages, writes the index, and empties the log.
func (f *File) settle() error {
	begin, made := time.Now(), 0
	told := begin
	if err := f.removeDead(); err != nil { // before others of these names
		return err
	}
	for f.live > 0 {
		if f.leaving.Load() {
			return errLeft
		}
		n, err := f.fileSome(everywhere)
		made += n
		before := len(f.chain)
		if e := f.retire(); e != nil { // each segment makes room for the files of the next
			return e
		}
		switch {
		case errors.Is(err, store.ErrFull) && len(f.chain) < before:
			continue
		case err != nil:
			return err
		}
		if n == 0 { // what is left is not where the walk comes by, or cannot be read
			n, err = f.fileRest()
			if made += n; err != nil {
				return err
			}
			if e := f.retire(); e != nil {
				return e
			}
			break
		}
		if now := time.Now(); now.Sub(told) > tellEvery {
			told = now
			f.log.Info("the messages of the log become files", "files", made, "left", f.live, "for", now.Sub(begin).Round(time.Second))
		}
	}
	if err := f.removeDead(); err != nil { // of what was acked while it got one
		return err
	}
	f.removeFolders()
	if err := f.syncAll(nil); err != nil {
		return err
	}
	if f.live > 0 {
		return fmt.Errorf("%w: %d messages cannot be read, and stay in the log", errDamaged, f.live)
	}
	b, err := appendQinfo(nil, f.sorted(), f.cfg.Dir, f.nameOf)
	if err != nil {
		return err
	}
	if err := f.write(qinfoName+newSuffix, b); err != nil {
		return err
	}
	// Whichever of them a crash leaves is ours.
	digests := f.digests
	f.digests = append(slices.Clip(digests), digestOf(b))
	if err := f.writeState(false, f.chain[0].number, f.chain[0].first); err != nil {
		return err
	}
	if err := f.fs.Rename(qinfoName+newSuffix, qinfoName); err != nil {
		return err
	}
	if err := f.fs.SyncDir(); err != nil {
		return err
	}
	f.digests = f.digests[len(digests):]
	f.salt = newSalt()
	if err := f.writeState(true, f.lastSegment+1, f.number+1); err != nil {
		return err
	}
	err = f.redo.Close()
	if f.redo = nil; err != nil {
		return err
	}
	if made > 0 {
		f.log.Info("the messages of the log became files", "files", made, "took", time.Since(begin).Round(time.Millisecond))
	}
	return f.giveUp(len(f.chain))
}
