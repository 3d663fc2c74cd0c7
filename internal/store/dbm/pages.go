package dbm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// bbolt reads its file as memory, on goroutines of its own too, and ends the process where a page is
// not what it should be. So its pages are looked at before it sees them. They are, in the byte order of
// the machine:
//
//	page:    its number (8 bytes), flags (2), count of elements (2), how many pages more it has (4);
//	         then the elements, then keys and values
//	branch:  elements of where its key is, from the element on (4), how long it is (4), page (8)
//	leaf:    elements of flags (4), where the key is (4), how long it is (4), and the value behind it (4)
//	heads:   the first two pages, of which the newer counts: magic (4), version (4), size of a page (4),
//	         flags (4), page of the root (8), its sequence (8), page of the free list (8), number of pages
//	         (8), number of the transaction (8), FNV-1a of all that (8)
//
// The root has the buckets: their values are the page of a root of their own (8) and a sequence (8), or
// no page and a page within the value.
const (
	pageHead   = 16
	element    = 16
	bucketHead = 16

	branchPage = 1
	leafPage   = 2
	bucketFlag = 1

	metaSize  = 64
	metaMagic = 0xED0CDAED

	firstPage  = 1 << 10 // that bbolt knows
	largestOne = 16 << 20
	deepest    = 64
	loaded     = 64 << 10 // of a page that is followed by others
)

// A pages reads a file of bbolt, and tells of everything in it that is not as it should be.
type pages struct {
	f    io.ReaderAt
	size int64

	problem func(format string, args ...any)
	found   func(bucket string, key []byte, at place, near []byte) // called for all that buckets have; near is the value, if it is at hand

	page  int64
	high  uint64 // how many pages there are
	root  uint64
	taken []uint64 // bits: pages that something has led to

	levels [deepest + 2]level // one page of each is looked at at a time
}

// A place is where a value lies in the file.
type place struct{ at, size int64 }

func (p *pages) read(at place) ([]byte, error) {
	b := make([]byte, at.size)
	_, err := p.f.ReadAt(b, at.at)
	return b, err
}

// A level is memory for a page.
type level struct {
	buf  []byte
	keys [][]byte
}

// head finds the newer one of the heads, and reports whether there is one.
func (p *pages) head() (ok bool) {
	newest := uint64(0)
	valid := 0
	errDamaged := errors.New("is damaged")
	read := func(at int64) error {
		var b [metaSize]byte
		if _, err := p.f.ReadAt(b[:], at+pageHead); err == io.EOF {
			return errDamaged
		} else if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSize-8])
		e := binary.NativeEndian
		size := int64(e.Uint32(b[8:]))
		if e.Uint32(b[:]) != metaMagic || e.Uint64(b[56:]) != sum.Sum64() || size < firstPage || size > largestOne || size&(size-1) != 0 ||
			p.page != 0 && p.page != size {
			return errDamaged
		}
		p.page = size
		if tx := e.Uint64(b[48:]); valid == 0 || tx > newest {
			newest = tx
			p.root, p.high = e.Uint64(b[16:]), e.Uint64(b[40:])
		}
		valid++
		return nil
	}
	first := read(0)
	var second error
	if first == nil {
		second = read(p.page)
	} else {
		for size := int64(firstPage); size <= largestOne && valid == 0; size *= 2 {
			second = read(size)
		}
	}
	switch {
	case valid == 0:
		p.problem("neither of its two heads is whole: the first %v", first)
		return false
	case first != nil:
		p.problem("the first of its two heads %v; what was written last may be lost", first)
	case second != nil:
		p.problem("the second of its two heads %v; what was written last may be lost", second)
	}
	if need := int64(p.high) * p.page; p.high < 3 || p.high > 1<<62/uint64(p.page) {
		p.problem("its head says that it has %d pages", p.high)
		return false
	} else if p.size < need {
		p.problem("it has %d bytes and is to have %d", p.size, need)
	}
	p.taken = make([]uint64, min(p.high, uint64(p.size/p.page)+1)/64+1)
	return true
}

// walk looks at all that the newer head leads to. What found is given is its own until it returns.
func (p *pages) walk() {
	p.tree(p.root, "", nil, nil, 0)
}

// A leaf or a branch, as far as it is at hand.
type page struct {
	id     uint64
	leaf   bool
	count  int
	buf    []byte // its first bytes, with all elements
	at     int64  // where it is in the file
	extent int64  // bytes
}

// load reads a page, and takes it for good.
func (p *pages) load(id uint64, depth int) (*page, bool) {
	if id < 2 || id >= p.high {
		p.problem("there is no page %d", id)
		return nil, false
	}
	mem := &p.levels[depth]
	if mem.buf == nil {
		mem.buf = make([]byte, p.page)
	}
	head := mem.buf[:p.page]
	at := int64(id) * p.page
	if _, err := p.f.ReadAt(head, at); err != nil {
		p.problem("page %d cannot be read: %v", id, err)
		return nil, false
	}
	e := binary.NativeEndian
	more := uint64(e.Uint32(head[12:]))
	if got := e.Uint64(head); got != id {
		p.problem("page %d says that it is page %d", id, got)
		return nil, false
	}
	if id+more >= p.high || int64(id+more+1)*p.page > p.size {
		p.problem("page %d goes on behind the end", id)
		return nil, false
	}
	for i := id; i <= id+more; i++ {
		if p.taken[i/64]&(1<<(i%64)) != 0 {
			p.problem("page %d has two places", i)
			return nil, false
		}
		p.taken[i/64] |= 1 << (i % 64)
	}
	pg := &page{id: id, at: at, extent: int64(more+1) * p.page, buf: head}
	if more > 0 {
		n := min(pg.extent, max(loaded, pageHead+int64(e.Uint16(head[10:]))*element))
		mem.buf = append(head, make([]byte, n-p.page)...)
		pg.buf = mem.buf
		if _, err := p.f.ReadAt(pg.buf[p.page:], at+p.page); err != nil {
			p.problem("page %d cannot be read: %v", id, err)
			return nil, false
		}
	}
	return pg, p.shape(pg)
}

