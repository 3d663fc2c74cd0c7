package broker

import (
	"sync"
	"sync/atomic"

	"stompserver/internal/message"
)

// News is what one client has sent to topics and is not out yet. It goes out in the order in
// which it was sent: what is part of a transaction when that is durable, and what comes behind
// it no sooner. The zero News is ready for use.
type News struct {
	waits atomic.Bool // list is not empty

	mu   sync.Mutex // guards what follows
	list []*news
	busy bool // somebody publishes from it
}

// A news is what one operation sends to topics. It goes out when the rest is durable: in the
// committer's own run if that is before Commit returns, else on a goroutine.
type news struct {
	b     *Broker
	line  *News
	steps []step

	// Guarded by line.mu.
	over     bool // the store is done
	failed   bool
	returned bool // Commit has returned
}

// add puts n last.
func (l *News) add(n *news) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, n)
	l.waits.Store(true)
}

// behind publishes m after what is not out yet, if there is any, and reports whether there is.
func (l *News) behind(b *Broker, dest string, m *message.Message) bool {
	if l == nil || !l.waits.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return false
	}
	b.memory.extra.Add(int64(m.Size()))
	n := &news{b: b, line: l, steps: []step{{dest: dest, msg: m}}, over: true, returned: true}
	l.list = append(l.list, n)
	return true
}

// tell begins the news of steps, which op commits.
func (t *Transaction) tell(steps []step, op *Op) *news {
	n := &news{b: t.b, line: op.News, steps: steps}
	if n.line == nil {
		n.line = new(News)
	}
	for _, st := range steps {
		t.b.memory.extra.Add(int64(st.msg.Size()))
	}
	n.line.add(n)
	op.Finally(n.committed)
	return n
}

func (n *news) committed(err error) {
	n.line.mu.Lock()
	defer n.line.mu.Unlock()
	n.over, n.failed = true, err != nil
	if n.returned {
		go func() { // ends by itself: publishing never blocks
			var w Wake
			n.line.publish(&w)
			w.Run()
		}()
	}
}

// settled is called once Commit has returned, and reports whether to publish now.
func (n *news) settled() bool {
	n.line.mu.Lock()
	defer n.line.mu.Unlock()
	n.returned = true
	return n.over
}

// publish sends out what it is time for, unless somebody else is at it.
func (l *News) publish(w *Wake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return
	}
	l.busy = true
	for len(l.list) > 0 && l.list[0].over {
		n := l.list[0]
		l.mu.Unlock()
		n.publish(w)
		l.mu.Lock()
		l.list[0] = nil
		l.list = l.list[1:]
	}
	if len(l.list) == 0 {
		l.list = nil
		l.waits.Store(false)
	}
	l.busy = false
}

func (n *news) publish(w *Wake) {
	for _, st := range n.steps {
		n.b.memory.extra.Add(-int64(st.msg.Size()))
		a := Address{b: n.b, name: st.dest, t: n.b.topic(st.dest)}
		switch {
		case n.failed:
		case retains(st.dest, st.msg):
			n.b.publishKept(&a, st.msg, w)
		case a.Wanted():
			a.publish(st.msg, w)
		}
	}
}
