package session

import (
	"slices"

	"stompserver/internal/broker"
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
func withoutDoubles(names []destination.Name) []destination.Name {
	var kept []destination.Name
	for _, n := range names {
		if !slices.ContainsFunc(kept, func(k destination.Name) bool { return covers(k, n) }) {
			kept = append(slices.DeleteFunc(kept, func(k destination.Name) bool { return covers(n, k) }), n)
		}
	}
	return kept
}

// covers reports whether all that comes to n comes to the topics of k, or whether they are the same.
func covers(k, n destination.Name) bool {
	if k.Queue != n.Queue { // each of its own
		return false
	}
	if k.Kind != n.Kind || n.Kind != destination.Topic || !broker.IsPattern(k.Text) {
		return k.Kind == n.Kind && k.Text == n.Text
	}
	p, err := pattern.Parse(k.Text)
	if err != nil {
		return false // told by who subscribes to it
	}
	if !broker.IsPattern(n.Text) {
		return p.Matches(n.Text)
	}
	q, err := pattern.Parse(n.Text)
	return err == nil && p.Contains(q)
}
