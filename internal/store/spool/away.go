package spool

import (
	"fmt"

	"stompserver/internal/store"
)

// tellAway hears that the backend does not answer, and later that it does. Meanwhile acks wait:
// nothing that was acked comes back by it. Puts are refused, those that wait already too, but
// for a Write under way whose fate nobody knows.
func (d *disk) tellAway(err error) {
	if err == nil {
		d.away.Store(nil)
		return
	}
	err = fmt.Errorf("%w: %w", store.ErrAway, err)
	d.away.Store(&err)
	d.refuse(d.pending.takePuts(), err)
}

// Away is why the backend does not answer at present, as a Remote one may not; nil: it does.
func (s *Spool) Away() error {
	if s.disk == nil {
		return nil
	}
	if err := s.disk.away.Load(); err != nil {
		return *err
	}
	return nil
}

// refuse fails batches ahead of those before them.
func (d *disk) refuse(puts []*store.Batch, err error) {
	for _, b := range puts {
		changes := b.Changes()
		for i := range changes {
			q := changes[i].Queue.(*queue)
			q.mu.Lock()
			q.settled(&changes[i], false)
			if q.leasing {
				d.pending.mark(q) // somebody may wait for what was held
			}
			q.mu.Unlock()
		}
		b.Finish(err)
	}
}

// putsOnly reports whether changes are SENDs alone. What acks as well waits: who made it has
// let go of the message, and would be given it again at once.
func putsOnly(changes []store.Change) bool {
	for i := range changes {
		if changes[i].Msg == nil {
			return false
		}
	}
	return len(changes) > 0
}

// takePuts removes the batches that only put.
func (p *pending) takePuts() (puts []*store.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.batches[:0]
	for _, b := range p.batches {
		if putsOnly(b.Changes()) {
			puts = append(puts, b)
			p.bytes -= sizeOf(b)
			if !b.Lazy {
				p.awaited--
			}
		} else {
			kept = append(kept, b)
		}
	}
	clear(p.batches[len(kept):])
	p.batches = kept
	return puts
}

// takePuts removes the batches that only put.
func (g *group) takePuts() (puts []*store.Batch) {
	n := 0
	for i, b := range g.batches {
		if g.errs[i] == nil && putsOnly(b.Changes()) {
			puts = append(puts, b)
			g.errs[i] = store.ErrAway
		}
	}
	g.leaveOut()
	for i, b := range g.batches {
		if g.errs[i] != store.ErrAway {
			g.batches[n], g.errs[n], g.first[n] = b, g.errs[i], g.first[i]
			n++
		}
	}
	g.first[n] = g.first[len(g.batches)]
	clear(g.batches[n:])
	g.batches, g.errs, g.first = g.batches[:n], g.errs[:n], g.first[:n+1]
	return puts
}
