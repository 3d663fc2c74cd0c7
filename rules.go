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
// The error names the rule, counted from 1, and what is wrong with it.
func parseRules(text string) ([]broker.Rule, error) {
	var list []map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("it is not a list of rules such as {match: /queue/jobs.*, max_messages: 1000}")
	}
	var rules []broker.Rule
	for i, one := range list {
		r, err := parseRule(one)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(one map[string]yaml.Node) (r broker.Rule, err error) {
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
			return fmt.Errorf("%s is not known; known are match, max_messages, max_bytes, when_full, ttl, max_deliveries, dead_letter, auto_delete, idle_after, single_active, last_value and non_destructive", name)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
