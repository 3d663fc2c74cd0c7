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

// Files are made of so many messages at a time, which are synced together.
const (
	filesAtOnce = 128
	bytesAtOnce = 4 << 20
)

// A path is a file in a folder.
type path struct{ folder, name string }

// fileSome gives files to the first messages that are in the log alone, before limit, and reports
// how many there were. An error that is not final is one of a full disk. Called with work held.
func (f *File) fileSome(limit place) (n int, err error) {
	if f.cfg.NoSync { // a crash must not leave a message and not what was written before it
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	all, next, err := f.collect(f.cursor, limit, filesAtOnce, bytesAtOnce, false)
	if err != nil {
		return 0, fmt.Errorf("file: %w", err)
	}
	if len(all) == 0 {
		f.cursor = next
		return 0, nil
	}
	n, err = f.fileThese(all)
	if err == nil { // else the others are tried again
		f.cursor = next
	}
	return n, err
}

// fileThese gives files to messages, and reports how many there were. Called with work held.
func (f *File) fileThese(all []held) (n int, err error) {
	w := filing{f: f}
	done, full := all, error(nil)
	for i := range all {
		if err := w.add(&all[i]); err != nil {
			if !vfs.IsFull(err) {
				w.close()
				return 0, f.full(err)
			}
			done, full = all[:i], err
			break
		}
	}
	err = f.syncAll(w.open)
	w.close()
	if err != nil && !vfs.IsFull(err) {
		return 0, f.full(fmt.Errorf("files could not be synced; what they hold is not sure any more: %w", err))
	}
	if full == nil {
		full = err
	}
	if f.filed(done, err == nil) {
		// They go before the group that says they are acked, which may be one of long before.
		if err := errors.Join(f.Sync(), f.removeDead()); err != nil && full == nil {
			full = err
		}
	}
	return len(done), f.full(full)
}

// A filing is files that are being written, to be synced together.
type filing struct {
	f    *File
	out  vfs.Gather
	open []vfs.File
	room []byte // to copy large bodies with
	last *held  // which the file was written for that others can share; nil: they cannot
}

// add gives a message a file. One that several queues have, of which the Ruby server knows nothing, has
// one for all of them, in the folder of each.
func (w *filing) add(h *held) error {
	f := w.f
	if err := f.folder(h.q); err != nil {
		return err
	}
	folder, alone := f.fs.Folder(h.q.folder), !isOurs(h.q.name)
	if h.there && !alone { // others may have that file
		if err := folder.Remove(h.name); err != nil && !isMissing(err) {
			return err
		}
	}
	if !alone && w.last != nil && w.last.at == h.at {
		err := f.fs.Link(w.last.q.folder, w.last.name, h.q.folder, h.name)
		if err == nil && !h.there {
			f.holds[h.q.folder]++
		}
		if err == nil || vfs.IsFull(err) || vfs.IsFailing(err) {
			return err
		}
		// It was refused, and why is no matter: if no file can be written there either, that will be told.
		// It may have been made all the same, and what is written must not go into the other's file.
		if err := folder.Remove(h.name); err != nil && !isMissing(err) {
			return err
		}
		if !f.unlinked {
			f.unlinked = true
			f.log.Info("a file could not get a further name, so that each queue has one of its own for a message", "err", err)
		}
	}
	w.last = nil
	w.out.Reset(0, mostKept)
	if err := addFile(&w.out, h.msg, h.missing, h.q.name, h.name); err != nil {
		return err
	}
	file, err := folder.Open(h.name, true)
	if err != nil {
		return err
	}
	if !h.there {
		f.holds[h.q.folder]++
	}
	err = w.out.WriteTo(file, 0)
	if err == nil && h.missing > 0 {
		err = w.copyBody(file, h)
	}
	if err == nil && h.there {
		err = file.Truncate(w.out.Len() + h.missing)
	}
	if err == nil {
		w.open = append(w.open, file)
		if !alone && h.msg.Destination() != h.q.name { // else what it holds depends on whose it is
			w.last = h
		}
		return nil
	}
	_ = file.Close()
	if vfs.IsFull(err) && !h.there { // make room
		if e := folder.Remove(h.name); e != nil {
			return e
		}
		f.holds[h.q.folder]--
	}
	return err
}

// copyBody copies what is missing of a large message from the log.
func (w *filing) copyBody(to vfs.File, h *held) error {
	from, err := w.f.fs.Open(segmentName(h.at.segment()), false)
	if err != nil {
		return err
	}
	defer from.Close()
	if w.room == nil {
		w.room = make([]byte, readAhead)
	}
	for left := h.missing; left > 0; {
		b := w.room[:min(int64(len(w.room)), left)]
		if n, err := from.ReadAt(b, h.end-left); n < len(b) {
			return err
		}
		if _, err := to.WriteAt(b, w.out.Len()+h.missing-left); err != nil {
			return err
		}
		left -= int64(len(b))
	}
	return nil
}

func (w *filing) close() {
	for _, file := range w.open {
		_ = file.Close()
	}
}

// folder sees to it that q has its folder, and notes that something changes there.
func (f *File) folder(q *queue) error {
	if _, ok := f.holds[q.folder]; !ok {
		if err := f.fs.MakeFolder(q.folder); err != nil {
			return err
		}
		f.holds[q.folder] = 0
		f.vacant[q.folder] = true
		f.topTouched = true
	}
	f.touched[q.folder] = true
	return nil
}

// filed notes of messages that they have files, and says so in the log; or that there are files of
// which it is not known what they hold. Those of messages that were acked meanwhile are to go; it
// reports whether there are such.
func (f *File) filed(all []held, sure bool) (late bool) {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.mu.Lock()
	var said []held
	for _, h := range all {
		switch s := h.q.get(h.seq); {
		case s == nil && !h.there: // else its file is to go already
			f.dead = append(f.dead, dead{path: path{h.q.folder, h.name}, group: f.number})
			late = true
		case s == nil:
		case sure:
			f.hasFile(h.q, s)
			said = append(said, h)
		default:
			s.there = true
		}
	}
	f.mu.Unlock()
	if len(said) == 0 || f.failed() != nil {
		return late
	}
	// Nothing is lost if it is: then they get their files once more.
	_ = f.append(false, func() {
		for i := 0; i < len(said); {
			h, last := said[i], said[i].seq
			for i++; i < len(said) && said[i].q == h.q && said[i].seq == last+1; i++ {
				last++
			}
			f.name(h.q)
			addNumbers(&f.out, kindFiled, h.q.id, uint64(h.seq), uint64(last))
		}
	})
	return late
}

// syncAll makes durable what was written to files, and which there are.
func (f *File) syncAll(files []vfs.File) error {
	folders := slices.Sorted(maps.Keys(f.touched))
	err := f.fs.SyncAll(folders)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.syncEach(files, folders)
	}
	if err != nil {
		return err
	}
	clear(f.touched)
	f.topTouched = false
	return nil
}

