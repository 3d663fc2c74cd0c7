package session

import (
	"bytes"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
)

// A subscr is one subscription of a session.
type subscr struct {
	s     *session
	bs    *broker.Subscription
	id    string // the client's name for it, if it has one
	named bool   // it has one
	dest  string
	num   uint64 // the server's name for it, in ack ids
	topic bool
	gone  bool // UNSUBSCRIBE came; deliveries may still be settled
	vain  bool // the client asked to acknowledge what needs it not: the monitor's reports

	head    []byte        // what each MESSAGE to it begins with, up to the Seq in message-id
	written atomic.Uint64 // tag of the last delivery whose bytes the socket took
}

// Deliver implements broker.Consumer.
func (sub *subscr) Deliver(d broker.Delivery, w *broker.Wake) bool {
	s := sub.s
	o := &s.out
	o.mu.Lock()
	if o.last || o.closed {
		if !sub.topic {
			o.note(sub, d) // given back when the session ends
		}
		o.mu.Unlock()
		return false
	}
	o.message(sub, d, s.version)
	if !sub.topic || d.Tag != 0 {
		o.note(sub, d)
	}
	more := o.size < s.cfg.highWater()
	if !more {
		o.held = append(o.held, sub)
	}
	if !o.flagged && !o.writing {
		o.flagged = true
		w.Add(s)
	}
	o.mu.Unlock()
	if s.cfg.Debug {
		s.trace("frame sent", "command", "MESSAGE", "destination", d.Msg.Destination(), "subscription", sub.id, "body_bytes", len(d.Msg.Body()))
	}
	return more
}

// Lagging implements broker.Consumer.
func (sub *subscr) Lagging(n int) {
	s := sub.s
	if s.dropped.Add(uint64(n)) == uint64(n) {
		s.log().Warn("slow subscriber", "destination", sub.dest, "subscription", sub.id, "limit", s.cfg.Limits.Outbox)
	}
	if s.cfg.Disconnect {
		e := errLimit("limits.outbox", s.cfg.Limits.Outbox, "The client does not read fast enough what the topic %q brings.", sub.dest)
		e.Subscription = sub.id
		s.fail(e)
	}
}

// appendHead begins the MESSAGE of d.
func (sub *subscr) appendHead(dst []byte, d broker.Delivery) []byte {
	dst = append(dst, sub.head...)
	dst = strconv.AppendUint(dst, uint64(d.Seq), 10)
	if d.Attempt > 1 {
		dst = append(dst, "\nredelivered:true\ndelivery-count:"...)
		dst = strconv.AppendUint(dst, uint64(d.Attempt), 10)
		dst = append(dst, '\n')
	} else {
		dst = append(dst, "\nredelivered:false\n"...)
	}
	if d.Tag != 0 && sub.s.version == frame.V12 {
		dst = append(dst, "ack:"...)
		dst = appendAckID(dst, sub.num, d.Tag)
		dst = append(dst, '\n')
	} else if sub.vain && sub.s.version == frame.V12 {
		// Libraries look for the header; an ACK by message-id is ignored.
		dst = append(dst, "ack:"...)
		dst = append(dst, sub.bs.IDPrefix()...)
		dst = strconv.AppendUint(dst, uint64(d.Seq), 10)
		dst = append(dst, '\n')
	}
	return dst
}

// A subTable holds the subscriptions of a session in the order of their num, those that
// only wait for acknowledgements included.
type subTable struct {
	list []*subscr
	byID map[string]*subscr // made when there are many
	next uint64
}

// close ends all subscriptions, and gives back what was delivered and not settled.
func (t *subTable) close(w *broker.Wake) {
	for _, sub := range t.list {
		sub.bs.Close(sub.written.Load(), w)
	}
	*t = subTable{}
}

// outstanding reports whether the client has to settle anything of a queue.
func (t *subTable) outstanding() bool {
	for _, sub := range t.list {
		if !sub.topic && sub.bs.Outstanding() > 0 {
			return true
		}
	}
	return false
}

