package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
)

// Names that ask for figures. What follows is a destination.
const (
	statsControl   = destination.QueuePrefix + "$sys/stats"
	amqStatsBroker = "ActiveMQ.Statistics.Broker"
	amqStatsSubs   = "ActiveMQ.Statistics.Subscription"
	amqStatsOf     = "ActiveMQ.Statistics.Destination."
	amqListEnd     = amqStatsOf + "List.End.With.Null" // asks for an empty message behind those of a pattern
)

// allSubscriptions stands for a destination where figures of all subscriptions are asked for.
const allSubscriptions = destination.QueuePrefix + "$subscriptions"

// statsOf returns which destination a SEND to name asks for the figures of: empty is the whole
// broker.
func statsOf(name string) (dest string, ok bool) {
	if rest, ok := strings.CutPrefix(name, statsControl); ok && (rest == "" || rest[0] == '/') {
		return asQueue(strings.TrimPrefix(rest, "/")), true
	}
	for _, prefix := range []string{destination.QueuePrefix, destination.TopicPrefix, ""} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if rest == amqStatsBroker {
			return "", true
		}
		if rest == amqStatsSubs {
			return allSubscriptions, true
		}
		if dest, ok := strings.CutPrefix(rest, amqListEnd+"."); ok {
			return asQueue(dest), true
		}
		if dest, ok := strings.CutPrefix(rest, amqStatsOf); ok {
			return asQueue(dest), true
		}
	}
	return "", false
}

// asQueue is the queue that a short name means.
func asQueue(name string) string {
	switch {
	case name == "" || strings.HasPrefix(name, "/"):
		return name
	case strings.HasPrefix(name, "queue/"), strings.HasPrefix(name, "topic/"), strings.HasPrefix(name, "dsub/"):
		return "/" + name
	}
	return destination.QueuePrefix + name
}

// controlStats answers a request for figures with one message to its reply-to: the figures are
// in its headers, as ActiveMQ names them, and in its body as JSON.
func (b *Broker) controlStats(name string, m *message.Message, op *Op, w *Wake) {
	replyTo, _ := m.Header("reply-to")
	to, err := b.replyAddress(replyTo)
	if err != nil {
		op.Finish(err)
		return
	}
	dest, _ := statsOf(name)
	id, _ := m.Header("correlation-id")
	tell := func(figures []figure) (err error) {
		reply, err := report(replyTo, id, figures)
		if err == nil {
			to.Send(reply, NewOp(nil), w)
		}
		return err
	}
	switch {
	case dest == "":
		err = tell(b.figures())
	case dest == allSubscriptions:
		err = b.controlSubscriptions(m, tell)
	case b.IsPattern(dest):
		if err = b.eachMatch(dest, func(name string, st QueueStats) error { return tell(b.figuresOf(name, st)) }); err != nil {
			break
		}
		if _, asked := m.Header(amqListEnd); asked || strings.Contains(name, amqListEnd+".") {
			err = tell(nil)
		}
	default:
		var st QueueStats
		for _, q := range b.Queues() {
			if q.Name == dest {
				st = q
			}
		}
		err = tell(b.figuresOf(dest, st))
	}
	op.Finish(err)
}

// report is the message that tells figures; without any it is empty.
func report(to, id string, figures []figure) (*message.Message, error) {
	f := &frame.Frame{Command: frame.Send}
	if id != "" {
		f.Header.Add("correlation-id", id)
	}
	if figures != nil {
		f.Header.Add("content-type", "application/json")
		f.Body = asJSON(figures)
	}
	for _, g := range figures {
		f.Header.Add(g.name, fmt.Sprint(g.value))
	}
	return message.New(f, to, message.At(nowMilli()))
}

// eachMatch calls f for each destination there is that a pattern stands for, in the order of their names.
func (b *Broker) eachMatch(dest string, f func(name string, st QueueStats) error) error {
	p, err := b.cfg.Separators.Parse(dest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrControl, err)
	}
	var names []string
	b.mu.RLock()
	for name := range b.topics {
		names = append(names, name)
	}
	for name := range b.queues {
		names = append(names, name)
	}
	b.mu.RUnlock()
	stats := make(map[string]QueueStats)
	for _, q := range b.Queues() { // those too that nobody has used since the start
		names = append(names, q.Name)
		stats[q.Name] = q
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if p.Matches(name) && !isSystem(name) && !isTemp(name) {
			if err := f(name, stats[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// replyAddress is where a request is answered.
func (b *Broker) replyAddress(replyTo string) (*Address, error) {
	if replyTo == "" {
		return nil, fmt.Errorf("%w: it wants the header reply-to", ErrControl)
	}
	all, err := destination.Parse(replyTo, destination.None)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || isSystem(all[0].Text) || b.IsPattern(all[0].Text) || controlOf(all[0].Text) != nil {
		return nil, fmt.Errorf("%w: reply-to wants one destination", ErrControl)
	}
	a, err := b.address(all[0].Text)
	return &a, err
}

// A figure is one number, or name, of a report.
type figure struct {
	name  string
	value any
}

func asJSON(figures []figure) []byte {
	b := []byte{'{'}
	for i, f := range figures {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, f.name)
		v, err := json.Marshal(f.value)
		if err != nil {
			v = []byte("null")
		}
		b = append(append(b, ':'), v...)
	}
	return append(b, '}')
}

// figures are those of the whole broker.
func (b *Broker) figures() []figure {
	s := b.Stats()
	ready, unacked := 0, 0
	var enqueued, dequeued uint64
	for _, q := range b.Queues() {
		ready, unacked = ready+q.Ready, unacked+q.Unacked
		enqueued, dequeued = enqueued+q.Enqueued, dequeued+q.Dequeued
	}
	return []figure{
		{"queues", s.Queues}, {"topics", s.Topics},
		{"size", ready}, {"inflightCount", unacked}, {"enqueueCount", enqueued}, {"dequeueCount", dequeued},
		{"topicDeliveries", s.Published}, {"unwantedCount", s.Unwanted}, {"droppedCount", s.Dropped},
		{"redeliveredCount", s.Redelivered}, {"deadLetterCount", s.DeadLettered}, {"expiredCount", s.Expired},
		{"timedOutCount", s.TimedOut}, {"memoryUsage", s.MemoryUsed}, {"memoryLimit", b.MemoryLimit()},
	}
}

// figuresOf are those of one destination. One that is not there has none but zeros.
func (b *Broker) figuresOf(dest string, st QueueStats) []figure {
	all := []figure{{"destinationName", dest}}
	if !b.IsQueue(dest) {
		n := 0
		if t := b.topic(dest); t != nil {
			n = len(*t.subs.Load())
		}
		n += b.following(dest)
		return append(all, figure{"consumerCount", n})
	}
	consumers, paused := 0, b.pauses.has(dest)
	b.mu.RLock()
	q := b.queues[dest]
	b.mu.RUnlock()
	if q != nil {
		q.mu.Lock()
		consumers = len(q.single.all)
		q.mu.Unlock()
	}
	return append(all, figure{"size", st.Ready}, figure{"inflightCount", st.Unacked}, figure{"enqueueCount", st.Enqueued},
		figure{"dequeueCount", st.Dequeued}, figure{"consumerCount", consumers}, figure{"memoryUsage", st.Bytes}, figure{"paused", paused})
}

// TellStats publishes the broker's figures, if anybody listens.
func (b *Broker) TellStats() {
	if b.Watched() {
		b.Publish(StatsTopic, string(asJSON(append([]figure{{"time", nowMilli()}}, b.figures()...))))
	}
}
