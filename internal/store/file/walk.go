package file

import (
	"errors"
	"fmt"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
)

// A cursor is how far the log was walked through: no message before it is without a file, but for
// those that cannot be read.
type cursor struct {
	at  place // of a group or a record
	end int64 // of the records, if it is at one of them
}

// A held message is in the log alone. Those of several queues that lie there once follow each other.
type held struct {
	q     *queue
	seq   store.Seq
	at    place
	there bool   // of its slot
	name  string // of its file
	msg   *message.Message

	// Of one that is large, and is to have a file, msg has no body: how many bytes that has, and where it ends.
	missing int64
	end     int64

	// Of one that is damaged, if that is asked for: its sum, which does not fit, and its bytes.
	sum uint32
	raw []byte
}

// alongside is how many at the beginning of all lie in the log once.
func alongside(all []held) (n int) {
	for n = 1; n < len(all) && all[n].at == all[0].at; n++ {
	}
	return n
}

// collect reads messages that are in the log alone, from c on and before limit, in the order of the
// log: at most so many, and no more once they have size bytes. Those that are damaged are among them
// if damaged is set, else they are told of and passed over. Called with work held.
func (f *File) collect(c cursor, limit place, most int, size int64, damaged bool) (all []held, next cursor, err error) {
	var rd placeReader
	defer rd.closeFile()
	for c.at < limit && len(all) < most && size > 0 {
		seg, pos, after := f.onWalk(c.at)
		switch {
		case seg == nil:
			return all, c, nil
		case c.at.segment() != seg.number:
			c = cursor{at: placeOf(seg.number, 0)}
			continue
		case c.at.offset() >= pos:
			if after == 0 {
				return all, c, nil
			}
			c = cursor{at: placeOf(after, 0)}
			continue
		case rd.seg != seg:
			rd.f = f
			if err := rd.turnTo(seg.number); err != nil {
				return all, c, err
			}
		}
		rd.end = pos
		n := len(all)
		if all, c, err = f.step(all, &rd, c, pos, damaged); err != nil {
			return all[:n], c, err
		}
		if n < len(all) {
			size -= all[n].size()
		}
	}
	return all, c, nil
}

// onWalk is the segment of a place, or the next one that has something to be found, how far it was
// written, and the number of the one behind it.
func (f *File) onWalk(at place) (seg *segment, pos int64, after uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.chain {
		last := i == len(f.chain)-1
		if s.number < at.segment() || s.live == 0 && !last {
			continue
		}
		if !last {
			after = f.chain[i+1].number
		}
		return s, s.pos, after
	}
	return nil, 0, 0
}

// size is what a message that was read has.
func (h *held) size() int64 {
	if h.msg != nil {
		return int64(h.msg.Size()) + h.missing
	}
	return int64(len(h.raw))
}

// step reads the group or the record at c, and adds its message to all, once for each queue that has it
// in the log alone.
func (f *File) step(all []held, rd *placeReader, c cursor, pos int64, damaged bool) (_ []held, next cursor, err error) {
	at, seg := c.at.offset(), c.at.segment()
	if c.end == 0 {
		b, err := rd.Peek(at, group.HeadSize)
		if err != nil {
			return all, c, err
		}
		g, ok := layout.Parse(b)
		end := layout.End(at, &g)
		if !ok || g.Salt != f.salt || end > pos {
			f.log.Error("the log is damaged; what follows in that file stays in it for now", "file", rd.seg.name, "at", at)
			return all, cursor{at: placeOf(seg, pos)}, nil
		}
		return all, cursor{placeOf(seg, layout.Records(at)), end}, nil
	}
	behind := cursor{at: placeOf(seg, layout.Aligned(c.end))}
	if at >= c.end {
		return all, behind, nil
	}
	r, err := rd.record(at, c.end)
	if err == errRecord {
		f.log.Error("the log is damaged; what follows in that group stays in it for now", "file", rd.seg.name, "at", at)
		return all, behind, nil
	}
	if err != nil {
		return all, c, err
	}
	next = cursor{placeOf(seg, at+r.size()), c.end}
	if !r.isMessage() {
		return all, next, nil
	}
	rd.to = r.targets(rd.to[:0])
	n := len(all)
	if all = f.lone(all, rd.to, c.at); len(all) == n {
		return all, next, nil
	}
	err = f.readHeld(all[n:], rd, &r, damaged)
	if errors.Is(err, errDamaged) {
		f.log.Error("a damaged message stays in the log", "file", rd.seg.name, "at", at, "destination", all[n].q.name, "seq", uint64(all[n].seq), "err", err)
		return all[:n], next, nil
	}
	if err != nil {
		err = fmt.Errorf("%s at %d: %w", rd.seg.name, at, err)
	}
	return all, next, err
}

