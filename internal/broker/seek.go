package broker

import (
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// slack is by how many milliseconds messages of several senders may have come out of order.
const slack = 1000

// seek finds where a browser of what a topic keeps begins that names no number: it reads no more of the
// store than it has to. Only the browser's goroutine calls it, before the browser has passed anything.
func (t *browser) seek(q *queue) error {
	q.mu.Lock()
	seeks := t.seeks
	t.seeks = false
	q.mu.Unlock()
	if !seeks {
		return nil
	}
	var at store.Seq
	var skip int
	var err error
	if t.Last > 0 {
		at, skip, err = q.newest(t.last, t.Last)
	} else {
		at, err = q.since(t.last, t.Since-slack)
	}
	q.mu.Lock()
	t.cursor[message.DefaultPriority], t.skip = max(at, t.past), skip
	q.mu.Unlock()
	return err
}

// newest returns behind which of the messages up to last the newest n begin, once skip are passed over.
func (q *queue) newest(last store.Seq, n int) (at store.Seq, skip int, err error) {
	for span := store.Seq(n); ; span *= 2 {
		if at = 0; span < last {
			at = last - span
		}
		found := 0
		for after := at; after < last; {
			ds, _, err := q.st.Page(nil, after, 256, pageBytes)
			if err != nil {
				return 0, 0, err
			}
			if len(ds) == 0 {
				break
			}
			for _, d := range ds {
				if d.Seq <= last {
					found++
				}
			}
			after = ds[len(ds)-1].Seq
		}
		if found >= n || at == 0 {
			return at, max(found-n, 0), nil
		}
	}
}

// since returns behind which of the messages up to last those begin that came at that time or later. Where the
// clock was set back it looks before that place first.
func (q *queue) since(last store.Seq, at int64) (low store.Seq, err error) {
	for _, step := range append(slices.Clone(q.b.steps.get(q.name)), last+1) {
		if step <= low || step > last+1 {
			continue
		}
		if low, err = q.sinceWithin(low, step-1, at); err != nil || low < step-1 {
			return low, err
		}
	}
	return low, nil
}

// sinceWithin is since for what came behind low, up to high, in the order of time.
func (q *queue) sinceWithin(low, high store.Seq, at int64) (store.Seq, error) {
	for low < high {
		middle := low + (high-low)/2
		ds, err := q.st.Browse(nil, middle, 1)
		switch {
		case err != nil:
			return 0, err
		case len(ds) == 0 || ds[0].Seq > high || ds[0].Msg.Arrived() >= at:
			high = middle
		default:
			low = ds[0].Seq
		}
	}
	return low, nil
}
