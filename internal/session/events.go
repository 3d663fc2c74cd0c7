package session

import (
	"strconv"

	"stompserver/internal/broker"
)

// tellEvent tells who listens what this client did. Called by the reader.
func (s *session) tellEvent(kind, advisory string) {
	if s.b.Watched() {
		s.b.Tell(&s.wake, broker.Event{Kind: kind, Advisory: advisory, Fields: s.facts()})
	}
}

// tellOf tells what it did about subscriptions.
func (s *session) tellOf(kind, advisory string, subs []*subscr) {
	if !s.b.Watched() {
		return
	}
	for _, sub := range subs {
		f := s.facts()
		f["subscription"] = sub.id
		s.b.Tell(&s.wake, broker.About(kind, advisory, sub.dest, f))
	}
}

// tellSlow tells of a subscription that is too slow, the first time. Called on a goroutine of
// its own.
func (s *session) tellSlow(sub *subscr, policy broker.Slow) {
	var w broker.Wake
	f := map[string]any{"session": strconv.FormatUint(s.id, 10), "remote": s.c.net().RemoteAddr().String(), "subscription": sub.id, "policy": policy.String()}
	s.b.Tell(&w, broker.About("slow", "SlowConsumer", sub.dest, f))
	w.Run()
}

// Describe implements broker.Describer. What open has yet to set it does not read.
func (sub *subscr) Describe(f broker.Filter) []string {
	s := sub.s
	selector := selectorOf(f)
	if d, ok := s.b.Bound(sub.dest); ok && selector == "" {
		selector = d.Selector
	}
	return []string{"subscriptionId", sub.id, "connectionId", strconv.FormatUint(s.id, 10), "clientId", s.client,
		"user", s.access.name(), "remote", s.c.net().RemoteAddr().String(), "selector", selector}
}

// facts say who the client is.
func (s *session) facts() map[string]any {
	f := map[string]any{"session": strconv.FormatUint(s.id, 10), "remote": s.c.net().RemoteAddr().String()}
	if s.user != nil && s.user.Name != "" {
		f["user"] = s.user.Name
	}
	if s.client != "" {
		f["clientId"] = s.client
	}
	return f
}
