package broker

import (
	"errors"
	"strconv"
	"time"

	"stompserver/internal/message"
)

// Clients say which properties a queue is to have, by the headers with which it is made. They are kept in a ledger,
// for as long as the queue.

// Declare says which properties a queue is to have, if it is made now and fresh says so too. They are
// kept as long as the queue; one that is there already keeps those it has, which same tells. The
// error is ErrSystem: its dead letters cannot go to a queue of the broker's own.
func (b *Broker) Declare(queue string, p Properties, fresh bool) (same bool, err error) {
	if isSystem(DeadLetterOf(queue, p.DeadLetter)) {
		return false, ErrSystem
	}
	props := &b.props
	b.mu.RLock() // first, as where a queue is made; and none is made meanwhile
	props.mu.Lock()
	old, known := props.declared[queue]
	makes := !known && fresh && b.IsQueue(queue) && !b.there(queue)
	if makes {
		props.declared[queue] = p
	}
	props.mu.Unlock()
	b.mu.RUnlock()
	if !makes {
		return known && old == p, nil
	}
	if _, ok := keptTopic(queue); ok {
		b.durables.version.Add(1)
	}
	if isTemp(queue) || p.Durable == No {
		return true, nil
	}
	props.ledger.set(queue, p.fields()...)
	return true, nil
}

// ErrHoldsBack refuses to have a topic feed a queue that a client gave a bound at which who sends waits or is
// refused: all who send to the topic would have that one subscription to thank for it.
var ErrHoldsBack = errors.New("broker: who sends would wait for the queue")

// holdsBack reports whether it is a client who said so of a queue, and not the configuration.
func (p *properties) holdsBack(queue string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.declared[queue]
	if !d.bounded() {
		return false
	}
	for _, r := range p.rules {
		if r.Match.Matches(queue) {
			if r.Properties.bounded() || r.Properties.WhenFull != FullUnset {
				return false
			}
			break
		}
	}
	or(&d.WhenFull, whenFull(d.NonDestructive))
	return d.WhenFull == Block || d.WhenFull == Reject
}

// forgetProperties is for a queue that is forgotten.
func (b *Broker) forgetProperties(queue string) {
	p := &b.props
	p.mu.Lock()
	_, known := p.declared[queue]
	delete(p.declared, queue)
	p.mu.Unlock()
	if known && !isTemp(queue) {
		p.ledger.drop(queue)
	}
}

func (p Properties) fields() []string {
	return []string{
		"q-max_messages", strconv.Itoa(p.MaxMessages), "q-max_bytes", strconv.FormatInt(p.MaxBytes, 10), "q-when_full", fullNames[p.WhenFull],
		"q-ttl", p.TTL.String(), "q-max_deliveries", strconv.Itoa(p.MaxDeliveries), "q-dead_letter", p.DeadLetter,
		"q-auto_delete", strconv.FormatBool(p.AutoDelete), "q-idle_after", p.IdleAfter.String(), "q-single_active", strconv.FormatBool(p.SingleActive),
		"q-max_priority", strconv.Itoa(p.MaxPriority), "q-last_value", strconv.FormatBool(p.LastValue), "q-non_destructive", strconv.FormatBool(p.NonDestructive),
		"q-key_header", p.KeyHeader, "q-max_age", p.MaxAge.String(), "q-priorities", strconv.Itoa(int(p.Priorities)),
		"q-consumers", strconv.Itoa(p.Consumers), "q-dispatch_after", p.DispatchAfter.String(),
	}
}

func readProperties(row *message.Message) (p Properties) {
	value := func(name string) string { v, _ := row.Header(name); return v }
	p.MaxMessages, _ = strconv.Atoi(value("q-max_messages"))
	p.MaxBytes, _ = strconv.ParseInt(value("q-max_bytes"), 10, 64)
	p.WhenFull, _ = ParseFull(value("q-when_full"))
	p.TTL, _ = time.ParseDuration(value("q-ttl"))
	p.MaxDeliveries, _ = strconv.Atoi(value("q-max_deliveries"))
	if p.DeadLetter = value("q-dead_letter"); isSystem(p.DeadLetter) {
		p.DeadLetter = "" // of a server that let clients ask for it
	}
	p.AutoDelete = value("q-auto_delete") == "true"
	p.IdleAfter, _ = time.ParseDuration(value("q-idle_after"))
	p.SingleActive = value("q-single_active") == "true"
	p.MaxPriority, _ = strconv.Atoi(value("q-max_priority"))
	p.LastValue = value("q-last_value") == "true"
	p.NonDestructive = value("q-non_destructive") == "true"
	p.KeyHeader = value("q-key_header")
	p.MaxAge, _ = time.ParseDuration(value("q-max_age"))
	priorities, _ := strconv.Atoi(value("q-priorities"))
	p.Priorities = Choice(priorities)
	p.Consumers, _ = strconv.Atoi(value("q-consumers"))
	p.DispatchAfter, _ = time.ParseDuration(value("q-dispatch_after"))
	return p
}
