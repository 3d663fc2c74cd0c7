package stompserver

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"

	"stompserver/internal/session"
)

// parseCopies reads the list of destinations.copy:
//
//	[{from: /topic/events, to: [/queue/audit]}, …]
//
// The error names the entry, counted from 1, and what is wrong with it.
func parseCopies(text string) (session.Copies, error) {
	var list []map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("it is not a list such as [{from: /topic/events, to: [/queue/audit]}]")
	}
	var all session.Copies
	for i, one := range list {
		c, err := parseCopy(one)
		if err != nil {
			return nil, &itemError{"entry", i + 1, err}
		}
		all = append(all, c)
	}
	return all, nil
}

func parseCopy(one map[string]yaml.Node) (c session.Copy, err error) {
	var from string
	var to []string
	for name, v := range one {
		switch name {
		case "from":
			if v.Kind != yaml.ScalarNode {
				return c, errors.New("from takes one name")
			}
			from = v.Value
		case "to":
			if v.Kind == yaml.ScalarNode {
				to = []string{v.Value}
			} else if err := v.Decode(&to); err != nil {
				return c, errors.New("to takes names, such as [/queue/audit]")
			}
		default:
			return c, fmt.Errorf("%s is not known; known are from and to", name)
		}
	}
	if from == "" {
		return c, errors.New("from is missing: the destinations whose messages are copied, such as /topic/events.>")
	}
	return session.ParseCopy(from, to)
}
