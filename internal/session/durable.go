package session

import (
	"errors"
	"slices"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/pattern"
)

// durableNames are the headers that give a durable subscription a name, those of ActiveMQ and
// Artemis. RabbitMQ and Apollo say durable or persistent, and the id is the name.
var durableNames = []string{"activemq.subscriptionName", "durable-subscription-name", "durable-subscriber-name"}

// durableName returns the name under which f asks for a durable subscription; ok is false if
// it does not.
func durableName(f *frame.Frame) (name string, ok bool, err error) {
	for _, h := range durableNames {
		if v := f.Header.Value(h); v != "" {
			return v, true, nil
		}
	}
	for _, h := range []string{"durable", "persistent"} {
		on, err := flag(f, false, h)
		if err != nil {
			return "", false, err
		}
		if !on {
			continue
		}
		id := f.Header.Value("id")
		if id == "" {
			return "", false, errf(codeHeaderMissing, "Missing header", "Header 'id' is required for durable subscriptions: it is their name.")
		}
		return id, true, nil
	}
	return "", false, nil
}

// durableQueue is the queue behind a durable subscription of this client.
func (s *session) durableQueue(name string) (string, error) {
	queue := destination.DurablePrefix + name
	if s.client != "" {
		queue = destination.DurablePrefix + s.client + "." + name
	}
	if most := s.longest(); len(queue) > most {
		return "", errf(codeBadHeader, "Invalid header", "The name of the durable subscription, %s, is longer than %d bytes.", cut([]byte(queue)), most)
	}
	if s.b.IsPattern(queue) {
		return "", errf(codeBadHeader, "Invalid header", "The name of the durable subscription, %s, has a part that is a wildcard.", cut([]byte(name)))
	}
	return queue, nil
}

// bind returns what f really subscribes to by the name n: n itself, or the queue of a durable
// or shared subscription, which it makes. Then that has the filter of o.
func (s *session) bind(f *frame.Frame, n destination.Name, o *broker.Options, sub *subscr) (string, error) {
	d, err := s.durable(f, n)
	if err != nil {
		return "", err
	}
	if d.Queue == "" {
		sub.needs = s.reading(f, n.Text)
		return n.Text, s.may(sub.needs, n.Text, n.Spelt)
	}
	if err := s.mayBind(f, d); err != nil {
		return "", err
	}
	if err := s.roomFor(d.Queue); err != nil {
		return "", err
	}
	of := d.Queue
	if strings.HasPrefix(of, destination.DurablePrefix) {
		of = d.Topic
	}
	if err := s.declareFed(f, d.Queue, of); err != nil { // before the queue is made
		return "", err
	}
	sub.of, d.Owner = d.Topic, s.user.Name
	d.Filter, o.Filter = splitStream(o.Filter)
	d.Selector = selectorOf(d.Filter)
	op, done := s.awaited()
	switch err := s.b.Bind(d, op); {
	case errors.Is(err, broker.ErrHoldsBack):
		return "", errf(codeBadHeader, "Invalid header", "The queue %s was made so that when it is full who sends waits or is refused. That would hold for all who send to %s, and is for the configuration to say.", cut([]byte(d.Queue)), cut([]byte(n.Spelt)))
	case err != nil:
		return "", err
	}
	if d.Shared {
		sub.shared = d.Queue
	}
	return d.Queue, done()
}

// awaited returns an operation, and what waits for its end. Called by the reader.
func (s *session) awaited() (op *broker.Op, done func() error) {
	ended := make(chan error, 1)
	op = broker.NewOp(nil)
	op.Finally(func(err error) {
		ended <- err
		s.nudge()
	})
	return op, func() error {
		if err := s.await(func() bool { return len(ended) > 0 }); err != nil {
			return err
		}
		return <-ended
	}
}

// durable reads which durable or shared subscription f asks for; without Queue it is none.
func (s *session) durable(f *frame.Frame, n destination.Name) (d broker.Durable, err error) {
	name, durable, err := durableName(f)
	if err != nil {
		return d, err
	}
	if s.b.IsQueue(n.Text) {
		if durable {
			for _, h := range durableNames {
				if f.Header.Value(h) != "" {
					return d, errf(codeBadHeader, "Invalid header", "SUBSCRIBE has the header %q, but %s is a queue: what it holds waits in any case.", h, cut([]byte(n.Spelt)))
				}
			}
		}
		if topic, ok := virtualTopic(n.Text); ok {
			d = broker.Durable{Queue: n.Text, Topic: topic, Virtual: true}
		}
		return d, nil
	}
	d.Topic = n.Text
	group := f.Header.Value("group")
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(n.Text, "/topic/"), "$share/"); ok { // as in MQTT
		var topic string
		if group, topic, ok = strings.Cut(rest, "/"); !ok || group == "" || topic == "" {
			return d, errf(codeBadDestination, "Invalid destination", "A shared subscription is written $share/GROUP/TOPIC.")
		}
		d.Topic = topic
		if !strings.HasPrefix(topic, destination.TopicPrefix) {
			d.Topic = destination.TopicPrefix + topic
		}
	}
	queue := f.Header.Value("x-queue-name")
	if n.Queue != "" { // as Artemis has it
		queue, durable = strings.TrimPrefix(n.Queue, destination.QueuePrefix), true
	}
	if group+queue != "" || durable {
		if err := mayWait(d.Topic, n.Spelt); err != nil {
			return d, err
		}
	}
	switch {
	case s.b.IsPattern(queue):
		return d, errf(codeBadDestination, "Invalid destination", "SUBSCRIBE has the header \"x-queue-name\" with the value %s, of which a part is a wildcard; it is to be the name of one queue.", cut([]byte(queue)))
	case queue != "":
		autoDelete, err := flag(f, !durable, "auto-delete")
		if err != nil {
			return d, err
		}
		if s.cfg.NoAutoCreate {
			n := destination.Name{Kind: destination.Queue, Text: destination.QueuePrefix + queue, Spelt: destination.QueuePrefix + queue}
			if err := s.mayMake(f, &n); err != nil {
				return d, err
			}
		}
		d.Queue, d.Shared = destination.QueuePrefix+queue, autoDelete || !durable
	case group != "" && durable:
		d.Queue, err = s.durableQueue(group)
	case group != "":
		d.Queue, d.Shared = groupQueue(group, d.Topic, s.b.Separators()), true
	case durable:
		d.Queue, err = s.durableQueue(name)
	}
	if most := s.longest(); len(d.Queue) > most {
		return d, errf(codeBadDestination, "Invalid destination", "The name %s is longer than %d bytes.", cut([]byte(d.Queue)), most)
	}
	return d, err
}

