package broker

// A queue can hand out nothing before some number of consumers is there, so that message groups are shared
// out among all of them, or before the first of them has waited for long enough. When the last one has left it
// waits again.

// A gate is what such a queue knows of it. It is guarded by queue.mu.
type gate struct {
	open  bool
	due   int64 // when it opens in any case; 0: not
	alarm alarm
}

// gateAsWanted has the queue have a gate if its properties want one. Who is served stays so. Called with q.mu
// held.
func (q *queue) gateAsWanted(w *Wake) {
	if q.props == nil || q.props.Consumers == 0 {
		if q.gate != nil {
			q.b.clock.drop(&q.gate.alarm)
			q.gate = nil
			q.pausedOrNot(w)
		}
		return
	}
	if q.gate == nil {
		q.gate = &gate{open: q.waiting() > 0}
		q.gate.alarm.ring = q.gateDue
	}
	q.gateCounts(w)
}

// waiting is how many consumers are there.
func (q *queue) waiting() (n int) {
	for _, s := range q.single.all {
		if s.started {
			n++
		}
	}
	return n
}

// gateCounts opens the gate, or closes it, as there are consumers now. Called with q.mu held.
func (q *queue) gateCounts(w *Wake) {
	g, n := q.gate, q.waiting()
	switch after := q.props.DispatchAfter; {
	case n == 0:
		g.open, g.due = false, 0
	case n >= q.props.Consumers:
		g.open = true
	case g.open || g.due != 0 || after <= 0:
	default:
		g.due = nowMilli() + max(after.Milliseconds(), 1)
		q.b.clock.set(&g.alarm, g.due)
	}
	q.pausedOrNot(w)
}

// gateDue is the alarm.
func (q *queue) gateDue(now int64, w *Wake) (next int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.gate
	switch {
	case q.gone || g == nil || g.due == 0:
		return 0
	case g.due > now:
		return g.due
	}
	g.open, g.due = true, 0
	q.pausedOrNot(w)
	return 0
}

// pausedOrNot has the queue hand out nothing, or go on. Called with q.mu held; w is nil where nobody can have
// been waiting.
func (q *queue) pausedOrNot(w *Wake) {
	paused := q.halted || q.gate != nil && !q.gate.open
	if paused == q.paused {
		return
	}
	q.paused = paused
	q.taken(w)
}
