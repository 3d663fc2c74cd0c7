package file

import (
	"errors"
	"fmt"
	"maps"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// carryGroup is how long the groups are in which messages are carried over, in bytes.
const carryGroup = 1 << 20

// A start is where a new log begins.
type start struct {
	log    int
	salt   uint64
	pos    int64    // behind what was carried over
	number uint64   // of groups with that
	logged []logged // what it is
}

// anew is the start of an empty log, in the place of the one that there is.
func (f *File) anew() start { return start{log: f.log2, salt: newSalt()} }

// turn goes on to a new log when one is full. What is young in that is carried over; all else is
// brought to the files. Errors are those of flush.
func (f *File) turn() error {
	young := f.young()
	if len(young) == 0 {
		return f.flush(false, false)
	}
	err := f.syncRedo() // no file may change before it is sure why
	if err == nil {
		err = f.tryTurn(young)
	}
	switch {
	case err == nil:
		return nil
	case vfs.IsFull(err): // the files may have room where another log has none
		return f.flush(false, false)
	}
	return f.fail(err)
}

// young returns what is in the second half of the log, and marks it.
func (f *File) young() []logged {
	for _, q := range f.queues {
		for _, p := range q.pending {
			p.young = false
		}
	}
	var all []logged
	for _, l := range f.logged {
		if l.at < f.pos-f.cfg.RedoSize/2 {
			continue
		}
		if p := l.q.pending[l.seq]; p != nil && !p.filed {
			p.young = true
			all = append(all, l)
		}
	}
	return all
}

func (f *File) tryTurn(young []logged) error {
	if err := f.openSpare(); err != nil {
		return err
	}
	if err := f.unlink(); err != nil {
		return err
	}
	if err := f.file(true); err != nil {
		return err
	}
	if err := f.syncFolders(); err != nil {
		return err
	}
	next, err := f.carry(young)
	if err != nil {
		return err
	}
	for _, l := range young {
		l.q.carried += l.q.sizeOf(l.seq)
	}
	err = f.writeState(false, next)
	for _, l := range young {
		l.q.carried = 0
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queues {
		maps.DeleteFunc(q.pending, func(_ store.Seq, p *pending) bool { return !p.young })
	}
	return nil
}

// openSpare opens the other log, and gives it all of its room the first time.
func (f *File) openSpare() error {
	if f.spare != nil {
		return nil
	}
	file, err := f.fs.Open(redoNames[1-f.log2], true)
	if err != nil {
		return err
	}
	size, err := f.widen(file)
	if err == nil {
		err = f.fs.SyncDir()
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.spare, f.spareSize = file, size
	return nil
}

// carry writes messages into the other log, and makes sure that they are there.
func (f *File) carry(young []logged) (start, error) {
	next := start{log: 1 - f.log2, salt: newSalt()}
	for len(young) > 0 {
		f.out.Reset(groupSize, mostKept)
		for len(young) > 0 && f.out.Len() < carryGroup {
			l := young[0]
			young = young[1:]
			l.at = next.pos + f.out.Len()
			next.logged = append(next.logged, l)
			addMessage(&f.out, kindKeep, l.q.id, l.seq, l.q.pending[l.seq].msg)
		}
		if f.out.Len() > 1<<32-1 {
			return next, fmt.Errorf("a group of %d bytes is too large", f.out.Len())
		}
		putGroup(&f.out, next.salt, next.number+1, next.number)
		if err := f.out.WriteTo(f.spare, next.pos); err != nil {
			return next, err
		}
		next.number++
		next.pos += aligned(f.out.Len())
	}
	f.spareSize = max(f.spareSize, next.pos)
	return next, f.spare.Sync()
}

// sizeOf is what a message counts for.
func (q *queue) sizeOf(seq store.Seq) int64 { return q.slots[q.find(seq)].size }
