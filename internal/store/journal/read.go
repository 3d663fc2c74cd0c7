package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// readAtOnce is how much is read of a file at a time, when messages lie side by side.
const readAtOnce = 256 << 10

// ErrDamaged is in the error of a message that is not what was written.
var ErrDamaged = errors.New("the message is damaged")

// Read implements store.Backend.
func (j *Journal) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	j.files.RLock() // no file goes away meanwhile
	defer j.files.RUnlock()
	var places []place
	tries := map[store.Seq]uint32{}
	j.mu.Lock()
	q := j.queues[queue]
	if q != nil {
		places = q.after(nil, after, max+1)
		for _, p := range places {
			if n := q.tries[p.seq]; n > 0 {
				tries[p.seq] = n
			}
		}
	}
	j.mu.Unlock()
	rd := readers.Get().(*reader)
	defer rd.done()
	for i, p := range places {
		if i == max || size <= 0 {
			return dst, true, nil
		}
		m, err := rd.message(places[i:])
		if err != nil {
			err = fmt.Errorf("%s at %d, message %d of %s: %w", p.seg.name, p.offset, p.seq, queue, err)
			if !j.cfg.StartDamaged || !errors.Is(err, ErrDamaged) {
				return dst, false, err
			}
			j.log.Error("a damaged message is left out", "err", err)
			continue
		}
		dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: p.seq, Attempts: tries[p.seq], Msg: m})
		size -= int64(m.Size())
	}
	return dst, false, nil
}

// together is how much of the file is worth being read with the first of places: up to the
// last one that lies near, 0 if that is none.
func together(places []place) (n int64) {
	first := places[0]
	for _, p := range places[1:] {
		behind := int64(p.offset) - int64(first.offset)
		if p.seg != first.seg || behind < n || behind-n > readAtOnce/4 || behind > readAtOnce {
			break
		}
		n = behind
	}
	return n
}

// A reader reads messages, many at a time where they lie side by side.
type reader struct {
	seg  *segment
	at   int64 // where buf begins in the file
	buf  []byte
	room []byte
	keys []key
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// message reads the message at the first of places; the others will be asked for next.
func (rd *reader) message(places []place) (*message.Message, error) {
	p := places[0]
	at := int64(p.offset)
	if rd.seg != p.seg || at < rd.at || at >= rd.at+int64(len(rd.buf)) {
		if err := rd.fill(p.seg, at, together(places)+4<<10); err != nil {
			return nil, err
		}
	}
	for {
		var r record
		pr := parser{b: rd.buf[at-rd.at:], at: at, room: rd.keys}
		whole := pr.next(&r)
		rd.keys = pr.room
		is := r.kind == kindPut && pr.find(&r, p.seq)
		if whole {
			switch {
			case !is:
				return nil, fmt.Errorf("%w: another record is there", ErrDamaged)
			case checksum(r.data) != r.sum:
				return nil, fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
			}
			m, err := message.ParseRecord(r.data)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return m, nil
		}
		// There was not enough of it. Its length, if that could be read, says how much
		// there is to be.
		have := int64(len(rd.buf)) - (at - rd.at)
		if is && r.length >= vfs.ShareFrom && len(pr.b) >= enoughOfLarge {
			m, err := large(&pr, &r, p.seg)
			if err != message.ErrShort {
				return m, err
			}
		}
		want := max(2*have, readAtOnce)
		if r.kind == kindPut && r.length > 0 {
			want = pr.at - at + int64(r.length) + 16
		}
		if at+have >= p.seg.size || want <= have {
			return nil, fmt.Errorf("%w: it does not end", ErrDamaged)
		}
		if err := rd.fill(p.seg, at, want); err != nil {
			return nil, err
		}
	}
}

// enoughOfLarge is how much of a large message there is to be for its lengths to be among it.
const enoughOfLarge = 1 << 10

// large makes the message of a record of which pr has the first bytes, and reads the others to
// where they stay.
func large(pr *parser, r *record, s *segment) (*message.Message, error) {
	if int64(r.length) > s.size-pr.at {
		return nil, fmt.Errorf("%w: it does not end", ErrDamaged)
	}
	sum := checksum(pr.b)
	var failed error
	m, err := message.ParseRecordFrom(pr.b, r.length, func(rest []byte) error {
		n, err := s.file.ReadAt(rest, pr.at+int64(len(pr.b)))
		if n < len(rest) {
			if failed = err; err == io.EOF {
				failed = fmt.Errorf("%w: it lies behind the end of the file", ErrDamaged)
			}
			return failed
		}
		sum = crc32.Update(sum, castagnoli, rest)
		return nil
	})
	switch {
	case failed != nil:
		return nil, failed
	case err == message.ErrShort:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case sum != r.sum:
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
	}
	return m, nil
}

// done gives rd back, and its room if that is of the usual size.
func (rd *reader) done() {
	rd.seg, rd.buf = nil, nil
	if cap(rd.room) <= readAtOnce+4<<10 {
		readers.Put(rd)
	}
}

func (rd *reader) fill(s *segment, at, n int64) error {
	n = min(n, s.size-at)
	if n <= 0 {
		return fmt.Errorf("%w: it lies behind the end of the file", ErrDamaged)
	}
	if int64(cap(rd.room)) < n {
		rd.room = make([]byte, max(n, readAtOnce+4<<10))
	}
	rd.seg, rd.at, rd.buf = s, at, rd.room[:n]
	got, err := s.file.ReadAt(rd.buf, at)
	if err != nil && err != io.EOF {
		rd.buf = nil
		return err
	}
	rd.buf = rd.buf[:got]
	if got == 0 {
		return fmt.Errorf("%w: it lies behind the end of the file", ErrDamaged)
	}
	return nil
}
