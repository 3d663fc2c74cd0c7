package broker

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// maxDeaths is how often one message can become a dead letter: consumers that send what they
// find there in a circle must not keep it going for ever.
const maxDeaths = 16

const buryAgain = 1000 // milliseconds

// A death is why a message becomes a dead letter.
type death struct {
	reason string // rejected, expired, delivery_limit or maxlen, as RabbitMQ has it
	text   string // what the client said of it
}

// deathOf returns m as a dead letter of the queue from, or nil if it has been one too often. It
// keeps its headers, but for those that would have it end or wait again.
func deathOf(m *message.Message, from, to string, why death) *message.Message {
	count := 1
	if v, ok := m.Header("x-death-count"); ok {
		if n, err := strconv.Atoi(v); err == nil && n > 0 {
			count = n + 1
		}
	}
	if count > maxDeaths {
		return nil
	}
	by := exchangeOf(m, from)
	first := [...]string{from, why.reason, by}
	if count > 1 {
		for i, name := range []string{"x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"} {
			if v, ok := m.Header(name); ok {
				first[i] = v
			}
		}
	}
	cause := why.text
	if cause == "" {
		cause = causes[why.reason]
	}
	return m.Redirect(to,
		"original-destination", from,
		"x-death-reason", why.reason,
		"x-death-count", strconv.Itoa(count),
		"x-death-time", strconv.FormatInt(time.Now().UnixMilli(), 10),
		"x-first-death-queue", first[0],
		"x-first-death-reason", first[1],
		"x-first-death-exchange", message.Blank+first[2],
		"x-last-death-queue", from,
		"x-last-death-reason", why.reason,
		"x-last-death-exchange", message.Blank+by,
		"dlqDeliveryFailureCause", cause,
		"_AMQ_ORIG_ADDRESS", from,
		"_AMQ_ORIG_QUEUE", from,
		firstOfGroup, "", "expires", "", "ttl", "", "expiration", "")
}

// exchangeOf is the exchange that m was sent to, as RabbitMQ has it: what is sent to a queue comes by the
// default one, whose name is empty.
func exchangeOf(m *message.Message, from string) string {
	hint, _ := m.Header("destination-type")
	h, _ := destination.HintOf(hint)
	all, err := destination.Parse(m.Destination(), h)
	if err != nil || len(all) != 1 {
		return ""
	}
	switch n := all[0]; {
	case n.Kind != destination.Topic && n.Kind != destination.Headers,
		n.Bare && destination.QueuePrefix+strings.TrimPrefix(n.Text, "/") == from: // it was taken for a queue
		return ""
	default:
		name, ok := strings.CutPrefix(n.Text, destination.ExchangePrefix)
		if !ok {
			return "amq.topic"
		}
		name, _, _ = strings.Cut(name, "/")
		return name
	}
}

// DeathReasons are why messages become dead letters, as RabbitMQ has it.
var DeathReasons = [...]string{"rejected", "expired", "delivery_limit", "maxlen"}

// causes are the reasons in a sentence.
var causes = map[string]string{
	"rejected":       "A consumer refused it.",
	"expired":        "It expired.",
	"delivery_limit": "It was delivered too often.",
	"maxlen":         "Its queue was full.",
}

// bury moves d to the dead letters in one batch. What is rejected there is gone. Called with
// q.mu held.
func (q *queue) bury(d store.Delivery, why death, w *Wake) {
	op := NewOp(nil)
	q.buryIn(op, d, why, w)
	op.Finally(func(err error) {
		if err != nil {
			q.b.cfg.Log.Error("dead letter not stored", "destination", q.name, "err", err)
		}
	})
	if op.batch.Len() == 0 {
		op.Finish(nil)
		return
	}
	q.b.store.Commit(&op.batch)
}

// buryIn has op do what bury does. If the queue of the dead letters is not available, d comes again in
// a while.
func (q *queue) buryIn(op *Op, d store.Delivery, why death, w *Wake) {
	q.unfind(d)
	dlq, dead := (*queue)(nil), (*message.Message)(nil)
	if d.Msg != nil && q.name != q.b.cfg.DeadLetter {
		var err error
		if dlq, dead, err = q.asDead(d.Msg, why); err != nil {
			q.hold(d, nowMilli()+buryAgain)
			return
		}
	}
	q.ack(op, d.Seq, d.Seq)
	if dead == nil {
		return
	}
	q.roomyAfter(op)
	// Of the dead all are alike: that they are seen in the order they came is of more use
	// than their priority, and another queue's lock is not needed.
	op.batch.Put(dlq.st, dead)
	q.b.counts.deadLettered.Add(1)
	if i := slices.Index(DeathReasons[:], why.reason); i >= 0 {
		q.b.counts.dead[i].Add(1)
	}
	q.b.Tell(w, About("dlq", "MessageDLQd", q.name, map[string]any{"reason": why.reason, "messageId": q.prefix + strconv.FormatUint(uint64(d.Seq), 10)}))
	w.queues = append(w.queues, dlq)
}

// asDead returns m as a dead letter, and where it goes; nil: nowhere.
func (q *queue) asDead(m *message.Message, why death) (*queue, *message.Message, error) {
	to := q.deadLetter()
	if to == "" || to == q.name {
		return nil, nil, nil
	}
	dead := deathOf(m, q.name, to, why)
	if dead == nil {
		q.b.cfg.Log.Warn("message dropped: it was a dead letter too often", "destination", q.name, "deaths", maxDeaths)
		return nil, nil, nil
	}
	dlq, err := q.b.pin(to)
	if err != nil {
		q.b.cfg.Log.Error("dead letter queue not available", "destination", q.name, "err", err)
		return nil, nil, err
	}
	return dlq, dead, nil
}
