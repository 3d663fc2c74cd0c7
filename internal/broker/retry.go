package broker

import (
	"fmt"
	"strconv"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// retryControl with the name of a queue behind it asks for its dead letters to be sent again.
const retryControl = destination.QueuePrefix + "$dlq/"

const retryAtOnce = 100 // messages moved in one batch

// controlRetry answers action:retry: the dead letters of the queue that is named, or those of
// them that a selector wants, or the first count, go back to it. It completes op, with their
// number, when the last is durable there.
func (b *Broker) controlRetry(name string, m *message.Message, op *Op, w *Wake) {
	from, err := b.retryFrom(name, m)
	if err != nil {
		op.Finish(err)
		return
	}
	moved := 0
	for p := priorities - 1; p >= 0; p-- {
		from.q.mu.Lock()
		st := from.q.laneOf(uint8(p))
		from.q.mu.Unlock()
		if st != nil {
			b.settleStore(st)
		}
		for after := store.Seq(0); st != nil && (from.count == 0 || moved < from.count); {
			ds, _, err := st.Page(nil, after, retryAtOnce, pageBytes)
			if err != nil || len(ds) == 0 {
				if err != nil {
					op.Finish(err)
					return
				}
				break
			}
			after = ds[len(ds)-1].Seq
			n, err := b.moveBack(from, st, ds, from.count-moved, w)
			if err != nil {
				op.Finish(err)
				return
			}
			moved += n
		}
	}
	op.Tell("count", strconv.Itoa(moved))
	op.Finish(nil)
}

// settleStore waits until what was put into st before is durable: then it can be leased.
func (b *Broker) settleStore(st store.Queue) {
	done := make(chan struct{})
	op := NewOp(nil)
	op.Finally(func(error) { close(done) })
	op.batch.AckRange(st, 1, 0) // nothing; batches of one queue complete in their order
	b.store.Commit(&op.batch)
	<-done
}

// A retry is what is to be sent again.
type retry struct {
	q      *queue // of the dead letters
	to     string
	filter Filter
	count  int // at most; 0: all
}

func (b *Broker) retryFrom(name string, m *message.Message) (r retry, err error) {
	if action, _ := m.Header("action"); action != "retry" {
		return r, fmt.Errorf("%w: it wants the header action:retry", ErrControl)
	}
	r.to = asQueue(strings.TrimPrefix(name, retryControl))
	if !b.IsQueue(r.to) || isSystem(r.to) {
		return r, fmt.Errorf("%w: %s is no queue", ErrControl, r.to)
	}
	if v, ok := m.Header("count"); ok {
		if r.count, err = strconv.Atoi(v); err != nil || r.count < 1 {
			return r, fmt.Errorf("%w: count wants a whole number above 0", ErrControl)
		}
	}
	if text, ok := m.Header("selector"); ok && b.cfg.MakeFilter != nil {
		if r.filter, err = b.cfg.MakeFilter(text); err != nil {
			return r, err
		}
	}
	q, err := b.queue(r.to)
	if err != nil {
		return r, err
	}
	q.mu.Lock()
	dead := q.deadLetter()
	q.mu.Unlock()
	if dead == "" || dead == r.to {
		return r, fmt.Errorf("%w: %s has no dead letters", ErrControl, r.to)
	}
	r.q, err = b.queue(dead)
	return r, err
}

// moveBack moves those of ds that are meant and that nobody has, and waits until they are stored.
func (b *Broker) moveBack(r retry, st store.Queue, ds []store.Delivery, most int, w *Wake) (int, error) {
	var meant []store.Delivery
	for _, d := range ds {
		origin, _ := d.Msg.Header("original-destination")
		if origin == r.to && (r.filter == nil || r.filter.Wants(d.Msg)) && (r.count == 0 || len(meant) < most) {
			meant = append(meant, d)
		}
	}
	got, _ := st.Lease(nil, meant, true)
	if len(got) == 0 {
		return 0, nil
	}
	done := make(chan error, 1)
	op := NewOp(nil)
	op.Finally(func(err error) { done <- err })
	tx := b.Begin()
	for _, d := range got {
		op.batch.Ack(st, d.Seq)
		tx.add(r.to, d.Msg.Redirect(r.to, "original-destination", "", "_AMQ_ORIG_ADDRESS", "", "_AMQ_ORIG_QUEUE", "",
			"x-death-reason", "", "x-death-time", "", "dlqDeliveryFailureCause", ""))
	}
	tx.commit(op, w)
	if err := <-done; err != nil {
		for i := range got {
			got[i].Attempt--
		}
		st.Release(got)
		return 0, err
	}
	return len(got), nil
}
