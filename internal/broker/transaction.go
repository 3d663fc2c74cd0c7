package broker

import (
	"slices"
	"strings"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A Transaction gathers SENDs, ACKs and NACKs that take effect together, in one batch of
// the store over all their destinations. It belongs to one goroutine.
type Transaction struct {
	b     *Broker
	steps []step
	bytes int

	name string // of the whole of it; empty: it has none
	mark *mark  // that name, while it is committed

	puts    map[store.Queue]store.Seq // how many of the batch's first counted changes put into each queue; nil: nobody asked
	counted int
}

// A step is one SEND, or the ACK or NACK of some deliveries of a subscription.
type step struct {
	dest    string
	msg     *message.Message
	sub     *Subscription
	tags    []uint64
	nack    bool
	refusal Refusal
	mark    *mark // the message's name, if it has one
}

// Begin starts a transaction.
func (b *Broker) Begin() *Transaction { return &Transaction{b: b} }

// Name gives the transaction a name: a second one of that name sends nothing, and settles what it settles.
func (t *Transaction) Name(name string) { t.name = name }

// Len is the number of frames that joined.
func (t *Transaction) Len() int { return len(t.steps) }

// Bytes is what the messages that joined cost in memory.
func (t *Transaction) Bytes() int { return t.bytes }

// Sent is how many messages for queues and for topics joined.
func (t *Transaction) Sent() (queues, topics int) {
	for _, st := range t.steps {
		switch {
		case st.msg == nil:
		case t.b.IsQueue(st.dest):
			queues++
		default:
			topics++
		}
	}
	return queues, topics
}

// Send adds a message to the destination of a.
func (t *Transaction) Send(a *Address, m *message.Message) {
	if a.temp {
		m.SetVolatile()
	}
	t.add(a.name, m)
}

func (t *Transaction) add(dest string, m *message.Message) {
	t.steps = append(t.steps, step{dest: dest, msg: m})
	t.bytes += m.Size()
	t.b.memory.extra.Add(int64(m.Size()))
}

// Ack adds the ACK of what ref names, in mode Client of all delivered before too. Until
// the end of the transaction these are held: neither settled nor open for another ACK,
// but their credit is back, or a transaction longer than the prefetch could not end.
func (t *Transaction) Ack(s *Subscription, ref Ref, w *Wake) error {
	return t.hold(s, ref, step{sub: s}, w)
}

// Nack adds a NACK likewise.
func (t *Transaction) Nack(s *Subscription, ref Ref, r Refusal, w *Wake) error {
	return t.hold(s, ref, step{sub: s, nack: true, refusal: r}, w)
}

func (t *Transaction) hold(s *Subscription, ref Ref, st step, w *Wake) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.inflight
	i, ok := f.open(ref)
	if !ok {
		if i, there := f.find(ref); there && s.mode == Client && t.has(s, f.slots[i].tag, st.nack) {
			return nil // what came behind it covers it
		}
		return ErrUnknown
	}
	for j := f.from(i, s.mode == Client); j <= i; j++ {
		if f.slots[j].state == slotLive {
			s.settled(j)
			f.set(j, slotHeld)
			st.tags = append(st.tags, f.slots[j].tag)
		}
	}
	t.steps = append(t.steps, st)
	s.changed(w)
	return nil
}

// has reports whether a step of t settles a delivery of s in that way.
func (t *Transaction) has(s *Subscription, tag uint64, nack bool) bool {
	return slices.ContainsFunc(t.steps, func(st step) bool {
		return st.sub == s && st.nack == nack && slices.Contains(st.tags, tag)
	})
}

// Abort forgets the SENDs; what was acked is in flight again.
func (t *Transaction) Abort() {
	for _, st := range t.steps {
		if st.sub == nil {
			continue
		}
		st.sub.mu.Lock()
		for _, tag := range st.tags {
			if i, ok := st.sub.inflight.find(Ref{Tag: tag}); ok {
				st.sub.inflight.set(i, slotLive)
				st.sub.unsettled(i)
			}
		}
		if st.sub.taking && !st.sub.able() {
			st.sub.q.leave(st.sub)
		}
		st.sub.mu.Unlock()
	}
	t.end()
}

