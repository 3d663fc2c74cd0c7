package dbm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"stompserver/internal/store"
)

// A view is what layers make of one queue of the database, at one moment.
type view struct {
	puts    []store.Record // in order
	more    bool           // others follow, or may
	removed []spans        // of what lies below, by layer
	tries   []map[store.Seq]uint32
	last    store.Seq
	marked  store.Seq
	marks   bool
}

// viewOf looks at a queue, as far as Seqs are behind after, and at so many puts at least. The layers are
// in order: each lies on those before it.
func viewOf(layers []*layer, queue string, after store.Seq, most int) *view {
	v := new(view)
	var above []*layered
	for _, l := range layers {
		if q := l.queues[queue]; q != nil {
			above = append(above, q)
		}
	}
	for len(above) > 0 {
		q := above[0]
		above = above[1:]
		at, _ := q.find(after + 1)
		for n := 0; at < len(q.puts); at++ {
			e := &q.puts[at]
			if e.msg == nil || hiddenBy(above, e.seq) {
				continue
			}
			if n++; n > most {
				v.more = true
				break
			}
			r := store.Record{Kind: store.RecordPut, Queue: queue, Seq: e.seq, Msg: e.msg, Attempts: e.attempts}
			for _, a := range above {
				if n, ok := a.tries[e.seq]; ok {
					r.Attempts = n
				}
			}
			v.puts = append(v.puts, r)
		}
		if len(q.removed) > 0 || len(q.tries) > 0 {
			q.lent = true
			v.removed, v.tries = append(v.removed, q.removed), append(v.tries, q.tries)
		}
		v.last = max(v.last, q.last)
		if q.hasMarked {
			v.marked, v.marks = q.marked, true
		}
	}
	if !slices.IsSortedFunc(v.puts, bySeq) {
		slices.SortFunc(v.puts, bySeq)
	}
	return v
}

func bySeq(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) }

// hiddenBy reports whether layers above say that what is below is gone, or is another message.
func hiddenBy(above []*layered, seq store.Seq) bool {
	for _, q := range above {
		if q.removed.has(seq) {
			return true
		}
		if at, there := q.find(seq); there && q.puts[at].msg != nil {
			return true
		}
	}
	return false
}

// skip tells the run of removed messages of the database that seq is in.
func (v *view) skip(seq store.Seq) (s span, ok bool) {
	for _, removed := range v.removed {
		if s, ok := removed.of(seq); ok {
			return s, true
		}
	}
	return span{}, false
}

func (v *view) attempts(seq store.Seq, stored uint32) uint32 {
	for _, tries := range v.tries {
		if n, ok := tries[seq]; ok {
			stored = n
		}
	}
	return stored
}

// A stretch goes through the keys of a queue in the database that a view leaves.
type stretch struct {
	c    *bbolt.Cursor
	id   uint64
	view *view
	k, v []byte
	seq  store.Seq
}

// begin goes to the first behind after.
func (s *stretch) begin(tx *bbolt.Tx, after store.Seq) {
	s.c = tx.Bucket(messagesBucket).Cursor()
	s.k, s.v = s.c.Seek(appendKey(nil, s.id, after+1))
	s.settle()
}

func (s *stretch) next() {
	s.k, s.v = s.c.Next()
	s.settle()
}

// settle passes over what is removed. At the end there is no key.
func (s *stretch) settle() {
	for s.id != 0 && len(s.k) == 16 && binary.BigEndian.Uint64(s.k) == s.id {
		s.seq = keySeq(s.k)
		run, removed := s.view.skip(s.seq)
		if !removed {
			return
		}
		s.k, s.v = s.c.Seek(appendKey(nil, s.id, run.last+1))
	}
	s.k, s.v = nil, nil
}

// read reads what a transaction and a view have of a queue.
func (v *view) read(tx *bbolt.Tx, dst []store.Record, queue string, id uint64, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	below := stretch{id: id, view: v}
	below.begin(tx, after)
	parts := &storedParts{tx: tx}
	puts := v.puts
	for below.k != nil || len(puts) > 0 {
		if max <= 0 || size <= 0 {
			return dst, true, nil
		}
		var r store.Record
		if below.k == nil || len(puts) > 0 && puts[0].Seq <= below.seq {
			r = puts[0]
			puts = puts[1:]
			if below.k != nil && r.Seq == below.seq { // of which it takes the place
				below.next()
			}
		} else {
			parts.key = below.k
			m, attempts, err := parse(below.k, below.v, parts)
			if err != nil {
				return dst, false, fmt.Errorf("message %d of %s: %w", below.seq, queue, err)
			}
			r = store.Record{Kind: store.RecordPut, Queue: queue, Seq: below.seq, Msg: m, Attempts: v.attempts(below.seq, attempts)}
			below.next()
		}
		dst = append(dst, r)
		max--
		size -= int64(r.Msg.Size())
	}
	return dst, v.more, nil
}

// info makes of what the database tells of a queue what the view makes of it.
func (v *view) info(tx *bbolt.Tx, i *store.Info, id uint64) {
	messages := tx.Bucket(messagesBucket)
	take := func(value []byte) {
		i.Count--
		if n, err := sizeOf(value); err == nil {
			i.Bytes -= int64(n)
		}
	}
	var all spans
	for _, removed := range v.removed {
		for _, s := range removed {
			all = all.add(s.first, s.last)
		}
	}
	c := messages.Cursor()
	for _, s := range all {
		if id == 0 {
			break
		}
		for k, value := c.Seek(appendKey(nil, id, s.first)); len(k) == 16 && binary.BigEndian.Uint64(k) == id && keySeq(k) <= s.last; k, value = c.Next() {
			take(value)
		}
	}
	for _, r := range v.puts {
		i.Count++
		i.Bytes += int64(r.Msg.Size())
		if value := messages.Get(appendKey(nil, id, r.Seq)); value != nil && !all.has(r.Seq) {
			take(value)
		}
	}
	below := stretch{id: id, view: v}
	below.begin(tx, 0)
	i.First = below.seq
	if below.k == nil || len(v.puts) > 0 && v.puts[0].Seq < below.seq {
		i.First = 0
		if len(v.puts) > 0 {
			i.First = v.puts[0].Seq
		}
	}
	i.Last = max(i.Last, v.last)
	if v.marks {
		i.Marked = v.marked
	}
	if i.Count == 0 {
		i.Bytes = 0
	}
}
