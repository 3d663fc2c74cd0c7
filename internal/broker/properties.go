package broker

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
)

// A queue has properties: those that the headers said with which it was made, and before these
// the ones of the first rule of the configuration that its name matches.

// Full says what becomes of a message for a queue that is full.
type Full uint8

// What may become of it.
const (
	FullUnset    Full = iota
	Reject            // its sender is told
	DropNew           // it is dropped
	DropHead          // the oldest that nobody has makes room
	DeadLetterIt      // it goes to the dead letters
	Block             // its sender waits
)

var fullNames = map[Full]string{Reject: "reject", DropNew: "drop_new", DropHead: "drop_head", DeadLetterIt: "dead_letter", Block: "block"}

// ParseFull reads the word of a Full.
func ParseFull(word string) (Full, bool) {
	for f, name := range fullNames {
		if name == word {
			return f, true
		}
	}
	return FullUnset, false
}

// A Choice is yes or no, or left to who else has a say.
type Choice uint8

// The choices.
const (
	Unsaid Choice = iota
	Yes
	No
)

// Choose is the Choice of a truth value.
func Choose(on bool) Choice {
	if on {
		return Yes
	}
	return No
}

// NoDeadLetter as the queue of the dead letters has messages dropped instead.
const NoDeadLetter = "none"

// Properties are those of a queue; what is zero is not said.
type Properties struct {
	MaxMessages   int
	MaxBytes      int64
	WhenFull      Full          // default Block, or DropHead for what is NonDestructive
	TTL           time.Duration // the longest that a message may live
	MaxDeliveries int
	DeadLetter    string        // a queue, with * for the name of this one behind /queue/; or NoDeadLetter
	AutoDelete    bool          // it goes, with what it holds, when its last consumer has left
	IdleAfter     time.Duration // likewise when it had no consumer for so long
	SingleActive  bool          // one consumer at a time is served
	MaxPriority   int           // the highest; then a message that names none has the lowest
	LastValue     bool          // the last message of each key alone is kept
	KeyHeader     string        // the header of a message that is its key, too

	// NonDestructive has it keep what it delivers, until that has expired or makes room. Who
	// subscribes is to browse it.
	NonDestructive bool
	MaxAge         time.Duration // of the oldest that it keeps so

	Durable       Choice        // No: what it holds is gone after a restart, and so is that it was declared
	Priorities    Choice        // No: what comes first goes first, whatever its priority
	Exclusive     bool          // it is of the connection that subscribes first, and goes with that
	Consumers     int           // it hands out nothing until so many consumers are there
	DispatchAfter time.Duration // or until the first has been there for so long; 0: it waits for them
	DedupeWindow  time.Duration // for which names are remembered of what is sent to it

	// What follows is of rules alone. Of Redelivery what is below 0 is none, whatever the Config says.
	Redelivery        Redelivery
	DeadLetterExpired Choice

	// And this of topics.
	Slow       Slow // what becomes of messages that a subscription does not take in time
	MaxPending int  // and how many wait in the store
}