func (t *Transaction) end() {
	t.b.memory.extra.Add(-int64(t.bytes))
	t.steps, t.bytes = nil, 0
}

// Commit makes all of it happen, or none. op completes when it is durable; messages for
// topics go out then. It returns false, and nothing has happened, if a queue is full and op is
// Patient: then it is to be tried again.
func (t *Transaction) Commit(op *Op, w *Wake) bool {
	if !t.names(op) {
		return true
	}
	own, bytes := len(t.steps), t.bytes
	t.expand()
	if t.commit(op, w) {
		return true
	}
	t.b.memory.extra.Add(int64(bytes - t.bytes))
	t.steps, t.bytes = t.steps[:own], bytes
	for i, st := range t.steps {
		if topic, ok := keptTopic(st.dest); ok {
			t.steps[i].dest = topic
		}
	}
	op.told = op.told[:0]
	return false
}

// commitOrAbort ends t if it is to be tried again as a whole.
func (t *Transaction) commitOrAbort(done bool) bool {
	if !done {
		t.Abort()
	}
	return done
}

// expand adds the durable subscriptions of the topics that are sent to.
func (t *Transaction) expand() {
	if t.b.durables.version.Load() == 0 {
		return
	}
	for i, st := range t.steps {
		if st.msg != nil && !t.b.IsQueue(st.dest) && !Later(st.msg.Options(), st.msg.Arrived()) {
			t.feed(i)
		}
	}
}

// feed adds the message of a step to a topic for its durable subscriptions, and has it go to where
// the topic keeps it, if it does: that brings it to the others.
func (t *Transaction) feed(i int) {
	st := t.steps[i]
	a := Address{b: t.b, name: st.dest}
	queues, keeps := a.feeds(st.msg), a.keeps()
	if len(queues) > 1 || len(queues) > 0 && keeps {
		st.msg = st.msg.Spread()
		t.steps[i].msg = st.msg
	}
	for _, q := range queues {
		t.add(q, st.msg)
	}
	switch {
	case !keeps:
	case retains(st.dest, st.msg): // which is a matter of the topic
		t.add(keptName(a.name), st.msg)
	default:
		t.steps[i].dest = keptName(a.name)
	}
}

// expandOne adds m to dest, and to the durable subscriptions of that.
func (t *Transaction) expandOne(dest string, m *message.Message) {
	t.add(dest, m)
	if !t.b.IsQueue(dest) && t.b.durables.version.Load() != 0 {
		t.feed(len(t.steps) - 1)
	}
}

func (t *Transaction) commit(op *Op, w *Wake) bool {
	queues, err := t.lockQueues()
	if err == nil {
		if err = t.openLanes(queues, op); err != nil {
			unlock(queues)
		}
	}
	if err != nil {
		for i, st := range t.steps {
			if st.mark != nil {
				t.b.dedupe.settle(st.mark, 0, "", err)
				t.steps[i].mark = nil
			}
		}
		if t.mark != nil {
			t.b.dedupe.settle(t.mark, 0, "", err)
			t.mark = nil
		}
		if err == errWait {
			return false
		}
		t.Abort()
		op.Finish(err)
		return true
	}
	var topics []step
	for _, st := range t.steps {
		switch {
		case st.sub != nil:
			t.settle(st, op, w)
		case st.msg.Special() && Later(st.msg.Options(), st.msg.Arrived()):
			_ = t.b.schedule.put(op, st.dest, st.msg) // whose time table was read before
			if st.mark != nil {
				t.nameSent(op, st, nil)
			}
		case t.b.IsQueue(st.dest):
			i, found := slices.BinarySearchFunc(queues, st.dest, byName)
			if !found && st.mark != nil {
				t.b.dedupe.settle(st.mark, 0, "", errGone)
			}
			if found && queues[i].props != nil {
				if st.msg, _ = queues[i].admit(st.msg, op, w); st.msg == nil {
					if st.mark != nil {
						t.b.dedupe.settle(st.mark, 0, "", errGone)
					}
					continue
				}
			}
			if found { // else its owner has left
				lane, _ := queues[i].lane(st.msg) // which is open
				at := op.batch.Len()
				if queues[i].kept != nil {
					queues[i].note(op, st.msg, true)
				}
				if queues[i].last != nil {
					st.msg = queues[i].dated(st.msg)
				}
				op.batch.Put(lane, st.msg)
				queues[i].comes(st.msg)
				if st.msg.Expires() != 0 {
					queues[i].expiring(op, queues[i].laneOfMessage(st.msg), st.msg)
				}
				if st.mark != nil {
					t.nameSent(op, st, queues[i])
				}
				if queues[i].last != nil {
					queues[i].overtake(op, at, st.msg)
				}
			}
		default:
			topics = append(topics, st)
			if retains(st.dest, st.msg) {
				t.b.keep(op, st.dest, st.msg)
			}
			if st.mark != nil {
				t.nameSent(op, st, nil)
			}
		}
	}
	if t.mark != nil {
		t.wholeNamed(op)
	}
	for _, q := range queues {
		q.roomyAfter(op)
	}
	t.end()
	var tell *news
	if len(topics) > 0 {
		tell = t.tell(topics, op)
	}
	if op.batch.Len() == 0 {
		op.Finish(nil)
	} else {
		t.b.store.Commit(&op.batch)
	}
	if tell != nil && tell.settled() {
		w.after = append(w.after, tell.line.publish)
	}
	for _, q := range queues {
		q.came()
		if q.props != nil {
			q.cameIn()
			q.trim(w)
		}
		q.dispatch(w)
	}
	unlock(queues)
	return true
}

