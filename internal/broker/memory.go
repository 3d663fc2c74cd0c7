package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/message"
)

// memory watches the bytes of all messages, stored and on their way. The brokers of one process
// share it: see Config.Beside.
type memory struct {
	limit   atomic.Int64 // 0: none
	extra   atomic.Int64 // messages that the store does not know of
	partial atomic.Int64 // frames that are still coming in
	stored  func() int64

	mu    sync.Mutex      // guards what follows
	gate  chan struct{}   // closed when there is room again; nil while nobody waits
	hurry []chan struct{} // of each broker: memory is short, idle queues are to be forgotten now
}

// join makes b one of the brokers that share m.
func (m *memory) join(b *Broker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hurry = append(m.hurry, b.hurry)
}

// hasten has all brokers forget what nobody needs.
func (m *memory) hasten() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.hurry {
		select {
		case c <- struct{}{}:
		default:
		}
	}
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

// Partial counts n bytes (or, negative, gives them back) that unfinished frames of a client
// hold.
func (b *Broker) Partial(n int) { b.memory.partial.Add(int64(n)) }

// Hold counts the memory of a topic's message while it waits for somebody, once however
// many it waits for; Drop says that it does not wait for one of them any more. The store
// counts those of queues.
func (b *Broker) Hold(m *message.Message) {
	if m.Hold() {
		b.memory.extra.Add(int64(m.Size()))
	}
}

// Drop takes back one Hold.
func (b *Broker) Drop(m *message.Message) {
	if m.Drop() {
		b.memory.extra.Add(-int64(m.Size()))
	}
}

// MemoryCrowded reports whether messages and unfinished frames together go well past the
// limit: then large frames should not grow. A client does not count the mine bytes that its
// own frame holds.
func (b *Broker) MemoryCrowded(mine int) bool { return b.memory.crowded(mine) }

// MemoryFull reports whether the limit of memory is reached.
func (b *Broker) MemoryFull() bool { return b.memory.full() }

// queueCost is what a queue without messages costs in memory, roughly and without its name.
const queueCost = 1 << 10

// MemoryLimit is the limit in bytes, 0 for none.
func (b *Broker) MemoryLimit() int64 { return b.memory.limit.Load() }

// SetMemoryLimit changes the limit, 0 for none.
func (b *Broker) SetMemoryLimit(n int64) { b.memory.limit.Store(n) }

// AwaitMemory waits while full, MemoryFull or MemoryCrowded, says so, at most for patience,
// until stop is closed or gone reports that the client is, and reports whether there is room
// now.
func (b *Broker) AwaitMemory(full, gone func() bool, patience time.Duration, stop <-chan struct{}) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for full() {
		if gone() {
			return false
		}
		b.memory.hasten()
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
