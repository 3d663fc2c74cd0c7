package model_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A step is one thing that a client, or the world, does. Its numbers are taken modulo what there is, so that
// a program without some of its steps is one as well.
type step struct {
	kind string
	n    [8]int
}

func (s step) String() string { return fmt.Sprintf("{%q, %v}", s.kind, s.n) }

// pick takes one of all by a number.
func pick[T any](all []T, n int) T { return all[n%len(all)] }

// client is one that can ask for something.
func (g *game) client(n int) *client {
	free := slices.DeleteFunc(slices.Clone(g.clients), func(c *client) bool { return c.waits })
	if len(free) == 0 {
		return nil
	}
	return pick(free, n)
}

// play does one step of a program, to the end.
func (g *game) play(s step) error {
	g.step++
	if err := g.world.pass(g, time.Millisecond); err != nil {
		return err
	}
	g.step++
	switch s.kind {
	case "sleep":
		ms := pick([]int{3, 40, 120, 1000, 3, 40, 120, 1000, 35_000, 61_000}, s.n[0])
		if g.hurries() {
			ms = min(ms, 1000) // or what is given back would come again a thousand times
		}
		return g.world.pass(g, time.Duration(ms)*time.Millisecond)
	case "browse":
		return g.looksSame()
	case "restart":
		return g.restart()
	case "crash":
		return g.crash(s)
	}
	g.do(s)
	return g.settle()
}

// hurries reports whether somebody may keep messages for a while only.
func (g *game) hurries() bool {
	return slices.ContainsFunc(g.clients, func(c *client) bool {
		return slices.ContainsFunc(c.subs, func(s *subscription) bool { return s.timeout > 0 })
	})
}

// do has the model and the server do what a client asks for.
func (g *game) do(s step) {
	if s.kind == "connect" {
		if len(g.clients) < 4 {
			g.messages++
			g.clients = append(g.clients, g.dial(fmt.Sprint("client", g.messages)))
			g.logf("connect")
		}
		return
	}
	if c := g.client(s.n[0]); c != nil {
		g.doFor(c, s)
		g.after()
	}
}

