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

// pageBytes is how many bytes of messages are read at once, but for one that is larger.
const pageBytes = 1 << 20

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
	called  bool // likewise, or may be seen that was there
	over    bool
	old     int64 // what came no later was too old to be kept when it came

	// What a resumed client may have missed. Exact says that it has all up to the cursor.
	exact    bool
	missed   bool      // something is gone that it did not get: to be told with the next message
	firstSeq store.Seq // what follows that

	// Of what a topic keeps.
	seeks    bool             // where it begins is to be looked for
	last     store.Seq        // the last there was when it came
	nearFrom store.Seq        // nothing lies between the cursor and what is at hand from here on
	begun    bool             // it begins behind what had gone when it came
	past     store.Seq        // which is up to here
	retained *message.Message // it was given that already
}

// attachBrowser makes s, which browses, known to the queue. It is shown nothing that is kept no more, also
// where it is still there. Called with q.mu held.
func (q *queue) attachBrowser(s *Subscription) {
	q.subs++
	q.unused = false
	q.browsers = append(q.browsers, s)
	t := s.browser
	t.lane = priorities - 1
	if p := q.props; p != nil && p.NonDestructive && p.MaxAge > 0 {
		t.old = nowMilli() - p.MaxAge.Milliseconds()
	}
	switch st := q.stats(); {
	case q.kept != nil:
		q.kept.start(s, st)
	case t.Skip:
		for p := range uint8(priorities) {
			if lane := q.laneOf(p); lane != nil {
				t.cursor[p] = lane.Stats().Last
			}
		}
	case t.Last > 0:
		t.skip = max(st.Ready+st.Leased-t.Last, 0)
	case t.From > 0:
		t.exact = q.props != nil && q.props.NonDestructive && q.last == nil
		if t.cursor[message.DefaultPriority] = t.From - 1; t.exact && t.From > q.st.Stats().Last+1 {
			t.cursor[message.DefaultPriority], t.missed = 0, true // a store had it that is gone, with its numbers
		}
	}
}

func (q *queue) detachBrowser(s *Subscription, w *Wake) {
	q.subs--
	q.left(q.props != nil && q.props.NonDestructive && q.kept == nil, w) // where all who consume browse
	if i := slices.Index(q.browsers, s); i >= 0 {
		if q.browsers = slices.Delete(q.browsers, i, i+1); len(q.browsers) == 0 {
			q.browsers = nil
		}
	}
	if q.kept != nil && q.kept.ending != nil {
		q.dropPassed()
		if q.browsers == nil {
			q.b.durables.version.Add(1) // nothing goes that way any more
		}
	}
}

// browse has s read on, if it can take more. Called with q.mu held.
func (q *queue) browse(s *Subscription, w *Wake) {
	t := s.browser
	t.again, t.called = true, true
	if q.trimming == trimOwed {
		q.trim(w)
	}
	if q.kept != nil && q.trimming <= trimOwed {
		q.kept.begin(t)
	}
	switch {
	case t.reading || t.over || !s.able():
	case q.trimming > trimOwed && (q.kept == nil || !t.begun || t.seeks || !q.kept.near(t)): // what it would read may be about to go
	case q.kept == nil && q.learns(): // which are the last is not known yet
	case q.kept == nil:
		t.reading = true
		q.b.wg.Go(s.read) // ends when nothing is left, or the consumer is full, or with the broker
	case !t.seeks && q.kept.near(t):
		q.kept.serve(s, w)
	default:
		t.reading = true
		q.b.wg.Go(s.readKept) // likewise
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
		t.called = false
		q.mu.Unlock()
		w.Run()
		if st == nil {
			return
		}
		shown := st.Shown() // before it is read: what is held by then may never be
		ds, _, err := st.Page(nil, after, browsePage, pageBytes)
		missed := false
		if err == nil && t.exact && p == message.DefaultPriority {
			missed, err = q.missed(after, ds)
		}
		q.mu.Lock()
		t.missed = t.missed || missed
		switch {
		case err != nil:
			q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
			t.over = true
		case len(ds) == 0:
			t.lane--
		case ds[0].Seq > shown:
			if !t.called { // else it may be by now
				t.reading = false
				q.mu.Unlock()
				return
			}
		default:
			n, _ := slices.BinarySearchFunc(ds, shown+1, bySeq)
			t.show(s, ds[:n], &w)
		}
		q.mu.Unlock()
		w.Run()
	}
}

// next is where to read, or nil if the goroutine ends.
func (t *browser) next(s *Subscription, w *Wake) store.Queue {
	for s.able() && !t.over && s.q.trimming <= trimOwed && !s.b.stopped() {
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
	now := nowMilli()
	for _, d := range ds {
		if !s.able() || t.over {
			return
		}
		t.pass(s, d, now, w)
	}
}

// missed reports whether messages behind after, which ds follow, are not kept any more.
func (q *queue) missed(after store.Seq, ds []store.Delivery) (bool, error) {
	if len(ds) == 0 || ds[0].Seq == after+1 {
		return false, nil
	}
	first, err := q.first()
	return first > after+1, err
}

// end tells that there is no more.
func (t *browser) end(s *Subscription, w *Wake) {
	t.over = true
	if t.Follow {
		return
	}
	f := &frame.Frame{Command: frame.Send}
	f.Header.Add(EndOfBrowse, "end")
	m, err := message.New(f, s.q.spoken(), message.At(time.Now().UnixMilli()))
	if err != nil {
		panic(err) // the header is the broker's own
	}
	s.hand(store.Delivery{Attempt: 1, Msg: m}, w)
}

// spoken is the name by which clients know the queue.
func (q *queue) spoken() string {
	if q.kept != nil {
		return q.kept.topic
	}
	return q.name
}
