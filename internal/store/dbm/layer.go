package dbm

import (
	"cmp"
	"maps"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A layer is what some Writes make of what lies below it, which is the database, or another layer on
// that: the messages that they put and did not remove, and what they removed or changed below. What is
// put and acked within a layer leaves nothing but the number.
type layer struct {
	queues map[string]*layered
	cost   int // roughly, the bytes that it has in memory beyond its messages
	upto   uint64
}

// What things cost in a layer.
const (
	entryCost = 200
	spanCost  = 32
	triesCost = 64
	queueCost = 300
)

// A layered is a queue in a layer.
type layered struct {
	puts []entry // by Seq; those without a message are gone
	gone int     // of puts
	base store.Seq
	last store.Seq // the highest that was put

	marked    store.Seq
	hasMarked bool

	// What is said of messages below, up to base. Who reads may have been lent it: then it is changed no more.
	removed spans
	tries   map[store.Seq]uint32
	lent    bool
}

// An entry is a message that was put.
type entry struct {
	seq      store.Seq
	msg      *message.Message
	attempts uint32
	shared   bool // others have the same message
}

func newLayer() *layer { return &layer{queues: make(map[string]*layered)} }

// queue is what the layer has of a queue. Base is the highest Seq that it may have below.
func (l *layer) queue(name string, base func(string) store.Seq) *layered {
	q := l.queues[name]
	if q == nil {
		q = &layered{base: base(name)}
		l.queues[name] = q
		l.cost += queueCost
	}
	return q
}

// apply makes the changes of a Write.
func (l *layer) apply(rs []store.Record, base func(string) store.Seq) {
	for i := 0; i < len(rs); {
		n := alike(rs[i:])
		for j := range rs[i : i+n] {
			r := &rs[i+j]
			q := l.queue(r.Queue, base)
			switch r.Kind {
			case store.RecordPut:
				l.cost += q.put(entry{seq: r.Seq, msg: r.Msg, shared: n > 1})
			case store.RecordAck:
				l.cost += q.ack(r.Seq, r.Last)
			case store.RecordMark:
				q.marked, q.hasMarked = r.Seq, true
			case store.RecordAttempts:
				l.cost += q.tried(r.Seq, r.Attempts)
			}
		}
		i += n
	}
}

// absorb makes the changes of a layer that lies on this one.
func (l *layer) absorb(top *layer, base func(string) store.Seq) {
	for name, t := range top.queues {
		q := l.queue(name, base)
		for _, s := range t.removed {
			l.cost += q.ack(s.first, s.last)
		}
		for seq, n := range t.tries {
			l.cost += q.tried(seq, n)
		}
		for _, e := range t.puts {
			if e.msg != nil {
				l.cost += q.put(e)
			}
		}
		q.last = max(q.last, t.last)
		if t.hasMarked {
			q.marked, q.hasMarked = t.marked, true
		}
	}
	l.upto = top.upto
}

// find tells where seq is among the puts, or would be.
func (q *layered) find(seq store.Seq) (at int, ok bool) {
	return slices.BinarySearchFunc(q.puts, seq, func(e entry, seq store.Seq) int { return cmp.Compare(e.seq, seq) })
}

func (q *layered) put(e entry) (cost int) {
	q.last = max(q.last, e.seq)
	if n := len(q.puts); n == 0 || q.puts[n-1].seq < e.seq {
		q.puts = append(q.puts, e)
		return entryCost
	}
	at, there := q.find(e.seq)
	if !there {
		q.puts = slices.Insert(q.puts, at, e)
		return entryCost
	}
	if q.puts[at].msg == nil {
		q.gone--
	}
	q.puts[at] = e
	return 0
}

func (q *layered) ack(first, last store.Seq) (cost int) {
	at, _ := q.find(first)
	for ; at < len(q.puts) && q.puts[at].seq <= last; at++ {
		if q.puts[at].msg != nil {
			q.puts[at].msg = nil
			q.gone++
		}
	}
	cost = q.trim()
	if last = min(last, q.base); first <= last {
		q.own()
		n := len(q.removed)
		q.removed = q.removed.add(first, last)
		cost += (len(q.removed) - n) * spanCost
		was := len(q.tries)
		if n := last - first; n < store.Seq(was) {
			for seq := first; seq <= last; seq++ {
				delete(q.tries, seq)
			}
		} else {
			maps.DeleteFunc(q.tries, func(seq store.Seq, _ uint32) bool { return first <= seq && seq <= last })
		}
		cost -= (was - len(q.tries)) * triesCost
	}
	return cost
}

// trim forgets puts that are gone, from the front and where they are most.
func (q *layered) trim() (cost int) {
	n := len(q.puts)
	for len(q.puts) > 0 && q.puts[0].msg == nil {
		q.puts = q.puts[1:]
		q.gone--
	}
	if q.gone > 64 && q.gone > len(q.puts)/2 {
		kept := make([]entry, 0, len(q.puts)-q.gone)
		for _, e := range q.puts {
			if e.msg != nil {
				kept = append(kept, e)
			}
		}
		q.puts, q.gone = kept, 0
	}
	return (len(q.puts) - n) * entryCost
}

func (q *layered) tried(seq store.Seq, n uint32) (cost int) {
	if at, there := q.find(seq); there && q.puts[at].msg != nil {
		q.puts[at].attempts = n
		return 0
	}
	if seq > q.base || q.removed.has(seq) {
		return 0
	}
	q.own()
	was := len(q.tries)
	if q.tries == nil {
		q.tries = make(map[store.Seq]uint32)
	}
	q.tries[seq] = n
	return (len(q.tries) - was) * triesCost
}

// own has what was lent be ours alone again.
func (q *layered) own() {
	if q.lent {
		q.removed, q.tries, q.lent = slices.Clone(q.removed), maps.Clone(q.tries), false
	}
}

// A change is what a transaction makes of the database.
type change struct {
	records []store.Record
	lasts   map[string]store.Seq // the highest Seqs that there were, of queues that may have no messages left
	mark    *logMark             // how far the log is in the database with that; nil: as before
}

// names are its queues, in the order of their numbers, behind which those come that have none yet. Keys that
// come in order are quicker to put: bbolt moves those behind them, of which a transaction may have very many.
func (l *layer) names(id func(string) uint64) []string {
	names := slices.Sorted(maps.Keys(l.queues))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(id(a)-1, id(b)-1) }) // none is the last
	return names
}

