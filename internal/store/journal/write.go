package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// Write implements store.Backend: a group, one write and one sync.
func (j *Journal) Write(rs []store.Record) error {
	if j.failure != nil {
		return j.failure
	}
	if len(rs) == 0 {
		return nil
	}
	most, index, acks := sizes(rs)
	copies := j.toCopy(most)
	for i := range copies {
		n := copies[i].room()
		most += n
		index += n - int64(copies[i].msg.RecordSize()) + int64(len(copies[i].to))*mostIndex
	}
	s := j.current()
	if s.pos+layout.Aligned(most)+int64(len(s.index))+index+trailerSize > s.size {
		if err := j.roll(most, index, acks && len(copies) == 0); err != nil {
			return err
		}
		s = j.current()
	}
	free := j.unneeded()

	j.out.Reset(group.HeadSize, mostKept)
	j.index, j.places = j.index[:0], j.places[:0]
	ids := s.ids
	for i := range copies { // first: the records may remove them
		j.encodePut(s, copies[i].to, copies[i].msg)
	}
	for i := 0; i < len(rs); {
		n := alike(rs[i:])
		j.encode(s, rs[i:i+n])
		i += n
	}
	for _, f := range free {
		j.add(&record{kind: kindFree, segment: f.number})
	}
	layout.Put(&j.out, group.Head{Salt: s.salt, Number: j.group + 1, Synced: j.synced})
	err := j.put(s)
	length := j.out.Len()
	j.out.Reset(0, mostKept) // it holds no body any longer
	if err != nil {
		s.ids = ids
		for _, q := range j.queues {
			if q.in == s.number && q.id >= ids {
				q.in = 0
			}
		}
		return err
	}
	j.group++
	s.last = j.group
	if !j.cfg.NoSync {
		j.synced = j.group
	}
	s.pos += layout.Aligned(length)
	s.index = append(s.index, j.index...)
	j.apply(s, rs, copies)
	j.recycle(free)
	return nil
}

// mostKept is how much memory is kept from one group for the next.
const mostKept = 8 << 20

// sizes tells how many bytes rs need at most, in a group and in an index, and whether none
// puts anything.
func sizes(rs []store.Record) (most, index int64, acks bool) {
	most, acks = group.HeadSize, true
	same := 0
	for i := range rs {
		n := int64(mostIndex + 1 + 2*binary.MaxVarintLen64 + len(rs[i].Queue))
		most += n
		index += n + mostIndex
		if rs[i].Kind == store.RecordPut {
			acks = false
			if same++; i == 0 || rs[i-1].Msg != rs[i].Msg {
				same = 0
			}
			if same%mostKeys == 0 {
				most += int64(rs[i].Msg.RecordSize())
			}
		}
	}
	return most, index, acks
}

// alike tells how many records at the beginning of rs put the same message.
func alike(rs []store.Record) (n int) {
	for n = 1; n < len(rs) && rs[0].Kind == store.RecordPut && rs[n].Kind == store.RecordPut && rs[n].Msg == rs[0].Msg; n++ {
	}
	return n
}

func (j *Journal) add(r *record) {
	j.out.Buf = appendRecord(j.out.Buf, r)
	j.index = appendIndex(j.index, r)
}

// id is the number of q in s, which it is given if it has none.
func (j *Journal) id(s *segment, q *queue) uint64 {
	if q.in != s.number {
		q.in, q.id = s.number, s.ids
		s.ids++
		j.add(&record{kind: kindQueue, queue: q.id, name: []byte(q.name)})
	}
	return q.id
}

// queueOf is the queue of a record, which is made if there is none.
func (j *Journal) queueOf(r *store.Record) *queue {
	q := j.queues[r.Queue]
	if q == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		q = j.queue(r.Queue)
	}
	return q
}

// encode adds one record, or several that put the same message.
func (j *Journal) encode(s *segment, rs []store.Record) {
	r := &rs[0]
	if r.Kind == store.RecordPut {
		j.to = j.to[:0]
		for i := range rs {
			j.to = append(j.to, target{queue: j.queueOf(&rs[i]), seq: rs[i].Seq})
		}
		j.encodePut(s, j.to, r.Msg)
		clear(j.to)
		return
	}
	q := j.queueOf(r)
	switch r.Kind {
	case store.RecordAck:
		j.add(&record{kind: kindAck, queue: j.id(s, q), seq: r.Seq, last: r.Last})
	case store.RecordMark:
		j.add(&record{kind: kindMark, queue: j.id(s, q), seq: r.Seq})
	case store.RecordAttempts:
		j.add(&record{kind: kindAttempts, queue: j.id(s, q), seq: r.Seq, attempts: r.Attempts})
	}
	j.places = append(j.places, 0)
}

// A target is a queue that a message is put in.
type target struct {
	queue *queue
	seq   store.Seq
	tries uint32
}

// encodePut adds m, once for all of to but for so many that it has to be written anew.
func (j *Journal) encodePut(s *segment, to []target, m *message.Message) {
	for len(to) > mostKeys {
		j.encodeOne(s, to[:mostKeys], m)
		to = to[mostKeys:]
	}
	j.encodeOne(s, to, m)
}

