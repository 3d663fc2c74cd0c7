package model_test

import "slices"

// What becomes of a message when it comes to its queue.

// count is how many messages are in q, whoever has them.
func (g *game) count(q *queue) (n int) {
	for _, m := range g.all {
		if m.where() == q.name {
			n++
		}
	}
	return n
}

// arrive brings m to where it goes.
func (g *game) arrive(m *message, r *request) {
	q := g.queues[m.to]
	if q.most > 0 && g.count(q) >= q.most {
		switch q.full {
		case "drop_new", "reject":
			g.logf("%s finds no room", m.body)
			g.move(m, nowhere, r)
			m.noRoom = true
			return
		case "dead_letter":
			g.buryFrom(m, m.to, "maxlen", r)
			m.noRoom = true
			return
		}
	}
	g.move(m, m.to, r)
	if q.keeps {
		g.kept = append(g.kept, m)
		g.told(m)
	}
	if q.last && m.key != "" {
		g.overtake(m)
	}
}

// trim drops what is first, and nobody has, of queues that are too full.
func (g *game) trim() {
	for _, q := range g.queues {
		for q.full == "drop_head" && g.count(q) > q.most {
			var first *message
			for _, m := range g.all {
				if m.where() == q.name && m.state == ready && (first == nil || first.older(m)) {
					first = m
				}
			}
			if first == nil {
				break
			}
			g.logf("%s makes room", first.body)
			g.move(first, nowhere, nil)
		}
	}
}

// madeRoom reports whether m may have made room when the server was started: the queue is full of what came
// after it, perhaps with what had ended, and had not gone yet.
func (g *game) madeRoom(m *message, is sight) bool {
	return slices.ContainsFunc(m.trail, func(e entry) bool {
		q := g.queues[e.place]
		if q == nil || q.full != "drop_head" {
			return false
		}
		n := len(is.all[q.name])
		for _, o := range g.all {
			if o.expires != 0 && o.expires <= now() && o.at(q.name) {
				n++
			}
		}
		if n < q.most {
			return false
		}
		was := m.rankIn(e.place)
		return !slices.ContainsFunc(is.all[q.name], func(o *message) bool {
			r := o.rankIn(e.place)
			return r.prio < was.prio || r.prio == was.prio && r.before(was)
		})
	})
}

// rankIn is the rank that m had last in that place.
func (m *message) rankIn(place string) rank {
	if m.where() != place {
		for i := len(m.trail) - 1; i >= 0; i-- {
			if m.trail[i].place == place {
				return m.trail[i].shape.rank
			}
		}
	}
	return m.rank
}

// older reports whether o makes room before m.
func (m *message) older(o *message) bool {
	if m.prio != o.prio {
		return o.prio < m.prio
	}
	return o.before(m.rank)
}

// fits reports whether all that a transaction sends fits into the queues that refuse what does not; if it is to
// wait it says where.
func (g *game) fits(t *transaction) (fits bool, wait *queue) {
	for _, name := range sortedKeys(t.sends) {
		q, n := g.queues[name], t.sends[name]
		switch {
		case q == nil || q.full != "reject" && q.full != "block":
		case q.full == "block" && n <= q.most && (g.count(q)+n > q.most || len(q.line) > 0):
			return false, q
		case g.count(q)+n > q.most:
			return false, nil
		}
	}
	return true, nil
}

// A waiter is a client whose SEND waits for room.
type waiter struct {
	c     *client
	r     *request
	n     int    // messages
	id    string // the name that it has, if it has one
	since int64
	do    func()
}

// Who waits for itself is told so after a while, or as soon after that as it does: it is looked now and then.
const (
	patient  = 30_000
	lookedAt = 100
)

// next is when it is looked next whether w waits for itself.
func (w *waiter) next() int64 {
	n := max((now()-w.since)/lookedAt, patient/lookedAt) + 1
	return w.since + n*lookedAt
}

// isFor reports whether w may wait for itself, as it waits for q.
func (w *waiter) isFor(q *queue) bool {
	return slices.ContainsFunc(w.c.subs, func(s *subscription) bool { return len(s.held) > 0 || s.q == q && !s.gone })
}

// loseHeart has those be refused who have waited for themselves for too long.
func (g *game) loseHeart() {
	for _, name := range sortedKeys(g.queues) {
		q := g.queues[name]
		for _, w := range slices.Clone(q.line) {
			if waits := now() - w.since; waits > patient && waits%lookedAt == 0 && w.isFor(q) {
				q.line = slices.DeleteFunc(q.line, func(o *waiter) bool { return o == w })
				w.c.waits, w.r.waits, g.entered = false, false, true
				if g.count(q)+w.n <= q.most || g.isUsed(name, w.id) { // those before it have no use for that
					g.cause = "room in " + name
					w.do()
					continue
				}
				delete(g.open, w.r.receipt)
				g.refused(w.c, "queue-full")
			}
		}
	}
}

// mustWait reports whether who sends n messages to q has to wait for room.
func (g *game) mustWait(q *queue, n int) bool {
	return q != nil && q.full == "block" && (g.count(q)+n > q.most || len(q.line) > 0)
}

// letIn has those go on for whom there is room, in the order in which they came.
func (g *game) letIn() {
	for _, name := range sortedKeys(g.queues) {
		for q := g.queues[name]; len(q.line) > 0 && (g.count(q)+q.line[0].n <= q.most || g.isUsed(name, q.line[0].id)); {
			w := q.line[0]
			q.line = q.line[1:]
			g.logf("%s: there is room", w.c.name)
			w.c.waits, w.r.waits = false, false
			g.cause, g.entered = "room in "+name, true
			w.do()
			g.endOver()
		}
	}
}

// overtake has m take the place of what has its key in its queue.
func (g *game) overtake(m *message) {
	for _, o := range g.all {
		switch {
		case o == m || o.key != m.key || o.where() != m.where() || o.over:
		case o.state == ready && o.since[0] != m.since[0]:
			g.logf("%s takes the place of %s", m.body, o.body)
			g.move(o, nowhere, nil)
		default: // who has it goes on with it
			o.over = true
		}
	}
}

// overtaken looks anew what is overtaken, of what a start found.
func (g *game) overtaken() {
	for _, m := range g.all {
		q := g.queues[m.where()]
		m.over = m.key != "" && q != nil && q.last && slices.ContainsFunc(g.all, func(o *message) bool {
			return o.key == m.key && o.where() == m.where() && m.before(o.rank) && o != m
		})
	}
}
