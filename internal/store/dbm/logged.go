package dbm

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// A Logged is a DBM behind a log, for those who do not wait for the disk. A Write is in the log, which is
// in the system's memory, and in a layer of what the database lacks. Sync makes the log durable, and has
// the layer brought into the database, in one transaction; so does a layer that is large. Writes go on in
// another layer, and in the other file of the log, meanwhile.
type Logged struct {
	db    *DBM
	log   *slog.Logger
	path  string
	files *logFiles // of Write and Sync
	ready bool      // there is a log; of Write and Sync
	told  bool      // that there is no room for one

	room     sync.Mutex // guards db.reserve
	applying sync.Mutex // of who writes to the database; taken before mu

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	current *layer // that Writes go to
	frozen  *layer // that is being brought into the database, below the current one; nil: none
	applied uint64 // the last group that the database has
	epoch   uint64 // grows before the database gets what a view may not know of
	full    error  // there was no room for what was to be brought in
	failure error  // final

	wake chan struct{} // there is a frozen one
	done chan struct{} // the goroutine has ended
}

var (
	_ store.Backend = (*Logged)(nil)
	_ store.Syncer  = (*Logged)(nil)
)

// OpenLogged is Open for a Write that does not wait for the disk: Sync is to be called.
func OpenLogged(cfg Config) (_ *Logged, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", cfg.Path, err)
		}
	}()
	d, err := open(&cfg)
	if err != nil {
		return nil, err
	}
	l := &Logged{db: d, log: cfg.Log, path: cfg.Path, wake: make(chan struct{}, 1), done: make(chan struct{}), current: newLayer()}
	l.changed = sync.NewCond(&l.mu)
	if err := l.begin(&cfg); err != nil {
		return nil, errors.Join(err, l.files.close(), d.Close())
	}
	go l.applyAll() // ended by Close
	return l, nil
}

// begin takes over the log that there is, and makes a new one. Where the disk is too full to bring in
// what the old one holds it goes on with that.
func (l *Logged) begin(cfg *Config) error {
	r, err := l.db.recoverLog(cfg)
	l.files = r.files
	if err != nil {
		return err
	}
	err = r.bringIn()
	if errors.Is(err, store.ErrFull) && r.there {
		l.log.Warn("no room left to bring in what the log holds", "store", l.path, "err", err)
		l.current, l.applied, l.full, l.ready = r.layer, r.mark.applied, err, true
		return l.files.wipe(r.stale)
	}
	if err != nil {
		return err
	}
	return l.makeLog()
}

// makeLog makes the log, if there is room for it. Until there is some each Write waits for the disk.
func (l *Logged) makeLog() error {
	salt := newSalt()
	err := l.files.make(salt)
	if errors.Is(err, store.ErrFull) {
		if !l.told {
			l.log.Warn("no room left for the log, so that each write waits for the disk", "store", l.path, "err", err)
		}
		l.told = true
		return nil
	}
	if err == nil {
		l.applying.Lock()
		err = l.db.writeOnce(&change{mark: &logMark{salt: salt}})
		l.applying.Unlock()
	}
	if errors.Is(err, store.ErrFull) {
		return l.files.remove()
	}
	if err != nil { // whether the database knows of the log by now is not sure
		return err
	}
	l.mu.Lock()
	l.applied, l.ready, l.told = 0, true, false
	l.mu.Unlock()
	return nil
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

func (l *Logged) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", l.path, err)
}

// fail makes err the answer to every later Write. Called with mu held.
func (l *Logged) fail(err error) error {
	if l.failure == nil {
		l.failure = err
	}
	l.changed.Broadcast()
	return l.failure
}

// final makes err final, if it is one that does not pass.
func (l *Logged) final(err error) error {
	if err == nil || errors.Is(err, store.ErrFull) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail(err)
}

// Write implements store.Backend.
func (l *Logged) Write(rs []store.Record) error {
	if len(rs) == 0 {
		return nil
	}
	return l.wrap(l.final(l.write(rs)))
}

func (l *Logged) write(rs []store.Record) error {
	puts := slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut })
	if !l.ready {
		return l.writeThrough(rs)
	}
	l.files.enc.encode(rs)
	defer l.files.enc.done()
	n := layout.Aligned(l.files.enc.out.Len())
	if n > l.files.sizes.most() {
		return l.writeThrough(rs)
	}
	if err := l.makeRoom(n, puts); err != nil {
		return err
	}
	if puts {
		if err := l.keepReserve(rs); err != nil {
			return err
		}
	}
	if err := l.files.write(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.apply(rs, l.base)
	l.current.upto = l.files.number
	return nil
}

