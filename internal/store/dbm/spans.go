package dbm

import (
	"slices"
	"sort"

	"stompserver/internal/store"
)

// Spans are runs of Seqs, in order, of which no two touch.
type spans []span

type span struct{ first, last store.Seq }

// add adds a run. It changes s in place.
func (s spans) add(first, last store.Seq) spans {
	if last < first {
		return s
	}
	n := len(s)
	if n == 0 || s[n-1].last+1 < first {
		return append(s, span{first, last})
	}
	if s[n-1].first <= first { // as they come where the oldest goes first
		s[n-1].last = max(s[n-1].last, last)
		return s
	}
	from := sort.Search(n, func(i int) bool { return s[i].last+1 >= first })
	to := from
	for ; to < n && s[to].first <= last+1; to++ {
		first, last = min(first, s[to].first), max(last, s[to].last)
	}
	return slices.Replace(s, from, to, span{first, last})
}

// of finds the run that seq is in.
func (s spans) of(seq store.Seq) (span, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].last >= seq })
	if i < len(s) && s[i].first <= seq {
		return s[i], true
	}
	return span{}, false
}

func (s spans) has(seq store.Seq) bool {
	_, ok := s.of(seq)
	return ok
}
