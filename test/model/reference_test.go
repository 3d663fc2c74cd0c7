package model_test

import (
	"cmp"
	"slices"
)

// What follows is the server as the documentation has it, in lists.

const (
	deadLetters = "/queue/deadletter"
	later       = "later" // where a message is that waits for its time to be sent
	nowhere     = ""

	maxDeliveries = 4
)

type state int

const (
	ready  state = iota
	held         // by a subscription
	paused       // put back, and to be delivered at a later time
)

// A message is one that was sent, or may have been.
type message struct {
	body     string
	group    string
	last     bool // of its group
	number   int
	color    string
	priority int
	limit    int // of deliveries; 0: the server's
	volatile bool

	to string // where it was sent

	trail []entry // where it was since it was certain where it is
	shape
	state state
	by    *subscription
	tx    *transaction // in which it is settled, and not yet
	ackID string

	key      string            // of which a queue may keep the last alone
	over     bool              // a later one of its key has come, so that it is given to nobody any more
	deadline int64             // held: when it is given back; 0: never
	ids      map[string]string // its message-id, by place
	noRoom   bool              // its queue had none for it
	large    bool              // its body is
	offset   int               // its number in what the topic keeps; 0: not known yet

	again    int    // how often it comes again; negative: for ever
	period   int64  // after which
	schedule string // the schedule-id by which it can be taken back
	doubt    bool   // whether it ever was there: of what the topic keeps
	life     int    // of the server, in which it was sent
}

// A shape is what a message is in one place.
type shape struct {
	rank
	header  map[string]string // that its receivers must see
	expires int64             // 0: never
	until   int64             // paused, or waiting to be sent
	tries   bounds            // how often it was delivered: a crash may forget some, and count one too many
	saved   bounds            // what the store was told of it when it was last closed
}

type bounds struct{ least, most int }

// A rank is what messages of a queue are delivered in the order of.
type rank struct {
	prio  int
	since [2]int // it is there: step, and place in it
	cause string // what brought it there, if the server did by itself; of several such things in one step any may be the first
}

// before reports whether r is to be delivered before o of the same queue.
func (r rank) before(o rank) bool {
	if r.prio == o.prio && r.since[0] == o.since[0] && r.cause != o.cause {
		return false
	}
	return cmp.Or(cmp.Compare(o.prio, r.prio), cmp.Compare(r.since[0], o.since[0]), cmp.Compare(r.since[1], o.since[1])) < 0
}

// An entry says where a message came to be, and by which request, whose receipt makes that certain.
type entry struct {
	place string
	by    *request
	shape shape // that it had there
}

// A request is what a client asked for, as a whole.
type request struct {
	receipt string
	what    string
	parts   []part
	want    map[string]string // what its receipt says
	waits   bool              // for room
	told    func(id string)   // is given the schedule-id
}

// A part of a request is one thing that it moves.
type part struct {
	of      string
	entries *[]entry
}

func (m *message) where() string {
	if len(m.trail) == 0 {
		return nowhere
	}
	return m.trail[len(m.trail)-1].place
}

// A subscription is to one queue.
type subscription struct {
	c         *client
	id        string
	q         *queue
	mode      string
	prefetch  int
	prio      int
	exclusive bool
	bytes     int       // of bodies and headers that it may hold; 0: any number
	timeout   int64     // for which it may hold one; 0: as long as it likes
	lost      []string  // ids of what it held too long
	selector  *selector // nil: it takes all
	gone      bool      // after UNSUBSCRIBE what it holds may be settled
	held      []*message
}

func (s *subscription) wants(m *message) bool { return s.selector == nil || s.selector.wants(m) }

// room is how many more it may be given.
func (s *subscription) room() int {
	if s.mode == "auto" {
		return 1 << 30
	}
	n, bytes := s.prefetch, 0
	for _, m := range s.held {
		if m.tx == nil {
			n--
			bytes++
			if m.large {
				bytes += len(large)
			}
		}
	}
	if s.bytes > 0 && bytes >= s.bytes {
		return 0
	}
	return n
}

