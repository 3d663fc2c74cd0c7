package broker

import (
	"cmp"
	"slices"

	"stompserver/internal/store"
)

// QueueStats are the figures of one queue.
type QueueStats struct {
	Name     string
	Ready    int    // waiting to be handed out
	Unacked  int    // handed out and not settled
	Bytes    int64  // what they cost in memory
	Enqueued uint64 // messages put
	Dequeued uint64 // messages settled
}

// Queues returns the figures of every queue that was ever sent to and is not forgotten,
// by name.
func (b *Broker) Queues() []QueueStats {
	sums := make(map[string]store.Stats)
	for name, st := range b.store.Queues() {
		of, _ := ofLane(name)
		if !isSystem(of) {
			sums[of] = addStats(sums[of], st)
		}
	}
	var all []QueueStats
	for name, st := range sums {
		if st.Enqueued == 0 && st.Ready+st.Leased == 0 {
			continue
		}
		all = append(all, QueueStats{
			Name: name, Ready: st.Ready, Unacked: st.Leased, Bytes: st.Bytes,
			Enqueued: st.Enqueued, Dequeued: st.Dequeued,
		})
	}
	slices.SortFunc(all, func(a, b QueueStats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Waiting is how many messages of dest nobody holds: none, if it is no queue that was opened.
func (b *Broker) Waiting(dest string) int {
	b.mu.RLock()
	q := b.queues[dest]
	b.mu.RUnlock()
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats().Ready
}

// Stats are the figures of the whole broker since its start.
type Stats struct {
	Queues, Topics int

	QueueSubscriptions, TopicSubscriptions int

	Scheduled    int    // messages that wait for their time
	MemoryUsed   int64  // bytes of all messages held
	Published    uint64 // deliveries of topics
	Unwanted     uint64 // SENDs to topics that nobody had subscribed to
	Dropped      uint64 // deliveries that slow subscribers of topics missed
	Redelivered  uint64
	DeadLettered uint64
	Dead         [len(DeathReasons)]uint64 // of these, by reason
	Expired      uint64
	Ended        uint64 // of these, those of topics
	Overflowed   uint64 // messages that found their queue full, or made room in it
	Full         uint64 // of these, those that were dropped
	TimedOut     uint64 // deliveries that were given back because they were not settled in time
}

// Stats returns the broker's figures.
func (b *Broker) Stats() Stats {
	b.mu.RLock()
	queues, topics := len(b.queues), len(b.topics)
	b.mu.RUnlock()
	st := Stats{
		Queues: queues, Topics: topics, MemoryUsed: b.memory.used(),
		Published: b.counts.published.Load(), Unwanted: b.counts.unwanted.Load(),
		Dropped: b.counts.dropped.Load(), Redelivered: b.counts.redelivered.Load(),
		DeadLettered: b.counts.deadLettered.Load(),
		Expired:      b.counts.expired.Load(), Overflowed: b.counts.overflowed.Load(), TimedOut: b.counts.timedOut.Load(),
		Ended: b.counts.ended.Load(), Full: b.counts.full.Load(),
		QueueSubscriptions: int(b.counts.queueSubs.Load()), TopicSubscriptions: int(b.counts.topicSubs.Load()),
		Scheduled: b.schedule.st.Stats().Ready,
	}
	for i := range st.Dead {
		st.Dead[i] = b.counts.dead[i].Load()
	}
	return st
}

// DurableStats are the figures of the durable subscriptions; those that are shared and end with
// their last subscriber are none.
type DurableStats struct {
	Online, Offline int // with a subscriber, without
	Backlog         int // messages that wait in all of them
}

// Durables returns them.
func (b *Broker) Durables() (st DurableStats) {
	d := &b.durables
	d.table.RLock()
	var names []string
	for name, one := range d.byName {
		if !one.Shared {
			names = append(names, name)
		}
	}
	d.table.RUnlock()
	for _, name := range names {
		b.mu.RLock()
		q := b.queues[name]
		b.mu.RUnlock()
		subs := 0
		if q != nil {
			q.mu.Lock()
			subs = q.subs
			st.Backlog += q.stats().Ready
			q.mu.Unlock()
		}
		if subs > 0 {
			st.Online++
		} else {
			st.Offline++
		}
	}
	return st
}

// Consumers returns who is subscribed to a queue, and when the oldest of its messages that is at
// hand came, held or not, in milliseconds; 0 if none is.
func (b *Broker) Consumers(name string) (n int, oldest int64) {
	b.mu.RLock()
	q := b.queues[name]
	b.mu.RUnlock()
	if q == nil {
		return 0, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	look := func(st store.Queue) {
		if ds, _ := st.Peek(nil, 0, 1); len(ds) > 0 && ds[0].Msg != nil {
			if at := ds[0].Msg.Arrived(); oldest == 0 || at < oldest {
				oldest = at
			}
		}
	}
	if q.lanes == nil {
		look(q.st)
	} else {
		for _, p := range q.lanes.down {
			look(q.lanes.st[p])
		}
	}
	return q.subs, oldest
}
