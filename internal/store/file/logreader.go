package file

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"stompserver/internal/message"
	"stompserver/internal/vfs"
)

// A logReader reads what lies in a segment of the log, many records at a time where they lie side
// by side.
type logReader struct {
	file  vfs.File
	end   int64 // what lies behind it is none of its
	ahead int64 // as much is read at once, if there is
	at    int64 // where buf begins
	buf   []byte
	room  []byte // for buf
}

const (
	readAhead    = 256 << 10
	firstOfForm  = 1 << 10 // bytes of a stored form in which its lengths are, as a rule
	firstOfEntry = 64      // of a record
)

// open has l read another file, up to end.
func (l *logReader) open(file vfs.File, end int64) {
	l.file, l.end, l.at, l.buf, l.ahead = file, end, 0, nil, readAhead
}

// Size implements group.Source.
func (l *logReader) Size() int64 { return l.end }

// Peek implements group.Source.
func (l *logReader) Peek(at, n int64) ([]byte, error) {
	if n = min(n, l.end-at); n <= 0 {
		return nil, nil
	}
	if from := at - l.at; from >= 0 && from+n <= int64(len(l.buf)) {
		return l.buf[from : from+n], nil
	}
	want := min(max(n, l.ahead), l.end-at)
	if int64(cap(l.room)) < want {
		l.room = make([]byte, max(want, min(readAhead, l.end)))
	}
	got, err := l.file.ReadAt(l.room[:want], at)
	if err != nil && err != io.EOF {
		l.buf = nil
		return nil, err
	}
	l.at, l.buf = at, l.room[:got]
	return l.buf[:min(n, int64(got))], nil
}

// record reads the record at a place, of a group that ends at end.
func (l *logReader) record(at, end int64) (r record, err error) {
	for n := int64(firstOfEntry); ; n *= 8 {
		b, err := l.Peek(at, min(n, end-at))
		if err != nil {
			return r, err
		}
		r, err = parseRecord(b)
		if err == errEnds && n < end-at && int64(len(b)) == n {
			continue
		}
		if err == errEnds || err == nil && at+r.size() > end {
			err = errRecord
		}
		return r, err
	}
}

// sizeOf is what the message of a record counts for.
func (l *logReader) sizeOf(at int64, r *record) (int64, error) {
	for n := int64(firstOfForm); ; n *= 8 {
		b, err := l.Peek(at+int64(r.head), min(n, r.length))
		if err != nil {
			return 0, err
		}
		size, err := message.SizeOfRecord(b)
		if err != nil && n < r.length && int64(len(b)) == n {
			continue
		}
		return int64(size) + r.length - int64(len(b)), err
	}
}

// message makes the message of a record. What is not what was written is an error that errDamaged
// is in.
func (l *logReader) message(at int64, r *record) (*message.Message, error) {
	bad := func(err error) error { return fmt.Errorf("%w: %w", errDamaged, err) }
	first := r.length
	if first >= vfs.ShareFrom { // what is large is read to where it stays
		first = firstOfForm
	}
	at += int64(r.head)
	for {
		b, err := l.Peek(at, first)
		if err != nil {
			return nil, err
		}
		if int64(len(b)) < first {
			return nil, bad(errRecord)
		}
		sum := crc32.Checksum(b, castagnoli)
		var failed error
		m, err := message.ParseRecordFrom(b, int(r.length), func(rest []byte) error {
			n, err := l.file.ReadAt(rest, at+first)
			if n < len(rest) {
				if failed = err; err == io.EOF {
					failed = bad(errRecord)
				}
				return failed
			}
			sum = crc32.Update(sum, castagnoli, rest)
			return nil
		})
		switch {
		case failed != nil:
			return nil, failed
		case err == message.ErrShort && first < r.length:
			first = min(8*first, r.length)
			continue
		case err != nil:
			return nil, bad(err)
		case r.summed && sum != r.sum:
			return nil, bad(errSum)
		}
		return m, nil
	}
}

// outline makes the message of a record without its body, at which it has looked and which is not to be in
// memory: missing is how much that is, behind the first bytes of the stored form.
func (l *logReader) outline(at int64, r *record) (m *message.Message, missing int64, err error) {
	bad := func(err error) error { return fmt.Errorf("%w: %w", errDamaged, err) }
	at += int64(r.head)
	for first := int64(firstOfForm); m == nil; first = min(8*first, r.length) {
		b, err := l.Peek(at, first)
		if err != nil {
			return nil, 0, err
		}
		n, err := message.HeadOfRecord(b)
		if err == message.ErrShort && int64(len(b)) < r.length && int64(len(b)) == first {
			continue
		}
		if err == nil {
			m, err = message.ParseRecord(b[:n])
			missing = r.length - int64(n)
		}
		if err != nil {
			return nil, 0, bad(err)
		}
	}
	sum := uint32(0)
	for from := at; from < at+r.length; {
		b, err := l.Peek(from, min(readAhead, at+r.length-from))
		if err != nil {
			return nil, 0, err
		}
		if len(b) == 0 {
			return nil, 0, bad(errRecord)
		}
		sum = crc32.Update(sum, castagnoli, b)
		from += int64(len(b))
	}
	if r.summed && sum != r.sum {
		return nil, 0, bad(errSum)
	}
	return m, missing, nil
}

var errSum = errors.New("its checksum does not fit")

// done gives back room that is larger than usual.
func (l *logReader) done() {
	l.file, l.buf = nil, nil
	if cap(l.room) > 2*readAhead {
		l.room = nil
	}
}
