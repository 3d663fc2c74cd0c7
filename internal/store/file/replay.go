package file

import (
	"fmt"
	"slices"

	"stompserver/internal/store"
	"stompserver/internal/store/group"
)

// A replay reads the log from its beginning, and has the queues be what it says.
type replay struct {
	r    *recovery
	rd   placeReader // of which the logReader is used
	seg  *segment
	scan group.Scan

	to    []target
	tries map[*queue]map[store.Seq]uint32 // as the state has them, until all is played that it knows
}

// log finds the log, and plays it.
func (r *recovery) log() error {
	f := r.f
	if n := len(r.segments); n > 0 {
		f.lastSegment = r.segments[n-1]
	}
	p := replay{r: r, scan: group.Scan{Layout: &layout, Salt: f.salt}, tries: make(map[*queue]map[store.Seq]uint32)}
	p.scan.From = &p.rd
	for _, q := range r.queues {
		p.tries[q], q.tries = q.tries, make(map[store.Seq]uint32)
	}
	chain := r.segments
	switch {
	case r.state == nil && !r.unsure: // nothing was ever written to them
		for _, n := range chain {
			r.useless = append(r.useless, segmentName(n))
		}
		return nil
	case r.state == nil && len(chain) == 0:
		return nil
	case r.state == nil:
		if err := p.guessSalt(); err != nil {
			return err
		}
	case r.state.version < 3:
		return p.before()
	default:
		begin, _ := slices.BinarySearch(chain, r.state.segment)
		for _, n := range chain[:begin] {
			r.useless = append(r.useless, segmentName(n))
		}
		chain = chain[begin:]
		p.scan.Want = r.state.first
		f.lastSegment = max(f.lastSegment, r.state.segment-1)
		if len(chain) == 0 && !r.state.clean {
			r.problem("%s is missing", segmentName(r.state.segment))
		} else if len(chain) > 0 && chain[0] != r.state.segment {
			p.gap(r.state.segment, chain[0])
		}
	}
	for i, n := range chain {
		if i > 0 && n != chain[i-1]+1 {
			p.gap(chain[i-1]+1, n)
		}
		next, last := "", i+1 == len(chain)
		if !last && chain[i+1] == n+1 {
			next = segmentName(n + 1)
		}
		if err := p.segment(n, segmentName(n), next, last); err != nil {
			return err
		}
	}
	p.end()
	return nil
}

// gap notes that segments are missing.
func (p *replay) gap(from, to uint64) {
	if from+1 == to {
		p.r.problem("%s is missing", segmentName(from))
	} else {
		p.r.problem("%s to %s are missing", segmentName(from), segmentName(to-1))
	}
	p.scan.Skip(0)
}

// guessSalt takes the salt of what the first segment begins with, for there is no state to say it.
func (p *replay) guessSalt() error {
	file, err := p.r.f.fs.Open(segmentName(p.r.segments[0]), false)
	if err != nil {
		return err
	}
	defer file.Close()
	b := make([]byte, group.HeadSize)
	if n, _ := file.ReadAt(b, 0); n == len(b) {
		g, _ := layout.Parse(b)
		p.scan.Salt, p.r.f.salt = g.Salt, g.Salt
	}
	return nil
}

// before plays the log that was in use before there was a chain.
func (p *replay) before() error {
	r := p.r
	for _, n := range r.segments { // of a start that was cut off
		r.useless = append(r.useless, segmentName(n))
	}
	name := redoBefore[r.state.log]
	if !slices.Contains(r.before, name) {
		if !r.state.clean {
			r.problem("%s is missing", name)
		}
		p.useTries()
		return nil
	}
	p.scan.Layout, p.scan.Want = &layoutBefore, 1
	r.f.lastSegment = max(r.f.lastSegment, 1)
	if err := p.segment(1, name, "", true); err != nil {
		return err
	}
	p.end()
	return nil
}

// end sees to what holds once all was played.
func (p *replay) end() {
	f := p.r.f
	if p.scan.Want > 0 {
		f.number = p.scan.Want - 1
	}
	f.synced, f.link = f.number, p.scan.Link
	if s := p.r.state; s != nil && f.number < s.group {
		name := redoBefore[s.log]
		if s.version >= 3 {
			name = segmentName(f.lastSegment)
		}
		p.r.problem("%s: groups %d to %d are missing", name, f.number+1, s.group)
		f.number, f.synced = s.group, s.group
	}
	p.useTries()
}

// useTries notes how often messages were handed out by the time of the state.
func (p *replay) useTries() {
	for q, tries := range p.tries {
		for seq, n := range tries {
			if q.has(seq) {
				q.tries[seq] = n
			}
		}
	}
	p.tries = nil
}

