// Package spool keeps queues and hands their messages out on lease. Without a backend it is
// the memory store: durable means taken. With one it is a durable store: what is committed
// goes into pending, the committer makes groups of it durable, and of a long queue the
// window holds the head in memory while the pager brings in the rest.
package spool

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A Spool is a store.Store.
type Spool struct {
	bytes atomic.Int64 // of the messages in memory

	mu     sync.RWMutex // guards what follows
	queues map[string]*queue
	stored map[string]store.Info // what the backend holds of queues that are not open
	lastID uint64
	floor  store.Seq // new queues begin behind it, so that no Seq comes back
	closed bool

	disk *disk // nil: the memory store
}

var _ store.Store = (*Spool)(nil)

// New makes an empty memory store.
func New() *Spool { return &Spool{queues: make(map[string]*queue)} }

// Config is what a durable spool needs. The zero value of each field but Backend is its
// default.
type Config struct {
	Backend store.Backend // Close closes it

	// Window is how many bytes of one queue's messages are held in memory before those
	// that come are left to the backend alone; default 16 MiB.
	Window int64

	// Memory is how many bytes of all queues' messages are held likewise; default no
	// limit. What one queue needs to go on is held in any case.
	Memory int64

	// Brief says that a Write takes no longer than the disk takes for it, whatever
	// happens: then who waits for it may make it, see Attend.
	Brief bool

	// Damaged says that the Backend may have left out what is not as it was written. A start
	// that finds nothing of the numbers goes on as after an end that was not clean.
	Damaged bool

	// Checkpoint is how often a Backend is synced that is a store.Syncer and does not
	// sync by itself; 0: never.
	Checkpoint time.Duration

	// Failed is called once, on a goroutine of its own, when the backend failed for
	// good: nothing can be stored any more, and the process should end.
	Failed func(error)

	Log *slog.Logger // default: none
}

// Open makes a store of what cfg.Backend holds.
func Open(cfg Config) (*Spool, error) {
	if cfg.Window <= 0 {
		cfg.Window = 16 << 20
	}
	if cfg.Memory <= 0 {
		cfg.Memory = math.MaxInt64
	}
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, err := look(cfg.Backend)
	if err != nil {
		return nil, err
	}
	d := newDisk(cfg)
	d.numbers, s.disk = s.disk.numbers, d
	if cfg.Damaged {
		s.missNumbers()
	}
	if err := s.disk.raise(s.floor); err != nil {
		return nil, err
	}
	s.disk.wg.Go(func() { s.disk.commitAll() }) // ended by Close, as is the pager
	s.disk.wg.Go(func() { s.disk.pageAll(s) })
	return s, nil
}

// look makes a spool that knows what b holds, and does nothing yet.
func look(b store.Backend) (*Spool, error) {
	s := New()
	s.stored = make(map[string]store.Info)
	infos, err := b.Queues()
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		if i.Name != "" {
			s.stored[i.Name] = i
		}
		s.floor = max(s.floor, i.Last)
	}
	s.disk = new(disk)
	return s, s.recall(b)
}

// Lasts tells for who writes to a backend that no spool uses which Seq each queue may have come to. It
// is to be asked once for each.
func Lasts(b store.Backend) (func(queue string) store.Seq, error) {
	s, err := look(b)
	if err != nil {
		return nil, err
	}
	return func(name string) store.Seq {
		if name == numbersQueue {
			return s.disk.numbers.last
		}
		_, last := s.goOn(name)
		return last
	}, nil
}

// ErrOpen is returned by Queue for a name that is open already.
var ErrOpen = errors.New("spool: queue is open already")

// Queue implements store.Store. Without a backend ready is never called: what becomes
// available in memory does so by a Commit or Release of the broker's, which fetches after
// them by itself.
func (s *Spool) Queue(name string, ready func()) (store.Queue, error) {
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
	if s.disk == nil {
		q.win.init(s.floor + 1)
	} else {
		info, last := s.goOn(name)
		q.restore(info, last, ready)
	}
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
		var stored []store.Info
		for _, i := range s.stored {
			if i.Count > 0 {
				stored = append(stored, i)
			}
		}
		s.mu.RUnlock()
		for _, q := range all {
			if !yield(q.name, q.Stats()) {
				return
			}
		}
		for _, i := range stored {
			if !yield(i.Name, store.Stats{Ready: i.Count, Bytes: i.Bytes}) {
				return
			}
		}
	}
}

// keep counts the memory of a message that a queue has now, and leave that of one that it has no more: of one that
// was put into several queues once, and what each but one of these needs beside it.
func (s *Spool) keep(m *message.Message) { s.bytes.Add(cost(m, m.Keep())) }

func (s *Spool) leave(m *message.Message) { s.bytes.Add(-cost(m, m.Leave())) }

// place is what a queue needs, roughly, to know of a message that is in memory for another one.
const place = 24

func cost(m *message.Message, alone bool) int64 {
	if alone {
		return int64(m.Size())
	}
	return place
}

// Bytes implements store.Store.
func (s *Spool) Bytes() int64 { return s.bytes.Load() }

// Commit implements store.Store.
func (s *Spool) Commit(b *store.Batch) {
	if s.disk != nil {
		s.disk.commit(b)
		return
	}
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
	qs, ok := lockAll(changes)
	for i := range changes {
		if ok {
			changes[i].Queue.(*queue).apply(&changes[i])
		}
	}
	unlockAll(qs)
	b.Finish(closedUnless(ok))
}

// Attend implements store.Store.
func (s *Spool) Attend() bool { return s.disk != nil && s.disk.cfg.Brief && s.disk.attend() }

// lockAll locks the queues that change together, in the order of their ids, and reports
// whether all of them are open.
func lockAll(changes []store.Change) (qs []*queue, ok bool) {
	for i := range changes {
		q := changes[i].Queue.(*queue)
		if at, found := slices.BinarySearchFunc(qs, q, byID); !found {
			qs = slices.Insert(qs, at, q)
		}
	}
	ok = true
	for _, q := range qs {
		q.mu.Lock()
		ok = ok && !q.closed
	}
	return qs, ok
}

func unlockAll(qs []*queue) {
	for _, q := range qs {
		q.mu.Unlock()
	}
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

// Leave has Close leave undone what the next process of this program can do without: see store.Leaver.
func (s *Spool) Leave() {
	if s.disk == nil {
		return
	}
	if l, ok := s.disk.cfg.Backend.(store.Leaver); ok {
		l.Leave()
	}
}

// Close implements store.Store.
func (s *Spool) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	all := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		all = append(all, q)
	}
	s.mu.Unlock()
	for _, q := range all {
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
	}
	if s.disk == nil || was {
		return nil
	}
	return s.disk.close(s, all)
}
