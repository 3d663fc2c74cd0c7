package broker

import (
	"errors"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// What becomes of messages that a queue has no room for.

// bounded reports whether the queue may hold only so much.
func (q *queue) bounded() bool { return q.props.bounded() }

func (p *Properties) bounded() bool { return p.MaxMessages > 0 || p.MaxBytes > 0 }

// fits reports whether the queue may hold what is more. Called with q.mu held.
func (q *queue) fits(messages int, bytes int64) bool {
	st := q.stats()
	st.Ready += messages + q.coming.messages
	st.Bytes += bytes + q.coming.bytes
	return !q.props.tooFull(st)
}

// tooFull reports whether a queue that has so much has more than it may.
func (p *Properties) tooFull(st store.Stats) bool {
	return p.MaxMessages > 0 && st.Ready+st.Leased > p.MaxMessages || p.MaxBytes > 0 && st.Bytes > p.MaxBytes
}

// coming is what a transaction is about to put into a queue.
type coming struct {
	messages int
	bytes    int64
}

// comes notes that m is about to be put, and came that the store has what was. Called with q.mu held.
func (q *queue) comes(m *message.Message) {
	if q.props != nil && q.bounded() {
		q.coming.messages++
		q.coming.bytes += int64(m.Size())
	}
}

func (q *queue) came() { q.coming = coming{} }

// admit decides about m, which is sent to a queue with properties, and returns it as it is to be
// put, or nil if it is not: then err says whether that is told, and op may put it elsewhere. Called
// with q.mu held.
func (q *queue) admit(m *message.Message, op *Op, w *Wake) (*message.Message, error) {
	p := q.props
	if q.bounded() && p.waits(op, int64(m.Size())) {
		if !q.fits(1, int64(m.Size())) || q.line.behind(op) {
			q.queueUp(op)
			return nil, errWait
		}
		op.leaveLine()
	} else if q.bounded() && !q.fits(1, int64(m.Size())) {
		switch p.WhenFull {
		case DropNew:
			q.b.counts.overflowed.Add(1)
			q.b.counts.full.Add(1)
			return nil, nil
		case DeadLetterIt:
			q.b.counts.overflowed.Add(1)
			return nil, q.divert(m, op, w)
		case DropHead: // once it is there
		default:
			q.b.counts.overflowed.Add(1)
			q.b.Tell(w, About("full", "FULL", q.name, nil))
			return nil, &FullError{Queue: q.name, Reason: "maxlen"}
		}
	}
	if p.WhenFull == Block && q.bounded() {
		op.Finally(func(err error) {
			if err != nil { // it takes no room
				q.line.roomy()
			}
		})
	}
	return q.mortal(q.ranked(q.lasting(m))), nil
}

// lasting is m as it is put where what is delivered is kept: there all is stored. What is gone after a
// restart would have its number given to another, which who goes on behind that would miss. A queue that is
// not durable stores nothing.
func (q *queue) lasting(m *message.Message) *message.Message {
	if q.props.Durable == No && !q.props.NonDestructive {
		return m.Unstored()
	}
	if !q.props.NonDestructive || !m.Volatile() || isTempQueue(q.name) {
		return m
	}
	return m.Redirect(m.Destination(), "persistent", "").Stored()
}

// errWait says that a sender has to wait, and that nothing has happened.
var errWait = errors.New("broker: queue is full, for now")

// waits reports whether the owner of op is to wait for room of so many bytes, which may come.
func (p *Properties) waits(op *Op, bytes int64) bool {
	return p.WhenFull == Block && op.Patient && (p.MaxBytes <= 0 || bytes <= p.MaxBytes)
}

// trimming is what a queue whose oldest messages make room is at.
type trimming uint8

const (
	trimDone  trimming = iota
	trimOwed           // it is too full, and what should go was not to be had: somebody had it, or it is not durable yet
	trimRuns           // a goroutine makes room
	trimFirst          // likewise, and nobody has seen what the queue holds
)

// tooFull reports whether the oldest messages are to make room.
func (q *queue) tooFull() bool {
	return q.props != nil && q.props.WhenFull == DropHead && q.bounded() && !q.fits(0, 0)
}

// trim drops the oldest messages that nobody has as long as the queue is too full; where these are
// not at hand a goroutine does. Called with q.mu held.
func (q *queue) trim(w *Wake) {
	if q.props == nil || q.props.WhenFull != DropHead || !q.bounded() || q.trimming > trimOwed {
		return
	}
	if q.trimming == trimOwed && q.stats().Ready == 0 && !q.fits(0, 0) {
		return
	}
	q.trimming = trimDone
	for p := uint8(0); p < priorities; p++ {
		st := q.laneOf(p)
		if st == nil {
			continue
		}
		n := 1 // most often one has come, and one is to go
		for after := q.begins(p); ; n = min(4*n, 64) {
			if q.fits(0, 0) {
				return
			}
			ds, whole := st.Peek(q.scratch[:0], after, n)
			q.scratch = ds[:0]
			if len(ds) == 0 && !whole {
				q.trimSoon(trimRuns)
				return
			}
			if len(ds) == 0 {
				break
			}
			after = ds[len(ds)-1].Seq
			made := q.makeRoom(st, p, ds, w)
			clear(ds)
			if !made {
				q.trimming = trimOwed
				return
			}
		}
	}
	q.trimming = trimOwed
}

// trimSoon has a goroutine make room. Called with q.mu held, or before anybody knows of q.
func (q *queue) trimSoon(as trimming) {
	q.trimming = as
	q.b.wg.Go(q.trimFar) // ends when there is room, or with the broker
}

// trimFar is trim for what is not at hand. Until it has done nobody is given anything of the queue, nor shown what he
// has not seen: it may be about to go.
func (q *queue) trimFar() {
	var w Wake
	enough := false
	for p := uint8(0); p < priorities; p++ {
		q.mu.Lock()
		st := q.laneOf(p)
		q.mu.Unlock()
		for after := store.Seq(0); st != nil && !enough && !q.b.stopped(); {
			ds, _, err := st.Page(nil, after, 64, pageBytes)
			if err != nil {
				q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			}
			q.mu.Lock()
			if enough = q.gone || !q.tooFull(); !enough && len(ds) > 0 {
				after = ds[len(ds)-1].Seq
				enough = !q.makeRoom(st, p, ds, &w)
			}
			q.mu.Unlock()
			w.Run()
			if len(ds) == 0 {
				break
			}
		}
	}
	q.mu.Lock()
	q.trimming = trimDone
	q.dispatch(&w) // which waited
	if q.trimming == trimDone && q.tooFull() {
		q.trimming = trimOwed // when the store calls, not at once: nothing has changed
	}
	q.mu.Unlock()
	w.Run()
}

// makeRoom drops those of ds that nobody has, as far as needed. It reports false if one is not durable yet:
// nothing behind it goes in its place, and the store calls.
func (q *queue) makeRoom(st store.Queue, p uint8, ds []store.Delivery, w *Wake) bool {
	for _, d := range ds {
		if q.fits(0, 0) {
			break
		}
		q.one[0] = d
		got, later := st.Lease(q.one[1:1], q.one[:1], true)
		if len(got) > 0 {
			q.madeRoom(d.Seq)
			got[0].Seq |= laneTag(p)
			q.overflow(got[0], w)
		} else {
			q.stays()
		}
		q.one = [2]store.Delivery{}
		if later {
			return false
		}
	}
	return true
}

// begins is behind which message of a priority it is to be looked for the oldest.
func (q *queue) begins(p uint8) store.Seq {
	if q.kept == nil || laneTag(p) != 0 {
		return 0
	}
	q.kept.stuck = false
	return q.kept.head
}

// madeRoom notes that a message has made room, and stays that one could not. Called with q.mu held.
func (q *queue) madeRoom(seq store.Seq) {
	if q.kept != nil && !q.kept.stuck {
		q.kept.head = seq
	}
}

func (q *queue) stays() {
	if q.kept != nil {
		q.kept.stuck = true
	}
}

// overflow has d make room: to the dead letters that the queue itself names, else nowhere.
func (q *queue) overflow(d store.Delivery, w *Wake) {
	q.b.counts.overflowed.Add(1)
	q.trimmed(d.Seq)
	if q.props.DeadLetter != "" && q.props.DeadLetter != NoDeadLetter {
		q.bury(d, death{reason: "maxlen"}, w)
		return
	}
	q.b.counts.full.Add(1)
	q.discard(d)
}

// discard drops d, which the queue holds.
func (q *queue) discard(d store.Delivery) {
	q.unfind(d)
	op := NewOp(nil)
	op.Relax()
	q.ack(op, d.Seq, d.Seq)
	q.b.store.Commit(&op.batch)
}

// fit reports whether the messages fit into queues that refuse what does not, and may go to their topics
// now. The queues are locked.
func (t *Transaction) fit(queues []*queue, op *Op) error {
	if t.mustWait(op) {
		return errWait
	}
	for _, q := range queues {
		if q.props == nil || !q.bounded() || q.props.WhenFull != Reject && q.props.WhenFull != Block {
			continue
		}
		n, bytes := 0, int64(0)
		for _, st := range t.steps {
			if st.msg != nil && st.dest == q.name {
				n++
				bytes += int64(st.msg.Size())
			}
		}
		if n == 0 {
			continue
		}
		fits := q.fits(n, bytes)
		if q.props.waits(op, bytes) && (q.props.MaxMessages <= 0 || n <= q.props.MaxMessages) && (!fits || q.line.behind(op)) {
			q.queueUp(op)
			return errWait
		}
		if !fits {
			q.b.counts.overflowed.Add(1)
			return &FullError{Queue: q.name, Reason: "maxlen"}
		}
	}
	op.leaveLine()
	op.Patient = false // there is room, and it is taken
	return nil
}
