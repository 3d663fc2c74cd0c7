package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// ballast is memory that is never touched, and so never resident. The collector lets
	// the heap grow to twice what it holds before it runs: without this it would run for
	// each four megabytes of a broker whose queues are empty, hundreds of times a second.
	ballast = 32 << 20

	// quietFor is how long next to nothing must be allocated before memory goes back to
	// the system, and nothing how much that is.
	quietFor = 500 * time.Millisecond
	nothing  = 1 << 20
)

// newBallast is to be called before anything large was allocated: memory that was in use before is
// cleared when it is given out again, and so is resident.
func newBallast() []byte { return make([]byte, ballast) }

// tuneGC makes the collector run seldom under load, but often when messages fill the limit
// (in bytes, 0 for none), of which its headroom is a quarter; and gives memory back when
// the load is over. It works until stop is closed.
func tuneGC(limit int64, weight []byte, stop <-chan struct{}) {
	if limit > 0 {
		debug.SetMemoryLimit(max(limit+limit/4, 4*ballast))
	}
	go func() { // ended by stop; it owns the ballast
		tick := time.NewTicker(quietFor)
		defer tick.Stop()
		heap := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
		var last, returned uint64
		for {
			select {
			case <-stop:
				weight[0] = 1 // it was needed until here
				return
			case <-tick.C:
			}
			metrics.Read(heap)
			now, held := heap[0].Value.Uint64(), heap[1].Value.Uint64()-ballast
			// Looking at a large heap is work: it is not done for a little garbage.
			if now-last < nothing && now-returned > max(4*nothing, held/2) {
				debug.FreeOSMemory()
				returned = now
			}
			last = now
		}
	}()
}
