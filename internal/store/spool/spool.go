// Package spool keeps queues in memory and hands their messages out on lease. Without a
// backend, which is all there is yet, it is the memory store: durable means taken.
package spool

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"stompserver/internal/store"
)

// A Spool is a store.Store.
type Spool struct {
	bytes atomic.Int64

	mu     sync.RWMutex // guards what follows
	queues map[string]*queue
	lastID uint64
	closed bool
}

var _ store.Store = (*Spool)(nil)

// New makes an empty memory store.
func New() *Spool { return &Spool{queues: make(map[string]*queue)} }

// ErrOpen is returned by Queue for a name that is open already.
var ErrOpen = errors.New("spool: queue is open already")

// Queue implements store.Store. Ready is never called: what becomes available in memory
// does so by a Commit or Release of the broker's, which fetches after them by itself.
func (s *Spool) Queue(name string, _ func()) (store.Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	if s.queues[name] != nil {
		return nil, fmt.Errorf("%w: %s", ErrOpen, name)
	}
	s.lastID++
	q := &queue{spool: s, name: name, id: s.lastID}
	q.win.init()
	s.queues[name] = q
	return q, nil
}

// Queues implements store.Store.
func (s *Spool) Queues() iter.Seq2[string, store.Stats] {
	return func(yield func(string, store.Stats) bool) {
		s.mu.RLock()
		all := make([]*queue, 0, len(s.queues))
		for _, q := range s.queues {
			all = append(all, q)
		}
		s.mu.RUnlock()
		for _, q := range all {
			if !yield(q.name, q.Stats()) {
				return
			}
		}
	}
}

// Bytes implements store.Store.
func (s *Spool) Bytes() int64 { return s.bytes.Load() }

// Commit implements store.Store.
func (s *Spool) Commit(b *store.Batch) {
	changes := b.Changes()
	if len(changes) == 1 {
		q := changes[0].Queue.(*queue)
		q.mu.Lock()
		ok := !q.closed
		if ok {
			q.apply(&changes[0])
		}
		q.mu.Unlock()
		b.Finish(closedUnless(ok))
		return
	}
	// Several queues change together: all are locked, in the order of their ids.
	var qs []*queue
	for i := range changes {
		q := changes[i].Queue.(*queue)
		if at, found := slices.BinarySearchFunc(qs, q, byID); !found {
			qs = slices.Insert(qs, at, q)
		}
	}
	ok := true
	for _, q := range qs {
		q.mu.Lock()
		ok = ok && !q.closed
	}
	for i := range changes {
		if ok {
			changes[i].Queue.(*queue).apply(&changes[i])
		}
	}
	for _, q := range qs {
		q.mu.Unlock()
	}
	b.Finish(closedUnless(ok))
}

func byID(a, b *queue) int {
	switch {
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

func closedUnless(ok bool) error {
	if ok {
		return nil
	}
	return store.ErrClosed
}

// Close implements store.Store.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.closed = true
	all := s.queues
	s.mu.Unlock()
	for _, q := range all {
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
	}
	return nil
}
