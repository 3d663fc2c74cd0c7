package broker

import (
	"encoding/json"
	"strings"
	"time"

	"stompserver/internal/destination"
)

// What happens in the broker is told on topics below /topic/$sys/, and on those that ActiveMQ's
// clients know. While nobody listens there nothing is made of it.

const (
	eventPrefix    = destination.TopicPrefix + "$sys/"
	advisoryPrefix = destination.TopicPrefix + "ActiveMQ.Advisory."

	// StatsTopic is where the broker's figures are told at intervals.
	StatsTopic = eventPrefix + "stats"
)

// An Event is something that happened.
type Event struct {
	Kind     string // the last part of the topic's name
	Advisory string // the same of ActiveMQ's, with the destination it is about; empty: it has none
	Fields   map[string]any
}

// tells reports whether a subscription to dest may hear of events: a pattern only if it names
// them, so that those of everything do not.
func tells(dest string) bool {
	return strings.HasPrefix(dest, destination.TopicPrefix+"$") || strings.HasPrefix(dest, advisoryPrefix)
}

// IsEvent reports whether what is told on dest, a topic or a pattern, is the server's.
func IsEvent(dest string) bool { return tells(dest) }

// Watched reports whether anybody may listen to events.
func (b *Broker) Watched() bool { return b.watchers.Load() > 0 }

// Tell publishes e, when w is run. It may be called with a queue's lock held.
func (b *Broker) Tell(w *Wake, e Event) {
	if !b.Watched() {
		return
	}
	if e.Fields == nil {
		e.Fields = make(map[string]any)
	}
	e.Fields["event"], e.Fields["time"] = e.Kind, time.Now().UnixMilli()
	body, err := json.Marshal(e.Fields)
	if err != nil {
		b.cfg.Log.Error("event cannot be told", "event", e.Kind, "err", err)
		return
	}
	w.after = append(w.after, func(w *Wake) {
		b.publishText(eventPrefix+e.Kind, string(body), w)
		if e.Advisory != "" {
			b.publishText(advisoryPrefix+e.Advisory, string(body), w)
		}
	})
}

// advisory is ActiveMQ's name of an event about a destination.
func advisory(kind, dest string) string {
	switch {
	case strings.HasPrefix(dest, destination.QueuePrefix):
		return kind + ".Queue." + strings.TrimPrefix(dest, destination.QueuePrefix)
	case strings.HasPrefix(dest, destination.TopicPrefix):
		return kind + ".Topic." + strings.TrimPrefix(dest, destination.TopicPrefix)
	}
	return ""
}

// About makes an event about a destination.
func About(kind, advisoryKind, dest string, fields map[string]any) Event {
	if fields == nil {
		fields = make(map[string]any)
	}
	fields["destination"] = dest
	e := Event{Kind: kind, Fields: fields}
	if advisoryKind != "" {
		e.Advisory = advisory(advisoryKind, dest)
	}
	return e
}
