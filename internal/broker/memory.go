package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// memory watches the bytes of all messages, stored and on their way.
type memory struct {
	limit  atomic.Int64 // 0: none
	extra  atomic.Int64 // what the store does not know of
	stored func() int64

	mu   sync.Mutex
	gate chan struct{} // closed when there is room again; nil while nobody waits
}

func (m *memory) used() int64 { return m.stored() + m.extra.Load() }

func (m *memory) full() bool {
	limit := m.limit.Load()
	return limit > 0 && m.used() >= limit
}

// recheck is how often one goroutine looks for room while senders wait. Looking costs
// the waiting nothing, and those who make room need not think of them.
const recheck = 5 * time.Millisecond

func (m *memory) await() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gate == nil {
		gate := make(chan struct{})
		m.gate = gate
		var look func()
		look = func() {
			if m.full() {
				time.AfterFunc(recheck, look)
				return
			}
			m.mu.Lock()
			m.gate = nil
			m.mu.Unlock()
			close(gate)
		}
		time.AfterFunc(recheck, look)
	}
	return m.gate
}

// Hold counts n bytes (or, negative, gives them back) that a client's unfinished frames
// and transactions hold.
func (b *Broker) Hold(n int) { b.memory.extra.Add(int64(n)) }

// MemoryFull reports whether the limit of memory is reached.
func (b *Broker) MemoryFull() bool { return b.memory.full() }

// MemoryLimit is the limit in bytes, 0 for none.
func (b *Broker) MemoryLimit() int64 { return b.memory.limit.Load() }

// SetMemoryLimit changes the limit, 0 for none.
func (b *Broker) SetMemoryLimit(n int64) { b.memory.limit.Store(n) }

// AwaitMemory waits until there is room for a message, at most for patience and until
// stop is closed, and reports whether there is.
func (b *Broker) AwaitMemory(patience time.Duration, stop <-chan struct{}) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for b.memory.full() {
		select {
		case <-b.memory.await():
		case <-deadline.C:
			return false
		case <-stop:
			return false
		}
	}
	return true
}
