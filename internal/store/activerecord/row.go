package activerecord

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
	"unsafe"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/messageid"
	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// A row is one of ar_messages.
type row struct {
	id       int64
	stompID  string
	frame    bytesOf // valid until the next one is read
	stored   sql.RawBytes
	queue    []byte // nil: nobody has given it a place
	seq      int64
	size     int64
	attempts int64
	checksum int64
	summed   bool   // it has a checksum
	texts    *int64 // the sum of its texts, where the frame is left out; not nil
	odd      bool   // a number is none
	zero     bool   // its seq is there, and 0
	copied   bool   // it is that of a copy, with the place, and what is stored, of that
}

// bytesOf takes bytes of a row without copying them: sql.RawBytes would copy a string. Where
// they come from one, nobody takes them away. Beside it there must be an sql.RawBytes in the
// same Scan, which has the package sql leave those alone that the driver owns.
type bytesOf struct {
	b     []byte
	owned bool // by nobody else
	spent bool // once there is a message of it: that is made where it stands
}

// Scan implements sql.Scanner.
func (r *bytesOf) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*r = bytesOf{}
	case []byte:
		*r = bytesOf{b: v}
	case string:
		*r = bytesOf{b: unsafe.Slice(unsafe.StringData(v), len(v)), owned: true}
	default: // a damaged file
		*r = bytesOf{b: fmt.Append(nil, v)}
	}
	return nil
}

// parse takes a frame apart, which is used up by that if nobody else owns it.
func (r *bytesOf) parse(room int) (*psych.Frame, []byte, error) {
	if r.spent {
		b := r.b
		r.b = nil
		return psych.ParseOwned(b, room)
	}
	return psych.ParseBody(r.b, room)
}

// rowColumns are what scan reads of ar_messages as m; copyColumns of a copy c, and the row m that it names.
const (
	rowColumns  = "m.id, m.stomp_id, m.frame, m.stored, m.queue, m.seq, m.size, m.attempts, m.checksum"
	copyColumns = "m.id, m.stomp_id, m.frame, c.stored, c.queue, c.seq, c.size, c.attempts, c.checksum"
)

// scan reads the row that rows stands at. What a damaged file holds where a number should be
// is no error here, but makes the row odd.
func (r *row) scan(rows *sql.Rows) error {
	var queue sql.RawBytes
	var seq, size, attempts, sum any
	var stompID sql.RawBytes
	if err := rows.Scan(&r.id, &stompID, &r.frame, &r.stored, &queue, &seq, &size, &attempts, &sum); err != nil {
		return err
	}
	r.stompID, r.queue, r.odd = string(stompID), nil, false
	if queue != nil {
		r.queue = append([]byte{}, queue...)
	}
	var there bool
	r.seq, there = r.number(seq)
	r.zero = there && r.seq == 0
	r.size, _ = r.number(size)
	r.attempts, _ = r.number(attempts)
	r.checksum, r.summed = r.number(sum)
	return nil
}

