package model_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stompserver/internal/frame"
)

// A sight is what there is, as browsers see it.
type sight struct {
	all      map[string][]*message // by place, in the order in which it is told
	durable  map[string]bool       // which durable subscriptions there are
	retained string
}

// browseAll lists all that is there.
func (g *game) browseAll(look func(sight) error) error {
	c := g.dial("browser")
	defer c.close()
	c.send("SUBSCRIBE", "", "id", topic, "destination", topic)
	c.send("SUBSCRIBE", "", "id", later, "destination", "/temp-queue/list")
	c.send("SEND", "", "destination", "/queue/$schedule", "action", "list", "reply-to", "/temp-queue/list")
	want := 1
	var alone []string // there may be none
	for _, name := range sortedKeys(g.queues) {
		if strings.HasPrefix(name, "/dsub/") {
			alone = append(alone, name)
			continue
		}
		want++
		c.send("SUBSCRIBE", "", "id", name, "destination", name, "browser", "true")
	}
	is := sight{map[string][]*message{}, map[string]bool{}, nowhere}
	if err := g.see(c, want, is, &is.retained); err != nil {
		return err
	}
	for _, name := range alone {
		c := g.dial("browser of " + name)
		c.send("SUBSCRIBE", "", "id", name, "destination", name, "browser", "true")
		err := g.see(c, 1, is, nil)
		c.close()
		if is.durable[name] = err == nil; err != nil && err != errNotThere {
			return err
		}
	}
	return look(is)
}

