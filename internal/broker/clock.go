package broker

import (
	"container/heap"
	"sync"
	"time"

	"stompserver/internal/store"
)

// A clock rings alarms. However many messages wait for their time, there is one alarm for
// each queue or subscription that has any, and one timer for all alarms.
type clock struct {
	mu      sync.Mutex
	alarms  alarms // by time
	timer   *time.Timer
	stopped bool
	running sync.WaitGroup
}

// An alarm calls ring when its time has come, on a goroutine of the clock and with no lock
// held. It is set again to what ring returns, in milliseconds since 1970; 0 is not at all.
type alarm struct {
	ring func(now int64, w *Wake) (next int64)

	at    int64 // 0: not set
	index int
}

// set has a ring at a time, or earlier if it is set to that already.
func (c *clock) set(a *alarm, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped || at == 0 || a.at != 0 && a.at <= at:
		return
	case a.at == 0:
		a.at = at
		heap.Push(&c.alarms, a)
	default:
		a.at = at
		heap.Fix(&c.alarms, a.index)
	}
	if c.alarms[0] == a {
		c.arm()
	}
}

// drop has a not ring, and lets go of what it is of.
func (c *clock) drop(a *alarm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.at != 0 {
		heap.Remove(&c.alarms, a.index)
		a.at = 0
	}
}

// arm sets the timer to the first alarm. Called with mu held.
func (c *clock) arm() {
	if len(c.alarms) == 0 || c.stopped {
		return
	}
	d := max(time.Until(time.UnixMilli(c.alarms[0].at)), 0)
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.tick)
		return
	}
	c.timer.Reset(d)
}

func (c *clock) tick() {
	var due []*alarm
	now := time.Now().UnixMilli()
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return
	}
	c.running.Add(1)
	defer c.running.Done()
	for len(c.alarms) > 0 && c.alarms[0].at <= now {
		a := heap.Pop(&c.alarms).(*alarm)
		a.at = 0
		due = append(due, a)
	}
	c.mu.Unlock()
	var w Wake
	for _, a := range due {
		c.set(a, a.ring(now, &w))
		w.Run()
	}
	c.mu.Lock()
	c.arm()
	c.mu.Unlock()
}

// stop has no alarm ring any more, and waits for those that do.
func (c *clock) stop() {
	c.mu.Lock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// alarms is a heap by time.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return a
}

// dues is a heap of what is due when: 16 bytes for each, a million of them are no burden.
type dues []due

type due struct {
	at  int64 // milliseconds since 1970
	seq store.Seq
}

// before: of those of one moment what comes first in its queue goes first.
func (a due) before(b due) bool { return a.at < b.at || a.at == b.at && ahead(a.seq, b.seq) }

func (h *dues) push(d due) {
	*h = append(*h, d)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 4
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// next is when the first is due, 0 if there is none.
func (h dues) next() int64 {
	if len(h) == 0 {
		return 0
	}
	return h[0].at
}

func (h *dues) pop() due {
	s := *h
	first, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	s.sift(0)
	*h = s
	if cap(s) > 1024 && n < cap(s)/4 {
		*h = append(make(dues, 0, cap(s)/2), s...)
	}
	return first
}

func (h dues) sift(i int) {
	for {
		least := i
		for c := 4*i + 1; c < min(4*i+5, len(h)); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// keep drops what ok does not want.
func (h *dues) keep(ok func(due) bool) {
	kept := (*h)[:0]
	for _, d := range *h {
		if ok(d) {
			kept = append(kept, d)
		}
	}
	*h = kept
	for i := (len(kept) - 2) / 4; i >= 0; i-- {
		kept.sift(i)
	}
}
