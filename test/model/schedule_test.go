package model_test

import (
	"fmt"
	"maps"
	"strconv"
)

// recurs has a SEND that is delayed come again, or with each minute.
func (g *game) recurs(header map[string]string, n [8]int) {
	switch n[6] / 7 % 4 {
	case 0:
		delete(header, "ttl") // or it would not be told which of them it was
		header["AMQ_SCHEDULED_REPEAT"] = strconv.Itoa(1 + n[6]/28%2)
		header["AMQ_SCHEDULED_PERIOD"] = strconv.FormatInt(40*g.slowly, 10)
	case 1:
		if g.slowly == 1 {
			delete(header, "ttl")
			delete(header, "delay")
			header["AMQ_SCHEDULED_CRON"] = "* * * * *"
		}
	}
}

const minute = 60_000

// comes brings m, whose time has come, to where it goes, and has it come again if it is to.
func (g *game) comes(m *message) {
	if m.again != 0 {
		n := *m
		n.ids = map[string]string{}
		n.header = maps.Clone(m.header)
		n.trail = nil
		until := max(m.until, now()-m.period) + m.period
		n.until = until
		if n.expires != 0 {
			n.expires += until - m.until
		}
		n.again--
		g.all = append(g.all, &n)
		g.byBody[n.body+n.to] = append(g.byBody[n.body+n.to], &n)
		g.move(&n, later, nil)
		n.until = until
	}
	g.logf("%s arrives", m.body)
	g.arrive(m, nil)
}

// cancel has c take back what waits for its time.
func (g *game) cancel(c *client, n [8]int) {
	var waiting []*message
	for _, m := range g.all {
		if m.where() == later && m.schedule != "" {
			waiting = append(waiting, m)
		}
	}
	if len(waiting) == 0 || c.tx != nil {
		return
	}
	m := pick(waiting, n[1])
	r := g.ask(c, "SEND")
	c.send("SEND", "", "destination", "/queue/$schedule", "action", "cancel", "schedule-id", m.schedule, "receipt", r.receipt)
	g.logf("%s: cancels %s, %s", c.name, m.body, fmt.Sprint(m.schedule))
	g.move(m, nowhere, r)
}
