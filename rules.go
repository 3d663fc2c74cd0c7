package stompserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

// parseRules reads the list of rules of destinations.rules:
//
//	[{match: /queue/jobs.*, max_messages: 1000, when_full: reject}, …]
//
// One with a vhost is for the queues of that virtual host only. The error names the rule, counted
// from 1, and what is wrong with it.
func parseRules(text string) ([]queueRule, error) {
	var list []map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("it is not a list of rules such as {match: /queue/jobs.*, max_messages: 1000}")
	}
	var rules []queueRule
	for i, one := range list {
		r, err := parseRule(one)
		if err != nil {
			return nil, &itemError{"rule", i + 1, err}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// A queueRule is a rule of destinations.rules.
type queueRule struct {
	broker.Rule
	match string // the pattern of the rule, as it was written
	host  string // the virtual host that it is for; empty: all
}

// rulesOf are the rules for the queues of a virtual host.
func (d *Destinations) rulesOf(host string) []broker.Rule {
	var all []broker.Rule
	for _, r := range d.rules {
		if r.host == "" || r.host == host {
			if p, err := d.separators().Parse(r.match); err == nil { // there is less that can be wrong than where both separate
				r.Match = p
			}
			all = append(all, r.Rule)
		}
	}
	return all
}

func parseRule(one map[string]yaml.Node) (r queueRule, err error) {
	match, ok := one["match"]
	if !ok || match.Kind != yaml.ScalarNode {
		return r, errors.New("match is missing: the queues or topics that it is for, such as /queue/jobs.*")
	}
	topic := strings.HasPrefix(match.Value, "/topic/")
	if !topic && !strings.HasPrefix(match.Value, "/queue/") && !strings.HasPrefix(match.Value, "/dsub/") {
		return r, fmt.Errorf("match: %q is no queue or topic: its name begins with /queue/, /dsub/ or /topic/", match.Value)
	}
	if r.Match, err = pattern.Both.Parse(match.Value); err != nil {
		return r, fmt.Errorf("match: %q: %s", match.Value, strings.TrimPrefix(err.Error(), "pattern: "))
	}
	r.match = match.Value
	for name, v := range one {
		switch {
		case name == "match":
			continue
		case topic && !ofTopics[name] && known[name]:
			return r, fmt.Errorf("%s is for queues, and %s is a topic", name, match.Value)
		case !topic && topicsOnly[name]:
			return r, fmt.Errorf("%s is for topics, and %s is a queue", name, match.Value)
		case name == "retain":
			err = setRetain(&r.Properties, v)
		case v.Kind != yaml.ScalarNode:
			err = fmt.Errorf("%s takes one value", name)
		case name == "vhost":
			r.host = v.Value
		default:
			err = setProperty(&r.Properties, name, v.Value)
		}
		if err != nil {
			return r, err
		}
	}
	if err := together(one, &r.Properties); err != nil {
		return r, err
	}
	if topic && r.Properties.LastValue {
		r.Properties.NonDestructive = true // there is no other way for a topic to have one
	}
	return r, nil
}

// together refuses what contradicts itself.
func together(one map[string]yaml.Node, p *broker.Properties) error {
	for name, others := range map[string][]string{
		"retain": {"max_messages", "max_bytes", "when_full", "ring"},
		"ring":   {"max_messages", "when_full"},
	} {
		if _, ok := one[name]; !ok {
			continue
		}
		for _, other := range others {
			if _, ok := one[other]; ok {
				return fmt.Errorf("%s and %s cannot be together: what is kept makes room for what comes", name, other)
			}
		}
	}
	switch {
	case p.NonDestructive && p.Durable == broker.No:
		return errors.New("durable: false cannot be here: what keeps what it delivers is stored")
	case p.DispatchAfter > 0 && p.Consumers == 0:
		return errors.New("delay_before_dispatch wants consumers_before_dispatch: it is how long that many are waited for")
	}
	return nil
}

// known are the properties, and ofTopics those that topics can have.
var (
	known = map[string]bool{
		"retain": true, "max_messages": true, "max_bytes": true, "when_full": true, "ttl": true, "max_deliveries": true, "max_priority": true, "dead_letter": true,
		"auto_delete": true, "idle_after": true, "single_active": true, "last_value": true, "last_value_key": true, "non_destructive": true,
		"durable": true, "exclusive": true, "type": true, "ring": true, "priorities": true, "dedupe_window": true,
		"consumers_before_dispatch": true, "delay_before_dispatch": true, "dead_letter_expired": true,
		"redelivery_delay": true, "redelivery_multiplier": true, "redelivery_max_delay": true, "redelivery_jitter": true,
		"slow_consumer": true, "max_pending": true,
	}
	ofTopics   = map[string]bool{"retain": true, "last_value": true, "last_value_key": true, "slow_consumer": true, "max_pending": true, "dedupe_window": true}
	topicsOnly = map[string]bool{"slow_consumer": true, "max_pending": true}
)

// setRetain reads how much is kept of what was delivered: {age: 7d, bytes: 1GiB, count: 100000}, or some of
// these.
func setRetain(p *broker.Properties, v yaml.Node) error {
	var parts map[string]string
	if err := v.Decode(&parts); err != nil || len(parts) == 0 {
		return errors.New("retain takes age, bytes and count, or some of these, such as {age: 7d, bytes: 1GiB}")
	}
	p.NonDestructive = true
	for name, value := range parts {
		var err error
		switch name {
		case "age":
			p.MaxAge, err = positive(value)
		case "bytes":
			if p.MaxBytes, err = parseSize(value); err == nil && p.MaxBytes <= 0 {
				err = fmt.Errorf("%q is no size above 0", value)
			}
		case "count":
			if p.MaxMessages, err = strconv.Atoi(value); err != nil || p.MaxMessages < 1 {
				err = fmt.Errorf("%q is not a whole number above 0", value)
			}
		default:
			return fmt.Errorf("retain: %s is not known; known are age, bytes and count", name)
		}
		if err != nil {
			return fmt.Errorf("retain: %s: %w", name, err)
		}
		if name != "age" {
			p.WhenFull = broker.DropHead
		}
	}
	return nil
}

// positive reads a time above 0.
func positive(value string) (time.Duration, error) {
	d, err := parseDuration(value)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%q is no time above 0", value)
	}
	return d, err
}

// saidDuration reads a time of which 0 says something too, as -1.
func saidDuration(value string) (time.Duration, error) {
	d, err := parseDuration(value)
	if err == nil && d == 0 {
		d = -1
	}
	return d, err
}

func setProperty(p *broker.Properties, name, value string) (err error) {
	switch name {
	case "max_bytes":
		p.MaxBytes, err = parseSize(value)
	case "ttl":
		p.TTL, err = parseDuration(value)
	case "idle_after":
		p.IdleAfter, err = parseDuration(value)
	case "redelivery_delay":
		p.Redelivery.Delay, err = saidDuration(value)
	case "redelivery_max_delay":
		p.Redelivery.Max, err = saidDuration(value)
	case "dedupe_window":
		p.DedupeWindow, err = positive(value)
	case "delay_before_dispatch":
		p.DispatchAfter, err = positive(value)
	default:
		err = p.Set(name, value)
		if errors.Is(err, broker.ErrNoProperty) {
			return fmt.Errorf("%s is not known; known are match, vhost, retain, max_messages, max_bytes, ring, when_full, ttl, max_deliveries, redelivery_delay, redelivery_multiplier, redelivery_max_delay, redelivery_jitter, dead_letter, dead_letter_expired, priorities, max_priority, durable, type, auto_delete, idle_after, exclusive, single_active, last_value, last_value_key, non_destructive, dedupe_window, consumers_before_dispatch, delay_before_dispatch, slow_consumer and max_pending", name)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