// shape looks at the head of a page.
func (p *pages) shape(pg *page) bool {
	e := binary.NativeEndian
	flags := e.Uint16(pg.buf[8:])
	pg.count = int(e.Uint16(pg.buf[10:]))
	switch pg.leaf = flags == leafPage; {
	case flags != leafPage && flags != branchPage:
		p.problem("page %d is of no kind that is known: %#x", pg.id, flags)
	case int64(pageHead+pg.count*element) > pg.extent:
		p.problem("page %d has no room for %d elements", pg.id, pg.count)
	case !pg.leaf && pg.count == 0:
		p.problem("page %d leads nowhere", pg.id)
	default:
		return true
	}
	return false
}

// part is n bytes of a page.
func (p *pages) part(pg *page, from, n int64) ([]byte, error) {
	if from+n <= int64(len(pg.buf)) {
		return pg.buf[from : from+n], nil
	}
	b := make([]byte, n)
	_, err := p.f.ReadAt(b, pg.at+from)
	return b, err
}

// tree looks at a page and what is below it. Its keys are from low on and below high, if they are not nil.
func (p *pages) tree(id uint64, bucket string, low, high []byte, depth int) {
	if depth > deepest {
		p.problem("page %d is too far down", id)
		return
	}
	if pg, ok := p.load(id, depth); ok {
		p.elements(pg, bucket, low, high, depth)
	}
}

func (p *pages) elements(pg *page, bucket string, low, high []byte, depth int) {
	e := binary.NativeEndian
	mem := &p.levels[depth]
	keys := append(mem.keys[:0], make([][]byte, pg.count)...)
	mem.keys = keys
	table := int64(pageHead + pg.count*element)
	for i := range keys {
		at := int64(pageHead + i*element)
		el := pg.buf[at:]
		from, size := at+int64(e.Uint32(el)), int64(e.Uint32(el[4:]))
		if pg.leaf {
			from, size = at+int64(e.Uint32(el[4:])), int64(e.Uint32(el[8:]))
		}
		if from < table || size == 0 || size > 32<<10 || from+size > pg.extent {
			p.problem("page %d has a key at %d of %d bytes", pg.id, from, size)
			continue
		}
		key, err := p.part(pg, from, size)
		switch {
		case err != nil:
			p.problem("page %d cannot be read: %v", pg.id, err)
		case low != nil && bytes.Compare(key, low) < 0, high != nil && bytes.Compare(key, high) >= 0,
			i > 0 && keys[i-1] != nil && bytes.Compare(keys[i-1], key) >= 0:
			p.problem("page %d has the key %.40x out of order", pg.id, key)
		default:
			keys[i] = key
		}
	}
	for i, key := range keys {
		if key == nil {
			continue
		}
		at := int64(pageHead + i*element)
		if !pg.leaf {
			below := high
			for _, next := range keys[i+1:] {
				if next != nil {
					below = next
					break
				}
			}
			p.tree(e.Uint64(pg.buf[at+8:]), bucket, key, below, depth+1)
			continue
		}
		flags := e.Uint32(pg.buf[at:])
		from, size := at+int64(e.Uint32(pg.buf[at+4:]))+int64(len(key)), int64(e.Uint32(pg.buf[at+12:]))
		switch {
		case from+size > pg.extent:
			p.problem("page %d has a value of %d bytes", pg.id, size)
		case flags == bucketFlag && bucket == "":
			p.bucket(pg, string(key), from, size, depth+1)
		case flags != 0 || bucket == "":
			p.problem("page %d has an element with the flags %#x", pg.id, flags)
		default:
			var near []byte
			if from+size <= int64(len(pg.buf)) {
				near = pg.buf[from : from+size]
			}
			p.found(bucket, key, place{pg.at + from, size}, near)
		}
	}
}

// bucket looks at what an element of the root leads to.
func (p *pages) bucket(pg *page, name string, from, size int64, depth int) {
	if !slices.Contains([]string{string(queuesBucket), string(messagesBucket), string(partsBucket), string(holdersBucket), string(metaBucket)}, name) {
		p.problem("page %d has a bucket with the name %.40q", pg.id, name)
		return
	}
	if size < bucketHead {
		p.problem("page %d has half a bucket", pg.id)
		return
	}
	v, err := p.part(pg, from, size)
	if err != nil {
		p.problem("page %d cannot be read: %v", pg.id, err)
		return
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		p.tree(root, name, nil, nil, depth)
		return
	}
	// A small one, in the place of its value.
	in := &page{id: pg.id, at: pg.at + from + bucketHead, buf: v[bucketHead:], extent: size - bucketHead}
	switch {
	case in.extent < pageHead || binary.NativeEndian.Uint64(in.buf) != 0 || binary.NativeEndian.Uint32(in.buf[12:]) != 0:
		p.problem("page %d has a bucket that is none", pg.id)
	case !p.shape(in):
	case !in.leaf:
		p.problem("page %d has a bucket with a branch", pg.id)
	default:
		p.elements(in, name, nil, nil, depth)
	}
}
