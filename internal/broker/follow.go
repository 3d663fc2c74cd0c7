package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"stompserver/internal/pattern"
)

// A Follower hears of the queues that a pattern stands for, those that are there and those that
// come. Queues are not found by the messages that are sent to them, as topics are: who wants
// several subscribes to each.
type Follower struct {
	b    *Broker
	p    pattern.Pattern
	told func()

	mu    sync.Mutex
	names []string // of which Next has not told
}

// Follow makes a Follower of dest, a pattern of queues. Told is called for each queue that
// comes, with locks held: it must neither block nor call the broker. The caller has to call
// End. The error is ErrWildcard.
func (b *Broker) Follow(dest string, told func()) (*Follower, error) {
	p, err := b.cfg.Separators.Parse(dest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWildcard, err)
	}
	f := &Follower{b: b, p: p, told: told}
	b.mu.Lock()
	b.followers = append(b.followers, f)
	for name := range b.queues {
		f.hear(name)
	}
	b.mu.Unlock()
	for name := range b.store.Queues() { // those that nobody used since the start
		name, _ = ofLane(name)
		f.hear(name)
	}
	return f, nil
}

// hear notes a queue if f is to know of it. The dead letters that all queues have in common are
// for who names them: else a client that refuses a message would be sent it again from there.
func (f *Follower) hear(name string) {
	if !strings.HasPrefix(name, "/queue") || isSystem(name) || name == f.b.cfg.DeadLetter || !f.p.Matches(name) {
		return
	}
	f.mu.Lock()
	f.names = append(f.names, name)
	f.mu.Unlock()
	f.told()
}

// Next returns the names that it did not return before, sorted; one may come twice.
func (f *Follower) Next() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := f.names
	f.names = nil
	slices.Sort(names)
	return names
}

// End has f hear no more.
func (f *Follower) End() {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	if i := slices.Index(f.b.followers, f); i >= 0 {
		f.b.followers = slices.Delete(f.b.followers, i, i+1)
	}
}
