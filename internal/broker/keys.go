package broker

import "stompserver/internal/store"

// openLast learns the keys of what the queue holds, or forgets them, as its properties have it.
// Called with q.mu held.
func (q *queue) openLast() {
	want := q.props != nil && q.props.LastValue
	switch {
	case !want:
		q.last = nil
	case q.last == nil:
		q.last = &lastValues{keys: make(map[string]*newest)}
		if st := q.stats(); st.Ready+st.Leased > 0 {
			l, header := q.last, q.keyHeader()
			l.learning = true
			q.b.wg.Go(func() { q.learnKeys(l, header) }) // ends when all was read, or with the broker
		}
	}
}

// learns reports whether the queue does not know yet which of its messages are the last of their keys.
// Called with q.mu held.
func (q *queue) learns() bool { return q.last != nil && q.last.learning }

// learnKeys notes the keys of what the queue held at first.
func (q *queue) learnKeys(l *lastValues, header string) {
	all := q.eachKey(l, header, func(key string, seq store.Seq, arrived int64) {
		switch before := l.keys[key]; {
		case before == nil:
		case before.seq == seq:
			return
		case before.sent && before.seq == 0: // it may be that one, or an older one
			before.older = append(before.older, seq)
			return
		case before.sent, laneIndex(before.seq) != laneIndex(seq) && before.arrived > arrived: // or it is of another priority, and older
			l.over = append(l.over, seq)
			return
		default:
			l.over = append(l.over, before.seq)
			arrived = max(arrived, before.arrived)
		}
		l.keys[key] = &newest{seq: seq, arrived: arrived, lane: laneIndex(seq)}
	})
	if !all && q.b.stopped() {
		return
	}
	var w Wake
	q.mu.Lock()
	l.learning = false
	if q.last == l && !q.gone {
		q.dropOver()
		q.dispatch(&w)
	}
	q.mu.Unlock()
	w.Run()
}

// dropOver drops what was found to be overtaken. Called with q.mu held.
func (q *queue) dropOver() {
	l := q.last
	l.mu.Lock()
	over := l.over
	l.over = nil
	l.mu.Unlock()
	op := NewOp(nil)
	op.Relax()
	if distant := q.dropIfFree(op, over); len(distant) > 0 {
		stored := make(chan bool, 1)
		stored <- true
		q.dropLater(overtaken{distant, stored})
	}
	if op.batch.Len() == 0 {
		op.Finish(nil)
		return
	}
	q.b.store.Commit(&op.batch)
}

// forgetKeys forgets those of messages that are gone. Called with q.mu held.
func (q *queue) forgetKeys() {
	l, header := q.last, q.keyHeader()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forgetting || l.learning {
		return
	}
	l.forgetting = true
	known := make(map[string]store.Seq, len(l.keys)) // and 0 for those that were found
	for key, n := range l.keys {
		if n.seq != 0 {
			known[key] = n.seq
		}
	}
	q.b.wg.Go(func() { // ends when all was read, or with the broker
		all := q.eachKey(l, header, func(key string, seq store.Seq, _ int64) {
			if known[key] == seq {
				known[key] = 0
			}
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.forgetting = false
		for key, seq := range known {
			if n := l.keys[key]; all && seq != 0 && n != nil && n.seq == seq {
				delete(l.keys, key)
			}
		}
	})
}

// eachKey reads what the queue holds and calls note, with l.mu held, for each message that has a key.
// It reports false if it has not read all.
func (q *queue) eachKey(l *lastValues, header string, note func(key string, seq store.Seq, arrived int64)) bool {
	for p := uint8(0); p < priorities; p++ {
		q.mu.Lock()
		st := q.laneOf(p)
		q.mu.Unlock()
		for after := store.Seq(0); st != nil; {
			if q.b.stopped() {
				return false
			}
			ds, _, err := st.Page(nil, after, 256, pageBytes)
			if err != nil {
				q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
				return false
			}
			if len(ds) == 0 {
				break
			}
			after = ds[len(ds)-1].Seq
			l.mu.Lock()
			for _, d := range ds {
				if key := keyIn(header, d.Msg); key != "" {
					note(key, d.Seq|laneTag(p), d.Msg.Arrived())
				}
			}
			l.mu.Unlock()
		}
	}
	return true
}
