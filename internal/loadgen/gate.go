package loadgen

import "sync/atomic"

// A gate bounds what is under way: producers take room before they send, and consumers
// (or receipts) give it back. It is what keeps a closed loop closed, and the memory of a
// broker without back pressure sane.
type gate struct {
	free    atomic.Int64
	waiting atomic.Int32
	low     int64         // waiters are not woken for less: a batch is worth waiting for
	wake    chan struct{} // one token, passed on from waiter to waiter
}

func newGate(room, batch int64) *gate {
	g := &gate{low: max(1, min(batch, room/4)), wake: make(chan struct{}, 1)}
	g.free.Store(room)
	return g
}

// take takes at most want units, in multiples of unit, and waits until there are some. It
// returns 0 when stop is closed first.
func (g *gate) take(want, unit int64, stop <-chan struct{}) int64 {
	low := min(want, max(unit, g.low))
	for {
		free := g.free.Load()
		if free >= low {
			n := min(want, free) / unit * unit
			if g.free.CompareAndSwap(free, free-n) {
				return n
			}
			continue
		}
		g.waiting.Add(1)
		if g.free.Load() < low { // else: given back before it knew that we wait
			select {
			case <-g.wake:
			case <-stop:
				g.waiting.Add(-1)
				g.poke()
				return 0
			}
		}
		if g.waiting.Add(-1) > 0 && g.free.Load() > low {
			g.poke()
		}
	}
}

// give gives n units back.
func (g *gate) give(n int64) {
	if g.free.Add(n) >= g.low && g.waiting.Load() > 0 {
		g.poke()
	}
}

func (g *gate) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}
