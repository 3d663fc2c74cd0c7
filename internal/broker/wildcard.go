package broker

import (
	"strings"
	"sync/atomic"

	"stompserver/internal/destination"
	"stompserver/internal/pattern"
)

// wildcards are the subscriptions to topics by a pattern. Each has a topic of its own, which
// counts its deliveries and has it as its only subscriber.
type wildcards struct {
	trie    pattern.Trie[*topic]
	version atomic.Uint64 // counts the changes; 0 while there never was one
}

// Separators are where names are split into parts.
func (b *Broker) Separators() pattern.Separators { return b.cfg.Separators }

// IsPattern reports whether dest, by the broker's name, stands for many. What follows an exchange
// is a key, which stands for itself.
func (b *Broker) IsPattern(dest string) bool {
	return b.cfg.Separators.IsPattern(dest) && !strings.HasPrefix(dest, destination.ExchangePrefix)
}

// joinWildcard makes s a subscriber of all topics that p matches.
func (b *Broker) joinWildcard(name string, p pattern.Pattern, s *Subscription) {
	b.mu.Lock()
	t := &topic{name: name, prefix: b.nextPrefix('t'), pattern: &p, line: line{of: name}}
	b.mu.Unlock()
	t.subs.Store(&[]*Subscription{s})
	s.t, s.listed = t, true
	b.wild.trie.Add(p, t)
	b.wild.version.Add(1)
}

func (b *Broker) leaveWildcard(s *Subscription) {
	t := s.t
	b.wild.trie.Remove(*t.pattern, t)
	b.wild.version.Add(1)
	t.subs.Store(new([]*Subscription)) // who noted t does not hold s by it
}
