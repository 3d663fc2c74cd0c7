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
	MemoryUsed     int64  // bytes of all messages held
	Published      uint64 // deliveries of topics
	Unwanted       uint64 // SENDs to topics that nobody had subscribed to
	Dropped        uint64 // deliveries that slow subscribers of topics missed
	Redelivered    uint64
	DeadLettered   uint64
	Expired        uint64
	Overflowed     uint64 // messages that found their queue full, or made room in it
	TimedOut       uint64 // deliveries that were given back because they were not settled in time
}

// Stats returns the broker's figures.
func (b *Broker) Stats() Stats {
	b.mu.RLock()
	queues, topics := len(b.queues), len(b.topics)
	b.mu.RUnlock()
	return Stats{
		Queues: queues, Topics: topics, MemoryUsed: b.memory.used(),
		Published: b.counts.published.Load(), Unwanted: b.counts.unwanted.Load(),
		Dropped: b.counts.dropped.Load(), Redelivered: b.counts.redelivered.Load(),
		DeadLettered: b.counts.deadLettered.Load(),
		Expired:      b.counts.expired.Load(), Overflowed: b.counts.overflowed.Load(), TimedOut: b.counts.timedOut.Load(),
	}
}
