package file

import (
	"cmp"
	"slices"
)

// byPlace lists the messages that are in the log alone, from a place on and before another, in the order of
// the log.
func (f *File) byPlace(from, to place) (all []held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queues {
		for i := range q.slots {
			if s := &q.slots[i]; s.size > 0 && s.at != 0 && s.at >= from && s.at < to {
				all = append(all, f.hold(q, s))
			}
		}
	}
	slices.SortFunc(all, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.q.id, b.q.id), cmp.Compare(a.seq, b.seq))
	})
	return all
}

// near is how much of the log is worth being read with the first of all.
func near(all []held) int64 {
	if n := alongside(all); n < len(all) && int64(all[n].at-all[0].at) < readAhead/4 {
		return readAhead
	}
	return 0
}
