package session

import (
	"slices"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/pattern"
)

// mayList is the error of a SUBSCRIBE to several destinations that asks for what one alone can have.
func (s *session) mayList(f *frame.Frame, names []destination.Name) error {
	named, durable, err := durableName(f)
	if err != nil {
		return err
	}
	if queue := f.Header.Value("x-queue-name"); queue != "" {
		named, durable = queue, true
	}
	if !durable || !slices.ContainsFunc(names, func(n destination.Name) bool { return !s.b.IsQueue(n.Text) }) {
		return nil
	}
	return errf(codeBadHeader, "Invalid header", "The durable subscription %s is of one topic, or of one pattern of topics, and %s stands for several destinations.", cut([]byte(named)), cut([]byte(f.Header.Value("destination"))))
}

// withoutDoubles returns names without those by which a subscription to the others would get
// messages a second time.
func withoutDoubles(names []destination.Name, sep pattern.Separators) []destination.Name {
	var kept []listed
	for _, n := range names {
		l := listed{Name: n}
		if n.Kind == destination.Topic && !strings.HasPrefix(n.Text, destination.ExchangePrefix) {
			p, err := sep.Parse(n.Text)
			l.pattern, l.wild, l.bad = p, p.Wild(), err != nil // which who subscribes to it is told
		}
		if !slices.ContainsFunc(kept, func(k listed) bool { return k.covers(l) }) {
			kept = append(slices.DeleteFunc(kept, l.covers), l)
		}
	}
	names = names[:0:0]
	for _, l := range kept {
		names = append(names, l.Name)
	}
	return names
}

// A listed is one of several destinations, with its pattern read once: to read an expression takes a while.
type listed struct {
	destination.Name
	pattern pattern.Pattern
	wild    bool // it is a pattern
	bad     bool // it is none that can be used
}

// covers reports whether all that comes to n comes to the topics of k, or whether they are the same.
func (k listed) covers(n listed) bool {
	switch {
	case k.Kind != n.Kind || k.Queue != n.Queue: // each of its own
		return false
	case k.Text == n.Text:
		return true
	case !k.wild || n.Kind != destination.Topic:
		return false
	case n.wild:
		return k.pattern.Contains(n.pattern)
	}
	return !n.bad && k.pattern.Matches(n.Text)
}
