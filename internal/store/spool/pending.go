package spool

import (
	"sync"
	"time"

	"stompserver/internal/store"
)

const (
	// A group is as many batches as become durable together.
	groupBatches = 16 << 10
	groupBytes   = 16 << 20

	// What nobody waits for is left alone for lazyFor, or until so much has gathered:
	// of a queue that keeps up most has been acked by then, and is never written.
	lazyFor   = 10 * time.Millisecond
	lazyBytes = 8 << 20

	attendBytes = 64 << 10 // what one that attends writes at most

	batchSize = 64 // what a batch counts for on top of its messages
)

// A pending list holds the batches that the committer has not taken up, in order.
type pending struct {
	mu      sync.Mutex
	batches []*store.Batch
	bytes   int
	urgent  bool
	marks   []*queue // that want a mark
	closed  bool
	wake    chan struct{}

	awaited int           // of batches: those that somebody waits for
	want    int           // tell full once so many are awaited; 0: nobody asks for that
	full    chan struct{} // holds one
}

// sizeOf is what a batch counts for.
func sizeOf(b *store.Batch) int {
	n := batchSize
	for _, c := range b.Changes() {
		if c.Msg != nil {
			n += c.Msg.Size()
		}
	}
	return n
}

// add reports false if the store is closed. Attended says that whoever commits sees to b, so
// that nobody needs to be woken. Called with the locks of all of b's queues, so that batches
// of one queue keep their order.
func (p *pending) add(b *store.Batch, attended bool) bool {
	n := sizeOf(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.batches = append(p.batches, b)
	p.bytes += n
	if !b.Lazy {
		p.awaited++
	}
	if !b.Lazy || p.bytes >= lazyBytes {
		p.urgent = true
	}
	p.tellFull()
	if !attended && (p.urgent || len(p.batches) == 1) {
		signal(p.wake)
	}
	return true
}

// kick has the committer look for what is urgent.
func (p *pending) kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.urgent {
		signal(p.wake)
	}
}

// mark has the committer write the mark that q wishes for. Called with q.mu held.
func (p *pending) mark(q *queue) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, q)
	p.urgent = true
	p.tellFull()
	signal(p.wake)
}

// close makes add refuse, and has the committer end once nothing is pending.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.urgent = true, true
	p.tellFull()
	signal(p.wake)
}

// isClosed reports whether close was called.
func (p *pending) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// waiting is how many batches are there that somebody waits for.
func (p *pending) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.awaited
}

// await returns a channel that tells when n batches are awaited, or when something has come
// that must not wait. It is nil if that is so already.
func (p *pending) await(n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaited >= n || p.hurried() {
		return nil
	}
	p.want = n
	return p.full
}

// forgo takes await back, and reports false if it has been answered meanwhile.
func (p *pending) forgo() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.want == 0 {
		<-p.full
		return false
	}
	p.want = 0
	return true
}

// tellFull answers await. Called with mu held whenever something has come.
func (p *pending) tellFull() {
	if p.want > 0 && (p.awaited >= p.want || p.hurried()) {
		p.want = 0
		p.full <- struct{}{}
	}
}

// hurried reports whether there is more reason to write than batches that are awaited.
func (p *pending) hurried() bool {
	return p.closed || len(p.marks) > 0 || p.bytes >= lazyBytes || len(p.batches) >= groupBatches
}

// next waits for work; it reports false when all is over. Between it calls sync, if that is
// due.
func (p *pending) next(due <-chan time.Time, sync func()) bool {
	var hurry <-chan time.Time
	for {
		p.mu.Lock()
		switch {
		case len(p.batches) == 0 && len(p.marks) == 0 && p.closed:
			p.mu.Unlock()
			return false
		case p.urgent:
			p.mu.Unlock()
			return true
		case len(p.batches) > 0 && hurry == nil:
			hurry = time.After(lazyFor)
		}
		p.mu.Unlock()
		select {
		case <-p.wake:
		case <-due:
			sync()
		case <-hurry:
			hurry = nil
			p.mu.Lock()
			p.urgent = p.urgent || len(p.batches) > 0 // somebody else may have taken them
			p.mu.Unlock()
		}
	}
}

// take moves what is urgent into g, and reports false if that is nothing any more.
func (p *pending) take(g *group) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.urgent {
		return false
	}
	p.moveTo(g)
	return true
}

// takeOne moves the one batch that waits into g, and reports false if there are several, or
// none, or a large one.
func (p *pending) takeOne(g *group) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.urgent || p.closed || len(p.batches) != 1 || p.bytes > attendBytes {
		return false
	}
	p.moveTo(g)
	return true
}

func (p *pending) moveTo(g *group) {
	n, size := 0, 0
	for n < len(p.batches) && n < groupBatches && size < groupBytes {
		size += sizeOf(p.batches[n])
		if !p.batches[n].Lazy {
			p.awaited--
			g.awaited++
		}
		n++
	}
	g.batches = append(g.batches, p.batches[:n]...)
	rest := copy(p.batches, p.batches[n:])
	clear(p.batches[rest:])
	p.batches = p.batches[:rest]
	p.bytes -= size
	g.marks = append(g.marks, p.marks...)
	clear(p.marks)
	p.marks = p.marks[:0]
	if p.urgent = rest > 0 || p.closed; p.urgent {
		signal(p.wake)
	}
}
