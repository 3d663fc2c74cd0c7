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
	"stompserver/internal/rights"
)

// declare gives a queue that is not there yet the properties that the headers of f ask for. Of
// one that is there they change nothing. The right to do so is asked for the name of.
func (s *session) declare(f *frame.Frame, queue, of string) error {
	p, err := properties(f)
	if err != nil || p == (broker.Properties{}) {
		return err
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
		if len(name) < 5 {
			continue
		}
		switch {
		case bytes.HasPrefix(name, []byte("x-")), bytes.HasPrefix(name, []byte("quota")):
			return true
		case string(name) == "auto-delete", string(name) == "full_policy", string(name) == "address-full-policy", string(name) == "ring-size", string(name) == "last-value", string(name) == "non-destructive":
			return true
		}
	}
	return false
}

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
	p.MaxMessages = count("x-max-length", "quota_messages")
	p.MaxBytes = int64(count("x-max-length-bytes", "quota"))
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
	if p.MaxMessages > 0 || p.MaxBytes > 0 {
		p.WhenFull = broker.DropHead // as RabbitMQ does
		if f.Header.Value("quota_messages") != "" || f.Header.Value("quota") != "" {
			p.WhenFull = broker.Block // as Apollo does
		}
	}
	if n := count("ring-size"); err == nil && n > 0 {
		p.MaxMessages, p.WhenFull = n, broker.DropHead
	}
	for _, name := range []string{"x-overflow", "full_policy", "address-full-policy"} {
		v, ok := f.Header.Get(name)
		if !ok {
			continue
		}
		policy, ok := policies[strings.ToLower(string(bytes.TrimSpace(v)))]
		if policy != broker.FullUnset {
			p.WhenFull = policy
		}
		if !ok {
			return p, errHeader(f.Command, name, v, "drop-head, reject-publish, reject-publish-dlx, drop head, drop tail, block, or DROP, FAIL, BLOCK, PAGE")
		}
	}
	if key := f.Header.Value("x-dead-letter-routing-key"); key != "" && f.Header.Value("x-dead-letter-exchange") == "" {
		p.DeadLetter = destination.QueuePrefix + strings.TrimPrefix(key, destination.QueuePrefix)
	}
	return p, err
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
}