func (r *row) number(v any) (n int64, ok bool) {
	var err error
	switch v := v.(type) {
	case nil:
		return 0, false
	case int64:
		return v, true
	case []byte: // MySQL spells it
		n, err = strconv.ParseInt(string(v), 10, 64)
	default:
		err = strconv.ErrSyntax
	}
	r.odd = r.odd || err != nil
	return n, true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of a row: a CRC-32C of each column that a message is made of, with the
// length of it, and of its place. Attempts are changed later, and left out.
func sum(queue []byte, seq, size int64, stompID string, frame, stored []byte) int64 {
	return sumOfPlace(sumOfTexts(stompID, frame, stored), queue, seq, size)
}

func sumOfTexts(stompID string, frame, stored []byte) int64 {
	c := sumOfSizes(stompID, len(frame), len(stored))
	c = crc32.Update(c, castagnoli, frame)
	return int64(crc32.Update(c, castagnoli, stored))
}

// sumOfSizes is what the sum begins with.
func sumOfSizes(stompID string, frame, stored int) uint32 {
	b := make([]byte, 0, 128)
	for _, n := range []int{len(stompID), frame, stored} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return crc32.Update(0, castagnoli, append(b, stompID...))
}

// sumOfPlace goes on from the sum of the texts, when the place is known.
func sumOfPlace(texts int64, queue []byte, seq, size int64) int64 {
	b := make([]byte, 0, 128)
	for _, n := range []int64{seq, size, int64(len(queue))} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return int64(crc32.Update(uint32(texts), castagnoli, append(b, queue...)))
}

// sumOfCopy is the checksum of a copy: texts is the sum of those of its row, where nothing is stored.
func sumOfCopy(texts int64, queue []byte, seq, size int64, stored []byte) int64 {
	c := uint32(sumOfPlace(texts, queue, seq, size))
	c = crc32.Update(c, castagnoli, binary.BigEndian.AppendUint64(nil, uint64(len(stored))))
	return int64(crc32.Update(c, castagnoli, stored))
}

var errSum = errors.New("its checksum does not fit")

// verify looks whether a row that has a place is what was written.
func (r *row) verify() error {
	switch {
	case r.odd:
		return errors.New("a number is none")
	case !r.summed:
		return errors.New("it has no checksum")
	case r.sum() != r.checksum:
		return errSum
	}
	return nil
}

func (r *row) sum() int64 {
	if r.copied {
		return sumOfCopy(r.sumOfTexts(), r.queue, r.seq, r.size, r.stored)
	}
	return sumOfPlace(r.sumOfTexts(), r.queue, r.seq, r.size)
}

// sumOfTexts is the sum of all of its texts, or, if it is that of a copy, without what that stores.
func (r *row) sumOfTexts() int64 {
	switch {
	case r.texts != nil:
		return *r.texts
	case r.copied:
		return sumOfTexts(r.stompID, r.frame.b, nil)
	}
	return sumOfTexts(r.stompID, r.frame.b, r.stored)
}

// message makes the message of a row. Its frame may be gone then.
func (r *row) message() (*message.Message, error) {
	switch {
	case len(r.stored) == 0:
		return parse(&r.frame, r.stompID)
	case r.copied: // it is all but the body
		_, body, err := r.frame.parse(0)
		if err != nil {
			return nil, err
		}
		return message.ParseRecordFrom(r.stored, len(r.stored)+len(body), func(rest []byte) error {
			copy(rest, body)
			return nil
		})
	}
	return message.ParseRecord(r.stored)
}

// A text is what is written of a message.
type text struct {
	stompID, frame string
	stored         []byte // if the frame alone would not do
	checksum       int64
}

// size is what the texts take, without escapes.
func (t *text) size() int { return len(t.stompID) + len(t.frame) + len(t.stored) }

func (s *Store) text(r *store.Record) (t text) {
	f, id, whole := s.frame(r, r.Queue)
	t.stompID = id
	if !whole {
		t.stored = r.Msg.AppendRecord(make([]byte, 0, r.Msg.RecordSize()))
	}
	doc := psych.Document(f)
	t.frame = view(doc)
	t.checksum = sum([]byte(r.Queue), int64(r.Seq), int64(r.Msg.Size()), t.stompID, doc, t.stored)
	return t
}

// frame is what the Ruby server makes of a message in a queue that it knows as dest, and whether that is
// all there is to it. It refers to the body.
func (s *Store) frame(r *store.Record, dest string) (f *psych.Frame, stompID string, whole bool) {
	ms := r.Msg.Arrived()
	stompID = messageid.New(s.host, ms, uint64(r.Seq))
	f = &psych.Frame{Command: "MESSAGE", Headers: make([][2]string, 0, 8), Body: view(r.Msg.Body())}
	whole = ms >= 0 && r.Msg.Destination() == dest
	stamped := false
	for name, value := range r.Msg.Fields {
		_, twice := f.Get(name)
		if twice || name == "destination" && value != r.Msg.Destination() || name == "JMSXUserID" { // no client may say the latter
			whole = false
		}
		stamped = stamped || name == "timestamp"
		if name == "destination" {
			value = dest
		}
		f.Headers = append(f.Headers, [2]string{name, value})
	}
	f.Headers = append(f.Headers, [2]string{"message-id", stompID})
	return f, stompID, whole && stamped
}

// view is b as a string, for as long as nobody changes it: a body of 64 MiB is not copied for
// the sake of a type.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parse makes a message of a frame, which came when its message-id, or else id, says.
func parse(text *bytesOf, id string) (*message.Message, error) {
	pf, body, err := text.parse(len(message.Tail))
	if err != nil {
		return nil, err
	}
	f := &frame.Frame{Command: frame.Send, Body: body, Owned: len(body) >= vfs.ShareFrom}
	dest := ""
	for _, h := range pf.Headers {
		switch h[0] {
		case "destination":
			dest = h[1]
		case "message-id":
			id = h[1]
		default:
			f.Header.Add(h[0], h[1])
		}
	}
	if dest == "" {
		return nil, errors.New("it has no destination")
	}
	at, ok := messageid.Time(id)
	if !ok {
		at = time.Now().UnixMilli()
	}
	for {
		m, err := message.New(f, dest, message.At(at))
		var bad *message.HeaderError
		if !errors.As(err, &bad) {
			return m, err
		}
		// The Ruby server did not look at such values.
		kept := f.Header[:0]
		for _, h := range f.Header {
			if string(h.Name) != bad.Name {
				kept = append(kept, h)
			}
		}
		f.Header = kept
	}
}
