package file

import (
	"fmt"
	"math"
	"time"

	"stompserver/internal/vfs"
)

// The keeper is a goroutine that sees to what need not be done while somebody waits: it removes the
// files of messages that were acked, keeps the log short, and gives files to messages that have been
// in the log for a while. The latter only while the store is calm, and half of the time at most: a
// store that is busy makes none.
const (
	keeperTick  = time.Second     // what is younger has no file yet, nor what is of the tick before
	keeperRest  = 5 * time.Second // when the disk is full
	calmRecords = 500             // of a tick, at most
	never       = time.Hour
)

// everywhere is behind all places.
const everywhere = place(math.MaxUint64)

// A pace says when messages get their files.
type pace struct {
	began   time.Time // of the tick
	records int       // that were written by then
	calm    bool      // the last tick was
	limit   place     // what is before it may get files: the end of the log, a tick ago
	end     place     // of the log when the tick began
}

// tendAll is the keeper.
func (f *File) tendAll() {
	defer close(f.done)
	timer := time.NewTimer(keeperTick)
	defer timer.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-f.wake:
		case <-timer.C:
		}
		if f.failed() != nil {
			return
		}
		timer.Reset(f.tend(time.Now()))
	}
}

// tend does what is due, and returns when to come again.
func (f *File) tend(now time.Time) time.Duration {
	f.work.Lock()
	defer f.work.Unlock()
	err := f.tidy()
	n, next := 0, keeperTick
	if err == nil {
		if next = f.tick(now); f.pace.began.Equal(now) {
			f.removeFolders()
		}
		if f.pace.calm {
			begin := time.Now()
			n, err = f.fileSome(f.pace.limit)
			if n > 0 {
				next = time.Since(begin)
			}
		}
	}
	if err != nil {
		if f.failed() == nil && !f.told {
			f.told = true
			f.log.Warn("messages stay in the log for now", "err", err)
		}
		return keeperRest
	}
	f.told = false
	return next
}

// tick looks how busy the store is, and how long there is nothing to do.
func (f *File) tick(now time.Time) time.Duration {
	f.turn.Lock()
	defer f.turn.Unlock()
	p := &f.pace
	if f.records-p.records > calmRecords {
		p.calm = false
	}
	if since := now.Sub(p.began); since < keeperTick {
		return keeperTick - since
	}
	p.calm = f.records-p.records <= calmRecords
	p.limit, p.end = p.end, placeOf(f.current().number, f.current().pos)
	p.began, p.records = now, f.records
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live > 0 && (f.cursor.at < p.end || len(f.chain) > 1) || len(f.dead) > 0 {
		return keeperTick
	}
	f.idle = true
	return never
}

// rouse has the keeper look what there is to do, if it would not. Called with turn held.
func (f *File) rouse() {
	if !f.idle && len(f.dead) == 0 && !f.rolled {
		return
	}
	f.idle, f.rolled = false, false
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// tidy removes what is not needed: files, and what the log begins with. Called with work held.
func (f *File) tidy() error {
	if err := f.removeDead(); err != nil {
		return err
	}
	for {
		if err := f.retire(); err != nil {
			return err
		}
		if !f.tooLong() {
			return nil
		}
		some, err := f.carry()
		if err != nil {
			return err
		}
		if some || f.fromStart() {
			continue
		}
		if some, err = f.rescue(); err != nil || !some {
			return err
		}
	}
}

// fromStart has the log be walked through anew, once for what it begins with, if what was passed over
// there is still in it.
func (f *File) fromStart() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.chain[0]
	if first.live == 0 || f.walked >= first.number {
		return false
	}
	f.walked, f.cursor = first.number, cursor{}
	return true
}

// reclaim makes room on a full disk, and reports whether there is any hope: something went since freed
// was before, be it that the keeper was faster.
func (f *File) reclaim(before uint64) bool {
	f.work.Lock()
	defer f.work.Unlock()
	if f.Sync() != nil {
		return false
	}
	_ = f.tidy() // if there was no room even for that there is less than before all the same
	if f.freed.Load() == before {
		f.dropSpares() // files of messages may have taken all that there was beside them
	}
	return f.freed.Load() != before
}

// dropSpares makes room of the segments that are kept to be used again.
func (f *File) dropSpares() {
	f.turn.Lock()
	defer f.turn.Unlock()
	for n := len(f.spares) - 1; n >= 0; n-- {
		if err := f.fs.Remove(f.spares[n]); err != nil && !isMissing(err) {
			return
		}
		f.spares = f.spares[:n]
		f.freed.Add(1)
	}
}

// retire gives up the segments that the log begins with, if every message in them is acked or has
// a file, and the files are gone of those of which they say that they are acked.
func (f *File) retire() error {
	f.mu.Lock()
	n := 0
	for n < len(f.chain)-1 && f.chain[n].live == 0 {
		n++
	}
	waits := n == 0 || len(f.dead) > 0 && f.dead[0].group <= f.chain[n-1].last
	begin := f.chain[n]
	f.mu.Unlock()
	if waits {
		return nil
	}
	if len(f.touched) > 0 || f.topTouched {
		if err := f.syncAll(nil); err != nil {
			return f.full(err)
		}
	}
	if err := f.writeState(false, begin.number, begin.first); err != nil {
		return f.full(err)
	}
	return f.full(f.giveUp(n))
}

// giveUp takes the first n segments off the chain.
func (f *File) giveUp(n int) error {
	f.files.Lock() // who reads them is done
	defer f.files.Unlock()
	f.turn.Lock()
	defer f.turn.Unlock()
	f.mu.Lock()
	old := f.chain[:n:n]
	f.chain = f.chain[n:]
	f.mu.Unlock()
	f.freed.Add(1)
	return f.recycle(old)
}

// writeState puts a new state in place, which has the log begin with a segment.
func (f *File) writeState(clean bool, segment, first uint64) error {
	b, err := f.encodeState(clean, segment, first)
	if err == nil {
		err = f.write(stateName+newSuffix, b)
	}
	if err == nil {
		err = f.fs.Rename(stateName+newSuffix, stateName)
	}
	if err == nil {
		err = f.fs.SyncDir()
	}
	return err
}

func (f *File) encodeState(clean bool, segment, first uint64) ([]byte, error) {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.syncLog(); err != nil { // a start misses what the state knows of
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// The log may say that they are acked, and they are there still.
	for _, d := range f.dead {
		if d.q != nil {
			d.q.foreign[d.foreign] = d.name
			defer delete(d.q.foreign, d.foreign)
		}
	}
	s := state{
		salt: f.salt, clean: clean, prefix: f.prefix, nextID: f.nextID, floor: uint64(f.floor), digests: f.digests, queues: f.sorted(),
		segment: segment, first: first, group: f.number,
	}
	return s.append(nil), nil
}

// write makes a file of b, in place of one of that name.
func (f *File) write(name string, b []byte) error {
	file, err := f.fs.Open(name, true)
	if err != nil {
		return err
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt(b, 0)
	}
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil && vfs.IsFull(err) {
		if e := f.fs.Remove(name); e != nil {
			return e
		}
	}
	return err
}

// fail makes err the answer to every later Write.
func (f *File) fail(err error) error {
	err = fmt.Errorf("file: %w", err)
	f.failure.CompareAndSwap(nil, &err)
	return f.failed()
}

func (f *File) failed() error {
	if err := f.failure.Load(); err != nil {
		return *err
	}
	return nil
}