// room reports whether limit allows one more. What is over and only waits for
// acknowledgements counts as well; of a topic, where these change nothing, it makes way.
func (t *subTable) room(limit int) bool {
	if len(t.list) < limit {
		return true
	}
	for i, sub := range t.list {
		if sub.gone && sub.topic {
			t.list = slices.Delete(t.list, i, i+1)
			return true
		}
	}
	return false
}

const manySubs = 8

func (t *subTable) byName(id string) *subscr {
	if t.byID != nil {
		return t.byID[id]
	}
	for _, sub := range t.list {
		if sub.named && !sub.gone && sub.id == id {
			return sub
		}
	}
	return nil
}

func (t *subTable) byNum(num uint64) *subscr {
	lo, hi := 0, len(t.list)
	for lo < hi {
		if mid := (lo + hi) / 2; t.list[mid].num < num {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(t.list) && t.list[lo].num == num {
		return t.list[lo]
	}
	return nil
}

func (t *subTable) add(sub *subscr) {
	t.list = append(t.list, sub)
	if t.byID == nil && len(t.list) > manySubs {
		t.byID = make(map[string]*subscr)
		for _, o := range t.list {
			if o.named && !o.gone {
				t.byID[o.id] = o
			}
		}
	} else if t.byID != nil && sub.named {
		t.byID[sub.id] = sub
	}
}

// end marks sub as unsubscribed; it stays in the list while it has deliveries in flight.
func (t *subTable) end(sub *subscr) {
	sub.gone = true
	if t.byID != nil && sub.named {
		delete(t.byID, sub.id)
	}
	t.weed(sub)
}

// weed removes sub if it is over.
func (t *subTable) weed(sub *subscr) {
	if !sub.gone || sub.bs.Outstanding() > 0 {
		return
	}
	if i := slices.Index(t.list, sub); i >= 0 {
		t.list = slices.Delete(t.list, i, i+1)
	}
}

// refusedOnSubscribe are headers whose meaning this server does not know yet: without
// them the client would get other messages than it asked for, so it is told.
var refusedOnSubscribe = []struct {
	name, code, what string
	topic            bool // of topics only
}{
	{"selector", codeBadSelector, "selectors", false},
	{"browser", codeBadHeader, "browsing a queue", false},
	{"durable", codeBadHeader, "durable subscriptions", true},
	{"persistent", codeBadHeader, "durable subscriptions", true},
	{"activemq.subscriptionName", codeBadHeader, "durable subscriptions", true},
	{"durable-subscription-name", codeBadHeader, "durable subscriptions", true},
	{"durable-subscriber-name", codeBadHeader, "durable subscriptions", true},
}

// subscribe answers SUBSCRIBE.
func (s *session) subscribe(f *frame.Frame) error {
	name, err := destination(f)
	if err != nil {
		return err
	}
	id, named := f.Header.Get("id")
	switch {
	case !named && s.version > frame.V10:
		return errMissing(f.Command, "id")
	case named && s.subs.byName(string(id)) != nil:
		e := errf(codeSubscriptionExists, "Duplicated subscription identifier", "This connection has a subscription with the id %s already.", cut(id))
		e.Subscription = string(id)
		return e
	case !s.subs.room(s.cfg.Limits.Subscriptions):
		return errLimit("limits.subscriptions", s.cfg.Limits.Subscriptions, "This connection has too many subscriptions, those included whose messages it has not acknowledged.")
	}
	dest := string(name)
	for _, r := range refusedOnSubscribe {
		v := string(bytes.ToLower(bytes.TrimSpace([]byte(f.Header.Value(r.name)))))
		if v != "" && v != "false" && v != "0" && !(r.topic && s.b.IsQueue(dest)) {
			return errf(r.code, "Invalid header", "SUBSCRIBE has the header %q, but %s are not known to this version of the server.", r.name, r.what)
		}
	}
	o := broker.Options{Budget: &s.budget}
	if o.Mode, err = ackMode(f); err != nil {
		return err
	}
	if o.Prefetch, err = prefetch(f, s.cfg.Limits.Prefetch); err != nil {
		return err
	}
	if s.b.MemoryFull() && s.b.Makes(dest) {
		if err := s.awaitMemory(s.b.MemoryFull); err != nil {
			return err
		}
	}
	sub := &subscr{s: s, id: string(id), named: named, dest: dest, num: s.subs.next, topic: !s.b.IsQueue(dest)}
	o.Consumer = sub
	if sub.bs, err = s.b.Subscribe(dest, o); err != nil {
		return err
	}
	sub.vain = o.Mode != broker.Auto && sub.bs.Mode() == broker.Auto
	sub.head = append(sub.head, "MESSAGE\n"...)
	if named {
		sub.head = append(sub.head, "subscription:"...)
		sub.head = append(frame.AppendEscaped(sub.head, id, s.version), '\n')
	}
	sub.head = append(sub.head, "message-id:"...)
	sub.head = append(sub.head, sub.bs.IDPrefix()...)
	s.subs.next++
	s.subs.add(sub)
	s.receipt(f) // before the first MESSAGE
	sub.bs.Start(&s.wake)
	return nil
}

func ackMode(f *frame.Frame) (broker.AckMode, error) {
	v, ok := f.Header.Get("ack")
	switch string(bytes.TrimSpace(v)) {
	case "auto", "none":
		return broker.Auto, nil
	case "client":
		return broker.Client, nil
	case "client-individual":
		return broker.ClientIndividual, nil
	}
	if !ok {
		return broker.Auto, nil
	}
	return 0, errHeader(f.Command, "ack", v, "auto, client or client-individual")
}

// prefetchNames are the spellings of prefetch-count, in the order they are looked for.
var prefetchNames = []string{"prefetch-count", "activemq.prefetchSize", "prefetch", "credit"}

// prefetch reads how many deliveries may be in flight: 0 counts as 1, -1 is without limit.
// Apollo's credit may name bytes behind a comma; these are not counted.
func prefetch(f *frame.Frame, def int) (int, error) {
	for _, name := range prefetchNames {
		v, ok := f.Header.Get(name)
		if !ok {
			continue
		}
		if name == "credit" {
			v, _, _ = bytes.Cut(v, []byte{','})
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(v)))
		if err != nil || n < -1 {
			return 0, errHeader(f.Command, name, v, "a whole number, or -1 for no limit")
		}
		if n == 0 {
			n = 1
		}
		return n, nil
	}
	return def, nil
}

// unsubscribe answers UNSUBSCRIBE: by id, in 1.0 also by destination, which ends all
// subscriptions of the connection to it.
func (s *session) unsubscribe(f *frame.Frame) error {
	if id, ok := f.Header.Get("id"); ok {
		sub := s.subs.byName(string(id))
		if sub == nil {
			e := errf(codeSubscriptionUnknown, "No subscription found", "This connection has no subscription with the id %s.", cut(id))
			e.Subscription = string(id)
			return e
		}
		s.endSubscription(sub)
		s.receipt(f)
		return nil
	}
	if s.version > frame.V10 {
		return errMissing(f.Command, "id")
	}
	dest, err := destination(f)
	if err != nil {
		return err
	}
	var ended []*subscr
	for _, sub := range s.subs.list {
		if !sub.gone && sub.dest == string(dest) {
			ended = append(ended, sub)
		}
	}
	if len(ended) == 0 {
		return errf(codeSubscriptionUnknown, "No subscription found", "This connection has no subscription to %s.", cut(dest))
	}
	for _, sub := range ended {
		s.endSubscription(sub)
	}
	s.receipt(f)
	return nil
}

func (s *session) endSubscription(sub *subscr) {
	sub.bs.Detach(&s.wake)
	s.subs.end(sub)
}

// authTime is how long a login may be looked into.
func (l *Limits) authTime() time.Duration {
	if l.LoginTimeout > 0 {
		return l.LoginTimeout
	}
	return time.Minute
}
