package broker

import (
	"slices"
	"time"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A browser sees what a queue holds, whether somebody has it or not, and takes nothing. It
// reads by itself, with no lock held, and hands on as fast as its consumer takes it: neither
// who sends nor who consumes feels it.

// Browse are the options of a subscription that browses a queue.
type Browse struct {
	Follow bool      // go on with what comes; else an end is told once all was seen
	Limit  int       // so many messages at most; 0: all
	From   store.Seq // the first to be seen, of those of the default priority
	Since  int64     // none that came before, in milliseconds since 1970
	Last   int       // of what is there at first only so many, the newest; 0: all
	Skip   bool      // nothing of what is there at first
}

// browsePage is how many messages are read, and handed on with the queue's lock held, at once.
const browsePage = 64

// EndOfBrowse is the header of the message without body that ends a browse.
const EndOfBrowse = "browser"

// A browser is the state of such a subscription. It is guarded by queue.mu.
type browser struct {
	Browse
	cursor  [priorities]store.Seq
	lane    int // the priority that is read
	skip    int // messages to be passed over
	seen    int
	reading bool // a goroutine is at it
	again   bool // something came since it looked last
	over    bool
}

// attachBrowser makes s, which browses, known to the queue. Called with q.mu held.
func (q *queue) attachBrowser(s *Subscription) {
	q.subs++
	q.unused = false
	q.browsers = append(q.browsers, s)
	t := s.browser
	t.lane = priorities - 1
	if t.From > 0 {
		t.cursor[message.DefaultPriority] = t.From - 1
	}
	if st := q.stats(); t.Last > 0 || t.Skip {
		t.skip = max(st.Ready+st.Leased-t.Last, 0)
	}
}

func (q *queue) detachBrowser(s *Subscription) {
	q.subs--
	if i := slices.Index(q.browsers, s); i >= 0 {
		if q.browsers = slices.Delete(q.browsers, i, i+1); len(q.browsers) == 0 {
			q.browsers = nil
		}
	}
}

// browse has s read on, if it can take more. Called with q.mu held.
func (q *queue) browse(s *Subscription) {
	t := s.browser
	t.again = true
	if !t.reading && !t.over && s.able() {
		t.reading = true
		q.b.wg.Go(s.read) // ends when nothing is left, or the consumer is full, or with the broker
	}
}

// read is the goroutine of a browser. It goes through the priorities from the highest.
func (s *Subscription) read() {
	q, t := s.q, s.browser
	var w Wake
	for {
		q.mu.Lock()
		st := t.next(s, &w)
		p := t.lane
		after := t.cursor[max(p, 0)]
		q.mu.Unlock()
		w.Run()
		if st == nil {
			return
		}
		ds, err := st.Browse(nil, after, browsePage)
		q.mu.Lock()
		switch {
		case err != nil:
			q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			t.over = true
		case len(ds) == 0:
			t.lane--
		default:
			t.show(s, ds, &w)
		}
		q.mu.Unlock()
		w.Run()
	}
}

// next is where to read, or nil if the goroutine ends.
func (t *browser) next(s *Subscription, w *Wake) store.Queue {
	for s.able() && !t.over && !s.b.stopped() {
		switch {
		case t.lane >= 0:
			if st := s.q.laneOf(uint8(t.lane)); st != nil {
				return st
			}
			t.lane--
		case !t.Follow:
			t.end(s, w)
		case t.again:
			t.again, t.lane = false, priorities-1
		default:
			t.reading = false
			return nil
		}
	}
	t.reading = false
	return nil
}

// show hands ds on, and tells the end.
func (t *browser) show(s *Subscription, ds []store.Delivery, w *Wake) {
	p, now := uint8(t.lane), nowMilli()
	for _, d := range ds {
		if !s.able() {
			return
		}
		t.cursor[p] = d.Seq
		switch {
		case t.skip > 0:
			t.skip--
		case d.Msg.Arrived() < t.Since || expired(d.Msg, now) || s.filter != nil && !s.filter.Wants(d.Msg):
		default:
			d.Seq |= laneTag(p)
			s.hand(d, w)
			if t.seen++; t.seen == t.Limit {
				t.end(s, w)
				return
			}
		}
	}
}

// end tells that there is no more.
func (t *browser) end(s *Subscription, w *Wake) {
	t.over = true
	if t.Follow {
		return
	}
	f := &frame.Frame{Command: frame.Send}
	f.Header.Add(EndOfBrowse, "end")
	m, err := message.New(f, s.q.name, message.At(time.Now().UnixMilli()))
	if err != nil {
		panic(err) // the header is the broker's own
	}
	s.hand(store.Delivery{Attempt: 1, Msg: m}, w)
}
