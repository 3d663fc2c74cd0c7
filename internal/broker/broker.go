// Package broker decides who gets a message: queues with competing consumers in turn,
// topics with fan-out, credit, redelivery, dead letters, transactions and statistics. It
// speaks of messages and deliveries, never of frames, sockets or files.
//
// No goroutine belongs to a queue: work runs on whoever brings the news, a publisher, an
// acker or the store, under that queue's lock. What a run of work leaves to be done once
// the locks are free, above all the flushing of outboxes, it notes in a Wake.
//
// Locks, in the order they may be taken: queue.mu (several only in the order of their
// names), Broker.mu, Subscription.own. With the first and the last held a Consumer may be
// called, which takes its own lock and none of these.
package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
)

// Config is what a Broker needs. The zero value of each field but Store is its default.
type Config struct {
	Store store.Store

	// MaxDeliveries is how often a message is handed out, its first time included,
	// before it goes to DeadLetter. Default 20.
	MaxDeliveries int

	// DeadLetterExpired has messages that expired become dead letters too.
	DeadLetterExpired bool

	// Rules give properties to queues; the first that matches counts.
	Rules []Rule

	// DedupeWindow is for how long a SEND's name is remembered; 0: not at all.
	DedupeWindow time.Duration

	// Redelivery says when what was given back is delivered again.
	Redelivery Redelivery

	// DeadLetter is the queue for what could not be delivered. Default /queue/deadletter.
	DeadLetter string

	// Beside is another broker of the process, nil for the first. Both share one limit of memory,
	// which is that broker's, and nothing else. Then Host is the virtual host that this one is for:
	// no two brokers have the same.
	Beside *Broker
	Host   string

	// MemoryLimit bounds the bytes of all messages held, in memory and on their way;
	// 0 is no limit. Past it Admit makes senders wait.
	MemoryLimit int64

	// Durable says that Store keeps messages over a restart. Then their ids stay the same.
	Durable bool

	// DeleteIdleAfter is how long an empty queue without consumers is kept, with its
	// counters. Default 5 minutes; negative is for ever.
	DeleteIdleAfter time.Duration

	// Monitor is the destination of the statistics, default /queue/monitor: it may be
	// subscribed to like a topic and not sent to. "-" turns it into a queue like any.
	Monitor string

	// Separators are where names are split into parts. Default: at dots and slashes.
	Separators pattern.Separators

	// MakeFilter makes the filters of durable subscriptions that the store kept; nil: they
	// take everything.
	MakeFilter MakeFilter

	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxDeliveries <= 0 {
		c.MaxDeliveries = 20
	}
	if c.DeadLetter == "" {
		c.DeadLetter = "/queue/deadletter"
	}
	if c.DeleteIdleAfter == 0 {
		c.DeleteIdleAfter = 5 * time.Minute
	}
	if c.Monitor == "" {
		c.Monitor = "/queue/monitor"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Errors of destinations.
var (
	ErrReserved = errors.New("broker: destination is reserved for the monitor")
	ErrSystem   = errors.New("broker: destination is one of the broker's own")
	ErrWildcard = errors.New("broker: destination is a pattern")
	ErrNotOwner = errors.New("broker: destination belongs to another connection")
	ErrTaken    = errors.New("broker: queue is exclusive, and another connection has it")
)

// A Broker holds the destinations. It may be used from any goroutine.
type Broker struct {
	cfg    Config
	store  store.Store
	own    memory
	memory *memory // own, or that of the broker beside which this one is
	counts counters
	token  string // of this process, in message ids

	mu        sync.RWMutex // guards the maps and the counters of ids
	queues    map[string]*queue
	topics    map[string]*topic
	temps     map[string]uint64 // owner of each temporary destination
	kept      map[string]uint16 // queues that the store has and nobody used yet: a bit for each priority that has messages
	lastID    uint64            // makes the prefixes of message ids
	followers []*Follower
	closed    bool

	props    properties
	watchers atomic.Int32 // subscriptions that may hear of events
	retained retained
	shown    atomic.Uint64 // numbers what subscriptions are shown of it
	dedupe   *dedupe
	pauses   pauses
	steps    steps
	schedule *schedule
	ends     *ledger // queues that have messages which expire
	wild     wildcards
	durables durables
	clock    clock
	spills   atomic.Uint64 // numbers the queues that they have for themselves
	jams     atomic.Int32  // subscriptions that hold back who sends to their topic

	stop  chan struct{}
	hurry chan struct{} // memory is short: idle queues are to be forgotten now
	wg    sync.WaitGroup
}

// tokenEpoch is the start of 2026 in milliseconds; counted from there tokens are short.
const tokenEpoch = 1767225600000

// New makes a broker of the queues that cfg.Store holds. Close it before the store. The error
// is that of a store which cannot be read.
func New(cfg Config) (*Broker, error) {
	b := &Broker{
		cfg:    cfg.withDefaults(),
		store:  cfg.Store,
		queues: make(map[string]*queue),
		topics: make(map[string]*topic),
		temps:  make(map[string]uint64),
		kept:   make(map[string]uint16),
		stop:   make(chan struct{}),
		hurry:  make(chan struct{}, 1),
	}
	b.wild.trie.Separators = cfg.Separators
	for name, st := range cfg.Store.Queues() {
		if of, p := ofLane(name); st.Ready+st.Leased > 0 {
			b.kept[of] |= 1 << p
		}
	}
	b.token = strconv.FormatInt(time.Now().UnixMilli()-tokenEpoch, 36)
	if cfg.Beside != nil {
		b.memory = cfg.Beside.memory
		b.token += "." + nameID(cfg.Host)
	} else {
		b.memory = &b.own
		b.memory.stored = cfg.Store.Bytes
		b.memory.limit.Store(cfg.MemoryLimit)
	}
	b.memory.join(b)
	if err := errors.Join(b.openProperties(), b.openDurables(), b.openEnds(), b.openSchedule(), b.openDedupe(), b.openRetained(), b.openSteps(), b.openKept(), b.openSpills(), b.openPauses(), b.openExclusive(), b.dropEnded()); err != nil {
		return nil, err
	}
	if b.cfg.DeleteIdleAfter > 0 {
		b.wg.Go(b.reap) // ended by Close, which waits
	}
	return b, nil
}

// Close stops the broker's own work. Sessions must have ended; the store stays open.
func (b *Broker) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	b.mu.Unlock()
	close(b.stop)
	b.wg.Wait()
	b.clock.stop()
}

// stopped reports whether Close was called.
func (b *Broker) stopped() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}

