package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/messageid"
	"stompserver/internal/store"
)

// A dump is text: one JSON object a line, one line a message.
//
//	{"queue":"/queue/a","seq":7,"attempts":1,"arrived":1795418394273,
//	 "headers":[["type","order"]],"body":"…"}
//
// The body is body if it is UTF-8, else body_base64; and if one header is not UTF-8 all are in
// headers_base64, names and values. Queue and at least an empty body must be
// there; a queue that is missing is taken from a header "destination". Without seq messages
// count from 1, without arrived it is the time of the Ruby server's message-id or else now;
// headers may be an object as well. A line may be as long as 1 GiB.
type line struct {
	Queue    string      `json:"queue,omitempty"`
	Seq      store.Seq   `json:"seq,omitempty"`
	Attempts uint32      `json:"attempts,omitempty"`
	Arrived  int64       `json:"arrived,omitempty"` // milliseconds since 1970
	Headers  fields      `json:"headers,omitempty"`
	Raw      [][2][]byte `json:"headers_base64,omitempty"`
	Body     *string     `json:"body,omitempty"`
	Base64   []byte      `json:"body_base64,omitempty"`
}

const maxLine = 1 << 30

// fields keep the order, and fields that are there twice.
type fields [][2]string

// UnmarshalJSON reads a list of pairs, or an object.
func (f *fields) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return json.Unmarshal(b, (*[][2]string)(f))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("header %q: %w", name, err)
		}
		*f = append(*f, [2]string{name.(string), value})
	}
	return nil
}

// Dump writes what from has to w.
func Dump(ctx context.Context, w io.Writer, from Source, tell func(n int)) ([]Summary, error) {
	var sums summaries
	buf := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	n := 0
	for r, err := range from.Messages {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return sums.list, errors.Join(err, buf.Flush())
		}
		l := line{Queue: r.Queue, Seq: r.Seq, Attempts: r.Attempts, Arrived: r.Msg.Arrived()}
		text := true
		for name, value := range r.Msg.Fields {
			switch name {
			case "destination", "content-length": // said by queue and body
			default:
				l.Headers = append(l.Headers, [2]string{name, value})
				text = text && utf8.ValidString(name) && utf8.ValidString(value)
			}
		}
		if d := r.Msg.Destination(); d != r.Queue {
			l.Headers = append(l.Headers, [2]string{"destination", d})
		}
		if !text {
			for _, h := range l.Headers {
				l.Raw = append(l.Raw, [2][]byte{[]byte(h[0]), []byte(h[1])})
			}
			l.Headers = nil
		}
		if body := r.Msg.Body(); utf8.Valid(body) {
			l.Body = new(string(body))
		} else {
			l.Base64 = body
		}
		if err := enc.Encode(l); err != nil {
			return sums.list, err
		}
		sums.add(&r)
		if n++; tell != nil {
			tell(n)
		}
	}
	return sums.list, buf.Flush()
}

// Undump makes a Source of a dump, which is called name in errors.
func Undump(r io.Reader, name string) Source {
	return Source{Messages: undump(r, name)}
}

func undump(r io.Reader, name string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		in := bufio.NewScanner(r)
		in.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for in.Scan() {
			n++
			text := bytes.TrimSpace(in.Bytes())
			if len(text) == 0 {
				continue
			}
			rec, err := parseLine(text)
			if err != nil {
				yield(store.Record{}, fmt.Errorf("%s:%d: %w", name, n, err))
				return
			}
			if !yield(rec, nil) {
				return
			}
		}
		if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(store.Record{}, fmt.Errorf("%s:%d: the line has more than %d bytes", name, n+1, maxLine))
		} else if err != nil {
			yield(store.Record{}, fmt.Errorf("%s: %w", name, err))
		}
	}
}

func parseLine(text []byte) (store.Record, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return store.Record{}, fmt.Errorf("not a line of a dump: %w", err)
	}
	if dec.More() {
		return store.Record{}, errors.New("not a line of a dump: two values")
	}
	if l.Body != nil && l.Base64 != nil {
		return store.Record{}, errors.New("both body and body_base64")
	}
	for _, h := range l.Raw {
		l.Headers = append(l.Headers, [2]string{string(h[0]), string(h[1])})
	}
	f := frame.Frame{Command: frame.Send, Body: l.Base64}
	if l.Body != nil {
		f.Body = []byte(*l.Body)
	}
	dest := ""
	for _, h := range l.Headers {
		switch h[0] {
		case "":
			return store.Record{}, errors.New("a header without a name")
		case "destination":
			dest = h[1]
		case "message-id": // the server gives one
			if l.Arrived == 0 {
				l.Arrived, _ = messageid.Time(h[1])
			}
		default:
			f.Header.Add(h[0], h[1])
		}
	}
	if l.Queue == "" {
		l.Queue = dest
	}
	if dest == "" {
		dest = l.Queue
	}
	if err := checkQueue(l.Queue); err != nil {
		return store.Record{}, err
	}
	if l.Arrived == 0 {
		l.Arrived = time.Now().UnixMilli()
	}
	m, err := message.New(&f, dest, message.At(l.Arrived))
	if err != nil {
		return store.Record{}, err
	}
	return store.Record{Kind: store.RecordPut, Queue: l.Queue, Seq: l.Seq, Attempts: l.Attempts, Msg: store.Unhosted(m, l.Queue)}, nil
}

// longest is how long the stored name of a queue may be: 255 bytes, and what the broker puts before
// that for a priority.
const longest = 255 + len("/queue/$p9")

func checkQueue(stored string) error {
	host, name := destination.Unhosted(stored)
	switch {
	case name == "":
		return errors.New("it names no queue")
	case host == "" && destination.IsHosted(stored):
		return fmt.Errorf("%q is no queue: behind /queue/$vhost/ is the name of a virtual host, with %%2F for a slash, then that of a queue", stored)
	case !strings.HasPrefix(name, "/queue") && !strings.HasPrefix(name, destination.DurablePrefix):
		return fmt.Errorf("%q is no queue: that begins with /queue, or with /dsub/", name)
	case len(stored) > longest:
		return fmt.Errorf("the queue's name has %d bytes; at most %d are possible", len(stored), longest)
	}
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("the queue's name %q holds a control character", name)
		}
	}
	return nil
}
