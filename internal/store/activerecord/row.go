package activerecord

import (
	"errors"
	"fmt"
	"time"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/messageid"
	"stompserver/internal/ruby/psych"
	"stompserver/internal/store"
)

// row makes frame, stomp_id and, if the frame alone would not do, stored of a message.
func (s *Store) row(r store.Record) (text, id string, record []byte) {
	ms := r.Msg.Arrived()
	id = fmt.Sprintf("%s-%d-%06d-%d", s.host, ms/1000, ms%1000*1000, r.Seq)
	f := psych.Frame{Command: "MESSAGE", Body: string(r.Msg.Body())}
	whole := ms >= 0 && r.Msg.Destination() == r.Queue
	stamped := false
	for name, value := range r.Msg.Fields {
		_, twice := f.Get(name)
		if twice || name == "destination" && value != r.Msg.Destination() {
			whole = false
		}
		stamped = stamped || name == "timestamp"
		f.Headers = append(f.Headers, [2]string{name, value})
	}
	f.Headers = append(f.Headers, [2]string{"message-id", id})
	if !whole || !stamped {
		record = r.Msg.AppendRecord(nil)
	}
	return string(psych.Append(nil, &f)), id, record
}

// parseRow makes the message of a row.
func parseRow(text []byte, id string, record []byte) (*message.Message, error) {
	if len(record) > 0 {
		return message.ParseRecord(record)
	}
	return parse(text, id)
}

// parse makes a message of a frame, which came when its message-id, or else id, says.
func parse(text []byte, id string) (*message.Message, error) {
	pf, err := psych.Parse(text)
	if err != nil {
		return nil, err
	}
	f := &frame.Frame{Command: frame.Send, Body: []byte(pf.Body)}
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
