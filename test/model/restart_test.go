package model_test

import (
	"fmt"
	"maps"
	"slices"

	"stompserver/internal/frame"
)

// browseAll lists all that is there, in the order in which it is told.
func (g *game) browseAll(look func(all map[string][]*message, retained string) error) error {
	c := g.dial("browser")
	defer c.close()
	c.send("SUBSCRIBE", "", "id", topic, "destination", topic)
	c.send("SUBSCRIBE", "", "id", later, "destination", "/temp-queue/list")
	c.send("SEND", "", "destination", "/queue/$schedule", "action", "list", "reply-to", "/temp-queue/list")
	for _, name := range sortedKeys(g.queues) {
		c.send("SUBSCRIBE", "", "id", name, "destination", name, "browser", "true")
	}
	ends := 0
	came := g.world.await(c, func(r reply) bool {
		if r.header["browser"] == "end" || r.header["list"] == "end" {
			ends++
		}
		return ends == len(g.queues)+1
	})
	all := map[string][]*message{}
	retained := nowhere
	for _, r := range came {
		at := r.header["subscription"]
		switch {
		case r.command == frame.Connected:
		case r.command != frame.Message:
			return fmt.Errorf("browser: %v %v %q", r.command, r.header, r.body)
		case r.header["browser"] == "end" || r.header["list"] == "end":
		case at == topic:
			retained = r.body
		default:
			from := at
			if at == later {
				from = r.header["original-destination"]
			}
			m := g.find(from, r)
			if m == nil {
				return fmt.Errorf("%s %v is in %s, and was never sent", r.body, r.header, at)
			}
			if slices.Contains(all[at], m) {
				return fmt.Errorf("%s is in %s twice", m.body, at)
			}
			all[at] = append(all[at], m)
		}
	}
	if ends != len(g.queues)+1 {
		return fmt.Errorf("browser: %d ends came, want %d", ends, len(g.queues)+1)
	}
	return look(all, retained)
}

// same compares what is there with the model, where all is certain.
func (g *game) same(all map[string][]*message, retained string) error {
	for _, m := range g.all {
		if at := m.where(); at != nowhere && !slices.Contains(all[at], m) && (m.expires == 0 || m.expires > now()) { // what ended in flight is not shown
			return fmt.Errorf("%s is not in %s", m.body, at)
		}
	}
	for at, ms := range all {
		for i, m := range ms {
			if m.where() != at {
				return fmt.Errorf("%s is in %s, and should be in %q", m.body, at, m.where())
			}
			if at != later && i > 0 && m.before(ms[i-1].rank) {
				return fmt.Errorf("in %s %s is before %s", at, ms[i-1].body, m.body)
			}
		}
	}
	if want := g.retained[len(g.retained)-1].place; retained != want {
		return fmt.Errorf("the topic keeps %q, want %q", retained, want)
	}
	return nil
}

// restart stops the server as it should be, and starts it again.
func (g *game) restart() error {
	if !g.lasting {
		return nil
	}
	g.logf("RESTART")
	for len(g.clients) > 0 {
		c := g.clients[0]
		g.lose(c)
		if err := g.settle(); err != nil {
			return err
		}
	}
	if err := g.stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	for _, m := range g.all {
		m.saved = m.tries
		m.trail = m.trail[len(m.trail)-1:]
		m.state, m.trail[0].by = ready, nil
		if m.volatile && m.where() != nowhere {
			m.trail[0].place = nowhere
		}
	}
	g.retained = g.retained[len(g.retained)-1:]
	if err := g.start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := g.settle(); err != nil {
		return err
	}
	return g.browseAll(g.same)
}

// crash ends the server in the middle of something, or of nothing, and starts it again.
func (g *game) crash(s step) error {
	if !g.lasting {
		return nil
	}
	g.crashing = true
	if err := g.world.crash(g, s); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	g.crashing = false
	g.lost, g.open = g.open, map[string]*request{}
	for _, m := range g.all {
		m.state, m.by, m.tx = ready, nil, nil
	}
	if err := g.start(); err != nil {
		return fmt.Errorf("start after a crash: %w", err)
	}
	if err := g.settle(); err != nil {
		return err
	}
	return g.browseAll(g.reconcile)
}

