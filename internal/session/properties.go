package session

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/rights"
)

// declare gives a queue that is not there yet the properties that the headers of f ask for. Of
// one that is there they change nothing. The right to do so is asked for the name of.
func (s *session) declare(f *frame.Frame, queue, of string) error {
	p, err := properties(f)
	if err != nil {
		return err
	}
	return s.declareAs(f, queue, of, p)
}

// declareFed is declare for a queue that a topic feeds. It is not for one subscriber to have all who send to
// the topic wait, or be refused.
func (s *session) declareFed(f *frame.Frame, queue, of string) error {
	p, err := properties(f)
	switch {
	case err != nil:
		return err
	case p.WhenFull == broker.Block || p.WhenFull == broker.Reject:
		return errf(codeBadHeader, "Invalid header", "SUBSCRIBE asks for a queue at which, when it is full, who sends to %s waits or is refused: that is for the configuration to say. It can be drop_head, drop_new or dead_letter.", cut([]byte(f.Header.Value("destination"))))
	case p.WhenFull == broker.FullUnset && (p.MaxMessages > 0 || p.MaxBytes > 0):
		p.WhenFull = broker.DropHead
	}
	return s.declareAs(f, queue, of, p)
}

func (s *session) declareAs(f *frame.Frame, queue, of string, p broker.Properties) error {
	if p == (broker.Properties{}) {
		return nil
	}
	fresh := s.b.Makes(queue) // or nobody asked for the right to make it
	if fresh {
		if err := s.may(rights.Create, of, of); err != nil {
			return err
		}
		if p.DeadLetter != "" { // the server will write there
			dead := broker.DeadLetterOf(queue, p.DeadLetter)
			if err := s.may(rights.Write, dead, dead); err != nil {
				return err
			}
			if s.cfg.NoAutoCreate {
				if err := s.mayMake(f, &destination.Name{Kind: destination.Queue, Text: dead, Spelt: dead}); err != nil {
					return err
				}
			}
		}
	}
	same, err := s.b.Declare(queue, p, fresh)
	if err == nil && !same {
		s.unlike = true
		s.log().Info("queue has other properties than a client asks for; it keeps them", "destination", queue)
	}
	return err
}

// declareTopic has a topic keep what it is sent, if the headers of f ask for it as they do of a queue.
func (s *session) declareTopic(f *frame.Frame, n destination.Name) error {
	asked, err := properties(f)
	if err != nil || !asked.NonDestructive && !asked.LastValue {
		return err
	}
	queue, ok := s.b.KeptQueue(n.Text)
	if !ok {
		return nil
	}
	p := broker.Properties{NonDestructive: true, LastValue: asked.LastValue, MaxMessages: asked.MaxMessages, MaxBytes: asked.MaxBytes}
	if p.MaxMessages > 0 || p.MaxBytes > 0 {
		p.WhenFull = broker.DropHead
	}
	if v, ok := f.Header.Get("x-max-age"); ok {
		p.MaxAge, _ = maxAge(string(bytes.TrimSpace(v))) // which was looked at
	}
	fresh := s.b.Makes(queue)
	if fresh {
		if err := s.may(rights.Create, n.Text, n.Spelt); err != nil {
			return err
		}
	}
	same, err := s.b.Declare(queue, p, fresh)
	if err == nil && !same {
		s.unlike = true
		s.log().Info("topic keeps other messages than a client asks for; that stays so", "destination", n.Text)
	}
	return err
}

// mayDeclare reports whether f has a header that is about the queue, which few have.
func mayDeclare(f *frame.Frame) bool {
	for i := range f.Header {
		name := f.Header[i].Name
		if message.Declares(name) || f.Command != frame.Send && string(name) == "persistent" { // where it is not about the message
			return true
		}
	}
	return false
}

// The headers of limits, those whose names are the configuration's first.
var (
	maxMessages = []string{"max-messages", "max_messages", "x-max-length", "quota_messages"}
	maxBytes    = []string{"max-bytes", "max_bytes", "x-max-length-bytes", "quota"}
	whenFull    = []string{"when-full", "when_full", "x-overflow", "full_policy", "address-full-policy"}
)