// IsQueue reports whether a destination names a queue: it starts with /queue, as in the
// Ruby server, or is a temporary one. Everything else, and the monitor's destination, is a
// topic.
func (b *Broker) IsQueue(dest string) bool {
	return strings.HasPrefix(dest, "/queue") && dest != b.cfg.Monitor || isTempQueue(dest) || isDurable(dest)
}

// queue returns the named queue, making it if there is none; errGone if it is a temporary
// one whose owner has left.
func (b *Broker) queue(name string) (*queue, error) {
	b.mu.RLock()
	q := b.queues[name]
	b.mu.RUnlock()
	if q != nil {
		return q, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[name]; q != nil {
		return q, nil
	}
	if isTempQueue(name) && b.temps[name] == 0 {
		return nil, errGone
	}
	q = &queue{b: b, name: name}
	q.pinned.Store(name == b.cfg.DeadLetter)
	st, err := b.store.Queue(name, q.ready)
	if err != nil {
		return nil, err
	}
	q.st = st
	if topic, ok := keptTopic(name); ok {
		q.keepFor(topic)
	}
	if b.cfg.Durable {
		q.prefix = "q" + nameID(destination.HostedPrefix(b.cfg.Host)+name) + "-"
	} else {
		q.prefix = b.nextPrefix('q')
	}
	for p := range uint8(priorities) {
		if b.kept[name]&(1<<p) == 0 || p == message.DefaultPriority {
			continue
		}
		if _, err := q.openLane(p); err != nil {
			return nil, err
		}
	}
	delete(b.kept, name)
	q.halted = b.pauses.has(name)
	q.paused = q.halted
	q.mu.Lock() // nobody is there, but who makes room soon, or looks for its keys, may be before this is over
	q.adopt(nil)
	q.mu.Unlock()
	b.queues[name] = q
	b.memory.extra.Add(queueCost + int64(len(name)))
	for _, f := range b.followers {
		f.hear(name)
	}
	b.cfg.Log.Info("queue created", "destination", name)
	return q, nil
}

// nextPrefix makes the prefix of the message ids of one destination: no other has it, neither
// in this process nor in another that the same clients may speak with. Called with mu held.
func (b *Broker) nextPrefix(kind byte) string {
	b.lastID++
	return string(kind) + b.token + "-" + strconv.FormatUint(b.lastID, 10) + "-"
}

// nameID stands for a queue that outlives the process.
func nameID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strconv.FormatUint(binary.BigEndian.Uint64(sum[:]), 36)
}

