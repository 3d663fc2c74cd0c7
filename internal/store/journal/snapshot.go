package journal

import (
	"encoding/binary"
	"maps"
	"slices"

	"stompserver/internal/store"
)

// snapshot is what a new segment begins with: which older ones there are, and of each queue
// what older segments said that is not about single messages. So these can go.
//
//	uvarint n, then n uvarints: the numbers of the older segments
//	uvarint: the highest Seq of queues that are forgotten
//	uvarint n, then for each queue its name (a uvarint of its length, and the bytes), the
//	last Seq, the mark, and uvarint m, then m pairs of Seq and number of tries
func (j *Journal) snapshot() []byte {
	var b []byte
	b = binary.AppendUvarint(b, uint64(len(j.segments)))
	for _, s := range j.segments {
		b = binary.AppendUvarint(b, s.number)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b = binary.AppendUvarint(b, uint64(j.floor))
	b = binary.AppendUvarint(b, uint64(len(j.queues)))
	for _, name := range slices.Sorted(maps.Keys(j.queues)) {
		q := j.queues[name]
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = binary.AppendUvarint(b, uint64(q.last))
		b = binary.AppendUvarint(b, uint64(q.marked))
		b = binary.AppendUvarint(b, uint64(len(q.tries)))
		for _, seq := range slices.Sorted(maps.Keys(q.tries)) {
			b = binary.AppendUvarint(b, uint64(seq))
			b = binary.AppendUvarint(b, uint64(q.tries[seq]))
		}
	}
	return b
}

// A snap is a snapshot that was read.
type snap struct {
	older  []uint64
	floor  store.Seq
	queues []snapQueue
}

type snapQueue struct {
	name         string
	last, marked store.Seq
	tries        map[store.Seq]uint32
}

func parseSnapshot(b []byte) (s snap, ok bool) {
	p := parser{b: b}
	for n := p.uvarint(); n > 0 && !p.bad; n-- {
		s.older = append(s.older, p.uvarint())
	}
	s.floor = store.Seq(p.uvarint())
	for n := p.uvarint(); n > 0 && !p.bad; n-- {
		q := snapQueue{name: string(p.bytes(p.uvarint())), last: store.Seq(p.uvarint()), marked: store.Seq(p.uvarint())}
		for m := p.uvarint(); m > 0 && !p.bad; m-- {
			if q.tries == nil {
				q.tries = make(map[store.Seq]uint32)
			}
			seq := store.Seq(p.uvarint())
			q.tries[seq] = uint32(p.uvarint())
		}
		s.queues = append(s.queues, q)
	}
	return s, !p.bad && len(p.b) == 0
}
