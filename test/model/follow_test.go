package model_test

import (
	"fmt"
	"slices"
	"strconv"
)

// A follower is a subscription to the topic that keeps what it is sent.
type follower struct {
	id     string
	q      *queue
	expect []*message // in this order
	missed bool       // what should come next is not kept any more
}

// follow has c subscribe to the topic, from some place on.
func (g *game) follow(c *client, q *queue, n [8]int) {
	if len(c.follows) == 2 {
		return
	}
	f := &follower{id: fmt.Sprint("f", g.messages), q: q}
	var there []*message
	for _, m := range g.kept {
		if m.where() == q.name {
			there = append(there, m)
		}
	}
	known := slices.DeleteFunc(slices.Clone(g.kept), func(m *message) bool { return m.offset == 0 })
	name, value := "", ""
	switch what := n[2] % 4; {
	case what == 1:
		name, value, f.expect = "from-seq", "0", there
	case what == 2:
		name, value, f.expect = "replay", "last=2", there[max(len(there)-2, 0):]
	case what == 3 && len(known) > 0: // as one does who lost its connection
		after := pick(known, n[3])
		name, value = "from-seq", strconv.Itoa(after.offset+1)
		at := slices.Index(g.kept, after)
		for _, m := range g.kept[at+1:] {
			if m.where() == q.name {
				f.expect = append(f.expect, m)
			}
		}
		f.missed = !q.last && g.misses(at, there)
	}
	c.follows = append(c.follows, f)
	c.send("SUBSCRIBE", "", "destination", q.name, "id", f.id, name, value, "receipt", g.ask(c, "SUBSCRIBE").receipt)
	g.logf("%s: SUBSCRIBE %s %s %s:%s", c.name, f.id, q.name, name, value)
}

// misses reports whether who goes on behind g.kept[at] is told that it misses something, where these are kept. Numbers
// of a life of the server lie far behind those of the life before that ended in a crash. What was between is not
// known when the message itself is not kept any more, and nothing before it: then it is told so, in any case.
func (g *game) misses(at int, there []*message) bool {
	switch {
	case len(there) == 0:
		return at < len(g.kept)-1 || g.kept[at].life != g.life
	case slices.Index(g.kept, there[0]) <= at:
		return false
	}
	return there[0] != g.kept[at+1] || there[0].life != g.kept[at].life
}

// told has all who follow the topic expect m.
func (g *game) told(m *message) {
	for _, c := range g.clients {
		for _, f := range c.follows {
			f.expect = append(slices.Clip(f.expect), m)
		}
	}
}

// followed looks at a MESSAGE for f.
func (g *game) followed(f *follower, r reply) error {
	if len(f.expect) == 0 {
		return fmt.Errorf("nothing is to come to %s", f.id)
	}
	m, err := g.find(f.q.name, r)
	if err != nil {
		return err
	}
	if m != f.expect[0] {
		return fmt.Errorf("%s is to be given %s", f.id, f.expect[0].body)
	}
	if err := g.number(m, r); err != nil {
		return err
	}
	gap, first := "", ""
	if f.missed {
		gap, first = "true", r.header["x-stream-offset"]
	}
	if r.header["gap"] != gap || r.header["first-seq"] != first {
		return fmt.Errorf("gap:%s and first-seq:%s, want %q and %q", r.header["gap"], r.header["first-seq"], gap, first)
	}
	f.missed = false
	f.expect = f.expect[1:]
	g.logf("%s to %s", m.body, f.id)
	return nil
}

// number looks at the order number of m: it follows that of the message before, and is that of no other
// message, also of none that a crash took back.
func (g *game) number(m *message, r reply) error {
	n, err := strconv.Atoi(r.header["x-stream-offset"])
	if err != nil || n < 1 {
		return fmt.Errorf("x-stream-offset:%s", r.header["x-stream-offset"])
	}
	if m.offset != 0 && m.offset != n {
		return fmt.Errorf("it had the number %d before", m.offset)
	}
	if o := g.numbers[n]; o != nil && o != m {
		return fmt.Errorf("the number is that of %s", o.body)
	}
	m.offset, g.numbers[n] = n, m
	at := slices.Index(g.kept, m)
	for i, o := range g.kept {
		switch {
		case o.offset == 0:
		case i < at && o.offset >= n || i > at && o.offset <= n:
			return fmt.Errorf("the number %d of %s does not go with it", o.offset, o.body)
		case !o.doubt && !m.doubt && o.life == m.life && n-o.offset != at-i:
			return fmt.Errorf("the number %d of %s does not go with it: %d lie between", o.offset, o.body, at-i)
		}
	}
	return nil
}

// nobodyWaits looks whether who follows the topic has all of it.
func (g *game) nobodyWaits() error {
	for _, c := range g.clients {
		for _, f := range c.follows {
			if len(f.expect) > 0 {
				return fmt.Errorf("%s is to come to %s", f.expect[0].body, f.id)
			}
		}
	}
	return nil
}