// change is what the layer makes of the database, in such an order that what is shared comes together. Id tells the
// number of a queue, 0 if it has none.
func (l *layer) change(id func(string) uint64) *change {
	c := &change{lasts: make(map[string]store.Seq, len(l.queues))}
	var order []*message.Message
	shared := make(map[*message.Message][]store.Record)
	var tries []store.Record
	for _, name := range l.names(id) {
		q := l.queues[name]
		c.lasts[name] = q.last
		for _, s := range q.removed {
			c.records = append(c.records, store.Record{Kind: store.RecordAck, Queue: name, Seq: s.first, Last: s.last})
		}
		for _, seq := range slices.Sorted(maps.Keys(q.tries)) {
			c.records = append(c.records, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: seq, Attempts: q.tries[seq]})
		}
		for _, e := range q.puts {
			if e.msg == nil {
				continue
			}
			r := store.Record{Kind: store.RecordPut, Queue: name, Seq: e.seq, Msg: e.msg}
			if e.shared {
				if shared[e.msg] == nil {
					order = append(order, e.msg)
				}
				shared[e.msg] = append(shared[e.msg], r)
			} else {
				c.records = append(c.records, r)
			}
			if e.attempts > 0 {
				tries = append(tries, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: e.seq, Attempts: e.attempts})
			}
		}
		if q.hasMarked {
			c.records = append(c.records, store.Record{Kind: store.RecordMark, Queue: name, Seq: q.marked})
		}
	}
	for _, m := range order {
		c.records = append(c.records, shared[m]...)
	}
	c.records = append(c.records, tries...)
	return c
}

// removals is what of that makes room in the database, and needs none for what comes new.
func (l *layer) removals() *change {
	c := new(change)
	for _, name := range slices.Sorted(maps.Keys(l.queues)) {
		for _, s := range l.queues[name].removed {
			c.records = append(c.records, store.Record{Kind: store.RecordAck, Queue: name, Seq: s.first, Last: s.last})
		}
	}
	return c
}
