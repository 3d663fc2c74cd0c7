package broker

import (
	"container/heap"
	"sync"
	"time"
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
