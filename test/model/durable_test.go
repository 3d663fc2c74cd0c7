package model_test

import "strings"

// bind has there be the durable subscription that q is behind.
func (g *game) bind(q *queue, r *request) {
	if !q.exists() {
		q.there = append(q.there, entry{place: q.name, by: r})
		r.parts = append(r.parts, part{"that there is " + q.name, &q.there})
	}
}

// destroy has c end a durable subscription for good, of which nobody else has anything.
func (g *game) destroy(c *client, n [8]int) {
	q := g.queues[pick(g.theme.queues, n[1])]
	if !strings.HasPrefix(q.name, "/dsub/") || !q.exists() {
		return
	}
	for _, s := range q.subs {
		if s.c != c {
			return
		}
	}
	for _, m := range g.all {
		if m.where() == q.name && m.state != ready {
			return
		}
	}
	c.send("UNSUBSCRIBE", "", "id", "-", "durable-subscription-name", strings.TrimPrefix(q.name, "/dsub/"), "receipt", g.ask(c, "UNSUBSCRIBE").receipt)
	g.logf("%s: UNSUBSCRIBE %s for good", c.name, q.name)
	for _, s := range c.subs {
		if s.q == q && !s.gone {
			s.gone = true
			q.detach(s)
		}
	}
	for _, m := range g.all {
		if m.where() == q.name {
			g.move(m, nowhere, nil)
		}
	}
	q.there = append(q.there, entry{place: nowhere})
}
