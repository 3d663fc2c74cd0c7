package broker

import (
	"sync"
	"sync/atomic"

	"stompserver/internal/message"
)

// News is what one client has sent to topics and is not out yet. It goes out in the order in
// which it was sent: what is part of a transaction when that is durable, and what comes behind
// it no sooner. Only then is the operation done that brought it: who has its RECEIPT may count on it,
// also where somebody else subscribes next to a topic that keeps it. The zero News is ready for use.
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
	out      bool // nothing is left to publish
	op       *Op  // is to be finished then, with err; nil: it does not wait yet
	err      error
}

// add puts n last.
func (l *News) add(n *news) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, n)
	l.waits.Store(true)
}

// behind publishes m, which op sends, after what is not out yet, if there is any, and reports whether
// there is.
func (l *News) behind(b *Broker, dest string, m *message.Message, op *Op) bool {
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
	op.news = n
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
	op.news = n
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

// goneOut reports whether n is out. If it is not, op is finished with err once it is.
func (n *news) goneOut(op *Op, err error) bool {
	n.line.mu.Lock()
	defer n.line.mu.Unlock()
	if !n.out {
		n.op, n.err = op, err
	}
	return n.out
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
		n.out = true
		if op := n.op; op != nil {
			l.mu.Unlock()
			op.Finish(n.err)
			l.mu.Lock()
		}
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