// properties reads what the headers of RabbitMQ, Apollo and Artemis say of a queue.
func properties(f *frame.Frame) (p broker.Properties, err error) {
	if !mayDeclare(f) {
		return p, nil
	}
	count := func(names ...string) int {
		n := 0
		if err == nil {
			n, err = number(f, 0, 0, math.MaxInt, names...)
		}
		return n
	}
	span := func(names ...string) time.Duration {
		return time.Duration(min(int64(count(names...)), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	}
	p.MaxMessages = count(maxMessages...)
	p.MaxBytes = int64(count(maxBytes...))
	p.TTL = span("x-message-ttl")
	p.IdleAfter = span("x-expires")
	p.MaxDeliveries = count("x-delivery-limit")
	if err == nil {
		p.MaxPriority, err = number(f, 0, 0, broker.MostPriority, "x-max-priority")
	}
	if err != nil {
		return p, err
	}
	if p.AutoDelete, err = flag(f, false, "auto-delete"); err != nil {
		return p, err
	}
	if p.SingleActive, err = flag(f, false, "x-single-active-consumer"); err != nil {
		return p, err
	}
	if p.LastValue, err = flag(f, false, "last-value"); err != nil {
		return p, err
	}
	if p.NonDestructive, err = flag(f, isStream(f), "non-destructive"); err != nil {
		return p, err
	}
	if v, ok := f.Header.Get("x-max-age"); ok {
		if p.TTL, ok = maxAge(string(bytes.TrimSpace(v))); !ok {
			return p, errHeader(f.Command, "x-max-age", v, "a number and Y, M, D, h, m or s, such as 7D")
		}
	}
	if f.Header.Value("x-max-length") != "" || f.Header.Value("x-max-length-bytes") != "" {
		p.WhenFull = broker.DropHead // as RabbitMQ does
	}
	for _, name := range []string{"quota_messages", "quota", "max-messages", "max_messages", "max-bytes", "max_bytes"} {
		if f.Header.Value(name) != "" {
			p.WhenFull = broker.FullUnset // block, as Apollo and a rule do
		}
	}
	if n := count("ring-size"); err == nil && n > 0 {
		p.MaxMessages, p.WhenFull = n, broker.DropHead
	}
	for _, name := range whenFull {
		v, ok := f.Header.Get(name)
		if !ok {
			continue
		}
		policy, ok := policies[strings.ToLower(string(bytes.TrimSpace(v)))]
		if policy != broker.FullUnset {
			p.WhenFull = policy
		}
		if !ok {
			return p, errHeader(f.Command, name, v, "block, reject, drop_head, drop_new, dead_letter, or drop-head, reject-publish, reject-publish-dlx, drop head, drop tail, or DROP, FAIL, BLOCK, PAGE")
		}
	}
	if key := f.Header.Value("x-dead-letter-routing-key"); key != "" && f.Header.Value("x-dead-letter-exchange") == "" {
		p.DeadLetter = destination.QueuePrefix + strings.TrimPrefix(key, destination.QueuePrefix)
	}
	if err == nil {
		err = lasts(f, &p)
	}
	if err == nil {
		err = dispatches(f, &p)
	}
	return p, err
}

// lasts reads whether a queue is durable, which is so if nobody says something else, and whether it heeds
// priorities. The header persistent is about the queue on SUBSCRIBE, as in RabbitMQ, and about the message on SEND.
func lasts(f *frame.Frame, p *broker.Properties) error {
	names := []string{"durable", "persistent"}
	if f.Command == frame.Send {
		names = names[:1]
	}
	durable, err := flag(f, true, names...)
	if err != nil {
		return err
	}
	switch kind := f.Header.Value("x-queue-type"); kind {
	case "", "classic":
		if !durable {
			p.Durable = broker.No
		}
	case "quorum", "stream": // which are durable
	default:
		return errHeader(f.Command, "x-queue-type", []byte(kind), "classic, quorum or stream")
	}
	heeds, err := flag(f, true, "priorities")
	if !heeds {
		p.Priorities = broker.No
	}
	return err
}

// dispatches reads when the queue begins to hand out, as Artemis has it.
func dispatches(f *frame.Frame, p *broker.Properties) (err error) {
	if p.Consumers, err = number(f, 0, 0, math.MaxInt32, "consumers-before-dispatch"); err != nil {
		return err
	}
	after, err := number(f, -1, -1, math.MaxInt32, "delay-before-dispatch")
	if err != nil || after < 0 {
		return err
	}
	if p.Consumers == 0 {
		return errHeader(f.Command, "delay-before-dispatch", []byte(f.Header.Value("delay-before-dispatch")), "that consumers-before-dispatch is there as well, which it bounds the wait for,")
	}
	p.DispatchAfter = max(time.Duration(after)*time.Millisecond, time.Millisecond)
	return nil
}

// ages are the units of RabbitMQ's x-max-age.
var ages = map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'D': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}

const day = 24 * time.Hour

func maxAge(v string) (time.Duration, bool) {
	if v == "" {
		return 0, false
	}
	unit := ages[v[len(v)-1]]
	n, err := strconv.ParseInt(v[:len(v)-1], 10, 64)
	if err != nil || unit == 0 || n < 1 || n > int64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// policies are the words of others for what becomes of a message when the queue is full.
var policies = map[string]broker.Full{
	"drop-head": broker.DropHead, "drop head": broker.DropHead,
	"drop tail": broker.DropNew, "drop": broker.DropNew,
	"reject-publish": broker.Reject, "fail": broker.Reject, "block": broker.Block, "page": broker.FullUnset,
	"reject-publish-dlx": broker.DeadLetterIt,
	"reject":             broker.Reject, "drop_head": broker.DropHead, "drop_new": broker.DropNew, "dead_letter": broker.DeadLetterIt,
}
