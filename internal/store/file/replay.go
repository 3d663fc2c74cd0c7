package file

import (
	"fmt"
	"slices"

	"stompserver/internal/store"
)

// A replay reads the log from its beginning, and has the queues be what it says.
type replay struct {
	r    *recovery
	rd   placeReader // of which the logReader is used
	seg  *segment
	salt uint64
	want uint64 // the number of the next group; 0: any
	link uint32 // that this has
	sure bool   // that link is known

	to    []target
	tries map[*queue]map[store.Seq]uint32 // as the state has them, until all is played that it knows
}

// log finds the log, and plays it.
func (r *recovery) log() error {
	f := r.f
	if n := len(r.segments); n > 0 {
		f.lastSegment = r.segments[n-1]
	}
	p := replay{r: r, salt: f.salt, tries: make(map[*queue]map[store.Seq]uint32)}
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
		p.want = r.state.first
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
	p.want, p.sure = 0, false
}

// guessSalt takes the salt of what the first segment begins with, for there is no state to say it.
func (p *replay) guessSalt() error {
	file, err := p.r.f.fs.Open(segmentName(p.r.segments[0]), false)
	if err != nil {
		return err
	}
	defer file.Close()
	b := make([]byte, groupSize)
	if n, _ := file.ReadAt(b, 0); n == len(b) {
		g, _ := parseGroup(b)
		p.salt = g.salt
		p.r.f.salt = g.salt
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
	p.want = 1
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
	if p.want > 0 {
		f.number = p.want - 1
	}
	f.synced, f.link = f.number, p.link
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
	p.seg = &segment{number: number, name: name, first: p.want, size: size}
	if p.want > 0 {
		p.seg.last = p.want - 1
	}
	f.chain = append(f.chain, p.seg)
	until, err := p.firstOf(next)
	if err != nil {
		return err
	}
	at := int64(0)
	for {
		g, ok, err := p.rd.group(at, p.salt)
		if err != nil {
			return err
		}
		if ok && p.fits(&g, until) {
			if err := p.group(at, &g); err != nil {
				return err
			}
			if p.seg.last < p.seg.first || p.seg.first == 0 {
				p.seg.first = g.number
			}
			p.seg.last, p.want, p.link, p.sure = g.number, g.number+1, g.sum, true
			at = aligned(at + g.size())
			continue
		}
		if until != 0 && p.want == until {
			break
		}
		// The end, or a hole: is there a group that was written when this one was durable?
		later, found, err := p.later(&at, until)
		if err != nil {
			return err
		}
		if found {
			p.damaged(at, later)
			continue
		}
		if until != 0 {
			p.damaged(at, until)
		} else if last {
			p.looksCut(at)
		}
		break
	}
	p.seg.pos = at
	return nil
}

// fits reports whether a group is the next one.
func (p *replay) fits(g *group, until uint64) bool {
	switch {
	case until != 0 && g.number >= until:
		return false
	case p.want == 0:
		return true
	}
	return g.number == p.want && (!p.sure || !g.linked || g.link == p.link)
}

func (p *replay) damaged(at int64, next uint64) {
	switch {
	case p.want == 0:
		p.r.problem("%s: the groups before %d, at %d, are damaged", p.seg.name, next, at)
	case p.want == next: // its link does not fit
		p.r.problem("%s: before group %d, at %d, there was another one", p.seg.name, next, at)
	default:
		p.r.problem("%s: groups %d to %d, before %d, are damaged", p.seg.name, p.want, next-1, at)
	}
	p.want, p.sure = next, false
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
	g, ok, err := rd.group(0, p.salt)
	if !ok || g.number < p.want { // it was used before
		return 0, err
	}
	return g.number, err
}

// later looks for a group that was written when the next one was durable, and moves at to it.
func (p *replay) later(at *int64, until uint64) (number uint64, found bool, err error) {
	for next := *at + groupAlign; next+beforeSize <= p.rd.end; next += groupAlign {
		b, err := p.rd.peek(next, groupSize)
		if err != nil {
			return 0, false, err
		}
		g, ok := parseGroup(b)
		if !ok || g.salt != p.salt || g.number <= p.want || until != 0 && g.number >= until || until == 0 && g.synced < p.want {
			continue
		}
		if g, ok, err = p.rd.group(next, p.salt); err != nil {
			return 0, false, err
		} else if ok {
			*at = next
			return g.number, true, nil
		}
	}
	return 0, false, nil
}

// looksCut notes a group that was not finished.
func (p *replay) looksCut(at int64) {
	b, _ := p.rd.peek(at, groupSize)
	if g, ok := parseGroup(b); ok && g.salt == p.salt && g.number >= p.want {
		p.r.cut = fmt.Sprintf("%s at %d", p.seg.name, at)
	}
}

// group plays the records of a group.
func (p *replay) group(start int64, g *group) error {
	for at, end := start+g.head, start+g.size(); at < end; {
		rec, err := p.rd.record(at, end)
		if err == errRecord {
			p.r.problem("%s: group %d: %v", p.seg.name, g.number, err)
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
func (p *replay) record(at int64, g *group, rec *record) error {
	r, f := p.r, p.r.f
	counts := r.state == nil || g.number > r.state.group
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
		if n := f.ack(q, rec.seq, rec.last, g.number); counts {
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
func (p *replay) message(at int64, g *group, rec *record, counts bool) {
	p.to = rec.targets(p.to[:0])
	size, err := p.rd.sizeOf(at, rec)
	if err != nil {
		p.r.problem("%s: group %d: %v", p.seg.name, g.number, err)
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