// looksSame compares what is there with the model. What a client that has left gave back may be on its
// way to the disk still, where time is real.
func (g *game) looksSame() error {
	o, outside := g.world.(*outside)
	if !outside {
		return g.browseAll(g.same)
	}
	for deadline := time.Now().Add(o.patience); ; time.Sleep(20 * time.Millisecond) {
		if err := g.browseAll(g.same); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

var errNotThere = errors.New("there is no such durable subscription")

// see notes what comes to a browser, until so many ends have come.
func (g *game) see(c *client, want int, is sight, retained *string) error {
	ends := 0
	came := g.world.await(c, func(r reply) bool {
		if r.header["browser"] == "end" || r.header["list"] == "end" {
			ends++
		}
		return ends == want
	})
	for _, r := range came {
		at := r.header["subscription"]
		switch {
		case r.command == frame.Connected:
		case r.command == frame.Error && r.header["error-code"] == "not-found":
			return errNotThere
		case r.command != frame.Message:
			return fmt.Errorf("browser: %v %v %q", r.command, r.header, r.body)
		case r.header["browser"] == "end" || r.header["list"] == "end":
		case at == topic:
			*retained = r.body
		default:
			m, err := g.find(at, r)
			if err != nil {
				return fmt.Errorf("%s %v is in %s: %w", strings.TrimRight(r.body, "."), r.header, at, err)
			}
			if q := g.queues[at]; q != nil && q.keeps {
				if err := g.number(m, r); err != nil {
					return fmt.Errorf("%s in %s: %w", m.body, at, err)
				}
			}
			if slices.Contains(is.all[at], m) {
				return fmt.Errorf("%s is in %s twice", m.body, at)
			}
			is.all[at] = append(is.all[at], m)
		}
	}
	if ends != want {
		return fmt.Errorf("browser: %d ends came, want %d", ends, want)
	}
	return nil
}

// same compares what is there with the model, where all is certain.
func (g *game) same(is sight) error {
	for _, m := range g.all {
		if at := m.where(); at != nowhere && !m.over && !slices.Contains(is.all[at], m) && (m.expires == 0 || m.expires > now()) { // what ended in flight is not shown
			return fmt.Errorf("%s is not in %s", m.body, at)
		}
	}
	for name, q := range g.queues {
		if got, ok := is.durable[name]; ok && got != q.exists() {
			return fmt.Errorf("there is %s: %v", name, got)
		}
		if q.most > 0 && len(is.all[name]) > q.most {
			return fmt.Errorf("%s holds %d messages, and may %d", name, len(is.all[name]), q.most)
		}
	}
	for at, ms := range is.all {
		for i, m := range ms {
			if _, outside := g.world.(*outside); m.over && !(outside && g.step == g.crashed && g.isKept(m)) { // who begins while a topic's keys are learned may see it
				return fmt.Errorf("%s is in %s, and another has taken its place", m.body, at)
			}
			if m.where() != at {
				return fmt.Errorf("%s is in %s, and should be in %q", m.body, at, m.where())
			}
			if at != later && i > 0 && m.before(ms[i-1].rank) {
				return fmt.Errorf("in %s %s is before %s", at, ms[i-1].body, m.body)
			}
		}
	}
	if want := g.retained[len(g.retained)-1].place; is.retained != want {
		return fmt.Errorf("the topic keeps %q, want %q", is.retained, want)
	}
	return nil
}

// restart stops the server as it should be, and starts it again.
func (g *game) restart() error {
	if !g.lasting || slices.ContainsFunc(g.clients, func(c *client) bool { return c.waits }) {
		return nil // what becomes then of what waits is nowhere said
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
	last := func(all []entry) []entry { return []entry{{place: all[len(all)-1].place}} }
	g.retained = last(g.retained)
	for _, q := range g.queues {
		q.there = last(q.there)
	}
	for _, k := range g.names {
		k.used = last(k.used)
	}
	if err := g.start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := g.settle(); err != nil {
		return err
	}
	return g.browseAll(func(is sight) error {
		for _, m := range g.all { // of what was overtaken and not dropped yet
			if m.over && !slices.Contains(is.all[m.where()], m) {
				m.trail = []entry{{}}
			}
		}
		g.overtaken()
		return g.same(is)
	})
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
	for _, q := range g.queues {
		for _, w := range q.line { // it may have been let in
			w.do()
		}
		q.line = nil
	}
	g.crashing = false
	g.life++
	g.crashed = g.step
	g.lost, g.open = g.open, map[string]*request{}
	for _, m := range g.all {
		if m.over { // it goes as soon as somebody looks at it
			m.trail[len(m.trail)-1].shape = m.shape
			m.trail = append(m.trail, entry{})
		}
		m.state, m.by, m.tx, m.deadline, m.over = ready, nil, nil, 0, false
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
func (g *game) reconcile(now sight) error {
	for _, at := range sortedKeys(now.all) {
		for _, m := range now.all[at] {
			g.logf("%s is in %s", m.body, at)
		}
	}
	is := map[*message]string{}
	ended := map[*message]string{}
	for at, ms := range now.all {
		for _, m := range ms {
			if was, twice := is[m]; twice {
				return fmt.Errorf("%s is in %s and in %s", m.body, was, at)
			}
			is[m] = at
		}
	}
	for _, m := range g.all {
		at := is[m]
		if m.volatile && !g.isKept(m) {
			if at != nowhere {
				return fmt.Errorf("%s was not to be kept, and is in %s", m.body, at)
			}
			continue
		}
		if was := g.endedIn(m, at); was != nowhere { // a crash brought it back, and it was over
			ended[m] = was
		} else if !m.at(at) && (at != nowhere || !g.madeRoom(m, now)) {
			return fmt.Errorf("after the crash %s is in %q, want one of %v", m.body, at, places(m.trail))
		}
	}
	if err := among("the topic keeps", now.retained, g.retained); err != nil {
		return err
	}
	for name, got := range now.durable {
		if err := among("of "+name+" there is", placeIf(got, name), g.queues[name].there); err != nil {
			return err
		}
	}
	for _, r := range g.lost {
		if err := r.whole(func(p part) (place string, known bool) { return g.found(p, now, is, ended) }); err != nil {
			return err
		}
	}
	g.recall(is)
	for _, m := range g.all {
		m.doubt = m.doubt || is[m] == nowhere && g.isKept(m) && m.trail[0].place == nowhere && len(m.trail) > 1
		switch was := ended[m]; {
		case was == nowhere || is[m] != deadLetters:
			m.become(is[m])
		case m.at(deadLetters):
			m.become(deadLetters)
			m.tries.least = 0 // it may have come there anew
		default:
			m.become(was)
		}
	}
	for i, m := range now.all[deadLetters] {
		if ended[m] == nowhere || m.where() != deadLetters {
			continue
		}
		m.since = [2]int{} // and so it is behind what it is seen behind
		if i > 0 {
			m.since = now.all[deadLetters][i-1].since
		}
		m.cause = "start, of " + m.body + " in " + ended[m]
	}
	for _, m := range g.sorted(func(m *message) bool { return ended[m] != nowhere && m.where() == ended[m] }) {
		g.end(m)
		m.trail = m.trail[1:]
	}
	g.retained = []entry{{place: now.retained}}
	for name, got := range now.durable {
		g.queues[name].there = []entry{{place: placeIf(got, name)}}
	}
	g.overtaken()
	return g.same(now)
}

// isKept reports whether m was sent to a topic that keeps it.
func (g *game) isKept(m *message) bool { q := g.queues[m.to]; return q != nil && q.keeps }

// among tells if what is there is none of what may be.
func among(what, got string, want []entry) error {
	if slices.ContainsFunc(want, func(e entry) bool { return e.place == got }) {
		return nil
	}
	return fmt.Errorf("after the crash %s %q, want one of %v", what, got, places(want))
}

func placeIf(there bool, place string) string {
	if there {
		return place
	}
	return nowhere
}

// found is where what a part of a request moved is now.
func (g *game) found(p part, now sight, is, ended map[*message]string) (place string, known bool) {
	if p.entries == &g.retained {
		return now.retained, true
	}
	for name, q := range g.queues {
		if p.entries == &q.there {
			return placeIf(now.durable[name], name), true
		}
	}
	for _, m := range g.all {
		if &m.trail == p.entries {
			return is[m], ended[m] == nowhere
		}
	}
	return nowhere, false // a name, of which nothing is seen
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
		if at == to && g.queues[e.place] != nil && e.place != deadLetters && s.expires != 0 && s.expires <= now() {
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