// segment plays a segment. Next is the name of the one behind it, if that is there.
func (p *replay) segment(number uint64, name, next string, last bool) error {
	f := p.r.f
	file, err := f.fs.Open(name, false)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	p.rd.open(file, size)
	p.seg = &segment{number: number, name: name, first: p.scan.Want, size: size}
	if p.scan.Want > 0 {
		p.seg.last = p.scan.Want - 1
	}
	f.chain = append(f.chain, p.seg)
	p.scan.At = 0
	if p.scan.Until, err = p.firstOf(next); err != nil {
		return err
	}
	for {
		at, want := p.scan.At, p.scan.Want
		g, found, err := p.scan.Next()
		if err != nil {
			return err
		}
		switch found {
		case group.Group:
			if err := p.group(at, &g); err != nil {
				return err
			}
			if p.seg.last < p.seg.first || p.seg.first == 0 {
				p.seg.first = g.Number
			}
			p.seg.last = g.Number
			continue
		case group.Hole:
			p.damaged(want, g.Number)
			continue
		}
		if until := p.scan.Until; until != 0 && want != until {
			p.damaged(want, until)
			p.scan.Skip(until)
		} else if last && p.scan.Torn() {
			p.r.cut = fmt.Sprintf("%s at %d", name, at)
		}
		p.seg.pos = at
		return nil
	}
}

// damaged notes that groups are, from one on up to where the scan is, where another one follows.
func (p *replay) damaged(want, next uint64) {
	if want == 0 {
		p.r.problem("%s: the groups before %d, at %d, are damaged", p.seg.name, next, p.scan.At)
	} else {
		p.r.problem("%s: groups %d to %d, before %d, are damaged", p.seg.name, want, next-1, p.scan.At)
	}
}

// firstOf is the number of the first group of another segment; 0 if that has none, or is damaged.
func (p *replay) firstOf(name string) (uint64, error) {
	if name == "" {
		return 0, nil
	}
	file, err := p.r.f.fs.Open(name, false)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return 0, err
	}
	var rd logReader
	rd.open(file, size)
	scan := group.Scan{Layout: &layout, From: &rd, Salt: p.scan.Salt}
	g, ok, err := scan.Look()
	if ok && g.Number >= p.scan.Want { // else it was used before
		if ok, err = layout.Whole(&rd, 0, &g); ok {
			return g.Number, nil
		}
	}
	return 0, err
}

// group plays the records of a group.
func (p *replay) group(start int64, g *group.Head) error {
	for at, end := p.scan.Layout.Records(start), p.scan.Layout.End(start, g); at < end; {
		rec, err := p.rd.record(at, end)
		if err == errRecord {
			p.r.problem("%s: group %d: %v", p.seg.name, g.Number, err)
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.record(at, g, &rec); err != nil {
			return err
		}
		at += rec.size()
	}
	return nil
}

// record plays one. What the state knows already counts no more.
func (p *replay) record(at int64, g *group.Head, rec *record) error {
	r, f := p.r, p.r.f
	counts := r.state == nil || g.Number > r.state.group
	if counts && p.tries != nil {
		p.useTries()
	}
	switch rec.kind {
	case kindPrefix:
		if r.state == nil {
			r.usePrefix(rec.name)
		}
		return nil
	case kindQueue:
		if r.queues[rec.id] == nil {
			r.define(newQueue(rec.name, rec.folder, rec.id))
		}
		return nil
	}
	if rec.isMessage() {
		p.message(at, g, rec, counts)
		return nil
	}
	q := p.queue(rec.id)
	if q == nil {
		return nil
	}
	switch rec.kind {
	case kindAck, kindAckBefore:
		// What had a file may have none by now, and is not among those that go.
		if n := f.ack(q, rec.seq, rec.last, g.Number); counts {
			q.dequeued += max(n, rec.count)
		}
	case kindFiled:
		for i := q.find(rec.seq); i < len(q.slots) && q.slots[i].seq <= rec.last; i++ {
			if s := &q.slots[i]; s.size > 0 && s.there {
				f.hasFile(q, s)
			}
		}
	case kindMark:
		if counts {
			q.marked = rec.seq
		}
	case kindAttempts:
		if counts {
			f.tried(q, rec.seq, rec.attempts)
		}
	}
	return nil
}

// queue is the one of a number. That there is none is a problem.
func (p *replay) queue(id uint64) *queue {
	q := p.r.queues[id]
	if q == nil {
		p.r.problem("%s: a record is of queue %d, which is not known", p.seg.name, id)
	}
	return q
}

// message plays a record of one, for each queue that has it.
func (p *replay) message(at int64, g *group.Head, rec *record, counts bool) {
	p.to = rec.targets(p.to[:0])
	size, err := p.rd.sizeOf(at, rec)
	if err != nil {
		p.r.problem("%s: group %d: %v", p.seg.name, g.Number, err)
		return
	}
	for _, to := range p.to {
		q := p.queue(to.id)
		if q == nil {
			continue
		}
		p.r.f.put(q, to.seq, size, placeOf(p.seg.number, at), len(p.to) > 1)
		if counts && rec.isPut() {
			q.enqueued++
		}
	}
}
