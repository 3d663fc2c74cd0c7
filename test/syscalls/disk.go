package syscalls

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Traced are the calls that Replay wants to see, and those that it does not know: it fails at one of
// these, for then it has not seen all. Calls that are not on every machine have a question mark.
const Traced = "openat,?open,close,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat," +
	"?creat,truncate,writev,pwritev,pwritev2,?link,linkat,symlinkat,copy_file_range,sendfile,splice,sync_file_range,syncfs,sync,msync,io_uring_setup,?io_setup"

// unknown are calls that would change files behind the back of Replay.
var unknown = []string{"creat", "truncate", "pwritev", "pwritev2", "symlinkat", "copy_file_range", "splice", "sync_file_range", "sync", "io_uring_setup", "io_setup"}

// A Disk is what was done to a directory, of which Cut tells what a power cut leaves.
type Disk struct {
	root *node
	all  []*node // every file and directory that there ever was

	// Notes are what was written to sockets, in order.
	Notes []Note
	Lines int // of the trace
}

// A Note is what was written to a socket from a line of the trace on.
type Note struct {
	Begin int
	Data  []byte
}

// A node is a file or a directory.
type node struct {
	dir   bool
	path  string // where it was made
	live  map[string]*node
	edits []edit  // of a directory: what became of names
	marks []patch // of a file: what became of its content
	syncs []syncing
}

// A syncing is an fsync, or a syncfs, which is one of all there is. What it was to make durable of a file is lost for good if it fails: no later one
// knows of it any more. Names are another matter: if a file system cannot write those it writes nothing.
type syncing struct {
	span
	failed bool
}

// A span is the time that a call took, in lines of the trace.
type span struct{ begin, end int }

// An edit gives names to nodes. Nil: the name goes.
type edit struct {
	span
	names map[string]*node
}

// A patch is a write, or a change of the size.
type patch struct {
	span
	at   int64
	data []byte // nil: the size became at
}

// Replay finds what calls did below root, an absolute path to a directory that was empty at the
// beginning of the trace.
func Replay(calls []Call, root string) (*Disk, error) {
	d := &Disk{root: &node{dir: true, path: root, live: map[string]*node{}}}
	d.all = []*node{d.root}
	r := replay{Disk: d, base: root, open: make(map[int]*handle)}
	ordered := slices.Clone(calls)
	slices.SortStableFunc(ordered, func(a, b Call) int { return a.End - b.End })
	for i := range ordered {
		c := &ordered[i]
		if c.End != Never {
			d.Lines = max(d.Lines, c.End)
		}
		if err := r.call(c); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", c.Begin, c.Name, err)
		}
	}
	return d, nil
}

// A handle is an open file.
type handle struct {
	n      *node
	at     int64
	append bool
}

type replay struct {
	*Disk
	base string
	open map[int]*handle
}

// find returns the directory of a path below the root, and its name in there. The root has no directory.
func (r *replay) find(path string) (dir *node, name string, ok bool) {
	rel, ok := strings.CutPrefix(filepath.Clean(path), r.base)
	if !ok || rel != "" && rel[0] != '/' {
		return nil, "", false
	}
	parts := strings.Split(strings.TrimPrefix(rel, "/"), "/")
	dir = r.root
	for _, p := range parts[:len(parts)-1] {
		if dir = dir.live[p]; dir == nil || !dir.dir {
			return nil, "", false
		}
	}
	return dir, parts[len(parts)-1], true
}

// path is what the arguments i and i+1 of a call name, a directory and a path from there.
func (r *replay) path(c *Call, i int) (string, error) {
	_, from, ok := c.FD(i)
	b, whole, err := c.Bytes(i + 1)
	if err != nil || !ok || !whole {
		return "", fmt.Errorf("its path cannot be read: %w", err)
	}
	if p := string(b); filepath.IsAbs(p) {
		return p, nil
	}
	return filepath.Join(from, string(b)), nil
}