// outlineFrom is how large a stored form is for its body to be copied to its file piece by piece.
const outlineFrom = 1 << 20

// readHeld reads the message of a record for those that lie there. One that is damaged is an error, unless
// it is wanted as it is; if not a large one is without its body.
func (f *File) readHeld(all []held, rd *placeReader, r *record, damaged bool) error {
	at := all[0].at.offset()
	if !damaged && r.length >= outlineFrom {
		m, missing, err := rd.outline(at, r)
		for i := range all {
			all[i].msg, all[i].missing, all[i].end = m, missing, at+r.size()
		}
		return err
	}
	m, err := rd.logReader.message(at, r)
	var raw []byte
	if errors.Is(err, errDamaged) && damaged && r.summed {
		raw = make([]byte, r.length)
		_, err = rd.file.ReadAt(raw, at+int64(r.head))
	}
	for i := range all {
		all[i].msg, all[i].sum, all[i].raw = m, r.sum, raw
	}
	return err
}

// lone adds to all the messages of a record that are there and not elsewhere.
func (f *File) lone(all []held, to []target, at place) []held {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range to {
		q := f.ids[t.id]
		if q == nil {
			continue
		}
		if s := q.get(t.seq); s != nil && s.at == at {
			all = append(all, f.hold(q, s))
		}
	}
	return all
}

// hold is what is to be known of a message in the log. Called with mu held.
func (f *File) hold(q *queue, s *slot) held {
	return held{q: q, seq: s.seq, at: s.at, there: s.there, name: f.nameOf(q, s.seq)}
}

// carryAtOnce is how much is carried over with one group, in bytes.
const carryAtOnce = 512 << 10

// carry writes the first messages that are in the log alone to its end, so that what it begins with
// can go. It reports whether there were any.
func (f *File) carry() (some bool, err error) {
	f.mu.Lock()
	limit := placeOf(f.current().number, 0)
	f.mu.Unlock()
	all, next, err := f.collect(f.cursor, limit, 4096, carryAtOnce, true)
	if err != nil { // what was read before it is read again
		return false, err
	}
	if len(all) == 0 {
		f.cursor = next
		return false, nil
	}
	if err := f.carryThese(all, nil); err != nil {
		return false, err
	}
	f.cursor = next
	return true, nil
}

// keep writes messages once more, as a group, and has them be there. Called with turn held.
func (f *File) keep(all []held) error {
	err := f.append(false, func() {
		for i := 0; i < len(all); {
			n := alongside(all[i:])
			f.to = f.to[:0]
			for _, h := range all[i : i+n] {
				f.name(h.q)
				f.to = append(f.to, target{h.q.id, h.seq})
			}
			if h := &all[i]; h.msg != nil {
				f.encodeMessage(kindKeep, h.msg)
			} else {
				for range n {
					f.offsets = append(f.offsets, f.out.Len())
				}
				addDamaged(&f.out, f.to, h.sum, h.raw)
			}
			i += n
		}
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, h := range all {
		size := int64(h.q.get(h.seq).size)
		if h.msg != nil {
			size = int64(h.msg.Size())
		}
		f.put(h.q, h.seq, size, placeOf(f.current().number, f.offsets[i]), f.isAmong(i))
	}
	return nil
}

// still leaves out what is not where it was. Called with turn held.
func (f *File) still(all []held) (kept []held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range all {
		if s := h.q.get(h.seq); s != nil && s.at == h.at {
			kept = append(kept, h)
		}
	}
	return kept
}

// tooLong reports whether the log is longer than twice what lives in it and two segments.
func (f *File) tooLong() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := int64(0)
	for _, s := range f.chain {
		all += s.pos
	}
	return len(f.chain) > 1 && all > 2*(f.liveBytes+f.cfg.RedoSize)
}
