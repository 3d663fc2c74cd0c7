package model_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A game is a server, its clients, and the model of both.
type game struct {
	world    world
	theme    theme
	cramped  bool          // a queue has less in memory than it holds
	lasting  bool          // what is kept outlives the process
	delay    time.Duration // of redelivery
	buries   bool          // what expired
	slowly   int64         // times are so many times as long
	trace    []string
	step     int
	moves    int
	cause    string // why things happen that nobody asked for
	messages int
	requests int

	clients  []*client
	queues   map[string]*queue
	all      []*message            // that are somewhere, or may be
	byBody   map[string][]*message // and where they were sent
	byID     map[string]*message   // by message-id
	names    map[string]*name      // by destination and name
	kept     []*message            // what the topic that keeps was sent
	numbers  map[int]*message      // by their order numbers there
	life     int                   // of the server: how often it crashed
	doomed   []*client             // that are to get an ERROR
	open     map[string]*request   // without a receipt yet
	lost     map[string]*request   // those that a crash left without one
	retained []entry               // what the topic keeps: the last is so, the first is certain
	crashed  int                   // the step of the last crash
	crashing bool                  // nothing that happens now needs to be whole
	atOnce   bool                  // several things were due in this moment, and which was first is not known
	lenient  bool                  // so that what is not known is not looked at
	entered  bool                  // somebody who waited for room was let in by what another did in it
}

func (g *game) logf(format string, args ...any) {
	g.trace = append(g.trace, fmt.Sprintf("%d: ", g.step)+fmt.Sprintf(format, args...))
}

func (g *game) start() error {
	if err := g.world.start(g); err != nil {
		return err
	}
	queues := map[string]*queue{}
	for _, name := range append([]string{deadLetters}, g.theme.queues...) {
		q := newQueue(name)
		if old := g.queues[name]; old != nil {
			q.there = old.there
		}
		queues[name] = q
	}
	g.queues = queues
	return nil
}

// stop ends server and clients. Its error is of no interest if they have lost their store.
func (g *game) stop() error {
	for _, c := range append(g.clients, g.doomed...) {
		c.close()
	}
	g.clients, g.doomed = nil, nil
	return g.world.stop()
}

func (g *game) dial(name string) *client { return newClient(name, g.world.dial()) }

func now() int64 { return time.Now().UnixMilli() }

// ask makes a request of a client, which the model has carried out.
func (g *game) ask(c *client, what string) *request {
	g.requests++
	r := &request{receipt: fmt.Sprint("r", g.requests), what: fmt.Sprintf("%d: %s of %s", g.step, what, c.name)}
	g.open[r.receipt] = r
	return r
}

// move notes that r, or the server if it is nil, brings m to a place.
func (g *game) move(m *message, place string, r *request) {
	if len(m.trail) == 0 {
		m.trail = []entry{{place: nowhere}}
	}
	m.trail[len(m.trail)-1].shape = m.shape
	switch {
	case !m.over:
	case place == nowhere:
		r = nil // it goes in any case
	default:
		m.trail = append(m.trail, entry{shape: m.shape}) // if a crash brings it back
	}
	m.trail = append(m.trail, entry{place: place, by: r})
	if r != nil && !m.volatile {
		r.parts = append(r.parts, part{m.body, &m.trail})
	}
	g.moves++
	m.since, m.cause = [2]int{g.step, g.moves}, g.cause
	m.state, m.by, m.tx, m.ackID, m.over, m.deadline = ready, nil, nil, "", false, 0
}

// confirmed has r be certain.
func (g *game) confirmed(r *request) {
	delete(g.open, r.receipt)
	for _, p := range r.parts {
		for i, e := range *p.entries {
			if e.by == r {
				*p.entries = (*p.entries)[i:]
				(*p.entries)[0].by = nil
				break
			}
		}
	}
}

// settle waits until nobody does anything, and compares what came.
func (g *game) settle() error { return g.world.settle(g) }

// due is when something is to happen to m; 0: never.
func (m *message) due() int64 {
	switch at := m.where(); {
	case at == later, m.state == paused && at != nowhere:
		return m.until
	case m.state == held && m.tx == nil && at != nowhere:
		return m.deadline
	case m.state == ready && at != nowhere:
		return m.expires
	}
	return 0
}

// tick does what is due.
func (g *game) tick() {
	due := g.sorted((*message).isDue)
	g.atOnce = len(due) > 1
	for ; len(due) > 0; due = g.sorted(func(m *message) bool { return m.where() == later && m.isDue() }) {
		g.happen(due) // and what comes again at once, for it is late
	}
	g.after()
	g.loseHeart()
	g.after()
}

// isDue reports whether something is to happen to m.
func (m *message) isDue() bool { return m.due() != 0 && m.due() <= now() }

// happen does what is due to messages.
func (g *game) happen(due []*message) {
	for _, m := range due {
		g.cause = ""
		switch {
		case m.where() == later:
			g.cause = "schedule"
			g.comes(m)
		case m.state == paused:
			g.cause = "pauses of " + m.where()
			m.state = ready
			g.logf("%s may come again", m.body)
			if m.over {
				g.move(m, nowhere, nil)
			}
		case m.state == held:
			g.cause = "patience of " + m.by.id
			g.logf("%s had it too long: %s", m.by.id, m.body)
			m.by.lost = append(m.by.lost, m.ackID)
			m.by.held = slices.DeleteFunc(m.by.held, func(o *message) bool { return o == m })
			g.putBack(m, -1)
		}
		if m.isOver() {
			g.end(m)
		}
	}
}

