package broker

import "stompserver/internal/store"

// A Consumer receives the deliveries of one subscription. Its methods are called with
// the queue's or subscription's lock held: they must neither block nor call the broker.
type Consumer interface {
	// Deliver takes d. It notes in w whom to flush, and answers whether more may come;
	// after a no the broker waits for Subscription.Resume.
	Deliver(d Delivery, w *Wake) (more bool)

	// Lagging says that the consumer of a topic is too slow, and missed n messages: perhaps none, if
	// the policy has them wait elsewhere.
	Lagging(n int, policy Slow)
}

// A Delivery is a message on its way to one subscription.
type Delivery struct {
	store.Delivery
	Tag uint64 // orders the deliveries of a subscription, from 1; 0 in mode auto
}

// A Flusher has something to write once the locks are free.
type Flusher interface {
	// Flush writes what is waiting. It must not block. First says that it is the first
	// time in this run: then it may write by itself, else it should leave that to a
	// goroutine of its own, so that no run serves one consumer for ever.
	Flush(w *Wake, first bool)
}

// A Wake collects what a run of work leaves to be done when no lock is held: outboxes to
// flush, and other queues to look after. It belongs to one goroutine. A burst of frames
// shares one, so that it costs each peer one wake-up.
type Wake struct {
	flush  []Flusher
	queues []*queue
	after  []func(w *Wake)

	acked [2]uint32 // deliveries that ACKs settled, of queues and of topics
}

// Acked returns how many deliveries ACKs have settled since it was last asked.
func (w *Wake) Acked() (queues, topics uint32) {
	queues, topics = w.acked[0], w.acked[1]
	w.acked = [2]uint32{}
	return queues, topics
}

// Add notes f. A Flusher makes sure itself that it is noted once.
func (w *Wake) Add(f Flusher) { w.flush = append(w.flush, f) }

// Run does what was noted, and what that brings.
func (w *Wake) Run() {
	for first := true; ; first = false {
		for i := 0; i < len(w.queues); i++ {
			w.queues[i].look(w)
			w.queues[i] = nil
		}
		w.queues = w.queues[:0]
		for i := 0; i < len(w.after); i++ {
			w.after[i](w)
			w.after[i] = nil
		}
		w.after = w.after[:0]
		if len(w.flush) == 0 {
			return
		}
		n := len(w.flush)
		for i := 0; i < n; i++ {
			w.flush[i].Flush(w, first)
		}
		rest := copy(w.flush, w.flush[n:])
		clear(w.flush[rest:])
		w.flush = w.flush[:rest]
	}
}
