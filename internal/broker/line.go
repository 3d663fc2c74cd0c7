package broker

import "sync"

// A line is the senders that wait for room in a queue, or for the slow subscriptions of a topic, in the
// order in which they came. The first alone tries, when something has left the queue, and when it is through the next: so
// nobody passes them who comes later, and none tries in vain.
type line struct {
	of    string     // the queue or topic that it is before
	mu    sync.Mutex // the last of all locks
	turns []*turn
}

// A turn is a place in a line.
type turn struct {
	line  *line
	ready chan struct{} // has a value when it is worth trying again
}

// head is the first in line. Called with mu held.
func (l *line) head() *turn {
	if len(l.turns) == 0 {
		return nil
	}
	return l.turns[0]
}

// roomy has the first try. It may be called on nil.
func (l *line) roomy() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call()
}

// roomyAfter has the first try when op is done, which takes something out of the queue and is more than that:
// it takes effect only when it is durable.
func (q *queue) roomyAfter(op *Op) {
	if l := q.line; l != nil {
		op.Finally(func(error) { l.roomy() })
	}
}

func (l *line) call() {
	if t := l.head(); t != nil {
		select {
		case t.ready <- struct{}{}:
		default: // it is about to
		}
	}
}

// behind reports whether somebody else than the owner of op is first in line.
func (l *line) behind(op *Op) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.head()
	return t != nil && t != op.turn
}

// queueUp puts op last in the queue's line, if it is not in that yet. Called with q.mu held.
func (q *queue) queueUp(op *Op) { op.joinLine(q.line) }

// joinLine puts op last in l, if it is not in it yet.
func (op *Op) joinLine(l *line) {
	if op.turn != nil && op.turn.line == l {
		return
	}
	op.leaveLine()
	l.mu.Lock()
	defer l.mu.Unlock()
	op.turn = &turn{l, make(chan struct{}, 1)}
	l.turns = append(l.turns, op.turn)
}

// leaveLine has who is next try, if the owner of op was first.
func (op *Op) leaveLine() {
	t := op.turn
	if t == nil {
		return
	}
	op.turn = nil
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.turns {
		if l.turns[i] != t {
			continue
		}
		l.turns = append(l.turns[:i], l.turns[i+1:]...)
		l.turns[:len(l.turns)+1][len(l.turns)] = nil
		if i == 0 {
			l.call()
		}
		return
	}
}

// WaitsFor is the queue that the operation was told to wait for, or the topic; empty: for none.
func (op *Op) WaitsFor() string {
	if op.turn == nil {
		return ""
	}
	return op.turn.line.of
}

// Room has a value when an operation that was told to wait is worth trying again. It is another
// after each try.
func (op *Op) Room() <-chan struct{} {
	if op.turn == nil {
		return nil
	}
	return op.turn.ready
}
