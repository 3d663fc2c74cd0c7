package spool

import "time"

// A gathering is what the committer knows of those who wait for their receipts before they
// send again.
//
// They come in two halves otherwise: while the messages of one are written those of the other
// come in, and are the next group at once, so that each sync is for half of them. The
// committer therefore waits, once a group is written, until both are there, but no longer than
// a share of what a write takes. If they do not come it leaves that be for a while. A backend
// that is not Brief takes time for each message rather than for each write, so that its writes
// had better go on while others come.
//
// It belongs to whose turn it is to write.
type gathering struct {
	took   time.Duration // a write takes, smoothed
	crowd  int           // how many were in the last one, or came while it was written
	misses int           // times in a row that they did not come
	rest   int           // groups until it is tried again
	timer  *time.Timer
}

const (
	gatherShare  = 2                     // of a write's time: a half
	gatherLeast  = 50 * time.Microsecond // what is worth a timer
	gatherMost   = 2 * time.Millisecond
	gatherMisses = 6 // it is tried once in 2^6 groups at least
)

// wrote notes a write that took so long, and how many waited for it or for the next one.
func (g *gathering) wrote(crowd int, took time.Duration) {
	g.crowd = crowd
	g.took += (took - g.took) / 8
}

// gather waits until those are back who are about to come.
func (d *disk) gather() {
	g := &d.gathering
	crowd := g.crowd
	g.crowd = 0
	limit := min(g.took/gatherShare, gatherMost)
	if !d.cfg.Brief || crowd < 2 || limit < gatherLeast {
		return
	}
	if g.rest > 0 {
		g.rest--
		return
	}
	full := d.pending.await(crowd)
	if full == nil {
		return
	}
	if g.timer == nil {
		g.timer = time.NewTimer(limit)
	} else {
		g.timer.Reset(limit)
	}
	select {
	case <-full:
		g.misses = 0
	case <-g.timer.C:
		if d.pending.forgo() {
			g.misses = min(g.misses+1, gatherMisses)
			g.rest = 1<<g.misses - 1
		}
	}
	g.timer.Stop()
}
