package session

import (
	"fmt"
	"slices"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/pattern"
)

// Copies say what is sent to other destinations too, whoever sends it, as ActiveMQ's composite
// destinations, Artemis's diverts and Apollo's mirrored queues do.
type Copies []Copy

// A Copy has what is sent to From, or to what matches it, sent to each of To as well.
type Copy struct {
	From pattern.Pattern
	To   []string // destinations; a * is what follows the prefix of the one that is copied

	name string // of From
}

// ParseCopy reads a Copy; the error is for people.
func ParseCopy(from string, to []string) (c Copy, err error) {
	name, err := plainName(from)
	if err != nil {
		return c, err
	}
	if c.From, err = pattern.Both.Parse(name); err != nil {
		return c, fmt.Errorf("%q: %s", from, strings.TrimPrefix(err.Error(), "pattern: "))
	}
	if len(to) == 0 {
		return c, fmt.Errorf("to is missing: where what is sent to %q is to go as well", from)
	}
	for _, text := range to {
		name, err := plainName(text)
		if err != nil {
			return c, err
		}
		if pattern.Both.IsPattern(strings.ReplaceAll(name, "*", "x")) {
			return c, fmt.Errorf("%q: of wildcards it can have *, for the name that is copied", text)
		}
	}
	c.To, c.name = to, name
	return c, nil
}

// Split returns c for names that are split at sep.
func (c Copies) Split(sep pattern.Separators) Copies {
	all := slices.Clone(c)
	for i := range all {
		if p, err := sep.Parse(all[i].name); err == nil { // there is less that can be wrong than where both separate
			all[i].From = p
		}
	}
	return all
}

// plainName is the broker's name of a queue or a topic of everybody.
func plainName(text string) (string, error) {
	all, err := destination.Parse(text, destination.None)
	if err != nil {
		return "", fmt.Errorf("%q: %s", text, strings.TrimPrefix(err.Error(), "destination: "))
	}
	if len(all) != 1 || all[0].Kind != destination.Queue && all[0].Kind != destination.Topic || all[0].System() || broker.IsTemporary(all[0].Text) {
		return "", fmt.Errorf("%q is not one queue or topic", text)
	}
	return all[0].Text, nil
}

// of returns where a message to all of names goes besides.
func (c Copies) of(names []destination.Name) (more []destination.Name, err error) {
	for _, n := range names {
		if n.System() || broker.IsTemporary(n.Text) {
			continue
		}
		rest := n.Text
		for _, prefix := range []string{destination.QueuePrefix, destination.TopicPrefix, destination.DurablePrefix, "/"} {
			var ok bool
			if rest, ok = strings.CutPrefix(n.Text, prefix); ok {
				break
			}
		}
		for _, one := range c {
			if !one.From.Matches(n.Text) {
				continue
			}
			for _, text := range one.To {
				all, err := destination.Parse(strings.ReplaceAll(text, "*", strings.NewReplacer("%", "%25", ",", "%2C").Replace(rest)), destination.None)
				if err != nil {
					return nil, err
				}
				same := func(o destination.Name) bool { return o.Text == all[0].Text }
				if !slices.ContainsFunc(names, same) && !slices.ContainsFunc(more, same) {
					more = append(more, all[0])
				}
			}
		}
	}
	return more, nil
}