// base is the highest Seq that a queue may have below the current layer. Called with mu held.
func (l *Logged) base(name string) store.Seq {
	last := l.db.lastOf(name)
	if l.frozen != nil {
		if q := l.frozen.queues[name]; q != nil {
			last = max(last, q.last)
		}
	}
	return last
}

// keepReserve sees to it that there is room for acks, without which no message is taken. Free pages of
// the database are as good.
func (l *Logged) keepReserve(rs []store.Record) error {
	if !l.room.TryLock() {
		return nil // it is being used, and Write does not wait for that
	}
	defer l.room.Unlock()
	err := l.db.reserve.Keep()
	if err == nil || !vfs.IsFull(err) { // else there can be no reserve
		return nil
	}
	l.mu.Lock()
	used := l.files.free(l.applied)
	l.mu.Unlock()
	if l.db.free() < reserveSize+2*(used+sizeOfPuts(rs)) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return nil
}

// makeRoom waits until the log and the current layer have room for a group of n bytes.
func (l *Logged) makeRoom(n int64, puts bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tried := false; ; {
		if l.failure != nil {
			return l.failure
		}
		l.files.free(l.applied)
		l.files.turnIfFull(n, puts)
		if l.files.fits(n, puts) && (!puts || l.full == nil && l.current.cost < l.files.sizes.cost) {
			return nil
		}
		switch {
		case l.frozen != nil:
			l.changed.Wait()
		case l.full != nil && tried:
			return l.full
		default:
			tried = true
			l.freeze()
		}
	}
}

// freeze has what the current layer holds brought into the database, and Writes go to another one.
// Called with mu held, where none is frozen.
func (l *Logged) freeze() {
	l.frozen, l.current = l.current, newLayer()
	l.current.upto = l.frozen.upto
	l.files.turn()
	l.wake <- struct{}{}
}

// drain brings all into the database, and returns when that is done.
func (l *Logged) drain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tried := false; ; {
		switch {
		case l.failure != nil:
			return l.failure
		case l.frozen != nil:
			l.changed.Wait()
		case l.current.upto == l.applied || !l.ready:
			return nil
		case l.full != nil && tried:
			return l.full
		default:
			tried = true
			l.freeze()
		}
	}
}

// writeThrough writes what the log has no room for to the database, behind all that is in the log.
func (l *Logged) writeThrough(rs []store.Record) error {
	if err := l.drain(); err != nil {
		return err
	}
	l.applying.Lock()
	defer l.applying.Unlock()
	l.mu.Lock()
	l.epoch++
	l.mu.Unlock()
	return l.db.write(rs)
}

// applyAll brings frozen layers into the database.
func (l *Logged) applyAll() {
	defer close(l.done)
	for range l.wake {
		l.applyFrozen()
	}
}

func (l *Logged) applyFrozen() {
	l.applying.Lock()
	defer l.applying.Unlock()
	l.mu.Lock()
	l.epoch++
	frozen := l.frozen
	l.mu.Unlock()
	mark := &logMark{salt: l.files.salt, applied: frozen.upto}
	l.room.Lock()
	err := l.db.bring(frozen, mark, l.files.sync)
	l.room.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Broadcast()
	l.frozen = nil
	if err == nil {
		l.applied, l.full = frozen.upto, nil
		return
	}
	frozen.absorb(l.current, l.db.lastOf)
	l.current = frozen
	if !errors.Is(err, store.ErrFull) {
		_ = l.fail(err)
		return
	}
	if l.full == nil {
		l.log.Warn("no room left to bring in what the log holds", "store", l.path, "err", err)
	}
	l.full = err
}

// Sync implements store.Syncer.
func (l *Logged) Sync() error {
	if !l.ready {
		return l.wrap(l.final(l.makeLog()))
	}
	l.mu.Lock()
	err := l.failure
	l.mu.Unlock()
	if err == nil {
		err = l.final(l.files.sync())
	}
	if err != nil {
		return l.wrap(err)
	}
	l.files.synced = l.files.number
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen == nil && l.current.upto > l.applied {
		l.files.free(l.applied)
		l.freeze()
	}
	return nil
}

// Close implements store.Backend: all is in the database then, and there is no log.
func (l *Logged) Close() error {
	err := l.drain()
	close(l.wake)
	<-l.done
	if err == nil && l.ready {
		if err = l.db.writeOnce(&change{mark: &logMark{salt: l.files.salt, applied: l.files.number, closed: true}}); err == nil {
			err = l.files.remove()
		}
	}
	if errors.Is(err, store.ErrFull) {
		l.log.Warn("no room left to bring in what the log holds: it stays, for the next start", "store", l.path, "err", err)
		err = l.files.sync()
	}
	return l.wrap(errors.Join(err, l.files.close(), l.db.Close()))
}