// over returns p with what it does not say taken from q.
func (p Properties) over(q Properties) Properties {
	or(&p.MaxMessages, q.MaxMessages)
	or(&p.MaxBytes, q.MaxBytes)
	or(&p.WhenFull, q.WhenFull)
	or(&p.TTL, q.TTL)
	or(&p.MaxDeliveries, q.MaxDeliveries)
	or(&p.DeadLetter, q.DeadLetter)
	or(&p.AutoDelete, q.AutoDelete)
	or(&p.IdleAfter, q.IdleAfter)
	or(&p.SingleActive, q.SingleActive)
	or(&p.MaxPriority, q.MaxPriority)
	or(&p.LastValue, q.LastValue)
	or(&p.KeyHeader, q.KeyHeader)
	or(&p.NonDestructive, q.NonDestructive)
	or(&p.MaxAge, q.MaxAge)
	or(&p.Durable, q.Durable)
	or(&p.Priorities, q.Priorities)
	or(&p.Exclusive, q.Exclusive)
	or(&p.Consumers, q.Consumers)
	or(&p.DispatchAfter, q.DispatchAfter)
	or(&p.DedupeWindow, q.DedupeWindow)
	return p // of a rule, which alone can say the rest
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// A Rule gives properties to the queues that match.
type Rule struct {
	Match      pattern.Pattern
	Properties Properties
}

// A FullError refuses a message for a full queue.
type FullError struct {
	Queue  string
	Reason string // maxlen
}

func (e *FullError) Error() string { return "broker: " + e.Queue + " is full" }

// properties are what the broker knows of those of its queues.
type properties struct {
	ledger *ledger

	mu       sync.Mutex // guards what follows
	rules    []Rule
	declared map[string]Properties // by queue
}

func (b *Broker) openProperties() error {
	p := &b.props
	p.rules, p.declared = b.cfg.Rules, make(map[string]Properties)
	var err error
	if p.ledger, err = b.openLedger("props"); err != nil {
		return err
	}
	p.ledger.all(func(queue string, row *message.Message) {
		p.declared[queue] = readProperties(row)
		if _, ok := keptTopic(queue); ok {
			b.durables.version.Add(1)
		}
	})
	if keeping(p.rules) {
		b.durables.version.Add(1)
	}
	for queue, d := range p.declared {
		if d.IdleAfter > 0 || d.AutoDelete {
			if _, err := b.queue(queue); err != nil { // so that its time begins
				return err
			}
		}
	}
	return nil
}

// of returns the properties of a queue, or nil if it has none.
func (p *properties) of(queue string) *Properties {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, name := p.declared[queue], queue
	if topic, ok := keptTopic(queue); ok {
		name = topic
	}
	for _, r := range p.rules {
		if r.Match.Matches(name) {
			if r.Properties.bounded() { // what comes of its own bound is its own to say
				or(&r.Properties.WhenFull, whenFull(r.Properties.NonDestructive || all.NonDestructive))
			}
			all = r.Properties.over(all)
			break
		}
	}
	if all == (Properties{}) {
		return nil
	}
	or(&all.WhenFull, whenFull(all.NonDestructive))
	if all.DeadLetter = DeadLetterOf(queue, all.DeadLetter); isSystem(all.DeadLetter) {
		all.DeadLetter = ""
	}
	return &all
}

// whenFull is what becomes of a message for a full queue if nobody says it. In one that keeps what it delivers
// there would never be room.
func whenFull(keeps bool) Full {
	if keeps {
		return DropHead
	}
	return Block
}

// DeadLetterOf fills in the star of the property for a queue.
func DeadLetterOf(queue, property string) string {
	if rest, ok := strings.CutPrefix(queue, destination.QueuePrefix); ok {
		return strings.ReplaceAll(property, "*", rest)
	}
	return property
}

// SetRules puts other rules in force, for the queues that there are too.
func (b *Broker) SetRules(rules []Rule) {
	b.props.mu.Lock()
	changed := keeping(rules) || keeping(b.props.rules)
	b.props.rules = rules
	b.props.mu.Unlock()
	if changed {
		b.durables.version.Add(1)
	}
	var w Wake
	for _, q := range b.allQueues() {
		q.mu.Lock()
		if !q.gone {
			q.adopt(&w)
			q.dispatch(&w)
		}
		q.mu.Unlock()
	}
	w.Run()
}

// adopt takes over the properties that the queue has now. Called with q.mu held.
func (q *queue) adopt(w *Wake) {
	q.props = q.b.props.of(q.name)
	if keeps := q.props != nil && q.props.NonDestructive; q.kept != nil {
		if q.kept.ends(q, !keeps); !keeps {
			q.props = &Properties{NonDestructive: true}
		}
	}
	if always := q.props != nil && q.props.SingleActive; always != q.single.always {
		q.single.always, q.single.want, q.single.active = always, 0, nil
		for _, s := range q.single.all {
			if always || s.exclusive {
				q.single.want++
			}
		}
		q.elect(w)
	}
	if q.props != nil && q.props.WhenFull == Block && q.bounded() && q.line == nil {
		q.line = &line{of: q.name}
	}
	if q.tooFull() && q.trimming <= trimOwed {
		q.trimSoon(trimFirst)
	}
	q.line.roomy()
	q.gateAsWanted(w)
	q.openLast()
	q.ages()
	q.idle()
}

// Keeps reports whether dest is a queue or topic that keeps what it delivers.
func (b *Broker) Keeps(dest string) bool {
	if !b.IsQueue(dest) {
		return b.keepsTopic(dest)
	}
	p := b.props.of(dest)
	return p != nil && p.NonDestructive
}

// MostPriority is the highest MaxPriority, as in RabbitMQ.
const MostPriority = 255

// ranked is m with the priority that it has in a queue whose highest is MaxPriority, as RabbitMQ
// has it: none is 0, more than the highest is the highest. Past 9 they share ten levels.
func (q *queue) ranked(m *message.Message) *message.Message {
	highest := q.props.MaxPriority
	if highest == 0 {
		return m
	}
	p := 0
	if v, ok := m.Header("priority"); ok {
		p, _ = strconv.Atoi(strings.TrimSpace(v)) // which was read before
	}
	p = min(p, highest)
	if highest > 9 {
		p = p * 9 / highest
	}
	if p == int(m.Options().Priority) {
		return m
	}
	r := m.Redirect(m.Destination(), "priority", strconv.Itoa(p))
	r.SetSender(m.Sender())
	return r
}

// mortal is m with an end that its queue gives it.
func (q *queue) mortal(m *message.Message) *message.Message {
	if q.props.TTL <= 0 {
		return m
	}
	at := nowMilli() + max(q.props.TTL.Milliseconds(), 1)
	if e := m.Expires(); e != 0 && e <= at {
		return m
	}
	r := m.Redirect(m.Destination(), "expires", strconv.FormatInt(at, 10), "ttl", "", "expiration", "")
	r.SetSender(m.Sender())
	return r
}

// divert has op put m, for which the queue has no room, among the dead letters.
func (q *queue) divert(m *message.Message, op *Op, w *Wake) error {
	dlq, dead, err := q.asDead(m, death{reason: "maxlen"})
	if dead != nil {
		op.batch.Put(dlq.st, dead)
		w.queues = append(w.queues, dlq)
	}
	return err
}

// deadLetter is the queue of this one's dead letters; empty if they are dropped.
func (q *queue) deadLetter() string {
	switch {
	case q.props == nil || q.props.DeadLetter == "":
		return q.b.cfg.DeadLetter
	case q.props.DeadLetter == NoDeadLetter:
		return ""
	}
	return q.props.DeadLetter
}

// idle has the queue go when it had no consumer for long enough. Called with q.mu held.
func (q *queue) idle() {
	if q.props == nil || q.props.IdleAfter <= 0 || q.subs > 0 {
		return
	}
	if q.idling == nil {
		q.idling = &alarm{ring: q.idled}
	}
	q.idleSince = nowMilli()
	q.b.clock.set(q.idling, q.idleSince+max(q.props.IdleAfter.Milliseconds(), 1))
}

// idled is the alarm for that.
func (q *queue) idled(now int64, _ *Wake) (next int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone || q.subs > 0 || q.props == nil || q.props.IdleAfter <= 0 {
		return 0
	}
	if at := q.idleSince + max(q.props.IdleAfter.Milliseconds(), 1); at > now {
		return at
	}
	q.b.cfg.Log.Info("queue deleted", "destination", q.name, "reason", "idle")
	q.dying = true
	q.drop()
	return 0
}
