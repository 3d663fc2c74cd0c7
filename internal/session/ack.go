package session

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/store"
)

// An ack id is "<num>-<tag>": the server's number of the subscription and that of the
// delivery in it. Each delivery has its own, so one that is settled names nothing.
func appendAckID(dst []byte, num, tag uint64) []byte {
	dst = append(appendUint(dst, num), '-')
	return appendUint(dst, tag)
}

// parseAckID reads an ack id. It is called for each ACK.
func parseAckID(id []byte) (num, tag uint64, ok bool) {
	dash := bytes.IndexByte(id, '-')
	if dash < 0 {
		return 0, 0, false
	}
	num, ok1 := parseDigits(id[:dash])
	tag, ok2 := parseDigits(id[dash+1:])
	return num, tag, ok1 && ok2 && tag > 0
}

// parseDigits reads a number of up to 19 digits, which cannot overflow.
func parseDigits(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}

// maxReason bounds what a NACK may say of its reason, in bytes.
const maxReason = 4 << 10

// A target is what an ACK or NACK names.
type target struct {
	sub    *subscr
	ref    broker.Ref
	ignore bool // a delivery of mode auto: there is nothing to settle
}

// find reads what f names: by id, the ack header of a 1.2 MESSAGE, or by message-id and
// subscription as in 1.1, by message-id alone as in 1.0; in every version by any of them.
func (s *session) find(f *frame.Frame) (target, error) {
	id, ok := f.Header.Get("id")
	if !ok {
		if id, ok = f.Header.Get("message-id"); !ok {
			if s.version == frame.V12 {
				return target{}, errMissing(f.Command, "id")
			}
			return target{}, errMissing(f.Command, "message-id")
		}
	}
	if num, tag, ok := parseAckID(id); ok {
		if sub := s.subs.byNum(num); sub != nil {
			return target{sub: sub, ref: broker.Ref{Tag: tag}}, nil
		}
		return target{}, s.ackUnknown(f, id)
	}
	return s.findByMessageID(f, id)
}

// findByMessageID looks in the subscription that f names. If there is none of that id the
// message-id alone has to do, as in RabbitMQ, whose clients may name what they like.
func (s *session) findByMessageID(f *frame.Frame, id []byte) (target, error) {
	name, named := f.Header.Get("subscription")
	t, ok := s.lookIn(func(sub *subscr) bool { return !named || sub.id == string(name) }, id)
	if !ok && named && !s.subs.named(string(name)) {
		t, ok = s.lookIn(func(*subscr) bool { return true }, id)
	}
	if !ok {
		return t, s.ackUnknown(f, id)
	}
	return t, nil
}

// lookIn finds a message-id among the deliveries of those subscriptions that may have it.
func (s *session) lookIn(may func(*subscr) bool, id []byte) (t target, ok bool) {
	for _, sub := range s.subs.list {
		if !may(sub) {
			continue
		}
		digits, ok := bytes.CutPrefix(id, []byte(sub.bs.IDPrefix()))
		if !ok {
			continue
		}
		seq, err := strconv.ParseUint(string(digits), 10, 64)
		if err != nil || seq == 0 {
			continue
		}
		if sub.bs.Mode() == broker.Auto {
			t.ignore = true
			continue
		}
		ref := broker.Ref{Seq: store.Seq(seq)}
		if sub.bs.Holds(ref) {
			return target{sub: sub, ref: ref}, true
		}
	}
	return t, t.ignore
}

func (s *session) ackUnknown(f *frame.Frame, id []byte) *Error {
	return errf(codeAckUnknown, "Message not found", "%s names the message %s, which this connection does not have or has settled already.", f.Command, cut(id))
}

// ack answers ACK.
func (s *session) ack(f *frame.Frame) error {
	if len(f.Header) > 1 { // most name a delivery and nothing else
		if v, ok := f.Header.Get("credit"); ok {
			if err := s.addCredit(f, v); err != nil {
				return err
			}
			if _, ok := f.Header.Get("id"); !ok && f.Header.Value("message-id") == "" {
				s.receipt(f)
				return nil
			}
		}
		if _, ok := f.Header.Get("extend"); ok {
			return s.extend(f)
		}
	}
	return s.settle(f, func(t target, tx *broker.Transaction) error {
		if tx != nil || t.sub.group != nil {
			return s.settleGroup(f, t, tx, func(tx *broker.Transaction, t target) error {
				return tx.Ack(t.sub.bs, t.ref, &s.wake)
			})
		}
		op := s.op(f, 0)
		err := t.sub.bs.Ack(t.ref, op, &s.wake)
		if err != nil {
			s.unused(op)
		}
		return err
	})
}

