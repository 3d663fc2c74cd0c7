package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"stompserver/internal/heap"
	"stompserver/internal/store/group"
)

func (r *recovery) openSegment(n uint64, name string) error {
	f, err := r.j.fs.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return err
	}
	r.j.number = max(r.j.number, n)
	r.j.segments = append(r.j.segments, &segment{
		number: n, name: name, file: f, size: size, needs: make(map[*segment]bool), sealed: true,
	})
	return nil
}

// head reads the beginning of a segment; nil says that it makes no sense.
func (r *recovery) head(s *segment) (*snap, error) {
	if s.size < headSize {
		return nil, nil
	}
	fixed := make([]byte, headSize)
	if err := readFull(s.file, fixed, 0); err != nil {
		return nil, err
	}
	h, n, sum, err := parseHead(fixed)
	if err == nil && h.version != version && !r.flipped(s, fixed, n, sum) {
		return nil, fmt.Errorf("%s: it has version %d of the format, known is %d", s.name, h.version, version)
	}
	if err != nil || h.version != version || h.number != s.number || int64(headSize)+int64(n) > s.size {
		return nil, nil
	}
	b := append(fixed[:headSize-4:headSize-4], make([]byte, n)...)
	if err := readFull(s.file, b[headSize-4:], headSize); err != nil {
		return nil, err
	}
	sn, ok := parseSnapshot(b[headSize-4:])
	if !ok || checksum(b) != sum {
		return nil, nil
	}
	s.salt, s.first, s.last, s.promised = h.salt, h.group, h.group-1, h.size
	s.pos = layout.Aligned(int64(headSize + n))
	return &sn, nil
}

// flipped reports whether a head that says another version is one of ours, with bits of the version
// flipped: then the rest of it has the checksum that ours would have.
func (r *recovery) flipped(s *segment, fixed []byte, n int, sum uint32) bool {
	if int64(headSize)+int64(n) > s.size {
		return false
	}
	b := append(bytes.Clone(fixed[:headSize-4]), make([]byte, n)...)
	binary.LittleEndian.PutUint32(b[8:], version)
	return readFull(s.file, b[headSize-4:], headSize) == nil && checksum(b) == sum
}

// segment reads one segment whose head is known.
func (r *recovery) segment(s *segment, next uint64) error {
	r.names = make(map[uint64]*queue)
	if r.expect != 0 && s.first != r.expect {
		r.problem("%s begins with group %d, expected was %d: what was between is missing", s.name, s.first, r.expect)
	}
	t, sealed, err := r.trailer(s)
	if err != nil {
		return err
	}
	s.sealed = sealed
	switch {
	case s.size < s.promised && !(sealed && t.next == 0):
		r.problem("%s has %d bytes of %d: its end is missing", s.name, s.size, s.promised)
	case sealed && t.next != 0 && next == 0:
		r.problem("%s is missing: it follows %s", segmentName(t.next), s.name)
	}
	if sealed && !r.deep {
		index := make([]byte, t.length)
		if err := readFull(s.file, index, t.index); err != nil {
			return err
		}
		if checksum(index) == t.sum {
			if !r.index(s, index) {
				return fmt.Errorf("%s: its index makes no sense, though its checksum fits", s.name)
			}
			s.last, r.j.group, r.expect = t.group, max(r.j.group, t.group), t.group+1
			return nil
		}
		r.j.log.Warn("the index of a segment is damaged, so all of the segment is read", "file", s.name)
	}
	end, until := s.size, uint64(0)
	if sealed {
		end, until = t.index, t.group+1
	}
	if err := r.scan(s, end, until); err != nil {
		return err
	}
	if end >= heap.Much { // all of which was in memory
		heap.Collect()
	}
	if sealed && s.last < t.group {
		r.problem("%s: groups %d to %d are missing", s.name, s.last+1, t.group)
		s.last = t.group
	}
	r.j.group = max(r.j.group, s.last)
	r.expect = s.last + 1
	return nil
}

func (r *recovery) trailer(s *segment) (trailer, bool, error) {
	if s.size < headSize+trailerSize {
		return trailer{}, false, nil
	}
	b := make([]byte, trailerSize)
	if err := readFull(s.file, b, s.size-trailerSize); err != nil {
		return trailer{}, false, err
	}
	t, ok := parseTrailer(b)
	ok = ok && t.number == s.number && t.index >= s.pos && t.index+int64(t.length) <= s.size-trailerSize
	return t, ok, nil
}

// index applies the index of a sealed segment; false says that it makes no sense.
func (r *recovery) index(s *segment, b []byte) bool {
	p := parser{b: b, index: true}
	var rec record
	for p.next(&rec) {
		if !r.record(s, &rec) {
			return false
		}
	}
	return !p.bad
}

// scan reads the groups of a segment up to end. Until is the group that the next segment begins with, if it is sealed.
func (r *recovery) scan(s *segment, end int64, until uint64) error {
	if s.pos > end {
		return nil // it was cut within the padding of its head, and that was told
	}
	b := make([]byte, end)
	if err := readFull(s.file, b[s.pos:], s.pos); err != nil {
		return err
	}
	scan := group.Scan{Layout: &layout, From: group.Bytes(b), Salt: s.salt, At: s.pos, Want: s.first, Until: until}
	for {
		at, want := scan.At, scan.Want
		g, found, _ := scan.Next() // there is nothing that could fail
		switch found {
		case group.Group:
			records := layout.Records(at)
			r.group(s, &g, at, parser{b: b[records:][:g.Length], at: records})
			s.last = g.Number
		case group.Hole:
			r.problem("%s: groups %d to %d, at %d to %d, are damaged", s.name, want, g.Number-1, at, scan.At)
		case group.End:
			if s.pos = scan.At; !s.sealed && scan.Torn() {
				r.cut = append(r.cut, fmt.Sprintf("%s at %d", s.name, s.pos))
			}
			return nil
		}
	}
}

// group applies the records of a group.
func (r *recovery) group(s *segment, g *group.Head, at int64, p parser) {
	var rec record
	for p.next(&rec) {
		if !r.record(s, &rec) {
			p.bad = true
			break
		}
		if !s.sealed {
			s.index = appendIndex(s.index, &rec)
		}
		if rec.kind == kindQueue {
			s.ids = max(s.ids, rec.queue+1)
		}
	}
	if p.bad {
		r.problem("%s: group %d at %d makes no sense", s.name, g.Number, at)
	}
	r.groups++
}

// record applies one record, and reports false if it speaks of a queue nobody named.
func (r *recovery) record(s *segment, rec *record) bool {
	j := r.j
	switch rec.kind {
	case kindQueue:
		r.names[rec.queue] = j.queue(string(rec.name))
		return true
	case kindFree:
		r.freed[rec.segment] = true
		return true
	}
	q := r.names[rec.queue]
	if q == nil {
		return false
	}
	switch rec.kind {
	case kindPut:
		if rec.offset > 1<<32-1 {
			return false
		}
		q.put(s, rec.seq, uint32(rec.offset))
		q.tried(rec.seq, rec.attempts)
		q.puts++
		q.size += int64(rec.length) + storedOverhead
		s.puts++
	case kindAck:
		q.remove(rec.seq, rec.last, s)
	case kindMark:
		q.marked = rec.seq
	case kindAttempts:
		if q.has(rec.seq) {
			q.tried(rec.seq, rec.attempts)
		}
	}
	return true
}

// storedOverhead is what a message costs in memory beyond the bytes it has in the journal.
const storedOverhead = 180
