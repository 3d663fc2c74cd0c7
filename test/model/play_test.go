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

func (g *game) client(n int) *client {
	if len(g.clients) == 0 {
		return nil
	}
	return pick(g.clients, n)
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
		return g.world.pass(g, time.Duration(pick([]int{3, 40, 120, 1000}, s.n[0]))*time.Millisecond)
	case "browse":
		return g.browseAll(g.same)
	case "restart":
		return g.restart()
	case "crash":
		return g.crash(s)
	}
	g.do(s)
	return g.settle()
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
	c := g.client(s.n[0])
	if c == nil {
		return
	}
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
			c.tx = &transaction{name: fmt.Sprint("t", g.requests)}
			c.send("BEGIN", "", "transaction", c.tx.name, "receipt", g.ask(c, "BEGIN").receipt)
			g.logf("%s: BEGIN", c.name)
		}
	case "commit", "abort":
		g.endTransaction(c, s.kind)
	case "leave":
		g.logf("%s is gone", c.name)
		g.lose(c)
	}
}

// lasts is a header whose value is a time, as this game has it.
func (g *game) lasts(header string) string {
	name, value, ok := strings.Cut(header, ":")
	if !ok {
		return header
	}
	ms, _ := strconv.ParseInt(value, 10, 64)
	return fmt.Sprint(name, ":", ms*g.slowly)
}

// send has c send a message, to two queues now and then, or within its transaction.
func (g *game) send(c *client, n [8]int) {
	dest := pick([]string{"/queue/a", "/queue/a", "/queue/b", "/queue/a,/queue/b"}, n[1])
	g.messages++
	body := fmt.Sprint("m", g.messages)
	header := map[string]string{}
	for _, h := range []string{
		pick([]string{"", "", "", "priority:9", "priority:5", "priority:1"}, n[2]),
		pick([]string{"", "", "message-group:x", "message-group:y", "message-group:x"}, n[3]),
		pick([]string{"", "color:red", "color:blue", "color:brown"}, n[4]),
		"number:" + strconv.Itoa(n[4]/4%10),
		g.lasts(pick([]string{"", "", "", "", "", "", "ttl:30", "ttl:500"}, n[5])),
		g.lasts(pick([]string{"", "", "", "", "", "", "delay:20", "delay:300"}, n[6])),
		pick([]string{"", "", "", "", "", "max-exceptions:1", "persistent:false"}, n[7]),
	} {
		if name, value, ok := strings.Cut(h, ":"); ok {
			header[name] = value
		}
	}
	if header["message-group"] != "" && n[3]/5%10 == 0 {
		header["message-group-seq"] = "-1"
	}
	r := g.ask(c, "SEND")
	args := []string{"destination", dest, "receipt", r.receipt}
	for _, name := range sortedKeys(header) {
		args = append(args, name, header[name])
	}
	if c.tx != nil {
		args = append(args, "transaction", c.tx.name)
	}
	c.send("SEND", body, args...)
	g.logf("%s: SEND %s %v", c.name, body, args)
	sent := now()
	put := func(r *request) {
		for to := range strings.SplitSeq(dest, ",") {
			g.put(to, body, header, sent, r)
		}
	}
	if c.tx != nil {
		c.tx.steps = append(c.tx.steps, put)
		return
	}
	put(r)
}

// put has a message be in a queue, or wait for its time. Its body is told from that of its twin in another.
func (g *game) put(to, body string, header map[string]string, sent int64, r *request) {
	m := &message{body: body, to: to, priority: 4, shape: shape{rank: rank{prio: 4}, header: map[string]string{}}}
	g.byBody[body+to] = m
	for name, v := range header {
		n, _ := strconv.Atoi(v)
		switch name {
		case "priority":
			m.prio, m.priority = n, n
		case "message-group":
			m.group = v
		case "message-group-seq":
			m.last = true
		case "color":
			m.color = v
		case "number":
			m.number = n
		case "ttl":
			m.expires = sent + int64(n)
		case "max-exceptions":
			m.limit = n + 1
		case "persistent":
			m.volatile = true
		}
		if name != "ttl" && name != "delay" && name != "persistent" && name != "max-exceptions" {
			m.header[name] = v
		}
	}
	g.all = append(g.all, m)
	if v, ok := header["delay"]; ok {
		n, _ := strconv.Atoi(v)
		if until := sent + int64(n); until > now() {
			g.move(m, later, r)
			m.until = until
			if m.expires != 0 {
				m.expires += int64(n)
			}
			g.order(m, r)
			return
		} else if m.expires != 0 {
			m.expires += int64(n)
		}
	}
	g.move(m, to, r)
	g.order(m, r)
	if m.expires != 0 && m.expires <= now() {
		g.end(m)
	}
}

// order has m be behind what the same request brought before.
func (g *game) order(m *message, r *request) {
	r.moved++
	m.since[1] = r.moved
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
	s := &subscription{
		c: c, id: fmt.Sprint("s", g.messages), q: g.queues[pick([]string{"/queue/a", "/queue/a", "/queue/b", deadLetters}, n[1])],
		mode: pick([]string{"client-individual", "client", "client-individual", "auto"}, n[2]), prefetch: pick([]int{1, 2, 3, 10}, n[3]),
		prio: pick([]int{0, 0, 0, 0, 1}, n[4]), exclusive: n[5]%6 == 0,
	}
	if slices.ContainsFunc(c.subs, func(o *subscription) bool { return o.q == s.q }) {
		return // in which order what one connection had twice comes back is nowhere said
	}
	text := ""
	if n[6]%3 == 0 {
		s.selector = pick(selectors, n[7])
		text = s.selector.text
	}
	c.send("SUBSCRIBE", "", "destination", s.q.name, "id", s.id, "ack", s.mode, "prefetch-count", strconv.Itoa(s.prefetch),
		"consumer-priority", strconv.Itoa(s.prio), "exclusive", strconv.FormatBool(s.exclusive), "selector", text, "receipt", g.ask(c, "SUBSCRIBE").receipt)
	g.logf("%s: SUBSCRIBE %s %s %s, prefetch %d, priority %d, exclusive %v, %s", c.name, s.id, s.q.name, s.mode, s.prefetch, s.prio, s.exclusive, text)
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
	if c.tx != nil && s.n[4]%3 > 0 {
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
	for _, do := range c.tx.steps {
		do(r)
	}
	c.tx = nil
}
