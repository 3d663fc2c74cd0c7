package model_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lasts is a header whose value is a time, as this game has it.
func (g *game) lasts(header string) string {
	name, value, ok := strings.Cut(header, ":")
	if !ok {
		return header
	}
	ms, _ := strconv.ParseInt(value, 10, 64)
	return fmt.Sprint(name, ":", ms*g.slowly)
}

// send has c send a message, to several destinations now and then, or within its transaction.
func (g *game) send(c *client, n [8]int) {
	sends := g.theme.sends
	if sends == nil {
		sends = g.theme.queues
	}
	to := pick(sends, n[1])
	dests := strings.Split(to, ",")
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
	if slices.Contains(dests, feeding) {
		delete(header, "delay")
	}
	if g.theme.single {
		delete(header, "message-group")
	}
	bound := ""
	if q := g.queues[to]; q != nil {
		bound = q.full
	}
	if bound == "block" {
		delete(header, "priority") // who waits may come too late to be first
	}
	plain := len(dests) == 1 && g.queues[to] != nil && (g.queues[to].most > 0 || g.queues[to].last)
	if plain { // what else such a queue does with these is told elsewhere
		delete(header, "delay")
		if c.tx != nil {
			delete(header, "ttl") // whether it ends first or makes room is nowhere said
		}
		if g.queues[to].full == "drop_head" { // what waits for another of its group is passed over
			delete(header, "message-group")
		}
		if g.queues[to].full == "drop_head" && g.cramped { // what is not in memory is looked through as it comes
			delete(header, "priority")
			delete(header, "persistent")
		}
		if g.queues[to].keeps {
			header = map[string]string{"color": header["color"]}
		}
		if g.queues[to].last {
			header = map[string]string{"last-value-key": pick([]string{"k1", "k2", ""}, n[2])}
		}
		if g.queues[to].last && g.queues[to].keeps && c.tx != nil {
			return // of two of a key in one transaction it is nowhere said whether the first was ever there
		}
		if g.queues[to].full == "reject" && n[6]%2 == 0 {
			header["confirm"] = "true"
		}
	}
	if header["message-group"] != "" && n[3]/5%10 == 0 {
		header["message-group-seq"] = "-1"
	}
	wire := body
	if n[5]%9 == 0 || g.queues[to] != nil && g.queues[to].large {
		wire += large
	}
	delayed := header["delay"] != ""
	if delayed {
		g.recurs(header, n)
	} else if c.tx == nil && g.mustWait(g.queues[to], 1) {
		header["dedupe-id"] = g.nameInLine(g.queues[to], n[6])
	} else if c.tx == nil {
		header["dedupe-id"] = g.nameFor(dests, n[6]/7+n[5])
	}
	r := g.ask(c, "SEND")
	args := []string{"destination", to, "receipt", r.receipt}
	for _, name := range sortedKeys(header) {
		args = append(args, name, header[name])
	}
	if c.tx != nil {
		args = append(args, "transaction", c.tx.name)
	}
	if c.tx == nil && delayed && len(dests) == 1 {
		r.told = func(id string) {
			for _, m := range g.byBody[body+to] {
				m.schedule = id
			}
		}
	}
	g.logf("%s: SEND %s %v, %d bytes", c.name, body, args, len(wire))
	sent := now()
	put := func(r *request) {
		for _, dest := range dests {
			if !g.claim(dest, header["dedupe-id"], r) {
				continue
			}
			for _, q := range g.fed(dest, header) {
				m := g.put(q, body, header, sent, r)
				m.large = wire != body
				g.named(dest, header["dedupe-id"], m, r)
			}
		}
	}
	if c.tx != nil {
		c.send("SEND", wire, args...)
		for _, dest := range dests {
			c.tx.sends[dest]++
		}
		c.tx.steps = append(c.tx.steps, put)
		return
	}
	q := g.queues[to]
	switch full := q != nil && !g.isUsed(to, header["dedupe-id"]) && (g.count(q) >= q.most || len(q.line) > 0); {
	case full && q.full == "reject" && header["confirm"] != "":
		r.want = map[string]string{"status": "rejected", "reason": "maxlen", "queue": to}
		c.send("SEND", wire, args...)
	case full && q.full == "reject":
		delete(g.open, r.receipt)
		c.send("SEND", wire, args...)
		g.refused(c, "queue-full")
	case full && q.full == "block":
		c.send("SEND", wire, args...)
		c.waits, r.waits = true, true
		q.line = append(q.line, &waiter{c, r, 1, header["dedupe-id"], now(), func() { put(r) }})
		g.logf("%s waits", c.name)
	default:
		c.send("SEND", wire, args...)
		put(r)
	}
}

// large is what bodies of some size end with.
var large = strings.Repeat(".", 3000)

// fed are the queues that a message to dest goes to.
func (g *game) fed(dest string, header map[string]string) (all []string) {
	if dest != feeding {
		return []string{dest}
	}
	m := &message{color: header["color"]}
	for _, name := range sortedKeys(g.queues) {
		q := g.queues[name]
		if strings.HasPrefix(name, "/dsub/") && q.exists() && (q.selector == nil || q.selector.wants(m)) {
			all = append(all, name)
		}
	}
	return all
}

// put has a message be in a queue, or wait for its time. Its body is told from that of its twin in another.
func (g *game) put(to, body string, header map[string]string, sent int64, r *request) *message {
	m := &message{body: body, to: to, priority: 4, life: g.life, ids: map[string]string{}, shape: shape{rank: rank{prio: 4}, header: map[string]string{}}}
	g.byBody[body+to] = append(g.byBody[body+to], m)
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
		case "last-value-key":
			m.key = v
		case "AMQ_SCHEDULED_REPEAT":
			m.again = n
		case "AMQ_SCHEDULED_PERIOD":
			m.period = int64(n)
		}
		switch name {
		case "priority", "message-group", "message-group-seq", "color", "number":
			m.header[name] = v
		}
	}
	g.all = append(g.all, m)
	if header["AMQ_SCHEDULED_CRON"] != "" {
		m.again, m.period = -1, minute
		g.move(m, later, r)
		m.until = (now()/minute + 1) * minute
		return m
	}
	if v := header["delay"]; v != "" {
		n, _ := strconv.Atoi(v)
		if m.expires != 0 {
			m.expires += int64(n)
		}
		g.move(m, later, r) // though its time may have come since, in a transaction
		m.until = sent + int64(n)
		return m
	}
	g.arrive(m, r)
	return m
}
