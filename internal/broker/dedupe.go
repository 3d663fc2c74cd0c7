package broker

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/store"
)

// A SEND that names itself is taken once for each destination: its name is put into a queue of
// the store in one batch with the message, and kept for a while. One of the same name that comes
// while the first is not durable waits for what becomes of that.

// maxNames is how many names are kept for one destination; the oldest go first.
const maxNames = 100_000

// forgetEvery is how long after their time names go at most, in milliseconds.
const forgetEvery = 1000

// A dedupe is what the broker knows of names that were used.
type dedupe struct {
	b      *Broker
	st     store.Queue
	window time.Duration
	alarm  alarm

	mu    sync.Mutex // guards what follows, and the marks
	dests map[string]*named
}

type named struct {
	marks map[string]*mark
	order []*mark // as they came
}

// A mark is one name.
type mark struct {
	dest, name string
	seq        store.Seq // of its row
	until      int64
	id         string // of the message; empty if it is not known
	settled    bool   // it is durable
	waiters    []func()
}

func (b *Broker) openDedupe() error {
	d := &dedupe{b: b, window: b.cfg.DedupeWindow, dests: make(map[string]*named)}
	b.dedupe = d
	d.alarm.ring = d.forget
	var err error
	if d.st, err = b.store.Queue(destination.QueuePrefix+"$dedupe", func() {}); err != nil {
		return err
	}
	for after := store.Seq(0); ; {
		ds, err := d.st.Browse(nil, after, 512)
		if err != nil {
			return err
		}
		if len(ds) == 0 {
			return nil
		}
		after = ds[len(ds)-1].Seq
		d.mu.Lock()
		for _, row := range ds {
			dest, _ := row.Msg.Header("dest")
			name, _ := row.Msg.Header(keyHeader)
			m := d.note(dest, name, row.Msg.Arrived()+max(d.windowOf(dest), 0).Milliseconds())
			m.seq, m.settled = row.Seq, true
			m.id, _ = row.Msg.Header(idHeader)
		}
		d.mu.Unlock()
	}
}

// windowOf is for how long names are remembered of what is sent to dest.
func (d *dedupe) windowOf(dest string) time.Duration {
	if p := d.b.props.of(dest); p != nil && p.DedupeWindow > 0 {
		return p.DedupeWindow
	}
	return d.window
}

// note makes a mark. Called with mu held.
func (d *dedupe) note(dest, name string, until int64) *mark {
	n := d.dests[dest]
	if n == nil {
		n = &named{marks: make(map[string]*mark)}
		d.dests[dest] = n
	}
	m := &mark{dest: dest, name: name, until: until}
	n.marks[name] = m
	n.order = append(n.order, m)
	soon := nowMilli() + forgetEvery
	if len(n.order) > maxNames {
		n.order[len(n.order)-maxNames-1].until = 0 // it goes next
		until = soon
	}
	d.b.clock.set(&d.alarm, max(until, soon))
	return m
}

// claim returns the mark of a name at a destination. Fresh says that the caller made it, and
// must have it settled.
func (d *dedupe) claim(dest, name string, window time.Duration) (m *mark, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.dests[dest]; n != nil && n.marks[name] != nil {
		return n.marks[name], false
	}
	return d.note(dest, name, nowMilli()+window.Milliseconds()), true
}

// settle says what became of the message of m.
func (d *dedupe) settle(m *mark, seq store.Seq, id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.settled = err == nil; m.settled {
		m.seq, m.id = seq, id
	} else {
		d.remove(m)
	}
	m.free()
}

// free has those go on who wait for m.
func (m *mark) free() {
	for _, f := range m.waiters {
		go f() // each commits what waited
	}
	m.waiters = nil
}

// remove forgets m. Called with mu held.
func (d *dedupe) remove(m *mark) {
	n := d.dests[m.dest]
	if n == nil || n.marks[m.name] != m {
		return
	}
	delete(n.marks, m.name)
	if i := slices.Index(n.order, m); i >= 0 {
		n.order = slices.Delete(n.order, i, i+1)
	}
	if len(n.marks) == 0 {
		delete(d.dests, m.dest)
	}
}

// forget is the alarm: names go whose time is over.
func (d *dedupe) forget(now int64, _ *Wake) (next int64) {
	var seqs []store.Seq
	d.mu.Lock()
	for dest, n := range d.dests {
		i := 0
		for i < len(n.order) && n.order[i].until <= now && n.order[i].settled {
			seqs = append(seqs, n.order[i].seq)
			delete(n.marks, n.order[i].name)
			i++
		}
		n.order = slices.Delete(n.order, 0, i)
		switch {
		case len(n.order) == 0:
			delete(d.dests, dest)
		case next == 0 || n.order[0].until < next:
			next = max(n.order[0].until, now+forgetEvery)
		}
	}
	d.mu.Unlock()
	slices.Sort(seqs)
	for len(seqs) > 0 {
		seqs = d.drop(seqs)
	}
	return next
}