func (r *replay) call(c *Call) error {
	done := c.Result >= 0 && c.Errno == ""
	s := span{c.Begin, c.End}
	if c.End == Never {
		done = true // it may have been
	}
	switch c.Name {
	case "write", "writev", "sendfile":
		if _, path, ok := c.FD(0); ok && !strings.HasPrefix(path, "/") {
			if b, _, err := c.Bytes(1); err == nil && c.Name == "write" && strings.HasPrefix(path, "TCP") {
				r.Notes = append(r.Notes, Note{c.Begin, b})
			}
			return nil
		}
		h := r.handle(c)
		if h == nil {
			return nil
		}
		if c.Name != "write" {
			return fmt.Errorf("it is not known here")
		}
		at := h.at
		if h.append {
			at = h.n.size()
		}
		n, err := r.write(c, h, at)
		h.at = at + n
		return err
	case "pwrite64":
		if h := r.handle(c); h != nil {
			at, ok := c.Number(3)
			if !ok {
				return fmt.Errorf("its place cannot be read")
			}
			_, err := r.write(c, h, at)
			return err
		}
		return nil
	}
	if c.Name == "fsync" || c.Name == "fdatasync" {
		if h := r.handle(c); h != nil && c.End != Never {
			h.n.syncs = append(h.n.syncs, syncing{s, !done})
		}
		return nil
	}
	if c.Name == "syncfs" {
		if _, path, ok := c.FD(0); ok && strings.HasPrefix(path, r.base) && c.End != Never {
			for _, n := range r.all {
				n.syncs = append(n.syncs, syncing{s, !done})
			}
		}
		return nil
	}
	if !done {
		return nil
	}
	switch c.Name {
	case "openat":
		path, err := r.path(c, 0)
		if err != nil || len(c.Args) < 3 {
			return err
		}
		return r.opened(c, path, c.Args[2], s)
	case "open":
		path, err := r.path2(c)
		if err != nil || len(c.Args) < 2 {
			return err
		}
		return r.opened(c, path, c.Args[1], s)
	case "close":
		if fd, _, ok := c.FD(0); ok {
			delete(r.open, fd)
		}
	case "ftruncate", "fallocate":
		h := r.handle(c)
		if h == nil {
			return nil
		}
		size, ok := c.Number(1)
		if c.Name == "fallocate" {
			mode, _ := c.Number(1)
			from, ok1 := c.Number(2)
			n, ok2 := c.Number(3)
			if size, ok = from+n, mode == 0 && ok1 && ok2; ok && size <= h.n.size() {
				return nil
			}
		}
		if !ok {
			return fmt.Errorf("its arguments are not known here: %q", c.Args)
		}
		h.n.marks = append(h.n.marks, patch{span: s, at: size})
	case "mkdirat", "mkdir":
		path, err := r.path2(c)
		if err != nil {
			return err
		}
		if dir, name, ok := r.find(path); ok && name != "" {
			r.make(dir, name, path, true, s)
		}
	case "unlinkat", "unlink", "rmdir":
		path, err := r.path2(c)
		if err != nil {
			return err
		}
		if dir, name, ok := r.find(path); ok && dir.live[name] != nil {
			dir.edit(s, map[string]*node{name: nil})
		}
	case "renameat", "renameat2", "rename", "linkat", "link":
		return r.rename(c, s)
	default:
		if !slices.Contains(unknown, c.Name) {
			return nil
		}
		for i := range c.Args {
			if _, path, ok := c.FD(i); ok && !strings.HasPrefix(path, r.base) {
				return nil // it has to do with others
			}
		}
		return fmt.Errorf("it is not known here: %.200q", c.Args)
	}
	return nil
}

// path2 is the path of a call in its form with a directory or without.
func (r *replay) path2(c *Call) (string, error) {
	if strings.HasSuffix(c.Name, "at") {
		return r.path(c, 0)
	}
	b, whole, err := c.Bytes(0)
	if err != nil || !whole {
		return "", fmt.Errorf("its path cannot be read: %w", err)
	}
	return string(b), nil
}

func (r *replay) handle(c *Call) *handle {
	fd, path, ok := c.FD(0)
	if !ok || !strings.HasPrefix(path, r.base) {
		return nil
	}
	return r.open[fd]
}

func (r *replay) opened(c *Call, path, how string, s span) error {
	dir, name, ok := r.find(path)
	if !ok {
		delete(r.open, int(c.Result))
		return nil
	}
	n := r.root
	if name != "" {
		n = dir.live[name]
	}
	flags := strings.Split(how, "|")
	if n == nil && slices.Contains(flags, "O_CREAT") {
		n = r.make(dir, name, path, false, s)
	} else if n == nil {
		return fmt.Errorf("%s was there already when the trace began", path)
	} else if slices.Contains(flags, "O_TRUNC") && n.size() > 0 {
		n.marks = append(n.marks, patch{span: s})
	}
	r.open[int(c.Result)] = &handle{n: n, append: slices.Contains(flags, "O_APPEND")}
	return nil
}