func (f *File) syncEach(files []vfs.File, folders []string) error {
	if err := f.beside(len(files), func(i int) error { return files[i].Sync() }); err != nil {
		return err
	}
	if err := f.beside(len(folders), func(i int) error { return f.fs.Folder(folders[i]).SyncDir() }); err != nil {
		return err
	}
	if f.topTouched {
		return f.fs.SyncDir()
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

// A dead file is of a message that was acked, which a group of the log says.
type dead struct {
	path
	group   uint64
	q       *queue    // whose it was, if the name of the file is not ours
	foreign store.Seq // and which
}

// removeDead removes the files of messages that are surely acked. Called with work held.
func (f *File) removeDead() error {
	f.turn.Lock()
	f.mu.Lock()
	n := 0
	for n < len(f.dead) && f.dead[n].group <= f.synced {
		n++
	}
	list := f.dead[:n:n]
	f.mu.Unlock()
	f.turn.Unlock()
	const atOnce = 64 // for those who read wait
	for len(list) > 0 {
		n, err := f.remove(list[:min(atOnce, len(list))])
		f.freed.Add(uint64(n))
		f.turn.Lock()
		f.mu.Lock()
		if f.dead = f.dead[n:]; len(f.dead) == 0 {
			f.dead = nil
		}
		f.mu.Unlock()
		f.turn.Unlock()
		if list = list[n:]; err != nil {
			return f.full(err)
		}
	}
	return nil
}

func (f *File) remove(list []dead) (n int, err error) {
	f.files.Lock()
	defer f.files.Unlock()
	for i, d := range list {
		switch err := f.fs.Folder(d.folder).Remove(d.name); {
		case isMissing(err):
		case err != nil:
			return i, err
		}
		f.touched[d.folder] = true
		if f.holds[d.folder]--; f.holds[d.folder] == 0 {
			f.vacant[d.folder] = true
		}
	}
	return len(list), nil
}

// removeFolders removes the folders that are empty and that no queue has messages for. Called with
// work held.
func (f *File) removeFolders() {
	if len(f.vacant) == 0 {
		return
	}
	wanted := make(map[string]bool)
	f.mu.Lock()
	for _, q := range f.queues {
		wanted[q.folder] = wanted[q.folder] || q.count > 0
	}
	f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.vacant)) {
		if f.holds[name] == 0 && wanted[name] {
			continue
		}
		delete(f.vacant, name)
		// There may be files that are not ours; then it stays.
		if f.holds[name] == 0 && f.fs.RemoveFolder(name) == nil {
			f.topTouched = true
			delete(f.touched, name)
			delete(f.holds, name)
		}
	}
}
