package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// memory watches the bytes of all messages, stored and on their way.
type memory struct {
	limit   atomic.Int64 // 0: none
	extra   atomic.Int64 // messages that the store does not know of
	partial atomic.Int64 // frames that are still coming in
	stored  func() int64

	mu   sync.Mutex
	gate chan struct{} // closed when there is room again; nil while nobody waits
}

func (m *memory) used() int64 { return m.stored() + m.extra.Load() }

// full reports whether messages fill the limit. Frames that are coming in do not count: a
// client would wait for the room that its own frame takes.
func (m *memory) full() bool {
	limit := m.limit.Load()
	return limit > 0 && m.used() >= limit
}

// crowded reports whether messages and frames coming in, but for mine bytes of these, go
// past the limit together.
func (m *memory) crowded(mine int) bool {
	limit := m.limit.Load()
	return limit > 0 && m.used()+m.partial.Load()-int64(mine) >= limit+limit/8
}

// recheck is how often it is looked for room while senders wait: so those who make room
// need not think of them. After looks times in vain each looks by itself.
const (
	recheck = 5 * time.Millisecond
	looks   = 20
)

func (m *memory) await() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gate == nil {
		gate := make(chan struct{})
		m.gate = gate
		n := 0
		var look func()
		look = func() {
			if n++; n < looks && (m.full() || m.crowded(0)) {
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

// Hold counts n bytes (or, negative, gives them back) that unfinished frames of a client
// hold.
func (b *Broker) Hold(n int) { b.memory.partial.Add(int64(n)) }

// MemoryCrowded reports whether messages and unfinished frames together go well past the
// limit: then large frames should not grow. A client does not count the mine bytes that its
// own frame holds.
func (b *Broker) MemoryCrowded(mine int) bool { return b.memory.crowded(mine) }

// MemoryFull reports whether the limit of memory is reached.
func (b *Broker) MemoryFull() bool { return b.memory.full() }

// MemoryLimit is the limit in bytes, 0 for none.
func (b *Broker) MemoryLimit() int64 { return b.memory.limit.Load() }

// SetMemoryLimit changes the limit, 0 for none.
func (b *Broker) SetMemoryLimit(n int64) { b.memory.limit.Store(n) }

// AwaitMemory waits while full, MemoryFull or MemoryCrowded, says so, at most for patience
// and until stop is closed, and reports whether there is room now.
func (b *Broker) AwaitMemory(full func() bool, patience time.Duration, stop <-chan struct{}) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for full() {
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
