package journal

import (
	"slices"
	"sort"

	"stompserver/internal/store"
)

// A queue is what the journal knows of one: where its messages lie, in order.
type queue struct {
	name   string
	last   store.Seq
	marked store.Seq
	count  int
	puts   int   // ever, of those that are known
	size   int64 // of their messages
	runs   []*run
	tries  map[store.Seq]uint32 // of messages that were handed out, told at a clean stop

	in uint64 // the segment in which id is its number
	id uint64
}

// A run is messages of one queue that lie in one segment, in order. One message costs eight
// bytes.
type run struct {
	seg  *segment
	base store.Seq
	locs []loc
	head int // locs before it are gone
	live int
}

// A loc is where a message begins; 0 is one that is gone.
type loc struct {
	seq    uint32 // from base
	offset uint32
}

func (r *run) first() store.Seq { return r.base + store.Seq(r.locs[r.head].seq) }
func (r *run) last() store.Seq  { return r.base + store.Seq(r.locs[len(r.locs)-1].seq) }

// find returns the first index from head on whose Seq is seq or more.
func (r *run) find(seq store.Seq) int {
	if seq <= r.first() {
		return r.head
	}
	d := seq - r.base
	return r.head + sort.Search(len(r.locs)-r.head, func(i int) bool { return store.Seq(r.locs[r.head+i].seq) >= d })
}

func (r *run) fits(seg *segment, seq store.Seq) bool {
	return r.seg == seg && seq > r.last() && seq-r.base < 1<<32
}

// runAt is the index of the first run that ends at seq or behind it.
func (q *queue) runAt(seq store.Seq) int {
	if len(q.runs) == 0 || seq <= q.runs[0].last() {
		return 0
	}
	return sort.Search(len(q.runs), func(i int) bool { return q.runs[i].last() >= seq })
}

// put notes that seq lies at offset of seg. If it was elsewhere, there it is gone, and seg is
// needed as long as that place exists.
func (q *queue) put(seg *segment, seq store.Seq, offset uint32) {
	q.last = max(q.last, seq)
	i := q.runAt(seq)
	if i < len(q.runs) { // not the newest: it was copied
		tries := q.tries[seq]
		q.remove(seq, seq, seg)
		q.tried(seq, tries)
		i = q.runAt(seq)
	}
	seg.live++
	seg.shared.put(offset)
	q.count++
	if i < len(q.runs) && q.runs[i].first() < seq {
		q.split(i, seq)
		i++
	}
	if i > 0 && q.runs[i-1].fits(seg, seq) {
		r := q.runs[i-1]
		r.locs = append(r.locs, loc{uint32(seq - r.base), offset})
		r.live++
		return
	}
	r := &run{seg: seg, base: seq, locs: []loc{{0, offset}}, live: 1}
	q.runs = slices.Insert(q.runs, i, r)
}

// split cuts run i so that what is behind seq is a run of its own.
func (q *queue) split(i int, seq store.Seq) {
	r := q.runs[i]
	at := r.find(seq)
	rest := &run{seg: r.seg, base: r.base, locs: slices.Clone(r.locs[at:])}
	for _, l := range rest.locs {
		if l.offset != 0 {
			rest.live++
		}
	}
	r.live -= rest.live
	r.locs = r.locs[:at]
	r.trim()
	rest.trim()
	q.runs = slices.Insert(q.runs, i+1, rest)
}

// tried notes how often a message was handed out.
func (q *queue) tried(seq store.Seq, n uint32) {
	if n == 0 {
		delete(q.tries, seq)
		return
	}
	if q.tries == nil {
		q.tries = make(map[store.Seq]uint32)
	}
	q.tries[seq] = n
}

// has reports whether the message is there.
func (q *queue) has(seq store.Seq) bool {
	var one [1]place
	ps := q.after(one[:0], seq-1, 1)
	return len(ps) == 1 && ps[0].seq == seq
}

// remove takes the messages first to last out, as many as there are. By is the segment that
// says so: it is needed as long as those are there in which the messages were.
func (q *queue) remove(first, last store.Seq, by *segment) {
	i := q.runAt(first)
	for i < len(q.runs) && q.runs[i].first() <= last {
		r := q.runs[i]
		gone := 0
		for j := r.find(first); j < len(r.locs) && r.base+store.Seq(r.locs[j].seq) <= last; j++ {
			if at := r.locs[j].offset; at != 0 {
				if r.seg.shared.queues != nil {
					r.seg.shared.remove(at)
				}
				r.locs[j].offset = 0
				gone++
				delete(q.tries, r.base+store.Seq(r.locs[j].seq))
			}
		}
		if gone > 0 {
			r.live -= gone
			r.seg.live -= gone
			q.count -= gone
			if r.seg != by {
				by.needs[r.seg] = true
			}
		}
		if r.live == 0 {
			q.runs = slices.Delete(q.runs, i, i+1)
			continue
		}
		r.trim()
		i++
	}
}

// trim lets go of what is gone at both ends, so that runs do not overlap, and of room that is
// mostly unused.
func (r *run) trim() {
	for r.locs[r.head].offset == 0 {
		r.head++
	}
	for r.locs[len(r.locs)-1].offset == 0 {
		r.locs = r.locs[:len(r.locs)-1]
	}
	if len(r.locs) > 64 && r.live < len(r.locs)/4 {
		kept := make([]loc, 0, r.live+r.live/4)
		for _, l := range r.locs[r.head:] {
			if l.offset != 0 {
				kept = append(kept, l)
			}
		}
		r.locs, r.head = kept, 0
	}
}

// place is a message to read.
type place struct {
	seg    *segment
	seq    store.Seq
	offset uint32
}

// after lists at most n messages that follow seq.
func (q *queue) after(dst []place, seq store.Seq, n int) []place {
	for i := q.runAt(seq + 1); i < len(q.runs) && n > 0; i++ {
		r := q.runs[i]
		for j := r.find(seq + 1); j < len(r.locs) && n > 0; j++ {
			if l := r.locs[j]; l.offset != 0 {
				dst = append(dst, place{r.seg, r.base + store.Seq(l.seq), l.offset})
				n--
			}
		}
	}
	return dst
}

// bytes is about what the messages cost in memory.
func (q *queue) bytes() int64 {
	if q.puts == 0 {
		return 0
	}
	return q.size / int64(q.puts) * int64(q.count)
}