// reconcile has the model be what a crash left, if that may be so.
func (g *game) reconcile(all map[string][]*message, retained string) error {
	is := map[*message]string{}
	ended := map[*message]string{}
	for at, ms := range all {
		for _, m := range ms {
			if was, twice := is[m]; twice {
				return fmt.Errorf("%s is in %s and in %s", m.body, was, at)
			}
			is[m] = at
		}
	}
	for _, m := range slices.SortedFunc(maps.Values(g.byBody), func(a, b *message) int { return slices.Index(g.all, a) - slices.Index(g.all, b) }) {
		at := is[m]
		if m.volatile {
			if at != nowhere {
				return fmt.Errorf("%s was not to be kept, and is in %s", m.body, at)
			}
			continue
		}
		if was := g.endedIn(m, at); was != nowhere { // a crash brought it back, and it was over
			ended[m] = was
		} else if !slices.ContainsFunc(m.trail, func(e entry) bool { return e.place == at }) {
			return fmt.Errorf("after the crash %s is in %q, want one of %v", m.body, at, places(m.trail))
		}
	}
	if !slices.ContainsFunc(g.retained, func(e entry) bool { return e.place == retained }) {
		return fmt.Errorf("after the crash the topic keeps %q, want one of %v", retained, places(g.retained))
	}
	for _, r := range g.lost {
		if err := r.whole(func(p part) (place string, known bool) {
			if p.of == topic {
				return retained, true
			}
			for _, m := range g.all {
				if &m.trail == p.entries {
					return is[m], ended[m] == nowhere
				}
			}
			return nowhere, true
		}); err != nil {
			return err
		}
	}
	for _, m := range g.all {
		switch was := ended[m]; {
		case was == nowhere || is[m] != deadLetters:
			m.become(is[m])
		case slices.ContainsFunc(m.trail, func(e entry) bool { return e.place == deadLetters }):
			m.become(deadLetters)
			m.tries.least = 0 // it may have come there anew
		default:
			m.become(was)
			g.bury(m, "expired", nil)
			m.trail = m.trail[1:]
		}
	}
	g.retained = []entry{{place: retained}}
	return g.same(all, retained)
}

// endedIn is the queue in which m may have been after the crash, where it expired at once: what is known of
// it is where it went then.
func (g *game) endedIn(m *message, at string) string {
	to := nowhere
	if g.buries {
		to = deadLetters
	}
	for i, e := range m.trail {
		s := e.shape
		if i == len(m.trail)-1 {
			s = m.shape
		}
		if at == to && slices.Contains(queues, e.place) && s.expires != 0 && s.expires <= now() {
			return e.place
		}
	}
	return nowhere
}

func places(entries []entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.place)
	}
	return all
}

// whole looks whether all parts of a request were done, or none.
func (r *request) whole(is func(p part) (place string, known bool)) error {
	done, undone := "", ""
	for _, p := range r.parts {
		at, known := is(p)
		if !known {
			continue
		}
		could, before := false, true // be there after r; r is still to come
		couldNot := false
		for _, e := range *p.entries {
			if e.by == r {
				before = false
			}
			if e.place == at && before {
				couldNot = true
			} else if e.place == at {
				could = true
			}
		}
		if could && !couldNot {
			done = p.of
		} else if couldNot && !could {
			undone = p.of
		}
	}
	if done != "" && undone != "" {
		return fmt.Errorf("after the crash %s is done in part: what became of %s says so, but not what became of %s", r.what, done, undone)
	}
	return nil
}

// become has m be what it was when it was at that place.
func (m *message) become(at string) {
	for i := len(m.trail) - 1; i >= 0; i-- {
		if m.trail[i].place == at {
			if i < len(m.trail)-1 {
				m.shape = m.trail[i].shape
			}
			break
		}
	}
	m.trail = []entry{{place: at}}
	seen := min(m.tries.least, 1)
	if m.saved.least > 0 {
		seen = m.saved.least
	}
	m.tries = bounds{seen, max(m.tries.most, m.saved.most, 1)}
}
