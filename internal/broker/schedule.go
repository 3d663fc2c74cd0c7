package broker

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/adhocore/gronx"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// What is to be delivered later waits in a queue of the store of its own, with the name of where
// it goes in a header. In memory there is its time and its Seq; when that has come it is put to
// where it goes and taken out of that queue in one batch.

const (
	delayedQueue = destination.QueuePrefix + "$delayed"
	targetHeader = "$target"    // of what waits: the broker's name of where it goes
	firstHeader  = "$first"     // of what comes again: the Seq it had first
	idPrefix     = "scheduled-" // of schedule ids; the Seq follows

	// ScheduleID is the header of a RECEIPT that names what waits, and JobID that of the
	// message when it comes, as ActiveMQ has it.
	ScheduleID = "schedule-id"
	JobID      = "scheduledJobId"

	fireAtOnce = 256
)

// A schedule is what the broker knows of messages that wait for their time.
type schedule struct {
	b     *Broker
	st    store.Queue
	alarm alarm

	mu     sync.Mutex
	dues   dues
	again  map[store.Seq]store.Seq // of what comes again: where it is now, by where it was first
	failed []store.Delivery        // whose time has come and which could not be moved
}

func (b *Broker) openSchedule() error {
	s := &schedule{b: b, again: make(map[store.Seq]store.Seq)}
	b.schedule = s
	s.alarm.ring = s.fire
	var err error
	if s.st, err = b.store.Queue(delayedQueue, func() {}); err != nil {
		return err
	}
	if st := s.st.Stats(); st.Ready > 0 {
		b.wg.Go(s.find) // ends by itself, or with the broker
	}
	return nil
}

// find notes what waited when the broker started. It is a goroutine.
func (s *schedule) find() {
	for after := store.Seq(0); !s.b.stopped(); {
		ds, _, err := s.st.Page(nil, after, fireAtOnce, pageBytes)
		if err != nil {
			s.b.cfg.Log.Error("browse failed", "destination", delayedQueue, "err", err)
			return
		}
		if len(ds) == 0 {
			return
		}
		for _, d := range ds {
			s.add(d.Seq, d.Msg)
		}
		after = ds[len(ds)-1].Seq
	}
}

// add notes that m, which waits, has that Seq.
func (s *schedule) add(seq store.Seq, m *message.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := m.Header(firstHeader); ok {
		if first, err := strconv.ParseUint(v, 10, 64); err == nil {
			s.again[store.Seq(first)] = seq
		}
	}
	s.dues.push(due{max(m.Options().Due, 1), seq})
	s.b.clock.set(&s.alarm, s.dues.next())
}

// Later reports whether o asks for a time that had not come when its message did. What has waited to be
// handled until then is scheduled all the same, and comes at once: its sender is told of an id, it may
// come again, and who gets it is not told what was asked for.
func Later(o *message.Options, arrived int64) bool { return o.Due > arrived || o.Cron != "" }

// ErrCron is the error of a time table that cannot be read.
var ErrCron = errors.New("broker: the time table of a schedule cannot be read")

// put has op make m wait for its time, to be sent to dest then.
func (s *schedule) put(op *Op, dest string, m *message.Message) error {
	o := m.Options()
	row := m
	if o.Cron != "" {
		next, err := nextTick(o.Cron)
		if err != nil {
			return ErrCron
		}
		row = m.Redirect(m.Destination(), targetHeader, dest, firstHeader, "", "deliver-at", next.text, "expires", lifeFrom(m, next.at))
	} else {
		row = m.Redirect(m.Destination(), targetHeader, dest, firstHeader, "", "deliver-at", strconv.FormatInt(o.Due, 10), "delay", "", "x-delay", "",
			"AMQ_SCHEDULED_DELAY", "", "AMQ_SCHEDULED_TIME", "", "_AMQ_SCHED_DELIVERY", "")
	}
	s.enter(op, row, true)
	return nil
}

// enter adds row to op's batch, and tells its id if it is new.
func (s *schedule) enter(op *Op, row *message.Message, fresh bool) {
	i := op.batch.Len()
	op.batch.Put(s.st, row)
	op.Finally(func(err error) {
		if err != nil {
			return
		}
		seq := op.batch.Changes()[i].Seq
		if fresh {
			op.Tell(ScheduleID, idPrefix+strconv.FormatUint(uint64(seq), 10))
		}
		s.add(seq, row)
	})
}

// A tick is a time that a time table names.
type tick struct {
	at   int64
	text string
}

func nextTick(cron string) (tick, error) {
	at, err := gronx.NextTickAfter(cron, time.Now(), false)
	return tick{at.UnixMilli(), strconv.FormatInt(at.UnixMilli(), 10)}, err
}

// lifeFrom is when m ends, by what its header says, if it comes at that time. A time to live begins
// anew each time that it comes.
func lifeFrom(m *message.Message, at int64) string {
	o := m.Options()
	_, ttl := m.Header("ttl")
	_, expiration := m.Header("expiration")
	end := o.Expires
	if ttl || expiration {
		end += at - max(o.Due, m.Arrived())
	}
	if end == 0 {
		return ""
	}
	return strconv.FormatInt(end, 10)
}

