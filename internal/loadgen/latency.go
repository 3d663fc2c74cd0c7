package loadgen

import (
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest latency told apart, in nanoseconds.
const longest = 300e9

// A shard is a histogram shared by some connections: one each would take 400 KB times a
// thousand.
type shard struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram // guarded by mu
}

func newShards(n int) []*shard {
	ss := make([]*shard, max(1, min(n, 8)))
	for i := range ss {
		ss[i] = &shard{h: hdrhistogram.New(1000, longest, 3)}
	}
	return ss
}

func merge(ss []*shard) *hdrhistogram.Histogram {
	sum := hdrhistogram.New(1000, longest, 3)
	for _, s := range ss {
		s.mu.Lock()
		sum.Merge(s.h)
		s.mu.Unlock()
	}
	return sum
}

// latencies gathers those of one connection. Messages of one write share their time, so
// that runs of equal values go into the histogram at once.
type latencies struct {
	shard *shard
	value int64
	count int64
}

// add notes a message sent (or due) at sent, unless that was outside the measured part.
func (l *latencies) add(r *run, sent, now int64) {
	if sent < r.from.Load() || sent >= r.to.Load() {
		return
	}
	v := max(0, min(now-sent, longest))
	if v != l.value {
		l.flush()
		l.value = v
	}
	l.count++
}

// flush empties what add has gathered.
func (l *latencies) flush() {
	if l.count > 0 {
		l.shard.mu.Lock()
		_ = l.shard.h.RecordValues(l.value, l.count) // add keeps the value in range
		l.shard.mu.Unlock()
		l.count = 0
	}
}
