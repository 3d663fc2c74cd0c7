package file

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// A DamageError says what of a directory is not what was written.
type DamageError struct{ Problems []string }

func (e *DamageError) Error() string {
	s := "the stored queues are damaged: " + e.Problems[0]
	if n := len(e.Problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s + ". Nothing was changed. Restore them from a copy, or start with what is whole: on_damage: start"
}

// A recovery reads a directory.
type recovery struct {
	f        *File
	problems []string
	unsure   bool // what there is to be is not known: all is taken that there is

	state   *state // nil: there is none
	qinfo   []byte // nil: there is none
	redo    redoLog
	noLog   bool
	listing map[path]*found
	folders []string
	queues  map[uint64]*queue // by their numbers, as state and log have them
	missing []string          // messages without a file
}

// A found file is of a message, once it is known of which.
type found struct {
	q   *queue
	seq store.Seq
}

func (r *recovery) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (f *File) open() error {
	begin := time.Now()
	r := &recovery{f: f, listing: make(map[path]*found), queues: make(map[uint64]*queue)}
	trusted, err := r.run()
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if len(r.problems) > 0 {
		if !f.cfg.StartDamaged {
			return &DamageError{r.problems}
		}
		for _, p := range r.problems {
			f.log.Error("the stored queues are damaged", "problem", p)
		}
	}
	if r.redo.cut {
		f.log.Warn("an unfinished write was cut off; it was never confirmed", "where", redoNames[f.log2])
	}
	r.report()
	count := 0
	for name, q := range f.queues {
		if count += q.count; q.count == 0 { // forgotten, so that names do not gather for ever
			f.floor = max(f.floor, q.last)
			delete(f.queues, name)
		}
	}
	if r.state != nil {
		r.sweep()
	}
	if f.redo, err = f.fs.Open(redoNames[f.log2], true); err == nil {
		if f.size, err = f.widen(f.redo); vfs.IsFull(err) && trusted {
			err = nil // then some of what there is has to go first
		}
	}
	if err == nil && r.noLog {
		err = f.fs.SyncDir() // no state without a log
	}
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	switch err := f.flush(false, false); {
	case errors.Is(err, store.ErrFull) && trusted:
		f.log.Warn("no room left to bring the log to the files; it is kept", "err", err)
	case err != nil:
		return err
	}
	if count > 0 {
		f.log.Info("queues read", "queues", len(f.queues), "messages", count, "took", time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// widen gives a log all of its room, and returns how long it is. It is written to, for what is
// written over is quicker to sync.
func (f *File) widen(log vfs.File) (size int64, err error) {
	if size, err = log.Size(); err != nil {
		return size, err
	}
	for want := f.room(); size < want; {
		n, err := log.WriteAt(blank[:min(want-size, int64(len(blank)))], size)
		if err != nil {
			return size, errors.Join(err, log.Truncate(size))
		}
		size += int64(n)
	}
	return size, nil
}

var blank [256 << 10]byte

// run reads all there is. It reports whether the names of files said it.
func (r *recovery) run() (trusted bool, err error) {
	if err := r.read(); err != nil {
		return false, err
	}
	f := r.f
	f.prefix = newPrefix()
	if r.state != nil {
		f.prefix, f.nextID, f.floor, f.salt = r.state.prefix, r.state.nextID, store.Seq(r.state.floor), r.state.salt
		for _, q := range r.state.queues {
			r.define(q)
		}
		for _, rec := range r.redo.records {
			if rec.kind == kindQueue && r.queues[rec.id] == nil {
				q := newQueue(rec.name, rec.folder, rec.id)
				q.named = true
				r.define(q)
			}
		}
		r.attach()
		r.replay()
		f.pos, f.number, f.synced = r.redo.end, r.redo.groups, r.redo.groups
	}
	now := digestOf(r.qinfo)
	if r.state != nil && slices.Contains(r.state.digests, now) {
		f.digests = []digest{now}
		r.hold()
		return true, nil
	}
	f.digests = []digest{now}
	err = r.takeOver()
	r.hold()
	return false, err
}

// read reads the files that are not of messages, and the names of all others.
func (r *recovery) read() error {
	b, err := r.whole(stateName)
	if err != nil {
		return err
	}
	if b != nil {
		var later *versionError
		if r.state, err = parseState(b); errors.As(err, &later) {
			return fmt.Errorf("%s: %w", stateName, err)
		} else if err != nil {
			r.problem("%s: %v", stateName, err)
			r.unsure = true
		}
	}
	if r.state != nil {
		r.f.log2 = r.state.log
	}
	name := redoNames[r.f.log2]
	redo, err := r.whole(name)
	if err != nil {
		return err
	}
	r.noLog = redo == nil
	switch {
	case r.state != nil && redo == nil && !r.state.clean:
		r.problem("%s is missing", name)
	case r.state != nil:
		r.redo = parseLog(name, redo, r.state.salt)
		r.problems = append(r.problems, r.redo.problems...)
		if r.redo.groups < r.state.carried {
			r.problem("%s: groups %d to %d, which it began with, are missing", name, r.redo.groups+1, r.state.carried)
		}
	case b == nil:
		for _, name := range redoNames {
			redo, err := r.whole(name)
			if err != nil {
				return err
			}
			if parseLog(name, redo, 0).used {
				r.problem("%s is missing, though there is %s", stateName, name)
			}
		}
	}
	if r.qinfo, err = r.whole(qinfoName); err != nil {
		return err
	}
	folders, err := r.f.fs.Folders()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if !isFolder(folder) {
			continue
		}
		names, err := r.f.fs.Folder(folder).List()
		if err != nil {
			return err
		}
		r.folders = append(r.folders, folder)
		for _, name := range names {
			r.listing[path{folder, name}] = &found{}
		}
	}
	return nil
}

// whole reads a file; nil says that there is none.
func (r *recovery) whole(name string) ([]byte, error) {
	file, err := r.f.fs.Open(name, false)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := readAll(file)
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

func (r *recovery) define(q *queue) {
	r.queues[q.id] = q
	r.f.queues[q.name] = q
	r.f.nextID = max(r.f.nextID, q.id+1)
}

// attach finds out of which message each file is that is ours, or was taken over.
func (r *recovery) attach() {
	for _, q := range r.queues {
		for seq, name := range q.foreign {
			if at := r.listing[path{q.folder, name}]; at != nil {
				at.q, at.seq = q, seq
			} else {
				delete(q.foreign, seq)
			}
		}
	}
	seqs := make(map[*queue][]store.Seq)
	for p, at := range r.listing {
		if at.q == nil {
			id, seq, ok := parseName(r.f.prefix, p.name)
			q := r.queues[id]
			if !ok || q == nil || q.folder != p.folder {
				continue
			}
			at.q, at.seq = q, seq
		}
		seqs[at.q] = append(seqs[at.q], at.seq)
	}
	for _, q := range r.queues {
		list := seqs[q]
		slices.Sort(list)
		size := int64(1)
		if n := int64(len(list)); n > 0 {
			size = q.bytes / n
		}
		q.bytes = 0
		for _, seq := range list {
			q.add(seq, size)
		}
	}
}

// replay applies the log to what the files say.
func (r *recovery) replay() {
	for _, rec := range r.redo.records {
		q := r.queues[rec.id]
		if q == nil {
			r.problem("%s: a record is of queue %d, which is not known", redoNames[r.f.log2], rec.id)
			continue
		}
		switch rec.kind {
		case kindPut:
			r.f.put(q, rec.seq, rec.msg)
			q.enqueued++
		case kindKeep:
			r.f.put(q, rec.seq, rec.msg)
		case kindAck:
			q.dequeued += r.f.ack(q, rec.seq, rec.last)
		case kindMark:
			q.marked = rec.seq
		case kindAttempts:
			r.f.tried(q, rec.seq, rec.attempts)
		}
	}
	for _, q := range r.queues { // tries of what went when the log was brought to the files
		for seq := range q.tries {
			if !q.has(seq) {
				delete(q.tries, seq)
			}
		}
	}
}

// hold counts what each folder has.
func (r *recovery) hold() {
	for _, folder := range r.folders {
		r.f.holds[folder] = 0
	}
	for p, at := range r.listing {
		if at.q != nil {
			r.f.holds[p.folder]++
		}
	}
}

// sweep removes folders that a crash left empty.
func (r *recovery) sweep() {
	for _, folder := range r.folders {
		if r.f.holds[folder] == 0 && r.f.fs.RemoveFolder(folder) == nil {
			delete(r.f.holds, folder)
		}
	}
}

// report tells of files that are not served, and of messages without a file.
func (r *recovery) report() {
	var names []string
	for p, at := range r.listing {
		if at.q == nil {
			names = append(names, p.folder+"/"+p.name)
			r.f.orphans = append(r.f.orphans, p)
		}
	}
	some := func(names []string) []string {
		slices.Sort(names)
		return names[:min(len(names), 10)]
	}
	if n := len(names); n > 0 {
		r.f.log.Warn("files that the index does not list are left as they are, and not delivered", "count", n, "files", some(names))
	}
	if n := len(r.missing); n > 0 {
		r.f.log.Warn("messages of the index have no file", "count", n, "message_ids", some(r.missing))
	}
}