func (j *Journal) encodeOne(s *segment, to []target, m *message.Message) {
	j.keys = j.keys[:0]
	for _, t := range to {
		j.keys = append(j.keys, key{j.id(s, t.queue), t.seq, t.tries})
	}
	at := s.pos + j.out.Len()
	buf := j.out.Buf
	if len(to) == 1 {
		buf = appendRecord(buf, &record{kind: kindPut, queue: j.keys[0].queue, seq: to[0].seq, attempts: to[0].tries})
	} else {
		buf = appendKeys(buf, j.keys)
	}
	// The length is of five bytes whatever it is, so that the message can follow before
	// it is known.
	n := len(buf)
	buf = append(buf, make([]byte, lengthSize+4)...)
	body := m.Body()
	shared := len(body) >= vfs.ShareFrom
	if shared {
		buf = m.AppendRecordHead(buf)
	} else {
		buf = m.AppendRecord(buf)
	}
	j.out.Buf = buf
	sum := checksum(buf[n+lengthSize+4:])
	length := len(buf) - n - lengthSize - 4
	if shared {
		j.out.Share(body)
		sum = crc32.Update(sum, castagnoli, body)
		length += len(body)
	}
	putLength(buf[n:], length)
	binary.LittleEndian.PutUint32(buf[n+lengthSize:], sum)
	for _, k := range j.keys {
		j.index = appendIndex(j.index, &record{kind: kindPut, queue: k.queue, seq: k.seq, attempts: k.attempts, offset: at, length: length})
		j.places = append(j.places, uint32(at))
	}
}

// lengthSize is the length of a uvarint that is filled up with empty digits.
const lengthSize = 5

func putLength(b []byte, n int) {
	for i := range lengthSize - 1 {
		b[i] = byte(n) | 0x80
		n >>= 7
	}
	b[lengthSize-1] = byte(n)
}

// put writes the group and syncs it.
func (j *Journal) put(s *segment) error {
	end := s.pos + layout.Aligned(j.out.Len())
	err := j.out.WriteTo(s.file, s.pos)
	if err == nil && end > s.blank {
		// Overwriting what was written before is quicker to sync: so write ahead.
		ahead := min(end+blankAhead, s.size)
		if _, err = s.file.WriteAt(blank[:ahead-end], end); err == nil {
			s.blank = ahead
		}
	}
	if err != nil {
		if vfs.IsFull(err) {
			return fmt.Errorf("%w: %s: %w", store.ErrFull, s.name, err)
		}
		return j.fail(err)
	}
	if j.cfg.NoSync {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return j.fail(fmt.Errorf("%s could not be synced; what it holds is not sure any more: %w", s.name, err))
	}
	return nil
}

var blank [blankAhead]byte

// apply brings the index in memory up to date with what was written.
func (j *Journal) apply(s *segment, rs []store.Record, copies []copied) {
	j.mu.Lock()
	defer j.mu.Unlock()
	places := j.places
	for i := range copies {
		for _, t := range copies[i].to {
			t.queue.put(s, t.seq, places[0])
			s.puts++
			places = places[1:]
		}
	}
	for i := range rs {
		r := &rs[i]
		q := j.queues[r.Queue]
		switch r.Kind {
		case store.RecordPut:
			q.put(s, r.Seq, places[i])
			q.puts++
			q.size += int64(r.Msg.Size())
			s.puts++
		case store.RecordAck:
			q.remove(r.Seq, r.Last, s)
		case store.RecordMark:
			q.marked = r.Seq
		case store.RecordAttempts:
			if q.has(r.Seq) {
				q.tried(r.Seq, r.Attempts)
			}
		}
	}
}

// unneeded lists the segments that can go: nothing in them is live, and what they say of
// older ones concerns none that is still there.
func (j *Journal) unneeded() (free []*segment) {
	for _, s := range j.segments[:len(j.segments)-1] {
		if s.live == 0 && s.sealed && len(s.needs) == 0 {
			free = append(free, s)
		}
	}
	return free
}

// recycle gives up segments, which the group just written says.
func (j *Journal) recycle(free []*segment) {
	if len(free) == 0 {
		return
	}
	j.mu.Lock()
	j.segments = slices.DeleteFunc(j.segments, func(s *segment) bool { return slices.Contains(free, s) })
	for _, s := range j.segments {
		for _, f := range free {
			delete(s.needs, f)
		}
	}
	j.mu.Unlock()
	j.files.Lock() // nobody reads them any more
	defer j.files.Unlock()
	moved := false
	defer func() {
		if moved {
			_ = j.fs.SyncDir() // a name that comes back does no harm
		}
	}()
	for _, s := range free {
		_ = s.file.Close()
		moved = true
		if j.victim == s {
			j.victim = nil
		}
		name := spareName(s.number)
		if s.size == j.cfg.SegmentSize && len(j.spare) < mostSpare && j.fs.Rename(s.name, name) == nil {
			j.spare = append(j.spare, name)
		} else if err := j.fs.Remove(s.name); err != nil {
			j.log.Warn("a segment that is not needed could not be removed", "file", s.name, "err", err)
		}
	}
}
