package broker

import (
	"cmp"
	"slices"
)

// A ring is the subscriptions of one priority that can take more, in turn.
type ring struct {
	next     *Subscription // whose turn it is
	takers   int
	priority int
}

func (r *ring) add(s *Subscription) {
	r.takers++
	if r.next == nil {
		r.next, s.ringNext, s.ringPrev = s, s, s
		return
	}
	s.ringNext, s.ringPrev = r.next, r.next.ringPrev
	s.ringPrev.ringNext, s.ringNext.ringPrev = s, s
}

func (r *ring) remove(s *Subscription) {
	r.takers--
	if s.ringNext == s {
		r.next = nil
	} else {
		s.ringNext.ringPrev, s.ringPrev.ringNext = s.ringPrev, s.ringNext
		if r.next == s {
			r.next = s.ringNext
		}
	}
	s.ringNext, s.ringPrev = nil, nil
}

// join puts s among those who can take more, last in turn of its priority; leave takes it
// out. Called with q.mu held.
func (q *queue) join(s *Subscription) {
	s.taking = true
	switch {
	case q.next == nil:
		q.priority = s.priority
	case s.priority > q.priority:
		q.lower = slices.Insert(q.lower, 0, q.ring)
		q.ring = ring{priority: s.priority}
	case s.priority < q.priority:
		i, found := q.below(s.priority)
		if !found {
			q.lower = slices.Insert(q.lower, i, ring{priority: s.priority})
		}
		q.lower[i].add(s)
		return
	}
	q.add(s)
}

func (q *queue) leave(s *Subscription) {
	s.taking = false
	if s.priority != q.priority {
		i, _ := q.below(s.priority)
		if q.lower[i].remove(s); q.lower[i].next == nil {
			q.lower = slices.Delete(q.lower, i, i+1)
		}
		return
	}
	if q.remove(s); q.next == nil && len(q.lower) > 0 {
		q.ring = q.lower[0]
		q.lower = slices.Delete(q.lower, 0, 1)
	}
}

// below finds the ring of a priority in q.lower, or where it would be.
func (q *queue) below(priority int) (int, bool) {
	return slices.BinarySearchFunc(q.lower, priority, func(r ring, p int) int { return cmp.Compare(p, r.priority) })
}

// A single is what a queue knows of its consumers once one of them, or the queue itself, wants
// that only one is served at a time.
type single struct {
	always bool            // the queue wants it, whatever its consumers say
	active *Subscription   // the one that is served; nil: all are
	all    []*Subscription // attached, in the order they came
	want   int             // how many of them want to be served alone
}

// attach makes s one of the queue's subscriptions. Called with q.mu held.
func (q *queue) attach(s *Subscription) {
	q.subs++
	q.unused, q.dying = false, false
	q.single.all = append(q.single.all, s)
	if s.exclusive || q.single.always {
		q.single.want++
		q.elect(nil)
	}
}

// detach ends that. Called with q.mu held.
func (q *queue) detach(s *Subscription, w *Wake) {
	q.subs--
	q.disown(s)
	if s.sift != nil {
		q.removeSifter(s)
	}
	if i := slices.Index(q.single.all, s); i >= 0 {
		q.single.all = slices.Delete(q.single.all, i, i+1)
	}
	if q.gate != nil {
		q.gateCounts(w)
	}
	if s.exclusive || q.single.always {
		q.single.want--
	}
	if q.single.active == s {
		q.single.active = nil
		q.elect(w)
	}
	q.left(true, w)
}

// left has the queue go, at once or after a while, if nobody is there any more. Consumed says that it
// was a consumer who left. Called with q.mu held.
func (q *queue) left(consumed bool, w *Wake) {
	if q.props == nil || q.subs > 0 {
		return
	}
	if q.props.AutoDelete && consumed {
		q.dying = true
		w.queues = append(w.queues, q)
		return
	}
	q.idle()
}

// elect picks who alone is served if there is nobody: of those who want it the one of highest
// priority, of these the first. Called with q.mu held; w is nil where nobody can have been
// waiting.
func (q *queue) elect(w *Wake) {
	if q.single.active != nil {
		return
	}
	for _, s := range q.single.all {
		if best := q.single.active; (s.exclusive || q.single.always) && (best == nil || s.priority > best.priority) {
			q.single.active = s
		}
	}
	q.taken(w)
}

// taken has those take turns who can take more now, all of them before anything is handed out. Called with q.mu
// held; w is nil where nobody can have been waiting.
func (q *queue) taken(w *Wake) {
	for _, s := range q.single.all {
		switch able := s.able(); {
		case s.sift != nil || s.taking == able:
		case able:
			q.join(s)
		default:
			q.leave(s)
		}
	}
	if w != nil {
		q.dispatch(w) // when all are there: who has the highest priority comes first
	}
}
