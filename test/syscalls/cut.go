package syscalls

import (
	"bytes"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sector is what a disk writes as a whole.
const sector = 512

// Cut makes, in an empty directory, what a power cut at a line of the trace could have left. What is
// left of what was not synced is up to rnd.
func (d *Disk) Cut(line int, rnd *rand.Rand, dir string) error {
	return d.root.leave(line, rnd, dir, make(map[*node]string))
}

// leave makes what is left of a directory. Made has the files that are there by now: one may have several
// names.
func (n *node) leave(line int, rnd *rand.Rand, dir string, made map[*node]string) error {
	left := n.names(line, rnd)
	for _, name := range slices.Sorted(maps.Keys(left)) {
		to, path := left[name], filepath.Join(dir, name)
		if strings.HasSuffix(name, "-shm") {
			continue
		}
		if !to.dir {
			if first := made[to]; first != "" {
				if err := os.Link(first, path); err != nil {
					return err
				}
				continue
			}
			made[to] = path
			if err := to.content(line, rnd, path); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := to.leave(line, rnd, path, made); err != nil {
			return err
		}
	}
	return nil
}

// A fate says what becomes of things that were not synced, in order.
type fate func(i int) (kept bool)

// fateOf picks one for n things.
func fateOf(n int, rnd *rand.Rand) fate {
	switch rnd.IntN(4) {
	case 0: // all is kept: a kill would leave the same
		return func(int) bool { return true }
	case 1:
		return func(int) bool { return false }
	case 2: // what came first
		limit := rnd.IntN(n + 1)
		return func(i int) bool { return i < limit }
	}
	return func(int) bool { return rnd.IntN(2) == 0 }
}

func (n *node) names(line int, rnd *rand.Rand) map[string]*node {
	unsynced := 0
	for _, e := range n.edits {
		if e.begin < line && !n.durable(e.span, line) {
			unsynced++
		}
	}
	kept := fateOf(unsynced, rnd)
	left := make(map[string]*node)
	i := 0
	for _, e := range n.edits {
		if e.begin >= line {
			continue
		}
		if !n.durable(e.span, line) {
			if i++; !kept(i - 1) {
				continue
			}
		}
		for name, to := range e.names {
			if to == nil {
				delete(left, name)
			} else {
				left[name] = to
			}
		}
	}
	return left
}

// content writes a file. Each sector has the writes to it up to a moment of its own.
func (n *node) content(line int, rnd *rand.Rand, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	unsynced := 0
	for i := range n.marks {
		if p := &n.marks[i]; p.begin < line && !n.durable(p.span, line) {
			unsynced++
		}
	}
	const (
		all = iota
		none
		prefix
		pages
		sectors
		ways
	)
	way := rnd.IntN(ways)
	common := rnd.IntN(unsynced + 1)
	unit := int64(sector)
	if way == pages {
		unit = 4096
	}
	limits := make(map[int64]int) // by unit: how many of the writes that were not synced it has
	limit := func(at int64) int {
		switch way {
		case all:
			return unsynced
		case none:
			return 0
		case prefix:
			return common
		}
		l, ok := limits[at/unit]
		if !ok {
			l = rnd.IntN(unsynced + 1)
			limits[at/unit] = l
		}
		return l
	}
	size := int64(0)
	write := func(b []byte, at int64) error {
		end := at + int64(len(b))
		if at >= size && bytes.Count(b, []byte{0}) == len(b) {
			size = end
			return f.Truncate(end) // room that takes none here
		}
		_, err := f.WriteAt(b, at)
		size = max(size, end)
		return err
	}
	sizes := common
	if way == all {
		sizes = unsynced
	} else if way == none {
		sizes = 0
	}
	i := 0
	for m := range n.marks {
		p := &n.marks[m]
		if p.begin >= line {
			continue
		}
		sure := n.durable(p.span, line)
		if !sure {
			i++
		}
		switch {
		case p.data == nil && (sure || i <= sizes):
			if err := f.Truncate(p.at); err != nil {
				return err
			}
			size = p.at
		case p.data == nil:
		case sure || way == all:
			if err := write(p.data, p.at); err != nil {
				return err
			}
		default:
			for from := p.at; from < p.at+int64(len(p.data)); {
				to := min((from/unit+1)*unit, p.at+int64(len(p.data)))
				if i <= limit(from) {
					if err := write(p.data[from-p.at:to-p.at], from); err != nil {
						return err
					}
				}
				from = to
			}
		}
	}
	return nil
}

// Files are the names below a directory, for a look at what Cut left.
func Files(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			path, err = filepath.Rel(dir, path)
			names = append(names, path)
		}
		return err
	})
	return names, err
}