func (g *game) doFor(c *client, s step) {
	switch s.kind {
	case "send":
		g.send(c, s.n)
	case "retain":
		g.retain(c, s.n)
	case "subscribe":
		g.subscribe(c, s.n)
	case "unsubscribe":
		g.unsubscribe(c, s.n)
	case "ack", "nack":
		g.answer(c, s)
	case "begin":
		if c.tx == nil {
			g.requests++
			c.tx = &transaction{name: fmt.Sprint("t", g.requests), sends: map[string]int{}}
			c.send("BEGIN", "", "transaction", c.tx.name, "receipt", g.ask(c, "BEGIN").receipt)
			g.logf("%s: BEGIN", c.name)
		}
	case "commit", "abort":
		g.endTransaction(c, s.kind)
	case "destroy":
		g.destroy(c, s.n)
	case "cancel":
		g.cancel(c, s.n)
	case "leave":
		g.logf("%s is gone", c.name)
		g.lose(c)
	}
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

const topic = "/topic/t"

// retain has c change what the topic keeps.
func (g *game) retain(c *client, n [8]int) {
	g.messages++
	body, what := fmt.Sprint("k", g.messages), "set"
	if n[1]%3 == 0 {
		body, what = nowhere, "remove"
	}
	r := g.ask(c, "SEND")
	tx := ""
	if c.tx != nil {
		tx = c.tx.name
	}
	c.send("SEND", body, "destination", topic, "retain", what, "receipt", r.receipt, "transaction", tx)
	g.logf("%s: SEND %q, kept, %s", c.name, body, tx)
	keep := func(r *request) {
		g.retained = append(g.retained, entry{place: body, by: r})
		r.parts = append(r.parts, part{topic, &g.retained})
	}
	if c.tx != nil {
		c.tx.steps = append(c.tx.steps, keep)
		return
	}
	keep(r)
}

func (g *game) subscribe(c *client, n [8]int) {
	if len(c.subs) == 3 {
		return
	}
	g.messages++
	q := g.queues[pick(append([]string{deadLetters, g.theme.queues[0]}, g.theme.queues...), n[1])]
	if q.keeps {
		g.follow(c, q, n)
		return
	}
	s := &subscription{
		c: c, id: fmt.Sprint("s", g.messages), q: q,
		mode: pick([]string{"client-individual", "client", "client-individual", "auto"}, n[2]), prefetch: pick([]int{1, 2, 3, 10}, n[3]),
		prio: pick([]int{0, 0, 0, 0, 1}, n[4]), exclusive: n[5]%6 == 0, bytes: pick([]int{0, 0, 0, 1, 5000}, n[5]/6),
		timeout: g.slowly * int64(pick([]int{0, 0, 0, 60, 400}, n[4]/5)),
	}
	if !g.theme.hurried {
		s.timeout = 0
	}
	if q.full == "block" && s.mode == "auto" {
		s.mode = "client" // or there would be room while it is looked what came
	}
	if s.bytes > 1 { // so that headers do not count
		s.prefetch = min(s.prefetch, 3)
	}
	if slices.ContainsFunc(c.subs, func(o *subscription) bool { return o.q == s.q }) {
		return // in which order what one connection had twice comes back is nowhere said
	}
	r := g.ask(c, "SUBSCRIBE")
	text, dest, durable := "", q.name, ""
	if strings.HasPrefix(q.name, "/dsub/") {
		dest, durable = feeding, strings.TrimPrefix(q.name, "/dsub/")
		if q.selector != nil {
			text = q.selector.text
		}
		g.bind(q, r)
	} else if n[6]%3 == 0 {
		s.selector = pick(selectors, n[7])
		text = s.selector.text
	}
	c.send("SUBSCRIBE", "", "destination", dest, "id", s.id, "ack", s.mode, "prefetch-count", strconv.Itoa(s.prefetch), "prefetch-bytes", strconv.Itoa(s.bytes),
		"ack-timeout", fmt.Sprint(s.timeout), "durable-subscription-name", durable,
		"consumer-priority", strconv.Itoa(s.prio), "exclusive", strconv.FormatBool(s.exclusive), "selector", text, "receipt", r.receipt)
	g.logf("%s: SUBSCRIBE %s %s %s, prefetch %d and %d, timeout %d, priority %d, exclusive %v, %s", c.name, s.id, s.q.name, s.mode, s.prefetch, s.bytes, s.timeout, s.prio, s.exclusive, text)
	c.subs = append(c.subs, s)
	s.q.attach(s)
}

func (g *game) unsubscribe(c *client, n [8]int) {
	for i := range c.subs {
		s := c.subs[(i+n[1])%len(c.subs)]
		if s.gone {
			continue
		}
		c.send("UNSUBSCRIBE", "", "id", s.id, "receipt", g.ask(c, "UNSUBSCRIBE").receipt)
		g.logf("%s: UNSUBSCRIBE %s", c.name, s.id)
		s.gone = true
		s.q.detach(s)
		return
	}
}

// answer has c ACK or NACK something that it holds.
func (g *game) answer(c *client, s step) {
	var mine []*message
	for _, sub := range c.subs {
		for _, m := range sub.held {
			if m.tx == nil {
				mine = append(mine, m)
			}
		}
	}
	for _, sub := range c.subs {
		if len(sub.lost) > 0 && !sub.gone && s.n[5]%2 == 0 { // too late, which is no error, once
			r := g.ask(c, strings.ToUpper(s.kind))
			c.send(strings.ToUpper(s.kind), "", "id", sub.lost[0], "receipt", r.receipt)
			g.logf("%s: %s %s, too late", c.name, s.kind, sub.lost[0])
			sub.lost = sub.lost[1:]
			return
		}
	}
	if len(mine) == 0 {
		return
	}
	m := pick(mine, s.n[1])
	sub := m.by
	covered := []*message{m}
	if sub.mode == "client" {
		covered = slices.DeleteFunc(slices.Clone(sub.held[:slices.Index(sub.held, m)+1]), func(o *message) bool { return o.tx != nil })
	}
	r := g.ask(c, strings.ToUpper(s.kind))
	if s.kind == "ack" && s.n[5]%5 == 0 {
		more := g.slowly * int64(pick([]int{30, 900}, s.n[3]))
		c.send("ACK", "", "id", m.ackID, "extend", fmt.Sprint(more), "receipt", r.receipt)
		g.logf("%s: ACK %s, extended by %d", c.name, m.body, more)
		for _, o := range covered {
			if sub.timeout > 0 {
				o.deadline = now() + more
			}
		}
		return
	}
	args := []string{"id", m.ackID, "receipt", r.receipt}
	delay, dead := int64(-1), false
	if s.kind == "nack" {
		switch s.n[2] % 5 {
		case 0:
			delay = int64(pick([]int{10, 100, 600}, s.n[3])) * g.slowly
			args = append(args, "delay", fmt.Sprint(delay))
		case 1:
			delay = 0
			args = append(args, "delay", "0")
		case 2:
			dead = true
			args = append(args, "requeue", "false")
		}
	}
	if c.tx != nil && s.n[4]%3 > 0 && sub.q.most == 0 && !sub.q.last { // what these make of it is there only after that
		args = append(args, "transaction", c.tx.name)
	}
	c.send(strings.ToUpper(s.kind), "", args...)
	g.logf("%s: %s %s %v", c.name, s.kind, m.body, args)
	settle := func(r *request) {
		for _, m := range covered {
			if m.state != held {
				continue
			}
			sub.held = slices.DeleteFunc(sub.held, func(o *message) bool { return o == m })
			switch {
			case s.kind == "ack":
				g.move(m, nowhere, r)
			case dead:
				m.by, m.tx, m.state = nil, nil, ready
				g.bury(m, "rejected", r)
			default:
				g.putBack(m, delay)
			}
		}
	}
	if args[len(args)-2] == "transaction" {
		for _, m := range covered {
			m.tx = c.tx
		}
		c.tx.steps = append(c.tx.steps, settle)
		return
	}
	settle(r)
}

func (g *game) endTransaction(c *client, how string) {
	if c.tx == nil {
		return
	}
	r := g.ask(c, strings.ToUpper(how))
	c.send(strings.ToUpper(how), "", "transaction", c.tx.name, "receipt", r.receipt)
	g.logf("%s: %s", c.name, how)
	if how == "abort" {
		g.abort(c)
		return
	}
	t := c.tx
	c.tx = nil
	do := func() {
		for _, do := range t.steps {
			do(r)
		}
	}
	switch fits, wait := g.fits(t); {
	case fits:
		do()
	case wait != nil:
		c.waits, r.waits = true, true
		wait.line = append(wait.line, &waiter{c, r, t.sends[wait.name], "", now(), do})
		g.logf("%s waits", c.name)
	default:
		c.tx = t
		delete(g.open, r.receipt)
		g.refused(c, "queue-full")
	}
}

// refused has the server refuse what c asks for with an ERROR, and end the connection.
func (g *game) refused(c *client, code string) {
	g.logf("%s gets the ERROR %s", c.name, code)
	c.doomed = code
	g.doomed = append(g.doomed, c)
	g.forget(c)
}