// mayWait is the error of a topic whose messages nothing can keep for a client that is not there, or for
// several.
func mayWait(topic, spelt string) error {
	switch {
	case broker.IsTemporary(topic):
		return errf(codeBadHeader, "Invalid header", "SUBSCRIBE asks for a durable or shared subscription, but %s is of this connection alone and ends with it.", cut([]byte(spelt)))
	case broker.IsEvent(topic):
		return errf(codeBadHeader, "Invalid header", "SUBSCRIBE asks for a durable or shared subscription, but what %s tells is told to those who are there, and not kept.", cut([]byte(spelt)))
	}
	return nil
}

var (
	groupEscapes   = strings.NewReplacer("%", "%25", "/", "%2F", "*", "%2A", "#", "%23", ">", "%3E", "+", "%2B", "{", "%7B")
	patternEscapes = strings.NewReplacer("%", "%25", "*", "%2A", "#", "%23", ">", "%3E", "+", "%2B", "{", "%7B")
)

// groupQueue is the queue that a group has of a topic, or of a pattern of topics, in any spelling. No two
// groups, and no two topics of one, have the same, and none is a pattern itself.
func groupQueue(group, topic string, sep pattern.Separators) string {
	queue := destination.DurablePrefix + "$" + groupEscapes.Replace(group)
	if p, err := sep.Parse(topic); err == nil && p.Wild() {
		return queue + "%P" + patternEscapes.Replace(p.String())
	}
	if pattern.Both.IsPattern(topic) { // as it would be in the name of the queue, of a topic that is none
		return queue + "%N" + patternEscapes.Replace(topic)
	}
	if strings.HasPrefix(topic, "/") {
		return queue + topic
	}
	return queue + "%/" + topic
}

// virtualTopic returns the topic whose messages come into the queue Consumer.GROUP.TOPIC, as
// ActiveMQ has it for topics whose names begin with VirtualTopic.
func virtualTopic(queue string) (topic string, ok bool) {
	rest, ok := strings.CutPrefix(queue, destination.QueuePrefix+"Consumer.")
	if !ok {
		return "", false
	}
	group, rest, ok := strings.Cut(rest, ".")
	if !ok || group == "" || !strings.HasPrefix(rest, "VirtualTopic.") {
		return "", false
	}
	return destination.TopicPrefix + rest, true
}

// unsubscribeDurable answers an UNSUBSCRIBE that ends a durable subscription for good, whether
// anybody is subscribed to it now or not.
func (s *session) unsubscribeDurable(f *frame.Frame) (done bool, err error) {
	name, durable, err := durableName(f)
	if err != nil || !durable {
		return false, err
	}
	queue, err := s.durableQueue(name)
	if err != nil {
		return false, err
	}
	if err := s.mayUnbind(queue); err != nil {
		return false, err
	}
	for _, sub := range slices.Clone(s.subs.list) {
		if !sub.gone && sub.dest == queue {
			s.endSubscription(sub)
		}
	}
	op, gone := s.awaited()
	others, there := s.b.Unbind(queue, op)
	if !there {
		return false, errf(codeSubscriptionUnknown, "No subscription found", "There is no durable subscription with the name %s.", cut([]byte(name)))
	}
	for _, c := range others {
		c.(*subscr).cancel(queue)
	}
	if err := gone(); err != nil {
		return false, err
	}
	s.receipt(f)
	return true, nil
}

// cancel ends the connection of one who is subscribed to what another has destroyed. It may be called
// from any goroutine.
func (sub *subscr) cancel(queue string) {
	e := errf(codeSubscriptionUnknown, "Server cancelled subscription", "The durable subscription behind %s was destroyed by another connection.", cut([]byte(queue)))
	e.Subscription = sub.id
	sub.s.fail(e)
}

// unshare gives back what sub has of a shared subscription.
func (sub *subscr) unshare() {
	if sub.shared != "" {
		_, _ = sub.s.b.Unbind(sub.shared, broker.NewOp(nil))
		sub.shared = ""
	}
}
