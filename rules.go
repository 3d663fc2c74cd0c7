package stompserver

import (
	"errors"
	"fmt"
	"strings"

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
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// A queueRule is a rule of destinations.rules.
type queueRule struct {
	broker.Rule
	host string // the virtual host that it is for; empty: all
}

// rulesOf are the rules for the queues of a virtual host.
func (d *Destinations) rulesOf(host string) []broker.Rule {
	var all []broker.Rule
	for _, r := range d.rules {
		if r.host == "" || r.host == host {
			all = append(all, r.Rule)
		}
	}
	return all
}

func parseRule(one map[string]yaml.Node) (r queueRule, err error) {
	match, ok := one["match"]
	if !ok || match.Kind != yaml.ScalarNode {
		return r, errors.New("match is missing: the queues that it is for, such as /queue/jobs.*")
	}
	if !strings.HasPrefix(match.Value, "/queue/") && !strings.HasPrefix(match.Value, "/dsub/") {
		return r, fmt.Errorf("match: %q is no queue: its name begins with /queue/ or /dsub/", match.Value)
	}
	if r.Match, err = pattern.Parse(match.Value); err != nil {
		return r, fmt.Errorf("match: %q: %s", match.Value, strings.TrimPrefix(err.Error(), "pattern: "))
	}
	for name, v := range one {
		if name == "match" {
			continue
		}
		if v.Kind != yaml.ScalarNode {
			return r, fmt.Errorf("%s takes one value", name)
		}
		if name == "vhost" {
			r.host = v.Value
			continue
		}
		if err := setProperty(&r.Properties, name, v.Value); err != nil {
			return r, err
		}
	}
	return r, nil
}

func setProperty(p *broker.Properties, name, value string) (err error) {
	switch name {
	case "max_bytes":
		p.MaxBytes, err = parseSize(value)
	case "ttl":
		p.TTL, err = parseDuration(value)
	case "idle_after":
		p.IdleAfter, err = parseDuration(value)
	default:
		err = p.Set(name, value)
		if errors.Is(err, broker.ErrNoProperty) {
			return fmt.Errorf("%s is not known; known are match, vhost, max_messages, max_bytes, when_full, ttl, max_deliveries, max_priority, dead_letter, auto_delete, idle_after, single_active, last_value and non_destructive", name)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
