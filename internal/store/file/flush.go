package file

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// flush brings what the redo log says to the files, and begins a new log. ErrFull leaves it
// undone, to be tried again: all is in the log still. Index has qinfo written as well, clean
// says that nothing comes after it.
func (f *File) flush(index, clean bool) error {
	err := f.syncRedo() // no file may change before it is sure why
	if err == nil {
		err = f.tryFlush(index, clean)
	}
	switch {
	case err == nil:
		return nil
	case vfs.IsFull(err):
		return fmt.Errorf("file: %w: %w", store.ErrFull, err)
	}
	return f.fail(err)
}

func (f *File) tryFlush(index, clean bool) error {
	if err := f.unlink(); err != nil {
		return err
	}
	if err := f.file(false); err != nil {
		return err
	}
	if err := f.syncFolders(); err != nil {
		return err
	}
	digests := f.digests
	if index {
		b, err := appendQinfo(nil, f.sorted(), f.cfg.Dir, f.nameOf)
		if err != nil {
			return err
		}
		if err := f.write(qinfoName+newSuffix, b); err != nil {
			return err
		}
		f.digests = append(slices.Clip(digests), digestOf(b))
		if err := f.writeState(false, f.anew()); err != nil {
			f.digests = digests
			return err
		}
		f.forget()
		if err := f.fs.Rename(qinfoName+newSuffix, qinfoName); err != nil {
			return err
		}
		if err := f.fs.SyncDir(); err != nil {
			return err
		}
		f.digests = f.digests[len(digests):]
		f.dirty = false
		if !clean {
			return nil // a state with a digest too many does no harm
		}
	}
	if err := f.writeState(clean, f.anew()); err != nil {
		return err
	}
	f.forget()
	return nil
}

// syncFolders makes durable what changed in folders.
func (f *File) syncFolders() error {
	touched := slices.Sorted(maps.Keys(f.touched))
	if err := f.beside(len(touched), func(i int) error { return f.fs.Folder(touched[i]).SyncDir() }); err != nil {
		return err
	}
	clear(f.touched)
	if f.topTouched {
		if err := f.fs.SyncDir(); err != nil {
			return err
		}
		f.topTouched = false
	}
	return nil
}

// unlinkSome removes some of the files that are to go, so that they do not gather until there
// is much to do at once.
func (f *File) unlinkSome(n int) error {
	if len(f.dead) == 0 || f.synced != f.number {
		return nil
	}
	f.files.Lock()
	defer f.files.Unlock()
	if err := f.removeDead(n); err != nil && !vfs.IsFull(err) {
		return f.fail(err)
	}
	return nil
}

func (f *File) removeDead(n int) error {
	n = min(n, len(f.dead))
	for i, p := range f.dead[:n] {
		if err := f.remove(p); err != nil {
			f.dead = f.dead[i:]
			return err
		}
		f.touched[p.folder] = true
		f.holds[p.folder]--
	}
	if f.dead = f.dead[n:]; len(f.dead) == 0 {
		f.dead = nil
	}
	return nil
}

// unlink removes the files of messages that are acked, and folders that are empty then.
func (f *File) unlink() error {
	f.files.Lock()
	defer f.files.Unlock()
	if err := f.removeDead(len(f.dead)); err != nil {
		return err
	}
	wanted := make(map[string]bool)
	for _, q := range f.queues {
		wanted[q.folder] = wanted[q.folder] || q.count > 0
	}
	for _, name := range slices.Sorted(maps.Keys(f.touched)) {
		if f.holds[name] > 0 || wanted[name] {
			continue
		}
		// There may be files that are not ours; then it stays.
		if f.fs.RemoveFolder(name) == nil {
			f.topTouched = true
			delete(f.touched, name)
			delete(f.holds, name)
		}
	}
	return nil
}

// A logged is a message by where it is in the log.
type logged struct {
	q   *queue
	seq store.Seq
	at  int64
}

// fileSome gives files to messages that have been in the log for long, so that there is little
// left to do when that is full: once it is half full the oldest come, at the pace at which it
// fills. What is acked by then never has a file.
func (f *File) fileSome() error {
	upTo := f.pos - f.cfg.RedoSize/2
	if len(f.logged) == 0 || f.logged[0].at >= upTo || f.synced != f.number {
		return nil
	}
	w := f.filing()
	n := 0
	for ; n < len(f.logged) && f.logged[n].at < upTo; n++ {
		l := &f.logged[n]
		p := l.q.pending[l.seq]
		if p == nil || p.filed {
			continue
		}
		err := f.folder(l.q)
		if err == nil {
			err = w.add(l.q, l.seq, p)
		}
		if err != nil {
			w.abandon()
			if vfs.IsFull(err) { // the log has it
				return nil
			}
			return f.fail(err)
		}
	}
	f.logged = f.logged[n:]
	if err := w.sync(); err != nil && !vfs.IsFull(err) {
		return f.fail(err)
	}
	return nil
}

func (f *File) filing() *filing { return &filing{f: f, open: make([]opened, 0, 4*f.cfg.Syncs)} }