func unlock(queues []*queue) {
	for _, q := range queues {
		q.mu.Unlock()
	}
}

// openLanes opens what the messages are to be put into. The queues are locked.
func (t *Transaction) openLanes(queues []*queue, op *Op) error {
	if err := t.fit(queues, op); err != nil {
		return err
	}
	for _, st := range t.steps {
		if st.msg == nil || !st.msg.Special() {
			continue
		}
		if cron := st.msg.Options().Cron; cron != "" {
			if _, err := nextTick(cron); err != nil {
				return ErrCron
			}
		}
		if !t.b.IsQueue(st.dest) {
			if st.msg.Options().Retain == message.RetainSet && !t.b.roomToKeep(st.dest) {
				return ErrRetained
			}
			continue
		}
		if i, found := slices.BinarySearchFunc(queues, st.dest, byName); found {
			if _, err := queues[i].lane(st.msg); err != nil {
				return err
			}
		}
	}
	return nil
}

func byName(q *queue, name string) int { return strings.Compare(q.name, name) }

// lockQueues locks every queue that the transaction touches, in the order of their names.
func (t *Transaction) lockQueues() ([]*queue, error) {
again:
	var all []*queue
	for _, st := range t.steps {
		q := (*queue)(nil)
		switch {
		case st.sub != nil:
			q = st.sub.q
		case t.b.IsQueue(st.dest):
			var err error
			if q, err = t.b.queue(st.dest); err != nil && err != errGone {
				return nil, err
			}
		}
		if q == nil {
			continue
		}
		if i, found := slices.BinarySearchFunc(all, q.name, byName); !found {
			all = slices.Insert(all, i, q)
		}
	}
	for i, q := range all {
		q.mu.Lock()
		if q.gone {
			unlock(all[:i+1])
			goto again
		}
		q.unused = false
	}
	return all, nil
}

// settle applies an ACK or NACK. The queue of st.sub is locked.
func (t *Transaction) settle(st step, op *Op, w *Wake) {
	s := st.sub
	if s.q == nil {
		s.own.Lock()
		defer s.own.Unlock()
	}
	var back []store.Delivery
	for _, tag := range st.tags {
		i, ok := s.inflight.find(Ref{Tag: tag})
		switch {
		case !ok: // the subscription was closed
		case st.nack:
			back = append(back, s.inflight.slots[i].delivery())
			s.leftGroup(s.inflight.slots[i].msg)
			s.inflight.set(i, slotGone)
		default:
			s.ackSlot(i, op, w)
		}
	}
	s.inflight.trim()
	s.refuse(back, st.refusal, op, w)
}