// drop takes the first rows of seqs, and those near them, out of the store, and returns the
// others.
func (d *dedupe) drop(seqs []store.Seq) []store.Seq {
	ds, err := d.st.Browse(nil, seqs[0]-1, 512)
	if err != nil {
		d.b.cfg.Log.Error("browse failed", "destination", d.st.Name(), "err", err)
		return nil // the next start finds them
	}
	ds = slices.DeleteFunc(ds, func(row store.Delivery) bool {
		for len(seqs) > 0 && seqs[0] < row.Seq {
			seqs = seqs[1:]
		}
		return len(seqs) == 0 || seqs[0] != row.Seq
	})
	if len(ds) == 0 {
		return nil
	}
	got, _ := d.st.Lease(nil, ds, true)
	op := NewOp(nil)
	op.Relax()
	for _, row := range got {
		op.batch.Ack(d.st, row.Seq)
	}
	d.b.store.Commit(&op.batch)
	for len(seqs) > 0 && seqs[0] <= ds[len(ds)-1].Seq {
		seqs = seqs[1:]
	}
	return seqs
}

// names claims the names of the messages that t sends, and leaves out those that were sent
// before. It reports false if t has to wait: then it is committed again by itself.
func (t *Transaction) names(op *Op) bool {
	d := t.b.dedupe
	var claimed []*mark
	kept := t.steps[:0:0]
	for i, st := range t.steps {
		window := time.Duration(0)
		if st.msg != nil && st.msg.Special() && st.msg.Options().Dedupe != "" {
			window = d.windowOf(st.dest)
		}
		if window <= 0 {
			kept = append(kept, st)
			continue
		}
		m, fresh := d.claim(st.dest, st.msg.Options().Dedupe, window)
		switch {
		case fresh:
			st.mark = m
			claimed = append(claimed, m)
			kept = append(kept, st)
		case slices.Contains(claimed, m): // twice in one transaction
			op.Tell("duplicate", "true")
		case !d.wait(m, op, t, append(kept, t.steps[i:]...), claimed):
			return false
		default:
			op.Tell("duplicate", "true")
			if m.id != "" {
				op.Tell("message-id", m.id)
			}
		}
	}
	t.steps = kept
	return t.name == "" || t.whole(op, claimed)
}

// wholeDest is what stands for a destination in the name of a whole transaction.
const wholeDest = "$transaction"

// whole is names for the name of all of t.
func (t *Transaction) whole(op *Op, claimed []*mark) bool {
	d := t.b.dedupe
	if d.window <= 0 {
		return true
	}
	m, fresh := d.claim(wholeDest, t.name, d.window)
	switch {
	case fresh:
		t.mark = m
		return true
	case !d.wait(m, op, t, t.steps, claimed):
		return false
	}
	d.mu.Lock()
	for _, c := range claimed { // by messages that are not sent
		d.remove(c)
		c.free()
	}
	d.mu.Unlock()
	t.steps = slices.DeleteFunc(t.steps, func(st step) bool { return st.sub == nil })
	op.told = append(op.told[:0], "duplicate", "true")
	return true
}

// wholeNamed adds the row of t's own name to op.
func (t *Transaction) wholeNamed(op *Op) {
	d, m := t.b.dedupe, t.mark
	at := op.batch.Len()
	op.batch.Put(d.st, note(d.st.Name(), m.name, []string{"dest", wholeDest}))
	op.Lastly(func(err error) {
		row := store.Seq(0)
		if err == nil {
			row = op.batch.Changes()[at].Seq
		}
		d.settle(m, row, "", err)
	})
	t.mark = nil
}

// wait reports whether m is settled. If not t is committed when it is, with these steps, and what
// was claimed for it is given up; t is not the caller's any more.
func (d *dedupe) wait(m *mark, op *Op, t *Transaction, steps []step, claimed []*mark) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.settled {
		return true
	}
	t.steps = steps
	for _, c := range claimed {
		d.remove(c)
		c.free()
	}
	again := func() {
		var w Wake
		op.told = op.told[:0]
		op.Patient = false // nobody is there to try again
		t.Commit(op, &w)
		w.Run()
	}
	if n := d.dests[m.dest]; n == nil || n.marks[m.name] != m { // it failed meanwhile
		go again()
		return false
	}
	m.waiters = append(m.waiters, again)
	return false
}

// nameSent adds the row of st's name to op, whose batch ends with its message; q is the queue
// that it went to, or nil.
func (t *Transaction) nameSent(op *Op, st step, q *queue) {
	d := t.b.dedupe
	at := op.batch.Len() - 1
	facts := []string{"dest", st.mark.dest}
	if q != nil && t.b.cfg.Durable && !isTempQueue(q.name) && !q.pinned.Load() { // into which others put at any time
		facts = append(facts, idHeader, q.prefix+strconv.FormatUint(uint64(t.seqOf(op, at)|laneTag(q.laneOfMessage(st.msg))), 10))
	}
	op.batch.Put(d.st, note(d.st.Name(), st.mark.name, facts))
	m := st.mark
	op.Lastly(func(err error) {
		id, row := "", store.Seq(0)
		if err == nil {
			changes := op.batch.Changes()
			row = changes[at+1].Seq
			if q != nil {
				id = q.prefix + strconv.FormatUint(uint64(changes[at].Seq|laneTag(q.laneOfMessage(st.msg))), 10)
			}
		}
		d.settle(m, row, id, err)
	})
}

// idHeader has the id of the message in the row of a name.
const idHeader = "id"

// seqOf is the Seq that the message at a place in op's batch is going to have. Its queue is locked.
func (t *Transaction) seqOf(op *Op, at int) store.Seq {
	if t.puts == nil {
		t.puts = make(map[store.Queue]store.Seq)
	}
	changes := op.batch.Changes()
	for ; t.counted <= at; t.counted++ {
		if c := changes[t.counted]; c.Msg != nil {
			t.puts[c.Queue]++
		}
	}
	st := changes[at].Queue
	return st.Stats().Last + t.puts[st]
}
