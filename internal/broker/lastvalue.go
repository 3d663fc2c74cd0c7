package broker

import (
	"strconv"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue can keep the last message of each key alone, as Artemis's last-value queues do: one
// that comes takes the place of that which nobody has yet. What a client has is not taken from
// it; but if it comes back it is dropped.

// What is not at hand is read by goroutines, with no lock held. So what was overtaken far behind is
// there for a moment longer; it is given to nobody.

// keysAtLeast is how many keys a queue remembers before it looks which are of messages that are
// gone.
const keysAtLeast = 1024

// lastValues is what a queue knows of the keys of its messages.
type lastValues struct {
	learning bool // what the queue held at first is being read: nothing is handed out; guarded by queue.mu

	mu         sync.Mutex // guards what follows, and each newest; it may be taken with queue.mu held
	keys       map[string]*newest
	over       []store.Seq // overtaken while they were on their way into the store
	distant    []overtaken // and what is not at hand
	dropping   bool        // a goroutine drops that
	forgetting bool        // a goroutine looks which keys are of messages that are gone
}

// A newest is the message of a key that came last. Seq is 0 until it is in the store.
type newest struct {
	seq     store.Seq
	arrived int64       // none that came before did so later
	lane    uint8       // of its message
	gone    bool        // it was dropped for the next one
	sent    bool        // it came while we looked; else it was there at first
	older   []store.Seq // found while it was on its way into the store
}

// overtaken are messages to be dropped once what overtook them is in the store.
type overtaken struct {
	seqs   []store.Seq
	stored chan bool
}

// keyOf is the key of m; empty if the queue keeps it whatever comes later. Called with q.mu held.
func (q *queue) keyOf(m *message.Message) string {
	if q.last == nil || m == nil {
		return ""
	}
	return keyIn(q.keyHeader(), m)
}

// keyHeader is the header that has the keys, if the queue has one of its own.
func (q *queue) keyHeader() string {
	if q.props == nil {
		return ""
	}
	return q.props.KeyHeader
}

func keyIn(header string, m *message.Message) string {
	if header != "" {
		if key, ok := m.Lookup(header); ok && len(key) > 0 {
			return string(key)
		}
	}
	return m.Options().Key
}

// dated is m, which is about to be put, as one that arrived after what has its key: of messages with different
// priorities nothing else tells the next start which is the last, and one that was sent in a transaction
// arrived long before it is there. Called with q.mu held.
func (q *queue) dated(m *message.Message) *message.Message {
	key := ""
	if q.lanes != nil {
		key = q.keyOf(m)
	}
	if key == "" {
		return m
	}
	q.last.mu.Lock()
	before := q.last.keys[key]
	q.last.mu.Unlock()
	if before == nil || before.arrived < m.Arrived() {
		return m
	}
	at := before.arrived + 1
	if q.laneOfMessage(m) == before.lane { // behind which its place in the store says that it came
		if at--; at == m.Arrived() {
			return m
		}
	}
	ends := []string{}
	if e := m.Expires(); e != 0 { // which may be told from when it arrived
		ends = []string{"expires", strconv.FormatInt(e, 10), "ttl", "", "expiration", ""}
	}
	r := m.Redirect(m.Destination(), ends...)
	r.SetSender(m.Sender())
	r.SetArrived(at)
	return r
}

// overtake has m, which is change i of op, take the place of the one of its key before. Called
// with q.mu held, before op is committed.
func (q *queue) overtake(op *Op, i int, m *message.Message) {
	key := q.keyOf(m)
	if key == "" {
		return
	}
	l, lane := q.last, q.laneOfMessage(m)
	tag := laneTag(lane)
	n := &newest{sent: true, arrived: m.Arrived(), lane: lane}
	l.mu.Lock()
	before := l.keys[key]
	if before != nil {
		n.arrived = max(n.arrived, before.arrived)
	}
	l.keys[key] = n
	many := len(l.keys)
	drop := l.over
	l.over = nil
	if before != nil && before.seq != 0 {
		before.gone = true
		drop = append(drop, before.seq)
	}
	l.mu.Unlock()
	if many > keysAtLeast {
		if st := q.stats(); many > 2*(st.Ready+st.Leased) {
			q.forgetKeys()
		}
	}
	distant := overtaken{seqs: q.dropIfFree(op, drop)}
	if len(distant.seqs) > 0 {
		distant.stored = make(chan bool, 1)
		q.dropLater(distant)
	}
	op.Finally(func(err error) {
		if distant.stored != nil {
			distant.stored <- err == nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err == nil:
			n.seq = op.batch.Changes()[i].Seq | tag
			if before != nil && before.seq != 0 && !before.gone {
				l.over = append(l.over, before.seq)
			}
		case before != nil && before.seq != 0: // which counts again
			before.gone = false
			n.seq, n.sent = before.seq, before.sent
		case len(n.older) > 0:
			n.seq, n.sent = n.older[len(n.older)-1], false
		}
		for _, seq := range n.older {
			if seq != n.seq {
				l.over = append(l.over, seq)
			}
		}
		n.older = nil
	})
}

// dropIfFree adds to op the acks of those that nobody has. It returns those that are not at hand.
func (q *queue) dropIfFree(op *Op, seqs []store.Seq) (distant []store.Seq) {
	for _, seq := range seqs {
		st, at := q.at(seq)
		ds, whole := st.Peek(q.one[:0], at-1, 1)
		switch {
		case len(ds) == 0 && !whole:
			distant = append(distant, seq)
		case len(ds) > 0 && ds[0].Seq == at: // else it is gone, or goes when it is fetched
			if free, _ := st.Lease(q.one[1:1], ds, true); len(free) > 0 {
				q.ack(op, seq, seq)
			}
		}
		q.one = [2]store.Delivery{}
	}
	return distant
}

// dropLater has messages dropped that are not at hand. Called with q.mu held.
func (q *queue) dropLater(d overtaken) {
	l := q.last
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.distant = append(l.distant, d); !l.dropping {
		l.dropping = true
		q.b.wg.Go(func() { q.dropDistant(l) }) // ends when all are dropped, or with the broker
	}
}

func (q *queue) dropDistant(l *lastValues) {
	for {
		l.mu.Lock()
		if len(l.distant) == 0 {
			l.distant, l.dropping = nil, false
			l.mu.Unlock()
			return
		}
		next := l.distant[0]
		l.distant = l.distant[1:]
		l.mu.Unlock()
		select {
		case stored := <-next.stored:
			if !stored {
				continue
			}
		case <-q.b.stop:
			return
		}
		for _, seq := range next.seqs {
			q.mu.Lock()
			st, at := q.at(seq)
			over := q.gone || q.last != l
			q.mu.Unlock()
			if over || q.b.stopped() {
				return
			}
			ds, _, err := st.Page(nil, at-1, 1, pageBytes)
			if err != nil {
				q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			}
			if err != nil || len(ds) == 0 || ds[0].Seq != at {
				continue // it is gone, or goes when it is fetched
			}
			q.mu.Lock()
			if free, _ := st.Lease(nil, ds, true); len(free) > 0 {
				free[0].Seq = seq
				q.discard(free[0])
			}
			q.mu.Unlock()
		}
	}
}

// overtaken reports whether a later message of d's key is in the store.
func (q *queue) overtaken(d store.Delivery) bool {
	key := q.keyOf(d.Msg)
	if key == "" {
		return false
	}
	l := q.last
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.keys[key]
	if n == nil || n.seq == 0 || n.seq == d.Seq {
		return false
	}
	return q.kept == nil || n.seq > d.Seq // else its key is being learned, and d may be the last
}
