package journal

import (
	"encoding/binary"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// Segments in which little is live are copied to the end of the log, a little with each
// Write, so that no writer waits for long.
const (
	copyLeast = 64 << 10 // bytes copied beside a Write, or as many as that writes itself
	copyMost  = 4 << 20
)

// A copied is a message on its way to the end of the log.
type copied struct {
	queue *queue
	seq   store.Seq
	tries uint32
	msg   *message.Message
}

func (c *copied) room() int64 {
	return int64(mostIndex + 1 + 2*binary.MaxVarintLen64 + len(c.queue.name) + c.msg.RecordSize())
}

// toCopy picks what to copy beside a group of n bytes.
func (j *Journal) toCopy(n int64) (out []copied) {
	v := j.pickVictim()
	if v == nil {
		return nil
	}
	budget := min(max(n, copyLeast), copyMost)
	j.mu.Lock()
	var from []struct {
		q *queue
		p place
	}
	for _, q := range j.queues {
		for _, r := range q.runs {
			if r.seg != v {
				continue
			}
			for _, l := range r.locs[r.head:] {
				if l.offset != 0 {
					from = append(from, struct {
						q *queue
						p place
					}{q, place{r.seg, r.base + store.Seq(l.seq), l.offset}})
				}
				if len(from) >= 1024 {
					break
				}
			}
		}
		if len(from) >= 1024 {
			break
		}
	}
	j.mu.Unlock()
	var rd reader
	for _, f := range from {
		if budget <= 0 {
			break
		}
		m, err := rd.message([]place{f.p})
		if err != nil {
			// It stays where it is, and is told when it is read.
			j.log.Error("a message cannot be copied", "file", v.name, "destination", f.q.name, "seq", uint64(f.p.seq), "err", err)
			j.victim = nil
			v.puts = v.live // not to be picked again
			return out
		}
		out = append(out, copied{queue: f.q, seq: f.p.seq, tries: f.q.tries[f.p.seq], msg: m})
		budget -= int64(m.RecordSize())
	}
	return out
}

// pickVictim is the segment to copy: none while more than half of what the log holds is
// live, else the one with the least live part. One that only waits for an older segment
// points to that.
func (j *Journal) pickVictim() *segment {
	if v := j.victim; v != nil && v.live > 0 {
		return v
	}
	j.victim = nil
	if len(j.segments) < 4 {
		return nil
	}
	live, all := 0.0, 0.0
	var least *segment
	for _, s := range j.segments[:len(j.segments)-1] {
		all++
		part := s.part()
		live += part
		if !s.sealed {
			continue
		}
		if s.live == 0 {
			for old := range s.needs {
				if old.live > 0 && (least == nil || old.part() < least.part()) {
					least = old
				}
			}
		} else if part < 0.5 && (least == nil || part < least.part()) {
			least = s
		}
	}
	if least == nil || live > all/2 || least.part() > 0.75 {
		return nil
	}
	j.victim = least
	return least
}

// part is how much of a segment is live, from 0 to 1.
func (s *segment) part() float64 {
	if s.puts == 0 {
		return 0
	}
	return float64(s.live) / float64(s.puts)
}