// able reports whether it can be given more.
func (s *subscription) able() bool {
	return !s.gone && s.room() > 0 && (s.q.active == nil || s.q.active == s)
}

type queue struct {
	name   string
	subs   []*subscription // attached, in the order they came
	active *subscription   // the only one that is served; nil: all are
	owners map[string]*subscription

	most  int       // how many messages it may hold; 0: any number
	large bool      // all of them are large, for it is bounded by bytes
	full  string    // what becomes of more
	line  []*waiter // who waits for room
	last  bool      // of each key it keeps the last
	keeps bool      // it is a topic, and nobody takes what is in it

	// Of a durable subscription.
	selector *selector
	there    []entry // whether there is one: the last is so, the first is certain
}

// exists reports whether there is a durable subscription of that name.
func (q *queue) exists() bool { return q.there[len(q.there)-1].place != nowhere }

// elect picks who alone is served, if somebody wants to be.
func (q *queue) elect() {
	for _, s := range q.subs {
		if s.exclusive && (q.active == nil || s.prio > q.active.prio) {
			q.active = s
		}
	}
}

func (q *queue) attach(s *subscription) {
	q.subs = append(q.subs, s)
	if q.active == nil {
		q.elect()
	}
}

func (q *queue) detach(s *subscription) {
	q.subs = slices.DeleteFunc(q.subs, func(o *subscription) bool { return o == s })
	if q.active == s {
		q.active = nil
		q.elect()
	}
	for g, owner := range q.owners {
		if owner == s {
			delete(q.owners, g)
		}
	}
}

// A transaction is what it will do.
type transaction struct {
	name  string
	steps []func(r *request)
	sends map[string]int // how many messages, by queue
}

// A selector is one as clients write it, and what it means.
type selector struct {
	text  string
	wants func(m *message) bool
}

var selectors = []*selector{
	{"color = 'red'", func(m *message) bool { return m.color == "red" }},
	{"color <> 'red'", func(m *message) bool { return m.color != "" && m.color != "red" }},
	{"number >= 5", func(m *message) bool { return m.number >= 5 }},
	{"color IS NULL OR number IN ('1', '2', '3')", func(m *message) bool { return m.color == "" || m.number >= 1 && m.number <= 3 }},
	{"JMSPriority > 3 AND NOT color LIKE 'b%'", func(m *message) bool { return m.priority > 3 && m.color == "red" }},
}

// groupLets reports whether the rules of message groups let s have m, which is ready. Where it is not known
// which of two comes first, sure says that m is not.
func (g *game) groupLets(s *subscription, m *message, sure bool) bool {
	if m.group == "" {
		return true
	}
	if g.lenient && !sure {
		return true
	}
	inFlight := false
	for _, o := range g.all {
		if o.group != m.group || o.where() != s.q.name {
			continue
		}
		ahead := o != m && (o.before(m.rank) || sure && !m.before(o.rank))
		if o.state == paused && ahead {
			return false // it comes behind one that waits
		}
		if o.state == ready && ahead && s.wants(o) {
			return false // it takes that first, or has to wait for it
		}
		if o.state == held {
			inFlight = true
			if o.by != s {
				return false
			}
		}
	}
	owner := s.q.owners[m.group]
	if owner == unsure {
		return !sure
	}
	if owner != s && s.q.active != nil {
		owner = nil // it is not served
	}
	return owner == nil && !inFlight || owner == s || owner != nil && !inFlight && !owner.wants(m)
}

// lets reports whether s can be given m.
func (g *game) lets(s *subscription, m *message) bool {
	return m.where() == s.q.name && m.state == ready && !m.over && s.wants(m) && g.groupLets(s, m, true)
}

// limitOf is how often m may be delivered where it is; 0: for ever.
func (m *message) limitOf() int {
	switch {
	case m.where() == deadLetters:
		return 0
	case m.limit > 0:
		return m.limit
	}
	return maxDeliveries
}
