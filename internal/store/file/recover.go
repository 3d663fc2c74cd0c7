package file

import (
	"errors"
	"fmt"
	"io"
	"maps"
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

	state    *state // nil: there is none
	qinfo    []byte // nil: there is none
	segments []uint64
	spares   []string
	before   []string // the logs of before there was a chain
	useless  []string // segments that the state does not know any more
	cut      string   // where an unfinished write was
	listing  map[path]*found
	ours     map[uint64][]path // of them, those that are named as files are of the queue of that number
	folders  []string
	queues   map[uint64]*queue // by their numbers, as state and log have them
	missing  []string          // messages without a file
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
	if r.cut != "" {
		f.log.Warn("an unfinished write was cut off; it was never confirmed", "where", r.cut)
	}
	r.report()
	if r.state != nil {
		r.sweep()
	}
	if err := r.begin(trusted); err != nil {
		return err
	}
	count := 0
	for _, q := range f.queues {
		count += q.count
	}
	if count > 0 {
		f.log.Info("queues read", "queues", len(f.queues), "messages", count, "without_file", f.live, "took", time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// run reads all there is. It reports whether the names of files said it.
func (r *recovery) run() (trusted bool, err error) {
	if err := r.read(); err != nil {
		return false, err
	}
	f := r.f
	f.prefix = newPrefix()
	f.spares = r.spares
	if r.state != nil {
		f.prefix, f.nextID, f.floor, f.salt = r.state.prefix, r.state.nextID, store.Seq(r.state.floor), r.state.salt
		for _, q := range r.state.queues {
			r.define(q)
		}
	}
	if err := r.log(); err != nil {
		return false, err
	}
	now := digestOf(r.qinfo)
	trusted = r.state != nil && slices.Contains(r.state.digests, now)
	f.digests = []digest{now}
	if !trusted {
		err = r.takeOver()
	}
	r.hold()
	return trusted, err
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
	if r.qinfo, err = r.whole(qinfoName); err != nil {
		return err
	}
	if err := r.names(); err != nil {
		return err
	}
	if b == nil {
		if err := r.withoutState(); err != nil {
			return err
		}
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

// withoutState looks whether there should be a state, since there is a log.
func (r *recovery) withoutState() error {
	names := r.before
	for _, n := range r.segments {
		names = append(names, segmentName(n))
	}
	for _, name := range names {
		file, err := r.f.fs.Open(name, false)
		if err != nil {
			return err
		}
		b := make([]byte, len(layout.Magic))
		n, _ := file.ReadAt(b, 0)
		_ = file.Close()
		if magic := string(b[:n]); magic == layout.Magic || magic == layoutBefore.Magic {
			r.problem("%s is missing, though there is %s", stateName, name)
			r.unsure = true
			break
		}
	}
	return nil
}

// names looks which files of the log there are.
func (r *recovery) names() error {
	names, err := r.f.fs.List()
	if err != nil {
		return err
	}
	for _, name := range names { // in order
		_, spare := numberOf(name, spareStart)
		n, segment := numberOf(name, segmentStart)
		switch {
		case name == reserveName:
			r.f.reserve = r.sizeOf(name) >= r.f.reserveSize()
		case slices.Contains(redoBefore[:], name):
			r.before = append(r.before, name)
		case spare:
			r.spare(name)
		case segment:
			r.segments = append(r.segments, n)
		}
	}
	return nil
}

// spare takes a file that may be a segment again, if it is whole.
func (r *recovery) spare(name string) {
	if r.sizeOf(name) == r.f.cfg.RedoSize && len(r.spares) < mostSpares {
		r.spares = append(r.spares, name)
	} else {
		r.useless = append(r.useless, name)
	}
}

// sizeOf is how long a file is, or -1.
func (r *recovery) sizeOf(name string) int64 {
	file, err := r.f.fs.Open(name, false)
	if err != nil {
		return -1
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return -1
	}
	return size
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

// readAll reads a file that is not too large to be in memory.
func readAll(f vfs.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// define notes a queue that the state or the log names, with the files that are its.
func (r *recovery) define(q *queue) {
	r.queues[q.id] = q
	if old := r.f.queues[q.name]; old == nil || old.id < q.id { // what the log says of another one is of before
		r.f.queues[q.name] = q
	}
	r.f.ids[q.id] = q
	r.f.nextID = max(r.f.nextID, q.id+1)
	if r.ours == nil {
		r.usePrefix(r.f.prefix)
	}
	for seq, name := range q.foreign {
		if at := r.listing[path{q.folder, name}]; at != nil {
			at.q, at.seq = q, seq
		} else {
			delete(q.foreign, seq)
		}
	}
	list := slices.Collect(maps.Keys(q.foreign))
	for _, p := range r.ours[q.id] {
		if at := r.listing[p]; at.q == nil && p.folder == q.folder {
			_, seq, _ := parseName(r.f.prefix, p.name)
			at.q, at.seq = q, seq
			list = append(list, seq)
		}
	}
	slices.Sort(list)
	size := int64(1)
	if n := int64(len(list)); n > 0 {
		size = q.filed / n
	}
	q.filed = 0
	for _, seq := range list {
		q.set(seq, size, 0)
	}
}

// usePrefix finds out which files may be ours.
func (r *recovery) usePrefix(prefix string) {
	if r.ours != nil && prefix == r.f.prefix {
		return
	}
	r.f.prefix, r.ours = prefix, make(map[uint64][]path)
	for p := range r.listing {
		if id, _, ok := parseName(prefix, p.name); ok {
			r.ours[id] = append(r.ours[id], p)
		}
	}
}

// hold counts what each folder has. What a process that was killed removed may still come back.
func (r *recovery) hold() {
	unsure := r.state == nil || !r.state.clean
	r.f.topTouched = r.f.topTouched || unsure
	for _, folder := range r.folders {
		r.f.holds[folder] = 0
		if unsure {
			r.f.touched[folder] = true
		}
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
			delete(r.f.touched, folder)
			r.f.topTouched = true
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
