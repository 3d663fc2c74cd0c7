package broker

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/message"
)

// Some names are not destinations but ask the broker for something: what is sent there is done
// at once, and the RECEIPT says that it was.

// ErrControl is the error of a request that is not understood.
var ErrControl = errors.New("broker: request is not understood")

// A control does what a message asks for. It completes op.
type control func(b *Broker, dest string, m *message.Message, op *Op, w *Wake)

// The names that ask for something.
const (
	scheduleControl = destination.QueuePrefix + "$schedule"
	amqSchedule     = "ActiveMQ.Scheduler.Management"
)

// controlOf returns what a SEND to dest asks for; nil: it is a destination.
func controlOf(dest string) control {
	if name := strings.TrimPrefix(dest, destination.TopicPrefix); name == amqSchedule {
		return (*Broker).controlSchedule
	}
	if dest == scheduleControl {
		return (*Broker).controlSchedule
	}
	switch {
	case strings.HasPrefix(dest, retryControl):
		return (*Broker).controlRetry
	case strings.HasPrefix(dest, queueControl):
		return (*Broker).controlQueue
	case dest == SubscriptionControl:
		return (*Broker).controlSubscription
	}
	if _, ok := statsOf(dest); ok {
		return (*Broker).controlStats
	}
	return nil
}

// ControlName returns the one name of what a SEND to dest asks the broker for; ok is false if it
// asks for nothing.
func ControlName(dest string) (name string, ok bool) {
	if controlOf(dest) == nil {
		return "", false
	}
	if of, ok := statsOf(dest); ok {
		if of == allSubscriptions { // which is no queue
			of = strings.TrimPrefix(of, destination.QueuePrefix)
		}
		return strings.TrimSuffix(statsControl+"/"+strings.TrimPrefix(of, "/"), "/"), true
	}
	for _, control := range []string{retryControl, queueControl} {
		if rest, ok := strings.CutPrefix(dest, control); ok {
			return control + strings.TrimPrefix(asQueue(rest), destination.QueuePrefix), true
		}
	}
	if dest == SubscriptionControl {
		return dest, true
	}
	return scheduleControl, true
}

// controlSchedule answers action:cancel, action:cancel-all and action:list, and what ActiveMQ's clients say for
// these.
func (b *Broker) controlSchedule(_ string, m *message.Message, op *Op, w *Wake) {
	action, _ := m.Header("action")
	amq, _ := m.Header("AMQ_SCHEDULER_ACTION")
	id, ok := m.Header(ScheduleID)
	if !ok {
		id, _ = m.Header(JobID)
	}
	replyTo, ok := m.Header("reply-to")
	if !ok {
		replyTo, _ = m.Header("JMSReplyTo")
	}
	when, err := spanOf(m)
	switch {
	case err != nil:
		op.Finish(err)
	case action == "cancel" || amq == "REMOVE":
		b.schedule.cancel(op, id)
	case action == "cancel-all" || amq == "REMOVEALL":
		b.schedule.cancelAll(op, when)
	case action == "list" || amq == "BROWSE":
		to, err := b.replyAddress(replyTo)
		if err != nil {
			op.Finish(err)
			return
		}
		b.schedule.list(op, to, when, w)
	default:
		op.Finish(fmt.Errorf("%w: it wants the header action with cancel and schedule-id, with cancel-all, or with list and reply-to", ErrControl))
	}
}

// spanOf reads which times a request is about: all, or from one on, or to one, as ActiveMQ spells them too.
func spanOf(m *message.Message) (span, error) {
	when := span{0, math.MaxInt64}
	for name, to := range map[string]*int64{"from-time": &when.from, "ACTION_START_TIME": &when.from, "to-time": &when.to, "ACTION_END_TIME": &when.to} {
		v, ok := m.Header(name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return when, fmt.Errorf("%w: %s:%s is no time in milliseconds since 1970", ErrControl, name, v)
		}
		*to = n
	}
	return when, nil
}
