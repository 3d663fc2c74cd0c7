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
	to  []target
	msg *message.Message
}

func (c *copied) room() int64 {
	n := int64(c.msg.RecordSize())
	for _, t := range c.to {
		n += int64(mostIndex + 1 + 2*binary.MaxVarintLen64 + len(t.queue.name))
	}
	return n
}

// copyAtOnce is how many messages are looked at for one Write.
const copyAtOnce = 1024

// toCopy picks what to copy beside a group of n bytes.
func (j *Journal) toCopy(n int64) (out []copied) {
	v := j.pickVictim()
	if v == nil {
		return nil
	}
	budget := min(max(n, copyLeast), copyMost)
	j.mu.Lock()
	from := j.liveIn(v)
	j.mu.Unlock()
	var rd reader
	for _, f := range from {
		if budget <= 0 {
			break
		}
		m, err := rd.message([]place{{v, f.to[0].seq, f.offset}})
		if err != nil {
			// It stays where it is, and is told when it is read.
			j.log.Error("a message cannot be copied", "file", v.name, "destination", f.to[0].queue.name, "seq", uint64(f.to[0].seq), "err", err)
			j.victim = nil
			v.puts, v.shared.puts = v.live, v.shared.live // not to be picked again
			return out
		}
		c := copied{to: f.to, msg: m}
		out = append(out, c)
		budget -= c.room()
	}
	return out
}

// A lying is where a message lies, and whose it is.
type lying struct {
	offset uint32
	to     []target
}

// liveIn lists some messages of v that are live, each with all queues that have it there: who would
// copy it for each of them would have many of what was one. Called with mu held.
func (j *Journal) liveIn(v *segment) (from []lying) {
	at := make(map[uint32]int) // of each offset, its index in from
	for _, q := range j.queues {
		for _, r := range q.runs {
			if r.seg != v || len(from) >= copyAtOnce && v.shared.queues == nil {
				continue
			}
			for _, l := range r.locs[r.head:] {
				if l.offset == 0 {
					continue
				}
				i, known := at[l.offset]
				if !known {
					if len(from) >= copyAtOnce {
						if v.shared.queues == nil {
							break
						}
						continue
					}
					i = len(from)
					from = append(from, lying{offset: l.offset})
					if v.shared.queues != nil {
						at[l.offset] = i
					}
				}
				seq := r.base + store.Seq(l.seq)
				from[i].to = append(from[i].to, target{q, seq, q.tries[seq]})
			}
		}
		if len(from) >= copyAtOnce && v.shared.queues == nil {
			break
		}
	}
	return from
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
	return float64(s.live-s.shared.live) / float64(s.puts-s.shared.puts)
}

// shared is what a segment knows of messages that several queues have: they lie there once.
type shared struct {
	last   uint32         // where the last put lies
	queues map[uint32]int // of a place, by how many it is live; nil: none is shared
	live   int            // by how much live is more than messages
	puts   int            // by how much puts is
}

// put notes a put at offset; those of one message follow each other.
func (s *shared) put(offset uint32) {
	if offset == s.last {
		if s.queues == nil {
			s.queues = make(map[uint32]int)
		}
		s.queues[offset] = max(s.queues[offset], 1) + 1
		s.live++
		s.puts++
	}
	s.last = offset
}

// remove notes that one queue less has what lies at offset.
func (s *shared) remove(offset uint32) {
	switch n := s.queues[offset]; {
	case n > 1:
		s.queues[offset] = n - 1
		s.live--
	case n == 1:
		delete(s.queues, offset)
	}
}