func (r *replay) make(dir *node, name, path string, isDir bool, s span) *node {
	n := &node{dir: isDir, path: path}
	if isDir {
		n.live = map[string]*node{}
	}
	r.all = append(r.all, n)
	dir.edit(s, map[string]*node{name: n})
	return n
}

// rename has a file or directory go by another name, or by one more.
func (r *replay) rename(c *Call, s span) error {
	var from, to string
	var err error
	if c.Name == "rename" || c.Name == "link" {
		var a, b []byte
		a, _, err = c.Bytes(0)
		if err == nil {
			b, _, err = c.Bytes(1)
		}
		from, to = string(a), string(b)
	} else if from, err = r.path(c, 0); err == nil {
		to, err = r.path(c, 2)
	}
	if err != nil {
		return err
	}
	dir, name, ok := r.find(from)
	dir2, name2, ok2 := r.find(to)
	switch {
	case !ok && !ok2:
		return nil
	case !ok || !ok2 || dir.live[name] == nil:
		return fmt.Errorf("from %s to %s, which is not known here", from, to)
	case strings.HasPrefix(c.Name, "link"):
		dir2.edit(s, map[string]*node{name2: dir.live[name]})
		return nil
	case dir != dir2:
		return fmt.Errorf("from %s to %s, which is not known here", from, to)
	}
	dir.edit(s, map[string]*node{name: nil, name2: dir.live[name]})
	return nil
}

func (n *node) edit(s span, names map[string]*node) {
	n.edits = append(n.edits, edit{s, names})
	for name, to := range names {
		if to == nil {
			delete(n.live, name)
		} else {
			n.live[name] = to
		}
	}
}

// size is that of a file by now.
func (n *node) size() (size int64) {
	for _, p := range n.marks {
		if p.data == nil {
			size = p.at
		} else {
			size = max(size, p.at+int64(len(p.data)))
		}
	}
	return size
}

// zeroes are written by the megabyte to make room in a file.
var zeroes = make([]byte, 4<<20)

// write adds a write, as much as was written of it.
func (r *replay) write(c *Call, h *handle, at int64) (int64, error) {
	b, whole, err := c.Bytes(1)
	if err != nil {
		return 0, err
	}
	n, ok := c.Number(2)
	if !ok {
		return 0, fmt.Errorf("its length cannot be read: %q", c.Args[2:])
	}
	if c.End != Never {
		n = c.Result
	}
	if n <= 0 {
		return 0, nil
	}
	if !whole && int64(len(b)) < n {
		// strace wrote the beginning alone. Of what makes room for later that is enough.
		if n > int64(len(zeroes)) || !bytes.Equal(b, zeroes[:len(b)]) {
			return 0, fmt.Errorf("only %d bytes of %d are in the trace", len(b), n)
		}
		b = zeroes
	}
	h.n.marks = append(h.n.marks, patch{span: span{c.Begin, c.End}, at: at, data: b[:n]})
	return n, nil
}

// durable reports whether something that took that time is on the disk for sure.
func (n *node) durable(s span, cut int) bool {
	if n.dir {
		return slices.ContainsFunc(n.syncs, func(y syncing) bool { return y.begin > s.end && y.end <= cut && !y.failed })
	}
	first := -1
	for i, y := range n.syncs {
		if y.begin > s.end && (first < 0 || y.begin < n.syncs[first].begin) {
			first = i
		}
	}
	return first >= 0 && n.syncs[first].end <= cut && !n.syncs[first].failed
}

// WithoutSyncs is the disk of a server that never synced a file, but only names.
func (d *Disk) WithoutSyncs() *Disk {
	bare := *d
	bare.all = nil
	copies := make(map[*node]*node)
	for _, n := range d.all {
		c := *n
		if !n.dir {
			c.syncs = nil
		}
		copies[n] = &c
		bare.all = append(bare.all, &c)
	}
	for _, c := range bare.all {
		c.edits = slices.Clone(c.edits)
		for i, e := range c.edits {
			c.edits[i].names = make(map[string]*node)
			for name, to := range e.names {
				c.edits[i].names[name] = copies[to] // nil stays nil
			}
		}
	}
	bare.root = copies[d.root]
	return &bare
}