// folder sees to it that q has its folder, and notes that something changes there.
func (f *File) folder(q *queue) error {
	if _, ok := f.holds[q.folder]; !ok {
		if err := f.fs.MakeFolder(q.folder); err != nil {
			return err
		}
		f.holds[q.folder] = 0
		f.topTouched = true
	}
	f.touched[q.folder] = true
	return nil
}

// file gives a file to each message that has none, but to young ones if they are spared.
func (f *File) file(spare bool) error {
	w := f.filing()
	for _, q := range f.sorted() {
		if !q.wantsFiles(spare) {
			continue
		}
		if err := f.folder(q); err != nil {
			return err
		}
		for _, seq := range slices.Sorted(maps.Keys(q.pending)) {
			if p := q.pending[seq]; !p.filed && !(spare && p.young) {
				if err := w.add(q, seq, p); err != nil {
					w.abandon()
					return err
				}
			}
		}
	}
	return w.sync()
}

// wantsFiles reports whether file has something to do for q.
func (q *queue) wantsFiles(spare bool) bool {
	for _, p := range q.pending {
		if !p.filed && !(spare && p.young) {
			return true
		}
	}
	return false
}

// A filing is files that are being written, and synced many at a time.
type filing struct {
	f    *File
	out  vfs.Gather
	open []opened
}

type opened struct {
	file vfs.File
	p    *pending
}

func (w *filing) add(q *queue, seq store.Seq, p *pending) error {
	f, name := w.f, w.f.nameOf(q, seq)
	w.out.Reset(0, mostKept)
	err := addFile(&w.out, p.msg, q.name, name)
	if err != nil {
		return err
	}
	folder := f.fs.Folder(q.folder)
	file, err := folder.Open(name, true)
	if err != nil {
		return err
	}
	was := p.there
	if !was {
		f.holds[q.folder]++
		p.there = true
	}
	err = w.out.WriteTo(file, 0)
	if err == nil && was {
		err = file.Truncate(w.out.Len())
	}
	if err != nil {
		_ = file.Close()
		if vfs.IsFull(err) { // make room for acks
			if e := folder.Remove(name); e != nil {
				return e
			}
			f.holds[q.folder]--
			p.there = false
		}
		return err
	}
	if w.open = append(w.open, opened{file, p}); len(w.open) == cap(w.open) {
		return w.sync()
	}
	return nil
}

// sync makes durable what was written, side by side.
func (w *filing) sync() error {
	err := w.f.beside(len(w.open), func(i int) error {
		o := &w.open[i]
		err := o.file.Sync()
		o.p.filed = err == nil
		return errors.Join(err, o.file.Close())
	})
	w.open = w.open[:0]
	if err != nil {
		return fmt.Errorf("a file could not be synced; what it holds is not sure any more: %w", err)
	}
	return nil
}

// beside does n things, some of them side by side, and waits for them. Of their errors one
// that is final comes before one of a full disk.
func (f *File) beside(n int, do func(i int) error) error {
	errs := make([]error, n)
	at := min(f.cfg.Syncs, n)
	if at <= 1 {
		for i := range n {
			errs[i] = do(i)
		}
		return worst(errs)
	}
	var wg sync.WaitGroup
	for first := range at {
		wg.Go(func() {
			for i := first; i < n; i += at {
				errs[i] = do(i)
			}
		})
	}
	wg.Wait()
	return worst(errs)
}

func worst(errs []error) (err error) {
	for _, e := range errs {
		if e != nil && (err == nil || !vfs.IsFull(e)) {
			err = e
		}
	}
	return err
}

func (w *filing) abandon() {
	for _, o := range w.open {
		_ = o.file.Close()
	}
	w.open = nil
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

// writeState puts a new state in place, from where the log is as next says.
func (f *File) writeState(clean bool, next start) error {
	s := state{salt: next.salt, clean: clean, prefix: f.prefix, nextID: f.nextID, floor: uint64(f.floor), digests: f.digests, queues: f.sorted(), log: next.log, carried: next.number}
	if err := f.write(stateName+newSuffix, s.append(nil)); err != nil {
		return err
	}
	if err := f.fs.Rename(stateName+newSuffix, stateName); err != nil {
		return err
	}
	if err := f.fs.SyncDir(); err != nil {
		return err
	}
	f.salt, f.pos, f.number, f.synced, f.logged = next.salt, next.pos, next.number, next.number, next.logged
	if next.log != f.log2 {
		f.log2, f.redo, f.spare, f.size, f.spareSize = next.log, f.spare, f.redo, f.spareSize, f.size
	}
	for _, q := range s.queues {
		q.named = true
	}
	if f.redo != nil && f.size > f.room() && f.pos <= f.room() {
		if err := f.redo.Truncate(f.room()); err != nil {
			return err
		}
		f.size = f.room()
	}
	return nil
}

// forget lets go of messages that have a file by now.
func (f *File) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queues {
		clear(q.pending)
	}
}

func (f *File) remove(p path) error {
	err := f.fs.Folder(p.folder).Remove(p.name)
	if isMissing(err) {
		return nil
	}
	return err
}
