package session

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/store"
)

// browseHeaders are of those alone who browse, or read what is kept.
var browseHeaders = []string{"browser-end", "limit", "from-seq", "from-time", "replay", broker.StreamOffset}

// notOfOne is the error of a SUBSCRIBE to several destinations that says where in one to begin.
func (s *session) notOfOne(f *frame.Frame, n destination.Name) error {
	names := []string{"from-seq", "from-time", "replay", "x-stream-offset"}
	if s.b.IsPattern(n.Text) {
		names = append(names, "browser")
	}
	for _, name := range names {
		if v := f.Header.Value(name); v != "" && v != "false" {
			return errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header %q, which is for one queue, and %s stands for several.", name, cut([]byte(f.Header.Value("destination"))))
		}
	}
	return nil
}

// browse reads whether f browses the queue dest, and how. Who subscribes to a queue that keeps what
// it delivers follows it, and so does who subscribes to such a topic: from what comes, if nothing else
// is said.
func (s *session) browse(f *frame.Frame, dest string) (*broker.Browse, error) {
	on, err := flag(f, false, "browser")
	if err != nil {
		return nil, err
	}
	keeps, topic := s.b.Keeps(dest), !s.b.IsQueue(dest)
	switch {
	case on && topic && !keeps:
		return nil, errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header browser:true, but %s is a topic that keeps nothing which could be browsed.", cut([]byte(dest)))
	case !on && !keeps:
		return nil, s.noBrowse(f, dest)
	}
	some, err := s.replays(f, topic)
	if err != nil {
		return nil, err
	}
	end, err := flag(f, on, "browser-end")
	if err != nil {
		return nil, err
	}
	b := broker.Browse{Follow: !end, Skip: !on && (topic && !some || isStream(f))}
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

// noBrowse is the error of a header that is for others than f.
func (s *session) noBrowse(f *frame.Frame, dest string) error {
	for _, name := range browseHeaders {
		switch {
		case f.Header.Value(name) == "":
		case s.b.IsPattern(dest):
			return errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header %q, but %s stands for many topics, each of which has numbers and a place of its own.", name, cut([]byte(dest)))
		default:
			return errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header %q, which is for browser:true and for queues and topics that keep what they deliver (non-destructive:true, or the rule retain).", name)
		}
	}
	return nil
}

// replays reports whether f, which subscribes to a topic that keeps messages, wants some of these.
func (s *session) replays(f *frame.Frame, topic bool) (bool, error) {
	if !topic {
		return false, nil
	}
	for _, name := range []string{"from-seq", "from-time", "replay", broker.StreamOffset} {
		switch v := string(bytes.TrimSpace([]byte(f.Header.Value(name)))); {
		case v == "", name == "from-seq" && v == "-1", name == broker.StreamOffset && v == "next":
		default:
			return true, nil
		}
	}
	return flag(f, false, "activemq.retroactive")
}

// isStream reports whether f asks for a stream of RabbitMQ's, whose consumers begin with what
// comes if they do not say where.
func isStream(f *frame.Frame) bool { return f.Header.Value("x-queue-type") == "stream" }

// streamOffset reads where RabbitMQ's consumers of streams begin.
func streamOffset(b *broker.Browse, v string) bool {
	name, value, _ := strings.Cut(v, "=")
	n, err := strconv.ParseInt(value, 10, 64)
	b.Skip = false
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
