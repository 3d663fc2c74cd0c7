package message

import (
	"bytes"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"stompserver/internal/frame"
)

// DefaultPriority is that of a message which names none (JMS).
const DefaultPriority = 4

// Options are what the headers of a SEND ask for beyond being delivered. Most messages have
// none. They are read from the header block, so that every store keeps them.
type Options struct {
	Expires  int64  // when it is worthless, milliseconds since 1970; 0: never
	Due      int64  // when it may be delivered first, milliseconds since 1970; 0: at once
	Priority uint8  // 0 to 9, DefaultPriority if not named
	Group    string // messages of one group go to one consumer at a time
	GroupEnd bool   // the group's last: the next of that name may go to another consumer
	Dedupe   string // names the message for its sender: a second one of that name is the same
	Key      string // of a queue that keeps the last value of each key
	Retain   Retain

	// What concerns the SEND alone, not what becomes of the message later.
	Mandatory bool // it is an error if nobody would get it
	Confirm   bool // its refusal is told by a RECEIPT
	OwnReply  bool // reply-to names a temporary destination of the sender's own

	// What delivers it again and again from Due on.
	Period time.Duration // 0: no
	Repeat int           // how often after the first time, -1: for ever
	Cron   string        // when it begins, instead of Due; "": no

	places *atomic.Int32 // how many queues have it in memory, of a message that is spread
}

// Retain says what a message does to the one that its topic keeps for new subscribers.
type Retain uint8

// The values of the header retain.
const (
	RetainNothing Retain = iota
	RetainSet            // it takes the place of the one before
	RetainRemove         // there is none any more
)

var noOptions = Options{Priority: DefaultPriority}

// Options returns what the headers ask for. It must not be changed.
func (m *Message) Options() *Options {
	if m.opt == nil {
		return &noOptions
	}
	return m.opt
}

// Expires is when the message is worthless, in milliseconds since 1970, or 0 for never.
func (m *Message) Expires() int64 {
	if m.opt == nil {
		return 0
	}
	return m.opt.Expires
}

// Special reports whether the message has Options.
func (m *Message) Special() bool { return m.opt != nil }

// Sender says which connection sent the message, by the last 32 bits of its number, as long
// as this process lives; 0 is nobody. SetSender is for the sender alone, before anybody else
// knows of m.
func (m *Message) Sender() uint32 { return m.sender }

// SetSender sets what Sender tells.
func (m *Message) SetSender(id uint32) { m.sender = id }

// SetVolatile keeps the message out of a store. It is for its sender alone, before anybody
// else knows of m.
func (m *Message) SetVolatile() { m.volat = true }

// OptionsOf returns what the headers of a SEND ask for, which came at now, without making a
// message of it. The error is a *HeaderError.
func OptionsOf(f *frame.Frame, now Moment) (*Options, error) {
	var r reading
	for i := range f.Header {
		r.field(f.Header[i].Name, f.Header[i].Value)
	}
	if r.err != nil {
		return nil, r.err
	}
	if o := r.finish(now.ms); o != nil {
		return o, nil
	}
	return &noOptions, nil
}

// readOptions reads the Options of a header block in its stored form. What makes no sense
// there is passed over: it was let in by somebody who did not look at it.
func readOptions(head []byte, arrived int64) *Options {
	var r reading
	for len(head) > 1 {
		end := bytes.IndexByte(head, '\n')
		line := head[:end]
		head = head[end+1:]
		name, value, _ := bytes.Cut(line, []byte{':'})
		r.stored(name, value, true)
	}
	return r.finish(arrived)
}

// stored reads a field in its stored form, which may have escapes only if escaped.
func (r *reading) stored(name, value []byte, escaped bool) {
	if escaped && bytes.IndexByte(value, '\\') >= 0 {
		value = []byte(unescape(value))
	}
	r.field(name, value)
}

// reading gathers Options from header fields.
type reading struct {
	opt     *Options
	ttl     int64 // milliseconds; 0: not named
	expires bool  // named absolutely
	err     *HeaderError
}

