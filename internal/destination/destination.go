// Package destination reads the names that clients of STOMP brokers write into the header
// destination, and gives each the one name that this broker knows it by. It knows the
// spellings of the Ruby server, RabbitMQ, ActiveMQ, Artemis and Apollo.
//
//	/queue/a   queue/a   queue://a   jms.queue.a   /amq/queue/a      a queue
//	/topic/a   topic/a   topic://a   jms.topic.a   /exchange/amq.topic/a   a topic
//	/temp-queue/a, /temp-topic/a                     a name of one connection's own
//	/reply-queue/ID, /remote-temp-queue/ID           such a queue as others see it
//	/reply-topic/ID, /remote-temp-topic/ID           such a topic
//	/dsub/a                                          the queue of a durable subscription
//	/exchange/amq.direct/KEY, /exchange/amq.fanout, /exchange/amq.headers
//
// Consumer.GROUP.VirtualTopic.NAME is a queue without a prefix, too, as ActiveMQ's clients name it.
// What starts with /queue is a queue even without a slash behind it, and everything that is
// not in this table is a topic, as in the Ruby server. A comma joins several destinations.
// In a name %2C stands for a comma, %2F for a slash and %25 for a percent sign.
package destination

import "strings"

// A Kind is what a destination is.
type Kind uint8

// The kinds of destinations.
const (
	Topic     Kind = iota // what is sent goes to whoever listens
	Queue                 // what is sent is kept for one consumer
	Existing              // a queue that must be there: it is not made by use
	TempQueue             // a queue of one connection; the name is its own
	TempTopic             // likewise a topic
	Reply                 // a TempQueue by the name that others send to
	Durable               // the queue behind a durable subscription
	Headers               // the exchange amq.headers: subscriptions say which headers they want
)

// Prefixes of names that the broker makes itself.
const (
	QueuePrefix      = "/queue/"
	TopicPrefix      = "/topic/"
	TempQueuePrefix  = "/temp-queue/"
	TempTopicPrefix  = "/temp-topic/"
	ReplyPrefix      = "/reply-queue/"
	ReplyTopicPrefix = "/reply-topic/"
	DurablePrefix    = "/dsub/"
	ExchangePrefix   = "/exchange/"
)

// A Name is one destination.
type Name struct {
	Kind  Kind
	Text  string // by which the broker knows it; two spellings of one destination have the same
	Spelt string // by which the client wrote it
	Bare  bool   // it has no prefix, so that a Hint says what it is
	Queue string // the queue of an address that is meant, as Artemis has it (ADDRESS::QUEUE); empty: none
	Every bool   // it is an exchange without a routing key: all that comes there, to which nothing can be sent
}

// System reports whether the name is one that the broker keeps for itself: a queue or a
// topic whose name begins with a dollar sign.
func (n Name) System() bool {
	return strings.HasPrefix(n.Text, "/queue/$") || strings.HasPrefix(n.Text, "/topic/$")
}

// A Hint says what a name without a known prefix is, as the headers destination-type and
// subscription-type of Artemis do.
type Hint uint8

// The hints.
const (
	None      Hint = iota
	Anycast        // a queue
	Multicast      // a topic
)

// HintOf reads the value of such a header, in any case; ok is false for an unknown one.
func HintOf(value string) (h Hint, ok bool) {
	switch strings.ToUpper(strings.TrimSpace(value)) {
	case "ANYCAST":
		return Anycast, true
	case "MULTICAST":
		return Multicast, true
	case "":
		return None, true
	}
	return None, false
}

// An Error says why a text is no destination.
type Error struct {
	Text    string
	Reason  string // a sentence without a full stop
	Missing bool   // it names something that is not there
}

func (e *Error) Error() string { return "destination: " + e.Text + ": " + e.Reason }

// aliases are prefixes, and what they are here. The first that fits counts.
var aliases = []struct {
	prefix, to string
	kind       Kind
}{
	{"/queue", "/queue", Queue},
	{TopicPrefix, TopicPrefix, Topic},
	{TempQueuePrefix, TempQueuePrefix, TempQueue},
	{TempTopicPrefix, TempTopicPrefix, TempTopic},
	{ReplyPrefix, ReplyPrefix, Reply},
	{"/remote-temp-queue/", ReplyPrefix, Reply},
	{ReplyTopicPrefix, ReplyTopicPrefix, Topic},
	{"/remote-temp-topic/", ReplyTopicPrefix, Topic},
	{"/amq/queue/", QueuePrefix, Existing},
	{DurablePrefix, DurablePrefix, Durable},
	{"queue://", QueuePrefix, Queue},
	{"topic://", TopicPrefix, Topic},
	{"temp-queue://", TempQueuePrefix, TempQueue},
	{"temp-topic://", TempTopicPrefix, TempTopic},
	{"queue/", QueuePrefix, Queue},
	{"topic/", TopicPrefix, Topic},
	{"jms.queue.", QueuePrefix, Queue},
	{"jms.topic.", TopicPrefix, Topic},
}

