package session

import (
	"bytes"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/selector"
)

// A filter is what SUBSCRIBE says of the messages that it wants.
type filter struct {
	notFrom uint32 // no-local: the connection itself; 0: its own messages are wanted
	match   *match // of the exchange amq.headers
	sel     *selector.Selector
	stream  *selector.Selector // of x-stream-filter: of this consumer, whoever else shares its queue
}

// Wants implements broker.Filter.
func (f *filter) Wants(m *message.Message) bool {
	if f.notFrom != 0 && m.Sender() == f.notFrom {
		return false
	}
	if f.match != nil && !f.match.wants(m) {
		return false
	}
	return (f.sel == nil || f.sel.Matches(fields{m})) && (f.stream == nil || f.stream.Matches(fields{m}))
}

// streamFilter reads which values of the header x-stream-filter-value RabbitMQ's clients want, and
// whether messages without it as well.
func streamFilter(f *frame.Frame) (*selector.Selector, error) {
	unfiltered, err := flag(f, false, "x-stream-match-unfiltered")
	if err != nil {
		return nil, err
	}
	v, ok := f.Header.Get("x-stream-filter")
	if !ok {
		return nil, nil
	}
	const name = `"x-stream-filter-value"`
	var b strings.Builder
	for value := range strings.SplitSeq(string(v), ",") {
		if value = strings.TrimSpace(value); value == "" {
			return nil, errHeader(f.Command, "x-stream-filter", v, "values with commas between")
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString("'" + strings.ReplaceAll(value, "'", "''") + "'")
	}
	text := name + " IN (" + b.String() + ")"
	if unfiltered {
		text += " OR " + name + " IS NULL"
	}
	return selector.Parse(text)
}

// splitStream takes out of a filter what is of the consumer alone.
func splitStream(f broker.Filter) (shared, own broker.Filter) {
	w, ok := f.(*filter)
	if !ok || w.stream == nil {
		return f, nil
	}
	rest := *w
	rest.stream = nil
	own = &filter{stream: w.stream}
	if rest == (filter{}) {
		return nil, own
	}
	return &rest, own
}

// fields are the headers of a message as selectors see them.
type fields struct{ m *message.Message }

// Header implements selector.Env.
func (f fields) Header(name string) ([]byte, bool) { return f.m.Lookup(name) }

// MakeFilter makes the filter of a selector in its canonical spelling, which a durable
// subscription had before a restart.
func MakeFilter(text string) (broker.Filter, error) {
	sel, err := selector.Parse(text)
	if err != nil {
		return nil, err
	}
	return &filter{sel: sel}, nil
}

// selectorOf returns the text of a filter's selector, for MakeFilter.
func selectorOf(f broker.Filter) string {
	if w, ok := f.(*filter); ok && w.sel != nil {
		return w.sel.String()
	}
	return ""
}

// ofQueue is the part of a filter that counts for a queue: who sent a message matters there
// only to those who share a topic.
func ofQueue(f broker.Filter) broker.Filter {
	w, ok := f.(*filter)
	if !ok || w.sel == nil && w.stream == nil {
		return nil
	}
	return &filter{sel: w.sel, stream: w.stream}
}

// filter reads which messages f wants; nil: all.
func (s *session) filter(f *frame.Frame) (broker.Filter, error) {
	var w filter
	if text, ok := f.Header.Get("selector"); ok && len(bytes.TrimSpace(text)) > 0 {
		var err error
		if w.sel, err = selector.Parse(string(text)); err != nil {
			return nil, err
		}
	}
	var err error
	if w.stream, err = streamFilter(f); err != nil {
		return nil, err
	}
	local, err := flag(f, false, "no-local", "activemq.noLocal")
	if err != nil {
		return nil, err
	}
	if local {
		w.notFrom = uint32(s.id)
	}
	if bytes.HasPrefix([]byte(f.Header.Value("destination")), []byte(destination.ExchangePrefix+"amq.headers")) ||
		bytes.HasPrefix([]byte(f.Header.Value("destination")), []byte(destination.ExchangePrefix+"amq.match")) {
		if w.match, err = matchOf(f); err != nil {
			return nil, err
		}
	}
	if w == (filter{}) {
		return nil, nil
	}
	return &w, nil
}

// A match is what a subscription to the exchange amq.headers says of headers: all of them,
// or any, have these values; an empty value is that the header is there.
type match struct {
	any    bool
	fields [][2]string
}

// ofSubscribe are headers of SUBSCRIBE with a meaning of their own.
var ofSubscribe = map[string]bool{
	"destination": true, "id": true, "ack": true, "receipt": true, "content-length": true, "content-type": true,
	"selector": true, "no-local": true, "prefetch-count": true, "prefetch-bytes": true, "exclusive": true,
	"durable": true, "persistent": true, "auto-delete": true, "browser": true, "group": true,
	"destination-type": true, "subscription-type": true, "x-match": true,
	"prefetch": true, "credit": true, "consumer-window-size": true, "consumerWindowSize": true,
	"consumer-priority": true, "x-priority": true, "ack-timeout": true, "x-consumer-timeout": true, "max-pending": true, "slow-consumer": true,
	"include-seq": true, includeCount: true, "browser-end": true, "limit": true, "from-seq": true, "from-time": true, "replay": true,
	"durable-subscription-name": true, "durable-subscriber-name": true,
	"x-stream-offset": true, "x-stream-filter": true, "x-stream-match-unfiltered": true,
}

// conditional reports whether a header of SUBSCRIBE says which messages are wanted. Those that begin with x-
// do so only where x-match says that they count, as in RabbitMQ.
func conditional(name []byte, withX bool) bool {
	switch x := bytes.HasPrefix(name, []byte("x-")); {
	case x && (!withX || bytes.HasPrefix(name, []byte("x-queue-"))), bytes.HasPrefix(name, []byte("activemq.")):
		return false
	}
	return !ofSubscribe[string(name)] && !message.Declares(name)
}

// matchOf reads x-match and what is to be matched, as RabbitMQ's bindings have it.
func matchOf(f *frame.Frame) (*match, error) {
	m, withX := new(match), false
	switch v := f.Header.Value("x-match"); v {
	case "", "all":
	case "any":
		m.any = true
	case "all-with-x":
		withX = true
	case "any-with-x":
		m.any, withX = true, true
	default:
		return nil, errHeader(f.Command, "x-match", []byte(v), "all, any, all-with-x or any-with-x")
	}
	for _, h := range f.Header {
		if conditional(h.Name, withX) {
			m.fields = append(m.fields, [2]string{string(h.Name), string(h.Value)})
		}
	}
	return m, nil
}

func (m *match) wants(msg *message.Message) bool {
	for _, want := range m.fields {
		v, ok := msg.Lookup(want[0])
		ok = ok && (want[1] == "" || string(v) == want[1])
		if ok == m.any {
			return ok
		}
	}
	return !m.any // RabbitMQ: nothing to match is all, and never any
}