// fire is the schedule's alarm.
func (s *schedule) fire(now int64, w *Wake) (next int64) {
	s.mu.Lock()
	failed := s.failed
	s.failed = nil
	var seqs []store.Seq
	for len(s.dues) > 0 && len(seqs) < fireAtOnce && s.dues.next() <= now {
		seqs = append(seqs, s.dues.pop().seq)
	}
	next = s.dues.next()
	s.mu.Unlock()
	if len(failed) > 0 {
		s.st.Release(failed)
	}
	var rows rowsNear
	for i, seq := range seqs {
		d, there, err := rows.find(s.st, seqs[i:])
		if err != nil {
			s.b.cfg.Log.Error("browse failed", "destination", delayedQueue, "err", err)
			s.postpone(seq, now+1000)
			continue
		}
		if !there {
			continue // it was cancelled
		}
		got, later := s.st.Lease(nil, []store.Delivery{d}, true)
		switch {
		case later: // its transaction is not durable yet
			s.postpone(seq, now+20)
		case len(got) > 0:
			s.send(got[0], w)
		}
	}
	return next
}

// rowsNear are rows that were read together, because they lie together.
type rowsNear struct {
	first store.Seq
	ds    []store.Delivery
}

// find returns the first of seqs; the others will be asked for next.
func (r *rowsNear) find(st store.Queue, seqs []store.Seq) (d store.Delivery, there bool, err error) {
	seq := seqs[0]
	if n := len(r.ds); n == 0 || seq < r.first || seq > r.ds[n-1].Seq {
		near := 0
		for _, o := range seqs {
			if o >= seq && o < seq+fireAtOnce {
				near++
			}
		}
		n := 1
		if near > 1 {
			n = fireAtOnce
		}
		if r.ds, _, err = st.Page(r.ds[:0], seq-1, n, pageBytes); err != nil {
			r.ds = nil
			return d, false, err
		}
		r.first = seq
	}
	i, there := slices.BinarySearchFunc(r.ds, seq, func(o store.Delivery, seq store.Seq) int { return cmp.Compare(o.Seq, seq) })
	if there {
		d = r.ds[i]
	}
	return d, there, nil
}

func (s *schedule) postpone(seq store.Seq, until int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dues.push(due{until, seq})
	s.b.clock.set(&s.alarm, s.dues.next())
}

// send moves d to where it goes, and has it come again if it is to.
func (s *schedule) send(d store.Delivery, w *Wake) {
	m := d.Msg
	target, _ := m.Header(targetHeader)
	first := d.Seq
	if v, ok := m.Header(firstHeader); ok {
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			first = store.Seq(n)
		}
	}
	op := NewOp(nil)
	op.Finally(func(err error) {
		if err == nil {
			return
		}
		s.b.cfg.Log.Error("scheduled message not sent; it is tried again", "destination", target, "err", err)
		s.mu.Lock()
		s.failed = append(s.failed, d)
		s.mu.Unlock()
		s.postpone(d.Seq, nowMilli()+1000)
	})
	op.batch.Ack(s.st, d.Seq)
	s.repeat(op, m, first)
	tx := s.b.Begin()
	tx.expandOne(target, arrive(m, first))
	tx.commit(op, w)
}

// arrive is m as it comes.
func arrive(m *message.Message, first store.Seq) *message.Message {
	r := m.Redirect(m.Destination(), JobID, idPrefix+strconv.FormatUint(uint64(first), 10),
		"expires", lifeFrom(m, m.Options().Due), "ttl", "", "expiration", "", // it would begin when the message was sent
		targetHeader, "", firstHeader, "", "deliver-at", "", "delay", "", "x-delay", "", "_AMQ_SCHED_DELIVERY", "",
		"AMQ_SCHEDULED_DELAY", "", "AMQ_SCHEDULED_TIME", "", "AMQ_SCHEDULED_PERIOD", "", "AMQ_SCHEDULED_REPEAT", "", "AMQ_SCHEDULED_CRON", "")
	r.SetArrived(nowMilli())
	return r
}

// repeat puts what comes after m: at the next time of its time table, or after its period.
// With a time table, the repetitions come after each of its times.
func (s *schedule) repeat(op *Op, m *message.Message, first store.Seq) {
	o := m.Options()
	own := []string{firstHeader, strconv.FormatUint(uint64(first), 10)}
	if o.Cron != "" {
		if next, err := nextTick(o.Cron); err == nil {
			s.enter(op, m.Redirect(m.Destination(), append(own, "deliver-at", next.text, "expires", lifeFrom(m, next.at))...), false)
		}
		own = []string{firstHeader, ""}
	}
	if o.Repeat == 0 {
		return
	}
	left := o.Repeat
	if left > 0 {
		left--
	}
	next := max(o.Due, nowMilli()-o.Period.Milliseconds()) + max(o.Period.Milliseconds(), 1)
	if o.Cron != "" {
		next = nowMilli() + max(o.Period.Milliseconds(), 1)
	}
	if o.Expires != 0 && o.Expires <= next && o.Cron == "" {
		own = append(own, "expires", strconv.FormatInt(o.Expires+next-o.Due, 10))
	}
	repeat := ""
	if left != 0 {
		repeat = strconv.Itoa(left)
	}
	s.enter(op, m.Redirect(m.Destination(), append(own, "deliver-at", strconv.FormatInt(next, 10), "AMQ_SCHEDULED_CRON", "",
		"AMQ_SCHEDULED_REPEAT", repeat)...), false)
}
