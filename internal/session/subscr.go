package session

import (
	"strconv"
	"sync/atomic"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/rights"
)

// A subscr is one subscription of a session.
type subscr struct {
	s       *session
	bs      *broker.Subscription
	id      string // the client's name for it, if it has one
	named   bool   // it has one
	dest    string // the broker's name for what it is to
	spelt   string // the client's
	of      string // the topic of the durable subscription that it is; empty: it is none
	shared  string // the durable subscription that lives as long as its users, of which sub is one
	group   *group // with those of the same SUBSCRIBE; nil: it is the only one
	num     uint64 // the server's name for it, in ack ids
	topic   bool
	silent  bool   // the server made it, for answers
	kind    Kind   // the same, to count by
	browses bool   // it takes nothing: there is nothing to give back
	seqName string // a header that tells the Seq; "": none
	offset  bool   // and so does x-stream-offset
	counts  bool   // it is told of the first delivery that it is

	exprs int            // bytes of the expressions in its pattern
	needs rights.Actions // the rights that it takes; none is consume

	gone bool // UNSUBSCRIBE came; deliveries may still be settled
	vain bool // the client asked to acknowledge what needs it not: the monitor's reports

	slow bool // it was told that it is

	head    []byte        // what each MESSAGE to it begins with, up to the Seq in message-id
	written atomic.Uint64 // tag of the last delivery whose bytes the socket took
}

// includeCount is the header of SUBSCRIBE that has each MESSAGE tell which delivery it is, the first too.
const includeCount = "include-delivery-count"

// Deliver implements broker.Consumer.
func (sub *subscr) Deliver(d broker.Delivery, w *broker.Wake) bool {
	s := sub.s
	o := &s.out
	o.mu.Lock()
	if o.last || o.closed {
		if !sub.topic && !sub.browses {
			o.note(sub, d) // given back when the session ends
		}
		o.mu.Unlock()
		return false
	}
	o.message(sub, d, s.version)
	if sub.group != nil {
		sub.group.delivered(sub, d)
	}
	if !sub.topic && !sub.browses || d.Tag != 0 {
		o.note(sub, d)
	} else {
		o.unnoted[sub.kind]++
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
func (sub *subscr) Lagging(n int, policy broker.Slow) {
	s := sub.s
	s.dropped.Add(uint64(n))
	if !sub.slow {
		sub.slow = true
		s.log().Warn("slow subscriber", "destination", sub.dest, "subscription", sub.id, "limit", s.cfg.Limits.Outbox, "policy", policy.String())
		if s.b.Watched() {
			go s.tellSlow(sub, policy) // which takes locks that are held here; it ends by itself
		}
	}
	if policy == broker.SlowDisconnect {
		e := errLimit("limits.outbox", s.cfg.Limits.Outbox, "The client does not read fast enough what the topic %q brings.", sub.dest)
		e.Subscription = sub.id
		s.fail(e)
	}
}

// appendHead begins the MESSAGE of d.
func (sub *subscr) appendHead(dst []byte, d broker.Delivery) []byte {
	dst = append(dst, sub.head...)
	if d.Seq == 0 { // the end of a browse, which is no message: Apollo's has this message-id
		dst = dst[:len(dst)-len(sub.bs.IDPrefix())]
	}
	dst = appendUint(dst, uint64(d.Seq))
	if (sub.seqName != "" || sub.offset) && broker.Numbered(d.Seq) {
		dst = sub.appendNumber(dst, d)
	}
	if d.Attempt > 1 {
		dst = append(dst, "\nredelivered:true\ndelivery-count:"...)
		dst = strconv.AppendUint(dst, uint64(d.Attempt), 10)
		dst = append(dst, "\nx-delivery-count:"...) // as RabbitMQ counts
		dst = strconv.AppendUint(dst, uint64(d.Attempt)-1, 10)
		dst = append(dst, "\nJMSXDeliveryCount:"...)
		dst = strconv.AppendUint(dst, uint64(d.Attempt), 10)
		if h := sub.s.cfg.AgainHeader; h != "" {
			dst = append(append(append(dst, '\n'), h...), ':')
			dst = strconv.AppendUint(dst, uint64(d.Attempt)-1, 10)
		}
		dst = append(dst, '\n')
	} else {
		dst = append(dst, "\nredelivered:false\n"...)
		if sub.counts && d.Seq != 0 {
			dst = append(dst, "delivery-count:1\nx-delivery-count:0\nJMSXDeliveryCount:1\n"...)
		}
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

// appendUint is strconv.AppendUint for the numbers that each MESSAGE has, with fewer steps.
func appendUint(dst []byte, n uint64) []byte {
	var b [20]byte
	i := len(b) - 1
	for ; n >= 10; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	b[i] = '0' + byte(n)
	return append(dst, b[i:]...)
}

// appendNumber tells the order number of d.
func (sub *subscr) appendNumber(dst []byte, d broker.Delivery) []byte {
	if sub.seqName != "" {
		dst = append(dst, '\n')
		dst = append(frame.AppendEscaped(dst, []byte(sub.seqName), sub.s.version), ':')
		dst = strconv.AppendUint(dst, uint64(d.Seq), 10)
	}
	if sub.offset {
		dst = append(dst, "\n"+broker.StreamOffset+":"...)
		dst = strconv.AppendUint(dst, uint64(d.Seq), 10)
	}
	return dst
}
