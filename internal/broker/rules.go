package broker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// keeping reports whether any of the rules has topics keep what they are sent.
func keeping(rules []Rule) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool {
		return r.Properties.NonDestructive && strings.HasPrefix(r.Match.String(), "/topic")
	})
}

// Foreseen reports whether the configuration knows of a queue: a rule is for it, or dead letters go there.
func (b *Broker) Foreseen(queue string) bool {
	if queue == b.cfg.DeadLetter {
		return true
	}
	b.props.mu.Lock()
	defer b.props.mu.Unlock()
	return slices.ContainsFunc(b.props.rules, func(r Rule) bool {
		if r.Match.Matches(queue) {
			return true
		}
		before, after, star := strings.Cut(r.Properties.DeadLetter, "*")
		if !star {
			return queue == before && before != ""
		}
		rest, ok := strings.CutPrefix(queue, before)
		return ok && strings.HasSuffix(rest, after)
	})
}

// Set reads one property of a rule, by its name in the configuration. The error is
// for people.
func (p *Properties) Set(name, value string) (err error) {
	wrong := func(want string) error { return fmt.Errorf("%s: %q is not %s", name, value, want) }
	switch name {
	case "slow_consumer":
		slow, ok := ParseSlow(value)
		if !ok {
			return wrong("drop_oldest, disconnect, spill or block")
		}
		p.Slow = slow
	case "ring":
		if p.MaxMessages, err = strconv.Atoi(value); err != nil || p.MaxMessages < 1 {
			return wrong("a whole number above 0")
		}
		p.WhenFull = DropHead
	case "type":
		switch value {
		case "classic":
		case "quorum":
			p.Durable = Yes
		case "stream":
			p.NonDestructive = true
		default:
			return wrong("classic, quorum or stream")
		}
	case "durable", "priorities", "dead_letter_expired":
		on, e := strconv.ParseBool(value)
		if e != nil {
			return wrong("true or false")
		}
		switch name {
		case "durable":
			p.Durable = Choose(on)
		case "priorities":
			p.Priorities = Choose(on)
		default:
			p.DeadLetterExpired = Choose(on)
		}
	case "redelivery_multiplier":
		f, e := strconv.ParseFloat(value, 64)
		if e != nil || !(f >= 1 && f <= 100) {
			return wrong("a number from 1 to 100")
		}
		p.Redelivery.Multiplier = f
	case "redelivery_jitter":
		f, e := strconv.ParseFloat(value, 64)
		if e != nil || !(f >= 0 && f <= 1) {
			return wrong("a number from 0 to 1")
		}
		if p.Redelivery.Jitter = f; f == 0 {
			p.Redelivery.Jitter = -1
		}
	case "max_messages", "max_deliveries", "max_pending", "consumers_before_dispatch":
		n, e := strconv.Atoi(value)
		if e != nil || n < 1 {
			return wrong("a whole number above 0")
		}
		switch name {
		case "max_messages":
			p.MaxMessages = n
		case "max_pending":
			p.MaxPending = n
		case "consumers_before_dispatch":
			p.Consumers = n
		default:
			p.MaxDeliveries = n
		}
	case "max_priority":
		n, e := strconv.Atoi(value)
		if e != nil || n < 1 || n > MostPriority {
			return wrong("a whole number from 1 to 255")
		}
		p.MaxPriority = n
	case "when_full":
		f, ok := ParseFull(value)
		if !ok {
			return wrong("reject, drop_new, drop_head, dead_letter or block")
		}
		p.WhenFull = f
	case "dead_letter":
		if value != NoDeadLetter && !strings.HasPrefix(value, "/queue/") || isSystem(value) {
			return wrong("a queue, such as /queue/DLQ.*, or none; those whose names begin with $ are the server's own")
		}
		p.DeadLetter = value
	case "last_value_key":
		if value == "" {
			return wrong("the name of a header")
		}
		p.LastValue, p.KeyHeader = true, value
	case "auto_delete", "single_active", "last_value", "non_destructive", "exclusive":
		on, e := strconv.ParseBool(value)
		if e != nil {
			return wrong("true or false")
		}
		switch name {
		case "auto_delete":
			p.AutoDelete = on
		case "single_active":
			p.SingleActive = on
		case "last_value":
			p.LastValue = on
		case "exclusive":
			p.Exclusive = on
		default:
			p.NonDestructive = on
		}
	default:
		return ErrNoProperty
	}
	return nil
}

// ErrNoProperty is the error of a name that is no property, or one with a unit.
var ErrNoProperty = errors.New("broker: no such property")