// topic returns the named topic or nil, if nobody subscribes to it.
func (b *Broker) topic(name string) *topic {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.topics[name]
}

// reap forgets queues that were empty, and used by nobody, for a whole interval. A queue
// unused is seen so twice, which makes it idle between one and two intervals. While senders
// wait for memory it forgets them at once: names alone must not fill it.
func (b *Broker) reap() {
	tick := time.NewTicker(b.cfg.DeleteIdleAfter)
	defer tick.Stop()
	var hurried time.Time
	for {
		reason := "idle"
		select {
		case <-b.stop:
			return
		case <-b.hurry:
			if time.Since(hurried) < hurryEvery {
				continue
			}
			hurried, reason = time.Now(), "memory"
		case <-tick.C:
		}
		for _, q := range b.allQueues() {
			if q.forgetIfIdle(reason == "memory") {
				b.cfg.Log.Info("queue deleted", "destination", q.name, "reason", reason)
			}
		}
	}
}

// hurryEvery is how often all queues are looked through while memory is short.
const hurryEvery = time.Second

// Makes reports whether a subscription to dest would make a queue.
func (b *Broker) Makes(dest string) bool { return b.IsQueue(dest) && !b.Exists(dest) }

// Exists reports whether dest is a queue that was used and is not forgotten, nor about to be, or none.
func (b *Broker) Exists(dest string) bool {
	if !b.IsQueue(dest) {
		return true
	}
	b.mu.RLock()
	there, q := b.there(dest), b.queues[dest]
	b.mu.RUnlock()
	if q == nil {
		return there
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.dying || b.bound(dest)
}

// there reports whether dest, a queue, is there. Called with mu held.
func (b *Broker) there(dest string) bool {
	if b.queues[dest] != nil {
		return true
	}
	_, stored := b.kept[dest] // and nobody used it since the start
	return stored || b.bound(dest)
}

func (b *Broker) allQueues() []*queue {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*queue, 0, len(b.queues))
	for _, q := range b.queues {
		all = append(all, q)
	}
	return all
}

// counters are those of the whole broker.
type counters struct {
	published    atomic.Uint64 // deliveries of topics
	unwanted     atomic.Uint64 // SENDs to topics without subscribers
	dropped      atomic.Uint64 // deliveries that slow subscribers of topics missed
	redelivered  atomic.Uint64
	deadLettered atomic.Uint64
	dead         [len(DeathReasons)]atomic.Uint64 // of these, by reason
	expired      atomic.Uint64
	ended        atomic.Uint64 // of these, those that had no queue
	overflowed   atomic.Uint64 // messages that found their queue full, or made room
	full         atomic.Uint64 // of these, those that were dropped
	timedOut     atomic.Uint64 // deliveries that were not settled in time

	queueSubs, topicSubs atomic.Int64 // subscriptions that there are
}
