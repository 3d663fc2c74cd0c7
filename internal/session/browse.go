package session

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/store"
)

// browseHeaders are of a browser alone.
var browseHeaders = []string{"browser-end", "limit", "from-seq", "from-time", "replay", "x-stream-offset"}

// browse reads whether f browses a queue, and how.
func (s *session) browse(f *frame.Frame) (*broker.Browse, error) {
	on, err := flag(f, false, "browser")
	if err != nil {
		return nil, err
	}
	if !on {
		for _, name := range browseHeaders {
			if v := f.Header.Value(name); v != "" {
				return nil, errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header %q, which is for browser:true alone: a consumer gets what nobody has.", name)
			}
		}
		return nil, nil
	}
	var b broker.Browse
	end, err := flag(f, true, "browser-end")
	if err != nil {
		return nil, err
	}
	b.Follow = !end
	if b.Limit, err = number(f, 0, 0, math.MaxInt32, "limit"); err != nil {
		return nil, err
	}
	from, err := number(f, 0, -1, math.MaxInt, "from-seq")
	if err != nil {
		return nil, err
	}
	since, err := number(f, 0, 0, math.MaxInt, "from-time")
	if err != nil {
		return nil, err
	}
	b.From, b.Since = store.Seq(max(from, 0)), int64(since)
	if from < 0 {
		b.Skip = true
	}
	if v, ok := f.Header.Get("replay"); ok {
		n, err := strconv.Atoi(strings.TrimPrefix(string(bytes.TrimSpace(v)), "last="))
		if err != nil || n < 1 || n > math.MaxInt32 {
			return nil, errHeader(f.Command, "replay", v, "last= and a number of messages")
		}
		b.Last = n
	}
	if v, ok := f.Header.Get("x-stream-offset"); ok && !streamOffset(&b, string(bytes.TrimSpace(v))) {
		return nil, errHeader(f.Command, "x-stream-offset", v, "first, last, next, offset=N or timestamp=T in seconds")
	}
	return &b, nil
}

// streamOffset reads where RabbitMQ's consumers of streams begin.
func streamOffset(b *broker.Browse, v string) bool {
	name, value, _ := strings.Cut(v, "=")
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case v == "first":
	case v == "last":
		b.Last = 1
	case v == "next":
		b.Skip = true
	case name == "offset" && err == nil && n >= 0:
		b.From = store.Seq(n)
	case name == "timestamp" && err == nil && n >= 0 && n < math.MaxInt64/1000:
		b.Since = 1000 * n
	default:
		return false
	}
	return true
}