// Every header that means an option, the spelling of this server first: RabbitMQ's,
// ActiveMQ's, Artemis's and Apollo's follow.
func (r *reading) field(name, value []byte) {
	if len(name) < 3 || len(name) > 22 {
		return
	}
	switch string(name) {
	case "expires":
		if n, ok := r.number(name, value, math.MaxInt64); ok && n > 0 {
			o := r.options()
			if !r.expires || n < o.Expires {
				o.Expires = n
			}
			r.expires = true
		}
	case "ttl", "expiration":
		if n, ok := r.number(name, value, math.MaxInt64/2); ok && (r.ttl == 0 || n < r.ttl) {
			r.options()
			r.ttl = max(n, 1)
		}
	case "delay", "x-delay", "AMQ_SCHEDULED_DELAY":
		if n, ok := r.number(name, value, math.MaxInt64/2); ok && n > 0 {
			r.options().Due = -n // until it is known when it came
		}
	case "deliver-at", "AMQ_SCHEDULED_TIME", "_AMQ_SCHED_DELIVERY":
		if n, ok := r.number(name, value, math.MaxInt64); ok && n > 0 {
			r.options().Due = n
		}
	case "AMQ_SCHEDULED_PERIOD":
		if n, ok := r.number(name, value, math.MaxInt64/int64(time.Millisecond)); ok && n > 0 {
			r.options().Period = time.Duration(n) * time.Millisecond
		}
	case "AMQ_SCHEDULED_REPEAT":
		if string(bytes.TrimSpace(value)) == "-1" {
			r.options().Repeat = -1
		} else if n, ok := r.number(name, value, math.MaxInt32); ok && n > 0 {
			r.options().Repeat = int(n)
		}
	case "AMQ_SCHEDULED_CRON":
		if v := bytes.TrimSpace(value); len(v) > 0 {
			r.options().Cron = string(v)
		}
	case "priority":
		if n, ok := r.number(name, value, 255); ok && n != DefaultPriority {
			r.options().Priority = uint8(min(n, 9))
		}
	case "message-group", "JMSXGroupID", "message_group", "_AMQ_GROUP_ID":
		if len(value) > 0 && (r.opt == nil || r.opt.Group == "") {
			r.options().Group = string(value)
		}
	case "message-group-seq", "JMSXGroupSeq", "_AMQ_GROUP_SEQUENCE":
		if string(bytes.TrimSpace(value)) == "-1" {
			r.options().GroupEnd = true
		}
	case "dedupe-id", "_AMQ_DUPL_ID", "Nats-Msg-Id", "idempotency-key", "x-deduplication-header":
		r.dedupe(value)
	case "_AMQ_LVQ_NAME", "last-value-key", "last_value_key":
		if len(value) > 0 {
			r.options().Key = string(value)
		}
	case "retain":
		r.retain(name, value)
	case "mandatory":
		if r.flag(name, value) {
			r.options().Mandatory = true
		}
	case "confirm":
		if r.flag(name, value) {
			r.options().Confirm = true
		}
	case "reply-to":
		for _, p := range ownReplies {
			if bytes.HasPrefix(value, p) {
				r.options().OwnReply = true
			}
		}
	}
}

// ownReplies are how names begin that only their own connection can mean.
var ownReplies = [][]byte{[]byte("/temp-queue/"), []byte("/temp-topic/"), []byte("temp-queue://"), []byte("temp-topic://")}

func (r *reading) flag(name, value []byte) bool {
	on, ok := parseBool(value)
	if !ok {
		r.fail(name, value, "true or false")
	}
	return on
}

func (r *reading) dedupe(value []byte) {
	if len(value) > 0 && (r.opt == nil || r.opt.Dedupe == "") {
		r.options().Dedupe = string(value)
	}
}

func (r *reading) retain(name, value []byte) {
	switch string(bytes.TrimSpace(value)) {
	case "set", "true":
		r.options().Retain = RetainSet
	case "remove":
		r.options().Retain = RetainRemove
	case "", "false":
	default:
		r.fail(name, value, "set or remove")
	}
}

func (r *reading) options() *Options {
	if r.opt == nil {
		o := noOptions
		r.opt = &o
	}
	return r.opt
}

func (r *reading) number(name, value []byte, most int64) (int64, bool) {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	if err != nil || n < 0 || n > most {
		r.fail(name, value, "a whole number, not below 0")
		return 0, false
	}
	return n, true
}

func (r *reading) fail(name, value []byte, want string) {
	if r.err == nil {
		r.err = &HeaderError{string(name), string(value), want}
	}
}

// finish turns what is relative into what is absolute: to when the message came, and a time
// to live to when it is due. A value that nobody can live to see is none.
func (r *reading) finish(arrived int64) *Options {
	o := r.opt
	if o == nil {
		return nil
	}
	if o.Due < 0 {
		o.Due = arrived - o.Due
	}
	if r.ttl > 0 {
		at := max(arrived, o.Due) + r.ttl
		if at > 0 && (o.Expires == 0 || at < o.Expires) {
			o.Expires = at
		}
	}
	if *o == noOptions {
		return nil
	}
	return o
}
