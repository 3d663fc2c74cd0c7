package broker

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"stompserver/internal/store"
)

// A Refusal says what becomes of a message that a client does not take.
type Refusal struct {
	Dead   bool          // it goes to the dead letters, not back
	Delay  time.Duration // until it is delivered again; negative: as the broker has it
	Reason string        // for the dead letters
}

// Redelivery says when a message that was given back is delivered again.
type Redelivery struct {
	Delay      time.Duration // after the first time; 0: at once
	Multiplier float64       // of the delay after each further time; below 1 counts as 1
	Max        time.Duration // of the delay; 0: no bound
	Jitter     float64       // share of the delay by which it varies, 0 to 1
}

// after is how long a message waits that was handed out that often.
func (r Redelivery) after(attempt uint32) time.Duration {
	if r.Delay <= 0 {
		return 0
	}
	d := float64(r.Delay)
	if r.Multiplier > 1 {
		d *= math.Pow(r.Multiplier, float64(attempt-1))
	}
	if r.Max > 0 {
		d = min(d, float64(r.Max))
	}
	d = min(d, float64(math.MaxInt64/4))
	if r.Jitter > 0 {
		d *= 1 + min(r.Jitter, 1)*(2*rand.Float64()-1)
	}
	return time.Duration(d)
}

// redelivery is that of the queue, what its rule does not say taken from the Config.
func (q *queue) redelivery() Redelivery {
	of := q.b.cfg.Redelivery
	if q.props == nil {
		return of
	}
	r := q.props.Redelivery
	or(&r.Delay, of.Delay)
	or(&r.Multiplier, of.Multiplier)
	or(&r.Max, of.Max)
	or(&r.Jitter, of.Jitter)
	return r
}

// A pause holds what was given back and is to be delivered later. It stays leased, so that a
// restart has it at once.
type pause struct {
	waiting waiting
	alarm   alarm
}

type waiting []waits

type waits struct {
	at int64
	d  store.Delivery
}

func (h waiting) Len() int { return len(h) }
func (h waiting) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && ahead(h[i].d.Seq, h[j].d.Seq)
}
func (h waiting) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *waiting) Push(x any)   { *h = append(*h, x.(waits)) }
func (h *waiting) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = waits{}
	*h = old[:len(old)-1]
	return last
}

// giveBack releases what clients did not settle, now or later; what was handed out often enough
// goes to the dead letters instead. Called with q.mu held.
func (q *queue) giveBack(ds []store.Delivery, delay time.Duration, w *Wake) {
	back := ds[:0]
	for i, d := range ds {
		if len(q.endAll(ds[i:i+1], w)) == 0 {
			continue // one after the other: the dead come in their order, whatever they died of
		}
		if n := q.limit(d); n > 0 && d.Attempt >= n {
			q.bury(d, death{reason: "delivery_limit"}, w)
			continue
		}
		wait := delay
		if wait < 0 {
			wait = q.redelivery().after(d.Attempt)
		}
		if wait <= 0 {
			back = append(back, d)
			continue
		}
		q.hold(d, nowMilli()+max(wait.Milliseconds(), 1))
	}
	if len(back) > 0 {
		q.release(back)
	}
}

// hold keeps d until that time, in milliseconds since 1970.
func (q *queue) hold(d store.Delivery, until int64) {
	if q.pause == nil {
		q.pause = new(pause)
		q.pause.alarm.ring = q.goOn
	}
	heap.Push(&q.pause.waiting, waits{until, d})
	q.pausing(d)
	q.b.clock.set(&q.pause.alarm, q.pause.waiting[0].at)
}

// goOn is the alarm of the queue's pause.
func (q *queue) goOn(now int64, w *Wake) (next int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ds []store.Delivery
	for h := &q.pause.waiting; len(*h) > 0; {
		if (*h)[0].at > now {
			next = (*h)[0].at
			break
		}
		d := heap.Pop(h).(waits).d
		q.resumed(d)
		ds = append(ds, d)
	}
	if ds = q.endAll(ds, w); len(ds) > 0 {
		q.release(ds)
	}
	if q.dying {
		q.drop()
	} else {
		q.dispatch(w)
	}
	return next
}

func nowMilli() int64 { return time.Now().UnixMilli() }
