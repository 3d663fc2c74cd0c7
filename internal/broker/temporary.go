package broker

import (
	"crypto/rand"
	"errors"
	"strings"

	"stompserver/internal/destination"
)

// Temporary destinations belong to one connection: it alone may subscribe to them, whoever
// knows the name may send to them, and they end with it. Their messages are in no store.

// errGone is the error of a temporary queue whose owner has left.
var errGone = errors.New("broker: temporary queue is gone")

func isTempQueue(dest string) bool { return strings.HasPrefix(dest, destination.ReplyPrefix) }

// IsTemporary reports whether dest, by the broker's name, is temporary.
func IsTemporary(dest string) bool { return isTemp(dest) }

func isTemp(dest string) bool {
	return isTempQueue(dest) || strings.HasPrefix(dest, destination.ReplyTopicPrefix)
}

// NewTemporary makes a temporary queue, or topic, of owner, a number that is not 0, and
// returns its name, which cannot be guessed. The owner has to call DropTemporary.
func (b *Broker) NewTemporary(owner uint64, topic bool) string {
	name := destination.ReplyPrefix
	if topic {
		name = destination.ReplyTopicPrefix
	}
	name += rand.Text()
	b.mu.Lock()
	b.temps[name] = owner
	b.mu.Unlock()
	b.memory.extra.Add(queueCost)
	return name
}

// DropTemporary ends a temporary destination of NewTemporary, whose subscriptions must be
// closed. What a queue holds is gone.
func (b *Broker) DropTemporary(name string) {
	b.mu.Lock()
	delete(b.temps, name)
	q := b.queues[name]
	b.mu.Unlock()
	b.memory.extra.Add(-queueCost)
	if q != nil {
		q.destroy(func() {})
	}
}

// owns reports whether owner may subscribe to dest.
func (b *Broker) owns(owner uint64, dest string) bool {
	if !isTemp(dest) {
		return true
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return owner != 0 && b.temps[dest] == owner
}