// Parse reads one destination, or several with commas between.
func Parse(text string, hint Hint) ([]Name, error) {
	if strings.IndexByte(text, ',') < 0 {
		n, err := one(text, hint)
		if err != nil {
			return nil, err
		}
		return []Name{n}, nil
	}
	var all []Name
	var kind Hint // of the first: it holds for those without a prefix behind it, as in ActiveMQ
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, &Error{Text: text, Reason: "There is nothing before or behind one of its commas; a comma that is part of a name is written %2C"}
		}
		n, err := one(part, hint)
		if err != nil {
			return nil, err
		}
		switch {
		case !n.Bare && len(all) > 0:
		case n.Bare && kind != None && hint == None && part[0] != '/':
			n, _ = one(part, kind) // no name is wrong there
			n.Bare = false
		case n.Bare:
		case n.Kind == Queue:
			kind = Anycast
		case n.Kind == Topic:
			kind = Multicast
		}
		all = append(all, n)
	}
	return all, nil
}

func one(text string, hint Hint) (Name, error) {
	name := decode(text)
	for _, a := range aliases {
		rest, ok := strings.CutPrefix(name, a.prefix)
		if !ok {
			continue
		}
		if rest == "" && a.prefix != "/queue" {
			return Name{}, &Error{Text: text, Reason: "The name behind " + a.prefix + " is missing"}
		}
		return Name{Kind: a.kind, Text: a.to + rest, Spelt: text}, nil
	}
	if rest, ok := strings.CutPrefix(name, ExchangePrefix); ok {
		return exchange(text, rest)
	}
	if address, queue, ok := strings.Cut(name, "::"); ok && hint != None {
		return qualified(text, address, queue, hint)
	}
	switch hint {
	case Anycast:
		return Name{Kind: Queue, Text: QueuePrefix + strings.TrimPrefix(name, "/"), Spelt: text, Bare: true}, nil
	case Multicast:
		return Name{Kind: Topic, Text: TopicPrefix + strings.TrimPrefix(name, "/"), Spelt: text, Bare: true}, nil
	}
	if strings.HasPrefix(name, "Consumer.") && strings.Contains(name, ".VirtualTopic.") {
		return Name{Kind: Queue, Text: QueuePrefix + name, Spelt: text}, nil
	}
	return Name{Kind: Topic, Text: name, Spelt: text, Bare: true}, nil
}

// qualified reads a fully qualified name of Artemis: a queue, and the address that its messages are sent to.
// Without a Hint such a name is one like any.
func qualified(text, address, queue string, hint Hint) (Name, error) {
	address = strings.TrimPrefix(address, "/")
	switch {
	case address == "" || queue == "" || strings.Contains(queue, "::"):
		return Name{}, &Error{Text: text, Reason: "A fully qualified name is written ADDRESS::QUEUE"}
	case hint == Multicast:
		return Name{Kind: Topic, Text: TopicPrefix + address, Queue: QueuePrefix + queue, Spelt: text, Bare: true}, nil
	case address != queue:
		return Name{}, &Error{Text: text, Reason: "A queue has no other address than its name here: with ANYCAST it is written " + queue + ", or " + queue + "::" + queue}
	}
	return Name{Kind: Queue, Text: QueuePrefix + queue, Spelt: text, Bare: true}, nil
}

// exchange reads what follows /exchange/: the name of an exchange, and a routing key if it
// takes one. amq.topic is where topics live, as in RabbitMQ.
func exchange(text, rest string) (Name, error) {
	name, key, keyed := strings.Cut(rest, "/")
	switch name {
	case "amq.topic":
		if key == "" {
			return Name{Kind: Topic, Text: TopicPrefix + "#", Spelt: text, Every: true}, nil
		}
		return Name{Kind: Topic, Text: TopicPrefix + key, Spelt: text}, nil
	case "amq.direct":
		if !keyed {
			return Name{}, &Error{Text: text, Reason: "The exchange amq.direct wants a routing key: /exchange/amq.direct/KEY"}
		}
		return Name{Kind: Topic, Text: ExchangePrefix + name + "/" + key, Spelt: text}, nil
	case "amq.fanout":
		return Name{Kind: Topic, Text: ExchangePrefix + name, Spelt: text}, nil
	case "amq.headers", "amq.match":
		return Name{Kind: Headers, Text: ExchangePrefix + "amq.headers", Spelt: text}, nil
	}
	if name == "" {
		return Name{}, &Error{Text: text, Reason: "The name of the exchange is missing: /exchange/NAME/KEY"}
	}
	return Name{}, &Error{Text: text, Missing: true, // in the words that RabbitMQ's clients know
		Reason: "no exchange '" + name + "' is here; known are amq.direct, amq.fanout, amq.topic and amq.headers"}
}

// decode undoes %2C, %2F and %25; other percent signs stand for themselves.
func decode(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			switch text[i+1 : i+3] {
			case "2C", "2c":
				b.WriteByte(',')
				i += 2
				continue
			case "2F", "2f":
				b.WriteByte('/')
				i += 2
				continue
			case "25":
				b.WriteByte('%')
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
