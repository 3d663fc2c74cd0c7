package file

import (
	"errors"
	"fmt"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// mostKept is how much memory is kept from one group for the next.
const mostKept = 8 << 20

// Write implements store.Backend: a group in the log, and one sync.
func (f *File) Write(rs []store.Record) error {
	if len(rs) == 0 {
		return f.failed()
	}
	before := f.freed.Load()
	err := f.tryWrite(rs)
	if errors.Is(err, store.ErrFull) && f.reclaim(before) {
		err = f.tryWrite(rs)
	}
	return err
}

func (f *File) tryWrite(rs []store.Record) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.failed(); err != nil {
		return err
	}
	acks := !slices.ContainsFunc(rs, func(r store.Record) bool { return r.Kind == store.RecordPut })
	if !acks {
		if err := f.keepReserve(); err != nil {
			return err
		}
	}
	err := f.append(acks, func() {
		for i := 0; i < len(rs); {
			n := alike(rs[i:])
			f.encodeSome(rs[i : i+n])
			i += n
		}
	})
	if err != nil {
		return err
	}
	if !f.cfg.NoSync {
		if err := f.syncLog(); err != nil {
			return err
		}
	}
	f.apply(rs)
	f.records += len(rs)
	f.rouse()
	return nil
}

// alike is how many records at the beginning of rs put the same message, and can be one in the log.
func alike(rs []store.Record) (n int) {
	for n = 1; n < min(len(rs), mostTargets) && rs[n].Msg == rs[0].Msg && rs[0].Msg != nil; n++ {
	}
	return n
}

// encodeSome encodes one record, or several that put the same message.
func (f *File) encodeSome(rs []store.Record) {
	q := f.queue(rs[0].Queue)
	f.name(q)
	if rs[0].Kind != store.RecordPut {
		f.offsets = append(f.offsets, f.out.Len())
		addRecord(&f.out, q, &rs[0])
		return
	}
	f.to = f.to[:0]
	for i := range rs {
		if i > 0 {
			q = f.queue(rs[i].Queue)
			f.name(q)
		}
		q.top = max(q.top, rs[i].Seq)
		f.to = append(f.to, target{q.id, rs[i].Seq})
	}
	f.encodeMessage(kindPut, rs[0].Msg)
}

// encodeMessage encodes one for f.to.
func (f *File) encodeMessage(kind byte, m *message.Message) {
	for range f.to {
		f.offsets = append(f.offsets, f.out.Len())
	}
	addMessage(&f.out, kind, f.to, m)
}

// isAmong reports whether others have the place of a message that was encoded.
func (f *File) isAmong(i int) bool {
	return i > 0 && f.offsets[i-1] == f.offsets[i] || i+1 < len(f.offsets) && f.offsets[i+1] == f.offsets[i]
}

// append writes a group of the records that encode makes, and does not sync it. ErrFull has changed
// nothing. Called with turn held.
func (f *File) append(acks bool, encode func()) error {
	defer func() { f.out.Reset(0, mostKept) }() // then it holds no body any longer
	f.encode(f.current().pos == 0, encode)
	if s := f.current(); f.out.Len() <= mostGroup && s.pos+layout.Aligned(f.out.Len()) > s.size {
		f.encode(true, encode)
		if err := f.roll(layout.Aligned(f.out.Len()), acks); err != nil {
			return err
		}
	}
	n := layout.Aligned(f.out.Len())
	if n > mostGroup {
		return f.fail(fmt.Errorf("a group of %d bytes is too large", n))
	}
	s := f.current()
	sum := layout.Put(&f.out, group.Head{Salt: f.salt, Number: f.number + 1, Synced: f.synced, Link: f.link})
	err := f.out.WriteTo(f.redo, s.pos)
	if end := s.pos + n; err == nil && end > s.blank && !f.cfg.NoSync {
		// What is written over is quicker to sync: so write ahead.
		ahead := min(end+mostBlank, s.size)
		if _, err = f.redo.WriteAt(blank[:ahead-end], end); err == nil {
			s.blank = ahead
		}
	}
	if err != nil {
		if vfs.IsFull(err) {
			return fmt.Errorf("file: %w: %s: %w", store.ErrFull, s.name, err)
		}
		return f.fail(err)
	}
	for i := range f.offsets {
		f.offsets[i] += s.pos
	}
	f.number++
	f.link = sum
	f.mu.Lock()
	s.last = f.number
	s.pos += n
	f.mu.Unlock()
	for _, q := range f.naming {
		q.named = s.number
	}
	return nil
}

var blank [mostBlank]byte

// encode makes a group. One that a segment begins with says what all others rely on.
func (f *File) encode(first bool, records func()) {
	f.out.Reset(group.HeadSize, mostKept)
	f.naming, f.offsets = f.naming[:0], f.offsets[:0]
	clear(f.named)
	f.anew = first
	if first {
		f.out.Buf = appendPrefix(f.out.Buf, f.prefix)
	}
	records()
}

// name has the group that is being encoded say which queue q is, unless its segment has said so.
func (f *File) name(q *queue) {
	if !f.anew && q.named == f.current().number || f.named[q] {
		return
	}
	f.named[q] = true
	f.naming = append(f.naming, q)
	f.out.Buf = appendQueue(f.out.Buf, q)
}

func (f *File) queue(name string) *queue {
	q := f.queues[name]
	if q == nil {
		q = newQueue(name, folderName(name), f.nextID)
		f.nextID++
		f.mu.Lock()
		f.queues[name] = q
		f.ids[q.id] = q
		f.mu.Unlock()
	}
	return q
}

// apply brings what is known up to date with what was written.
func (f *File) apply(rs []store.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seg := f.current().number
	for i := range rs {
		q, r := f.queues[rs[i].Queue], &rs[i]
		switch r.Kind {
		case store.RecordPut:
			f.put(q, r.Seq, int64(r.Msg.Size()), placeOf(seg, f.offsets[i]), f.isAmong(i))
			q.enqueued++
		case store.RecordAck:
			q.dequeued += f.ack(q, r.Seq, r.Last, f.number)
		case store.RecordMark:
			q.marked = r.Seq
		case store.RecordAttempts:
			f.tried(q, r.Seq, r.Attempts)
		}
	}
}

// Sync implements store.Syncer.
func (f *File) Sync() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.failed(); err != nil {
		return err
	}
	return f.syncLog()
}
