package model_test

import (
	"fmt"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

// A theme is what a game is about: a program with all there is at once would hardly ever come
// to what is special of anything.
type theme struct {
	queues []string // that it has
	sends  []string // where its clients send to

	hurried bool // some subscriptions may keep a message for a while only
	single  bool // no message is of a group
}

var themes = []theme{
	{queues: []string{"/queue/a", "/queue/b"}, sends: []string{"/queue/a", "/queue/a", "/queue/b", "/queue/a,/queue/b"}},
	{queues: []string{"/queue/a", "/queue/full.reject", "/queue/full.drop_new"}, hurried: true, single: true},
	{queues: []string{"/queue/a", "/queue/full.drop_head", "/queue/full.dead_letter"}},
	{queues: []string{"/queue/a", "/queue/full.block"}, hurried: true, single: true},
	{queues: []string{"/queue/full.ring", "/queue/last"}, sends: []string{"/queue/full.ring", "/queue/last", "/queue/last"}},
	{queues: []string{"/queue/a", "/dsub/d1", "/dsub/d2"}, sends: []string{"/queue/a", feeding, feeding, feeding + ",/queue/a"}, hurried: true, single: true},
	{queues: []string{"/queue/a", keeping}},
	{queues: []string{"/queue/a"}, hurried: true},
	{queues: []string{"/queue/a", "/queue/bytes.drop_head", "/queue/bytes.block"}},
	{queues: []string{"/queue/a", table}, sends: []string{"/queue/a", table, table}},
	{queues: []string{"/queue/a", "/queue/bytes.reject"}},
}

const (
	feeding = "/topic/d" // has durable subscriptions
	keeping = "/topic/k" // keeps what it is sent
	table   = "/topic/l" // keeps the last of each key

	mostFull = 3 // messages in a queue that is bounded
	mostSize = mostFull * 3900
	mostKept = 5 // messages that the topic keeps
)

// A rule gives a queue the properties that its name stands for.
type rule struct {
	match, property, value string
}

var rules = []rule{
	{"/queue/full.reject", "when_full", "reject"},
	{"/queue/full.drop_new", "when_full", "drop_new"},
	{"/queue/full.drop_head", "when_full", "drop_head"},
	{"/queue/full.dead_letter", "when_full", "dead_letter"},
	{"/queue/full.block", "when_full", "block"},
	{"/queue/full.ring", "ring", ""},
	{"/queue/last", "last_value", "true"},
	{"/queue/bytes.drop_head", "max_bytes", "drop_head"},
	{"/queue/bytes.reject", "max_bytes", "reject"},
	{"/queue/bytes.block", "max_bytes", "block"},
	{keeping, "retain", ""},
	{table, "last_value", "true"},
}

// text are the rules as a configuration has them.
func rulesText() string {
	var b strings.Builder
	b.WriteString("destinations:\n  rules:\n")
	for _, r := range rules {
		switch r.property {
		case "when_full":
			fmt.Fprintf(&b, "    - {match: %q, max_messages: %d, when_full: %s}\n", r.match, mostFull, r.value)
		case "max_bytes":
			fmt.Fprintf(&b, "    - {match: %q, max_bytes: %d, when_full: %s}\n", r.match, mostSize, r.value)
		case "ring":
			fmt.Fprintf(&b, "    - {match: %q, ring: %d}\n", r.match, mostFull)
		case "retain":
			fmt.Fprintf(&b, "    - {match: %q, retain: {count: %d}}\n", r.match, mostKept)
		default:
			fmt.Fprintf(&b, "    - {match: %q, %s: %s}\n", r.match, r.property, r.value)
		}
	}
	return b.String()
}

// brokerRules are the same for a broker.
func brokerRules() (all []broker.Rule, err error) {
	for _, r := range rules {
		p := broker.Properties{}
		switch r.property {
		case "when_full":
			p.MaxMessages = mostFull
			err = p.Set(r.property, r.value)
		case "max_bytes":
			p.MaxBytes = mostSize
			err = p.Set("when_full", r.value)
		case "ring":
			p.MaxMessages, p.WhenFull = mostFull, broker.DropHead
		case "retain":
			p.NonDestructive, p.MaxMessages, p.WhenFull = true, mostKept, broker.DropHead
		default:
			p.NonDestructive = r.match == table
			err = p.Set(r.property, r.value)
		}
		if err != nil {
			return nil, err
		}
		match, err := pattern.Both.Parse(r.match)
		if err != nil {
			return nil, err
		}
		all = append(all, broker.Rule{Match: match, Properties: p})
	}
	return all, nil
}

// newQueue is a queue with the properties that its name stands for.
func newQueue(name string) *queue {
	q := &queue{name: name, owners: map[string]*subscription{}, there: []entry{{place: name}}}
	for _, r := range rules {
		switch {
		case r.match != name:
		case r.property == "when_full", r.property == "max_bytes":
			q.most, q.full, q.large = mostFull, r.value, r.property == "max_bytes"
		case r.property == "ring":
			q.most, q.full = mostFull, "drop_head"
		case r.property == "retain":
			q.most, q.full, q.keeps = mostKept, "drop_head", true
		case r.property == "last_value":
			q.last, q.keeps = true, name == table
		}
	}
	if name == "/dsub/d2" {
		q.selector = selectors[0]
	}
	if strings.HasPrefix(name, "/dsub/") {
		q.there[0].place = nowhere // until somebody subscribes
	}
	return q
}