// addCredit lets the subscription that f names have more deliveries, as Apollo's clients ask
// for it.
func (s *session) addCredit(f *frame.Frame, v []byte) error {
	name, ok := f.Header.Get("subscription")
	if !ok {
		return errMissing(f.Command, "subscription")
	}
	n, _, _, ok := parseCredit(string(v))
	if !ok || n < 0 {
		return errHeader(f.Command, "credit", v, "a number of messages")
	}
	sub := s.subs.byName(string(name))
	if sub == nil {
		return errf(codeSubscriptionUnknown, "No subscription found", "This connection has no subscription with the id %s.", cut(name))
	}
	for _, p := range sub.whole() {
		p.bs.AddCredit(n, &s.wake)
	}
	return nil
}

// extend answers an ACK with the header extend, which settles nothing: the client is at work
// and wants that much more time.
func (s *session) extend(f *frame.Frame) error {
	ms, err := number(f, 0, 1, math.MaxInt32, "extend")
	if err != nil {
		return err
	}
	t, err := s.find(f)
	if err != nil {
		return err
	}
	if !t.ignore && t.sub.bs.Extend(t.ref, time.Duration(ms)*time.Millisecond) != nil {
		id, _ := f.Header.Get("id")
		return s.ackUnknown(f, id)
	}
	s.receipt(f)
	return nil
}

// nack answers NACK; its header requeue:false sends the message to the dead letters, delay has
// it wait before it comes again.
func (s *session) nack(f *frame.Frame) error {
	requeue, err := flag(f, true, "requeue")
	if err != nil {
		return err
	}
	delay, err := number(f, -1, 0, math.MaxInt32, "delay")
	if err != nil {
		return err
	}
	r := broker.Refusal{Dead: !requeue, Delay: time.Duration(delay) * time.Millisecond, Reason: f.Header.Value("reason")}
	if len(r.Reason) > maxReason {
		r.Reason = r.Reason[:maxReason]
	}
	if err := s.notShown(f); err != nil {
		return err
	}
	return s.settle(f, func(t target, tx *broker.Transaction) error {
		if tx != nil || t.sub.group != nil {
			return s.settleGroup(f, t, tx, func(tx *broker.Transaction, t target) error {
				return tx.Nack(t.sub.bs, t.ref, r, &s.wake)
			})
		}
		op := s.op(f, 0)
		err := t.sub.bs.Nack(t.ref, r, op, &s.wake)
		if err != nil {
			s.unused(op)
		}
		return err
	})
}

// notShown refuses a NACK that names a subscription which browses: who was only shown a message cannot refuse it.
// Where what is delivered is kept nothing can be settled, and that is passed over.
func (s *session) notShown(f *frame.Frame) error {
	name, ok := f.Header.Get("subscription")
	if !ok {
		return nil
	}
	sub := s.subs.byName(string(name))
	if sub == nil || !sub.browses || s.b.Keeps(sub.dest) || sub.topic {
		return nil
	}
	e := errf(codeAckUnknown, "Message not found", "NACK names the subscription %s, which browses: what it is shown is not its own.", cut(name))
	e.Subscription = string(name)
	return e
}

// settleGroup settles in a transaction, its own if tx is nil, what f names and, where that is
// cumulative, what the other parts of the same subscription delivered before.
func (s *session) settleGroup(f *frame.Frame, t target, tx *broker.Transaction, one func(*broker.Transaction, target) error) error {
	own := tx == nil
	if own {
		tx = s.b.Begin()
	}
	err := one(tx, t)
	if err == nil && t.sub.group != nil && t.sub.bs.Mode() == broker.Client {
		for _, other := range t.sub.group.before(t) {
			if other.sub != t.sub {
				_ = one(tx, other) // what is settled already is no error
			}
		}
	}
	switch {
	case !own:
	case err != nil:
		tx.Abort()
	default:
		tx.Commit(s.op(f, 0), &s.wake)
	}
	return err
}

// settle is what ACK and NACK share.
func (s *session) settle(f *frame.Frame, do func(target, *broker.Transaction) error) error {
	tx, err := s.joined(f)
	if err != nil {
		return err
	}
	t, err := s.find(f)
	if err != nil {
		return err
	}
	if t.ignore {
		s.receipt(f)
		return nil
	}
	if err := do(t, tx); err == broker.ErrUnknown {
		id, ok := f.Header.Get("id")
		if !ok {
			id, _ = f.Header.Get("message-id")
		}
		return s.ackUnknown(f, id)
	} else if err != nil {
		return err
	}
	if tx != nil {
		s.receipt(f)
	} else if t.sub.gone {
		for _, p := range t.sub.whole() {
			s.subs.weed(p)
		}
	}
	return nil
}
