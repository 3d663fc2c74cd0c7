package selector

import "bytes"

// A header is the value of a header of the message: text, that becomes a number or a truth
// where it is used as one.
type header struct {
	name    string // that Env knows
	special *special
}

// A special header is one that JMS or Artemis has another name for, and that every message
// has in a way.
type special struct {
	spelt  string   // its name in a selector
	names  []string // of the headers, the first that is there counts
	absent []byte   // the value if none is there; nil: NULL
	// modes are the names of not persistent and persistent, which then is the value.
	modes *[2][]byte
}

// jms are the names that JMS and Artemis have for headers of STOMP. They stand for these
// only without quotes.
var jms = map[string]special{
	"JMSCorrelationID":  {names: []string{"correlation-id"}},
	"JMSDeliveryMode":   {names: []string{"persistent"}, modes: &[2][]byte{[]byte("NON_PERSISTENT"), []byte("PERSISTENT")}},
	"JMSDestination":    {names: []string{"destination"}},
	"JMSExpiration":     {names: []string{"expires"}, absent: []byte("0")},
	"JMSMessageID":      {names: []string{"message-id"}},
	"JMSPriority":       {names: []string{"priority"}, absent: []byte("4")},
	"JMSRedelivered":    {names: []string{"redelivered"}, absent: []byte("false")},
	"JMSReplyTo":        {names: []string{"reply-to"}},
	"JMSTimestamp":      {names: []string{"timestamp"}},
	"JMSType":           {names: []string{"type"}},
	"JMSXDeliveryCount": {names: []string{"delivery-count"}, absent: []byte("1")},
	"JMSXGroupID":       {names: groupNames},
	"JMSXGroupSeq":      {names: []string{"message-group-seq", "JMSXGroupSeq"}, absent: []byte("0")},

	"AMQAddress":    {names: []string{"destination"}},
	"AMQDurable":    {names: []string{"persistent"}, modes: &[2][]byte{[]byte("NON_DURABLE"), []byte("DURABLE")}},
	"AMQExpiration": {names: []string{"expires"}, absent: []byte("0")},
	"AMQGroupID":    {names: groupNames},
	"AMQPriority":   {names: []string{"priority"}, absent: []byte("4")},
	"AMQSize":       {names: []string{"content-length"}},
	"AMQTimestamp":  {names: []string{"timestamp"}},
	"AMQUserID":     {names: []string{"message-id"}},
}

var groupNames = []string{"message-group", "JMSXGroupID", "message_group", "_AMQ_GROUP_ID"}

func newHeader(name string, quoted bool) *header {
	s, ok := jms[name]
	switch {
	case !ok || quoted:
		return &header{name: name}
	case len(s.names) == 1 && s.absent == nil && s.modes == nil:
		return &header{name: s.names[0]} // no more than another name
	}
	s.spelt = name
	return &header{name: s.names[0], special: &s}
}

func (h *header) rank() int { return precPrimary }

func (h *header) text(env Env) ([]byte, bool) {
	if h.special != nil {
		return h.special.text(env)
	}
	return env.Header(h.name)
}

func (h *header) number(env Env) (num, bool) {
	v, ok := h.text(env)
	if !ok {
		return num{}, false
	}
	return parseNumber(v)
}

func (h *header) test(env Env) truth {
	if v, ok := h.text(env); ok {
		if b, ok := parseTruth(v); ok {
			return truthOf(b)
		}
	}
	return unknown
}

func (h *header) appendTo(dst []byte) []byte {
	if h.special != nil {
		return append(dst, h.special.spelt...)
	}
	if _, taken := jms[h.name]; taken || reserved(h.name) != "" || nameLength(h.name, true) != len(h.name) {
		return appendQuoted(dst, h.name, `"`)
	}
	return append(dst, h.name...)
}

func (s *special) text(env Env) ([]byte, bool) {
	for _, name := range s.names {
		v, ok := env.Header(name)
		switch {
		case !ok:
		case s.modes != nil:
			off := string(bytes.TrimSpace(v)) == "0"
			if on, ok := parseTruth(v); off || ok && !on {
				return s.modes[0], true
			}
			return s.modes[1], true
		default:
			return v, true
		}
	}
	if s.modes != nil {
		return s.modes[1], true
	}
	return s.absent, s.absent != nil
}
