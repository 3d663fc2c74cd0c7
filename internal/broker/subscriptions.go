package broker

import (
	"cmp"
	"slices"

	"stompserver/internal/message"
)

// A Describer is a Consumer that says whose it is, in pairs of a name and a value, and what its filter is. It is
// asked with no lock held, and perhaps before Subscribe has returned.
type Describer interface{ Describe(f Filter) []string }

// A subscribed is what there is to tell of a subscription.
type subscribed struct {
	dest    string
	c       Consumer
	filter  Filter
	figures []figure
}

// subscriptions are those that there are, by the names of their destinations.
func (b *Broker) subscriptions() []subscribed {
	var all []subscribed
	b.mu.RLock()
	topics := make([]*topic, 0, len(b.topics))
	for _, t := range b.topics {
		topics = append(topics, t)
	}
	queues := make([]*queue, 0, len(b.queues))
	for _, q := range b.queues {
		queues = append(queues, q)
	}
	b.mu.RUnlock()
	for _, t := range b.wild.trie.All(topics) {
		for _, s := range *t.subs.Load() {
			s.own.Lock()
			if !s.detached {
				all = append(all, s.tell(t.name))
			}
			s.own.Unlock()
		}
	}
	for _, q := range queues {
		name, kept := keptTopic(q.name)
		if !kept {
			name = q.name
		}
		q.mu.Lock()
		for _, s := range slices.Concat(q.single.all, q.browsers) {
			all = append(all, s.tell(name))
		}
		q.mu.Unlock()
	}
	slices.SortStableFunc(all, func(x, y subscribed) int { return cmp.Compare(x.dest, y.dest) })
	return all
}

// tell says what there is to tell of s. Called with its lock held.
func (s *Subscription) tell(dest string) subscribed {
	flying := s.inflight.len()
	all := []figure{{"destinationName", dest}, {"browser", s.browser != nil}}
	if s.mode != Auto {
		all = append(all, figure{"dispatchedCounter", s.inflight.last}, figure{"dispatchedQueueSize", flying}, figure{"prefetchSize", s.credit + flying})
	}
	if s.q == nil {
		most := s.pending
		switch {
		case most == 0:
			most = -1
		case most < 0:
			most = 0
		}
		all = append(all, figure{"pendingQueueSize", s.backlog.len()}, figure{"maximumPendingMessageLimit", most})
	}
	return subscribed{dest, s.c, s.filter, append(all, figure{"exclusive", s.exclusive}, figure{"consumerPriority", s.priority}, figure{"paused", s.paused})}
}

// controlSubscriptions answers a request for figures of all subscriptions with a message for each.
func (b *Broker) controlSubscriptions(m *message.Message, tell func([]figure) error) error {
	for _, s := range b.subscriptions() {
		if d, ok := s.c.(Describer); ok {
			who := d.Describe(s.filter)
			for i := 0; i+1 < len(who); i += 2 {
				if who[i+1] != "" {
					s.figures = append(s.figures, figure{who[i], who[i+1]})
				}
			}
		}
		if err := tell(s.figures); err != nil {
			return err
		}
	}
	if _, asked := m.Header(amqListEnd); asked {
		return tell(nil)
	}
	return nil
}