// sorted are the messages for which is holds, each queue's in its order.
func (g *game) sorted(is func(m *message) bool) []*message {
	all := slices.DeleteFunc(slices.Clone(g.all), func(m *message) bool { return !is(m) })
	slices.SortStableFunc(all, func(a, b *message) int {
		return cmp.Or(cmp.Compare(a.where(), b.where()), cmp.Compare(b.prio, a.prio), cmp.Compare(a.since[0], b.since[0]), cmp.Compare(a.since[1], b.since[1]))
	})
	return all
}

// after does what follows from what was done: what ended before it came goes, queues that are too full make
// room, and those that have room are sent to by who waits.
func (g *game) after() {
	g.endOver()
	g.trim()
	g.letIn()
}

// endOver has go what is over.
func (g *game) endOver() {
	g.cause = ""
	for _, m := range g.sorted((*message).isOver) {
		if q := g.queues[m.where()]; q != nil && slices.ContainsFunc(q.subs, func(s *subscription) bool { return s.selector != nil }) {
			g.cause = "end of " + m.body + " in " + m.where() // who looks for others comes by those first
		}
		g.end(m)
		g.cause = ""
	}
}

// isOver reports whether m is to expire now.
func (m *message) isOver() bool {
	return m.expires != 0 && m.expires <= now() && m.state == ready && m.where() != nowhere && m.where() != later
}

// end has m expire.
func (g *game) end(m *message) {
	if g.cause == "" {
		g.cause = "ends of " + m.where()
		defer func() { g.cause = "" }()
	}
	if g.buries && m.where() != deadLetters {
		g.bury(m, "expired", nil)
		return
	}
	g.logf("%s ends", m.body)
	g.move(m, nowhere, nil)
}

// bury makes m a dead letter.
func (g *game) bury(m *message, reason string, r *request) {
	if m.where() == deadLetters {
		g.move(m, nowhere, r)
		return
	}
	g.buryFrom(m, m.where(), reason, r)
}

// buryFrom makes m a dead letter of that queue.
func (g *game) buryFrom(m *message, from, reason string, r *request) {
	g.move(m, deadLetters, r)
	m.header = maps.Clone(m.header)
	m.header["original-destination"], m.header["x-death-reason"], m.header["x-death-count"] = from, reason, "1"
	m.header["x-first-death-queue"], m.header["x-first-death-reason"] = from, reason
	m.expires, m.prio, m.tries, m.saved = 0, 4, bounds{}, bounds{}
	g.logf("%s is dead: %s", m.body, reason)
}

// putBack has m, which was held, be there again, after delay milliseconds; -1: as the server has it.
func (g *game) putBack(m *message, delay int64) {
	m.by, m.tx, m.ackID, m.deadline = nil, nil, "", 0
	m.state = ready
	if m.over {
		g.move(m, nowhere, nil)
		return
	}
	if m.expires != 0 && m.expires <= now() {
		g.end(m)
		return
	}
	if n := m.limitOf(); n > 0 && m.tries.least >= n {
		if g.cause == "" {
			g.cause = "limit of " + m.where()
			defer func() { g.cause = "" }()
		}
		g.bury(m, "delivery_limit", nil)
		return
	}
	if delay < 0 {
		delay = g.delay.Milliseconds() << (m.tries.least - 1)
	}
	if delay > 0 {
		m.state, m.until = paused, now()+delay
		g.logf("%s waits", m.body)
	}
}

// lose breaks the connection of c off.
func (g *game) lose(c *client) {
	c.close()
	g.world.left(c)
	g.forget(c)
}

// forget has the server know of the end of a connection.
func (g *game) forget(c *client) {
	g.clients = slices.DeleteFunc(g.clients, func(o *client) bool { return o == c })
	if c.tx != nil {
		g.abort(c)
	}
	for _, s := range c.subs {
		g.cause = "end of " + s.id
		for _, m := range s.held {
			g.putBack(m, -1)
		}
		g.cause = ""
		s.q.detach(s)
		s.held = nil
	}
}

func (g *game) abort(c *client) {
	for _, m := range g.all {
		if m.tx == c.tx {
			m.tx = nil
			if m.deadline > 0 { // its time begins anew
				m.deadline = now() + m.by.timeout
			}
		}
	}
	c.tx = nil
}

// tell tells what happened, and what the model holds.
func (g *game) tell() string { return strings.Join(g.trace, "\n") + "\n" + g.describe() }

// describe tells what the model holds.
func (g *game) describe() string {
	var b strings.Builder
	for _, m := range g.all {
		if m.where() == nowhere && len(m.trail) < 2 {
			continue
		}
		fmt.Fprintf(&b, "  %s in %q since %v, priority %d, group %q, number %d, color %q, state %d, delivered %d to %d", m.body, m.where(), m.since, m.prio, m.group, m.number, m.color, m.state, m.tries.least, m.tries.most)
		if m.by != nil {
			fmt.Fprintf(&b, ", held by %s", m.by.id)
		}
		for _, e := range m.trail {
			fmt.Fprintf(&b, " <%s>", e.place)
		}
		b.WriteString("\n")
	}
	return b.String()
}
