package broker

import (
	"time"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A queue that keeps what it delivers can do so for some time. What came first goes first, so that its
// time is the only one to be watched.

const ageAtOnce = 256 // messages that go in one run with the queue's lock held

// ages has the oldest message go when its time has come. Called with q.mu held.
func (q *queue) ages() {
	if q.props == nil || q.props.MaxAge <= 0 {
		return
	}
	if q.aging == nil {
		q.aging = &alarm{ring: q.aged}
	}
	q.b.clock.set(q.aging, nowMilli()+1) // what it holds may be older
}

// cameIn is ages for a message that comes now.
func (q *queue) cameIn() {
	if q.aging != nil {
		q.b.clock.set(q.aging, nowMilli()+max(q.props.MaxAge.Milliseconds(), 1))
	}
}

// aged is the alarm for that.
func (q *queue) aged(now int64, w *Wake) (next int64) {
	for p := range uint8(priorities) {
		for !q.b.stopped() {
			q.mu.Lock()
			st, age := q.laneOf(p), time.Duration(0)
			if q.props != nil && !q.gone {
				age = q.props.MaxAge
			}
			q.mu.Unlock()
			if st == nil || age <= 0 {
				break
			}
			due, err := q.dropAged(st, p, now-age.Milliseconds(), w)
			if err != nil {
				q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
				return now + time.Minute.Milliseconds()
			}
			if due == 0 {
				continue
			}
			if due += age.Milliseconds(); due > 0 && (next == 0 || due < next) {
				next = due
			}
			break
		}
	}
	if next != 0 {
		next = max(next, now+1)
	}
	return next
}

// empty is what dropAged returns if there is no message any more.
const empty = -1 << 62

// dropAged drops the first messages of st as far as they came no later than at, and returns when the next
// one came, or 0 if there may be more to drop.
func (q *queue) dropAged(st store.Queue, p uint8, at int64, w *Wake) (next int64, err error) {
	ds, _, err := st.Page(nil, 0, ageAtOnce, pageBytes)
	if err != nil {
		return 0, err
	}
	n := 0
	for n < len(ds) && ds[n].Msg.Arrived() <= at {
		n++
	}
	q.mu.Lock()
	got, _ := st.Lease(nil, ds[:n], true)
	for _, d := range got {
		d.Seq |= laneTag(p)
		q.trimmed(d.Seq)
		q.discard(d)
	}
	q.mu.Unlock()
	switch {
	case n < len(ds):
		return max(ds[n].Msg.Arrived(), 1), nil
	case len(got) < n: // somebody has them, or they are not durable yet
		return max(nowMilli()-q.age()+agesAgain, 1), nil
	case n > 0:
		return 0, nil
	}
	return empty, nil
}

// agesAgain is when it is looked again at messages that could not go, in milliseconds.
const agesAgain = 50

func (q *queue) age() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.props == nil {
		return 0
	}
	return q.props.MaxAge.Milliseconds()
}

// trimmed notes that a message, the oldest, is not kept any more. Called with q.mu held.
func (q *queue) trimmed(seq store.Seq) {
	for _, s := range q.browsers {
		t, p := s.browser, laneIndex(seq)
		if t.skip > 0 && int(p) <= t.lane && t.cursor[p] < seq&laneMask {
			t.skip-- // it is one of those that were to be passed over
		}
	}
	if q.kept != nil && laneIndex(seq) == message.DefaultPriority {
		q.kept.trimmed = max(q.kept.trimmed, seq)
		q.kept.past = max(q.kept.past, seq)
	}
}
