package model_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stompserver/internal/frame"
)

// A delivery is one that came in this step.
type delivery struct {
	s *subscription
	m *message
	rank
}

// hear takes what came to the clients: receipts are noted, and deliveries wait for judge.
func (g *game) hear() error {
	for _, c := range slices.Concat(g.clients, g.doomed) {
		for _, r := range c.take() {
			if err := g.heard(c, r); err != nil && !g.crashing {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if err := c.lost(); err != nil && c.doomed == "" && !g.crashing {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (g *game) heard(c *client, r reply) error {
	switch {
	case r.command == frame.Connected:
		c.connected = true
	case r.command == frame.Receipt:
		req := g.open[r.header["receipt-id"]]
		if req == nil {
			return fmt.Errorf("RECEIPT of %s, which was not asked for", r.header["receipt-id"])
		}
		for _, name := range []string{"duplicate", "status", "reason", "queue"} {
			if got := r.header[name]; got != req.want[name] && !g.crashing {
				return fmt.Errorf("RECEIPT of %s with %s:%s, want %q", req.what, name, got, req.want[name])
			}
		}
		if req.told != nil {
			req.told(r.header["schedule-id"])
		}
		g.confirmed(req)
	case r.command == frame.Message && c.doomed == "":
		c.given = append(c.given, r)
	case r.command == frame.Error && c.doomed != "" && r.header["error-code"] == c.doomed:
		c.refused = true
	default:
		return fmt.Errorf("%v %v %q", r.command, r.header, r.body)
	}
	return nil
}

// unanswered tells of a request that has no receipt yet.
func (g *game) unanswered() error {
	for _, r := range g.open {
		if !r.waits {
			return fmt.Errorf("no RECEIPT of %s", r.what)
		}
	}
	for _, c := range g.doomed {
		if !c.refused {
			return fmt.Errorf("no ERROR %s for %s", c.doomed, c.name)
		}
	}
	for _, c := range g.clients {
		if !c.connected {
			return fmt.Errorf("no CONNECTED for %s", c.name)
		}
	}
	return nil
}

// judge looks at what was delivered, one step of one client after the last time.
func (g *game) judge() error {
	// What the subscriptions could do before these came.
	room := map[*subscription]int{}
	for _, q := range g.queues {
		for _, s := range q.subs {
			if s.able() {
				room[s] = s.room()
			}
		}
	}
	left := make([][]reply, len(g.clients)) // of each, what was delivered
	for i, c := range g.clients {
		left[i] = c.given
	}
	came, err := g.deliveredAll(left)
	if err != nil || g.crashing {
		return err
	}
	unknowOwners(came)
	g.buryDoomed(came)
	if err := g.inOrder(came, room); err != nil && !g.atOnce && !g.entered {
		return err
	}
	if err := g.nothingWaits(); err != nil {
		return err
	}
	return g.nobodyWaits()
}

// unsure owns a group of which messages went to several subscriptions in one step: it is not known who was the last.
var unsure = &subscription{id: "somebody"}

func unknowOwners(came []delivery) {
	for _, d := range came {
		if d.m.group != "" && slices.ContainsFunc(came, func(o delivery) bool { return o.m.group == d.m.group && o.s.q == d.s.q && o.s != d.s }) {
			d.s.q.owners[d.m.group] = unsure
		}
	}
}

// judged lets go of what judge was content with.
func (g *game) judged() {
	for _, c := range g.clients {
		c.given = nil
	}
	for _, c := range g.doomed {
		c.close()
		g.world.left(c)
	}
	g.doomed, g.entered = nil, false
}

// deliveredAll looks at what came to each client. In which order it came to different ones is not known: any
// that makes sense will do.
func (g *game) deliveredAll(left [][]reply) (came []delivery, err error) {
	lenience := []bool{false}
	if g.atOnce {
		lenience = []bool{false, true}
	}
	orders := [][]int{{}}
	for i := range left {
		var more [][]int
		for _, o := range orders {
			for at := range len(o) + 1 {
				more = append(more, slices.Insert(slices.Clone(o), at, i))
			}
		}
		orders = more
	}
	defer func() { g.lenient = false }()
	for _, g.lenient = range lenience {
		for _, order := range orders {
			restore := g.save()
			var e error
			if came, e = g.deliveredSo(left, order); e == nil || g.crashing {
				return came, nil
			}
			if err == nil {
				err = e
			}
			restore()
		}
	}
	return nil, err
}

// deliveredSo is deliveredAll, where of several clients that may have been next it was the first in order.
func (g *game) deliveredSo(left [][]reply, order []int) (came []delivery, err error) {
	left = slices.Clone(left)
	for more := true; more; {
		more, err = false, nil
		for _, i := range order {
			if len(left[i]) == 0 {
				continue
			}
			c, r := g.clients[i], left[i][0]
			d, e := g.delivered(c, r)
			if e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s %v: %w", c.name, r.body, r.header, e))
				continue
			}
			left[i] = left[i][1:]
			if d.s != nil {
				came = append(came, d)
			}
			more = true
			break
		}
	}
	return came, err
}

// save returns how to undo deliveries.
func (g *game) save() (restore func()) {
	messages := make([]message, len(g.all))
	for i, m := range g.all {
		messages[i] = *m
		messages[i].ids = maps.Clone(m.ids)
	}
	held := map[*subscription][]*message{}
	owners := map[*queue]map[string]*subscription{}
	for _, q := range g.queues {
		owners[q] = maps.Clone(q.owners)
		for _, s := range q.subs {
			held[s] = slices.Clone(s.held)
		}
	}
	expects := map[*follower][]*message{}
	for _, c := range g.clients {
		for _, f := range c.follows {
			expects[f] = f.expect
		}
	}
	ids := maps.Clone(g.byID)
	trace := len(g.trace)
	return func() {
		g.byID = ids
		for f, e := range expects {
			f.expect = e
		}
		for i, m := range g.all {
			*m = messages[i]
		}
		for q, o := range owners {
			q.owners = o
		}
		for s, h := range held {
			s.held = h
		}
		g.trace = g.trace[:trace]
	}
}

// delivered looks at one MESSAGE and notes it.
func (g *game) delivered(c *client, r reply) (d delivery, err error) {
	if i := slices.IndexFunc(c.follows, func(f *follower) bool { return f.id == r.header["subscription"] }); i >= 0 {
		return d, g.followed(c.follows[i], r)
	}
	i := slices.IndexFunc(c.subs, func(s *subscription) bool { return s.id == r.header["subscription"] })
	if i < 0 {
		return d, fmt.Errorf("there is no such subscription")
	}
	s := c.subs[i]
	m, err := g.find(s.q.name, r)
	if err != nil {
		return d, err
	}
	switch {
	case m.where() != s.q.name:
		return d, fmt.Errorf("it is in %q, not in %s", m.where(), s.q.name)
	case m.state == held:
		return d, fmt.Errorf("it is held by %s", m.by.id)
	case m.over:
		return d, fmt.Errorf("another has taken its place")
	case m.state == paused:
		return d, fmt.Errorf("it is to come in %d ms", m.until-now())
	case !s.wants(m):
		return d, fmt.Errorf("it is not wanted by %s", s.selector.text)
	case s.q.active != nil && s.q.active != s:
		return d, fmt.Errorf("%s alone is to be served", s.q.active.id)
	case s.room() <= 0:
		return d, fmt.Errorf("%s has its %d already", s.id, s.prefetch)
	case !g.crashing && !g.groupLets(s, m, false):
		return d, fmt.Errorf("the group %s is not for %s now", m.group, s.id)
	}
	for _, o := range g.all {
		if m.group != "" && !g.lenient && !g.crashing && o.group == m.group && o != m && g.lets(s, o) && o.before(m.rank) {
			return d, fmt.Errorf("%s of its group is before it", o.body)
		}
	}
	if err := g.header(s, m, r); err != nil {
		return d, err
	}
	d = delivery{s, m, m.rank}
	if s.mode == "auto" {
		g.move(m, nowhere, nil)
	} else {
		m.state, m.by, m.ackID = held, s, r.header["ack"]
		s.held = append(s.held, m)
		if s.timeout > 0 {
			m.deadline = now() + s.timeout
		}
	}
	if m.group != "" {
		s.q.owners[m.group] = s
		if m.last {
			delete(s.q.owners, m.group)
		}
	}
	g.logf("%s to %s, %d", m.body, s.id, m.tries.least)
	return d, nil
}

// header compares the header of a MESSAGE.
func (g *game) header(s *subscription, m *message, r reply) error {
	count := 1
	if v, ok := r.header["delivery-count"]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 2 {
			return fmt.Errorf("delivery-count %q", v)
		}
		count = n
	}
	if r.header["redelivered"] != strconv.FormatBool(count > 1) {
		return fmt.Errorf("redelivered:%s and delivery-count %d", r.header["redelivered"], count)
	}
	if count < m.tries.least+1 || count > m.tries.most+1 {
		return fmt.Errorf("it comes for time %d, want %d to %d", count, m.tries.least+1, m.tries.most+1)
	}
	for name, want := range m.header {
		if got := r.header[name]; got != want {
			return fmt.Errorf("%s:%s, want %s", name, got, want)
		}
	}
	first := ""
	if m.group != "" && s.q.owners[m.group] != s {
		first = "true"
	}
	if got := r.header["JMSXGroupFirstForConsumer"]; got != first && (m.group == "" || s.q.owners[m.group] != unsure) {
		return fmt.Errorf("JMSXGroupFirstForConsumer:%s, want %q", got, first)
	}
	if (r.header["ack"] != "") != (s.mode != "auto") {
		return fmt.Errorf("ack:%s in mode %s", r.header["ack"], s.mode)
	}
	m.tries = bounds{count, count}
	return nil
}

// find returns the message that r, which is in queue, is. No other has its message-id there.
func (g *game) find(queue string, r reply) (*message, error) {
	id, from := r.header["message-id"], queue
	if queue == deadLetters || queue == later {
		from = r.header["original-destination"]
	}
	fits := func(m *message) bool { return m.ids[queue] == id }
	if known := g.byID[id]; known == nil {
		fits = func(m *message) bool {
			return m.ids[queue] == "" && (m.at(queue) || g.step == g.crashed && g.endedIn(m, queue) != nowhere) && (queue != later || g.isTime(m.until, r.header["scheduled-for"]))
		}
	}
	same := g.byBody[strings.TrimRight(r.body, ".")+from]
	i := -1
	twins := slices.DeleteFunc(slices.Clone(same), func(m *message) bool {
		return m.where() != queue || !fits(m) || queue == deadLetters && m.header["x-death-reason"] != r.header["x-death-reason"]
	})
	if len(twins) > 0 { // what is sent again and again is told by its order
		slices.SortStableFunc(twins, func(a, b *message) int {
			return cmp.Or(cmp.Compare(a.since[0], b.since[0]), cmp.Compare(a.since[1], b.since[1]))
		})
		i = slices.Index(same, twins[min(g.earlier(r), len(twins)-1)])
	} else {
		i = slices.IndexFunc(same, fits)
	}
	switch known := g.byID[id]; {
	case i < 0 && known != nil:
		return nil, fmt.Errorf("its message-id is that of %s", known.body)
	case i < 0 && len(same) == 0:
		return nil, fmt.Errorf("it was never sent")
	case i < 0:
		return nil, fmt.Errorf("it is in %q, not in %s, or its message-id is another, %v", same[0].where(), queue, same[0].ids)
	}
	if m := same[i]; queue != later {
		m.ids[queue] = id
		g.byID[id] = m
	}
	return same[i], nil
}

// earlier is how many of the messages that came in this step, and are not known yet, are twins of r that were there before it.
func (g *game) earlier(r reply) (n int) {
	for _, c := range g.clients {
		for _, o := range c.given {
			if o.body == r.body && o.header["destination"] == r.header["destination"] && o.header["original-destination"] == r.header["original-destination"] &&
				o.header["x-death-reason"] == r.header["x-death-reason"] && g.byID[o.header["message-id"]] == nil && order(o) < order(r) {
				n++
			}
		}
	}
	return n
}

// order is the number of a message within its queue, as its message-id has it.
func order(r reply) int {
	id := r.header["message-id"]
	n, _ := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	return n
}

// isTime reports whether a time that the server tells is at, as far as the clocks of both go together.
func (g *game) isTime(at int64, told string) bool {
	n, err := strconv.ParseInt(told, 10, 64)
	return err == nil && n >= at && n-at < g.slowly
}

// at reports whether m may be at that place.
func (m *message) at(place string) bool {
	return slices.ContainsFunc(m.trail, func(e entry) bool { return e.place == place })
}

// buryDoomed has die what was delivered too often before a restart, once somebody comes who could have it.
func (g *game) buryDoomed(came []delivery) {
	defer func() { g.cause = "" }()
	for _, m := range g.sorted(func(*message) bool { return true }) {
		q := g.queues[m.where()]
		if n := m.limitOf(); q == nil || m.state != ready || n == 0 || m.tries.least < n {
			continue
		}
		for _, s := range q.subs {
			passed := slices.ContainsFunc(came, func(d delivery) bool { return d.s == s && m.before(d.rank) })
			if s.wants(m) && (s.able() || passed) {
				g.cause = "limit of " + q.name
				g.bury(m, "delivery_limit", nil)
				break
			}
		}
	}
}

// inOrder looks whether each subscription was given what is first of what it may have, and whether those
// that are to be served first were. Room is what they had before.
func (g *game) inOrder(came []delivery, room map[*subscription]int) error {
	for i, d := range came {
		for _, m := range g.all {
			if g.lets(d.s, m) && m.before(d.rank) && !m.waitedFor(came) {
				return fmt.Errorf("%s was given %s, and could have had %s, which is before it", d.s.id, d.m.body, m.body)
			}
		}
		for _, o := range came[i+1:] {
			if o.s == d.s && o.before(d.rank) && d.m.group == "" && o.m.group == "" {
				return fmt.Errorf("%s was given %s before %s", d.s.id, d.m.body, o.m.body)
			}
		}
		if d.m.group != "" {
			continue
		}
		for _, s := range d.s.q.subs {
			if s.prio > d.s.prio && s.able() && room[s] > 0 && s.wants(d.m) {
				return fmt.Errorf("%s went to %s, though %s is to be served first", d.m.body, d.s.id, s.id)
			}
		}
	}
	return nil
}

// waitedFor reports whether m may have waited for what came: of its group, to somebody in mode auto, whose socket took it
// a little later.
func (m *message) waitedFor(came []delivery) bool {
	return m.group != "" && slices.ContainsFunc(came, func(d delivery) bool { return d.s.mode == "auto" && d.m.group == m.group })
}

// nothingWaits looks whether somebody could have what is there.
func (g *game) nothingWaits() error {
	for _, m := range g.all {
		q := g.queues[m.where()]
		if q == nil {
			continue
		}
		for _, s := range q.subs {
			if s.able() && g.lets(s, m) {
				return fmt.Errorf("%s waits, though %s could have it", m.body, s.id)
			}
		}
	}
	return nil
}
