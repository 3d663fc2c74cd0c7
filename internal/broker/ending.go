package broker

import "stompserver/internal/store"

// A topic can be told to keep no messages any more, while some follow what it keeps: they had no gap so far, and
// are to have none. So what is sent goes on to the queue behind the topic for as long as anybody follows that, but
// is dropped there once all who follow have it. What was kept before stays, as it does over a restart. Who
// subscribes from then on is a subscriber like any.

// maxEnding bounds the bytes of what waits there for those who are slow; past it they miss the oldest.
const maxEnding = 16 << 20

// ending is the state of such a topic. It is guarded by queue.mu.
type ending struct {
	passed   store.Seq // up to here all is kept, or dropped
	bytes    int64     // of what is kept
	dropping bool      // a goroutine is at it
}

// ends has a topic that is to keep none any more do so, or one that is to again. Called with q.mu held.
func (k *kept) ends(q *queue, on bool) {
	switch {
	case !on:
		k.ending = nil
	case k.ending == nil:
		st := q.st.Stats()
		k.ending = &ending{passed: st.Last, bytes: st.Bytes}
		if st.Ready+st.Leased > 0 {
			q.b.cfg.Log.Warn("topic keeps no messages any more; what it has stays until a rule has it keep some again", "destination", k.topic, "messages", st.Ready+st.Leased)
		}
	}
}

// fed reports whether what is sent to dest, a topic, goes to the queue behind it.
func (b *Broker) fed(dest string) bool {
	return b.keepsTopic(dest) || b.mayBeKept(dest) && b.following(dest) > 0
}

// dropPassed drops what all who follow have. Called with q.mu held.
func (q *queue) dropPassed() {
	k := q.kept
	e := k.ending
	for !e.dropping {
		upto := k.done(q)
		if upto <= e.passed {
			return
		}
		ds, whole := q.st.Peek(q.scratch[:0], e.passed, 64)
		q.scratch = ds[:0]
		if len(ds) == 0 && !whole {
			e.dropping = true
			q.b.wg.Go(q.dropFar) // ends when all is dropped, or with the broker
			return
		}
		if more := q.dropUpto(ds, upto); !more {
			return
		}
		clear(ds)
	}
}

// done is up to where messages are to be dropped.
func (k *kept) done(q *queue) store.Seq {
	upto := k.relayed
	if q.st.Stats().Bytes-k.ending.bytes > maxEnding {
		return k.ending.passed + (upto-k.ending.passed+1)/2
	}
	for _, s := range q.browsers {
		if t := s.browser; !t.over {
			upto = min(upto, t.place())
		}
	}
	return upto
}

// dropUpto drops those of ds, which follow what has been passed, up to a number, and reports whether there may be
// more of them.
func (q *queue) dropUpto(ds []store.Delivery, upto store.Seq) (more bool) {
	e := q.kept.ending
	for _, d := range ds {
		if d.Seq > upto {
			break
		}
		q.one[0] = d
		got, later := q.st.Lease(q.one[1:1], q.one[:1], true)
		q.one[0] = store.Delivery{}
		if later {
			return false // it is not durable yet: the store calls ready
		}
		if len(got) > 0 {
			q.kept.trimmed = max(q.kept.trimmed, d.Seq)
			q.discard(got[0])
		}
		q.one[1] = store.Delivery{}
		e.passed = d.Seq
	}
	if len(ds) == 0 || ds[len(ds)-1].Seq > upto {
		e.passed = max(e.passed, upto)
		return false
	}
	return true
}

// dropFar is dropPassed for what is not at hand.
func (q *queue) dropFar() {
	for more := true; more && !q.b.stopped(); {
		q.mu.Lock()
		e := q.kept.ending
		if e == nil || q.gone {
			q.mu.Unlock()
			return
		}
		upto, after := q.kept.done(q), e.passed
		q.mu.Unlock()
		ds, _, err := q.st.Page(nil, after, 64, pageBytes)
		if err != nil {
			q.b.cfg.Log.Error("browse failed", "destination", q.kept.topic, "err", err)
		}
		q.mu.Lock()
		if more = q.kept.ending == e && err == nil && upto > e.passed && q.dropUpto(ds, upto); !more {
			e.dropping = false
		}
		q.mu.Unlock()
	}
}
