package spool

import "stompserver/internal/store"

// After a stop that was not clean Seqs go on far behind those that are stored. A window with some of
// both must not have a place for each between.

// farAway is over how many chunks a window goes on as it was: 8 bytes for each.
const farAway = 1024

// A stretch is chunks that lie together.
type stretch struct {
	base   store.Seq // of the first slot
	chunks []*chunk
}

func (s *stretch) end() store.Seq { return s.base + store.Seq(len(s.chunks))<<chunkBits }

// farAt is at for what is behind the last of chunks.
func (w *window) farAt(seq store.Seq) (*chunk, *slot) {
	for i := range w.far {
		if s := &w.far[i]; seq >= s.base && seq < s.end() {
			c := s.chunks[(seq-s.base)>>chunkBits]
			if c == nil {
				return nil, nil
			}
			return c, &c.slots[seq&(chunkSize-1)]
		}
	}
	return nil, nil
}

// farPlace is place for that.
func (w *window) farPlace(seq store.Seq) **chunk {
	for i := range w.far {
		s := &w.far[i]
		at := int((seq - s.base) >> chunkBits)
		if seq < s.base || i < len(w.far)-1 && at >= len(s.chunks) || at-len(s.chunks) > farAway {
			continue
		}
		for at >= len(s.chunks) {
			s.chunks = append(s.chunks, nil)
		}
		return &s.chunks[at]
	}
	w.far = append(w.far, stretch{base: seq &^ (chunkSize - 1), chunks: make([]*chunk, 1)})
	return &w.far[len(w.far)-1].chunks[0]
}

// comeNear has the first stretch be the window's own chunks, which are all gone.
func (w *window) comeNear() {
	w.base, w.chunks, w.head = w.far[0].base, w.far[0].chunks, 0
	if w.far = w.far[1:]; len(w.far) == 0 {
		w.far = nil
	}
	w.trim()
}

// hop is where the next chunk behind that of seq may be, which is not there.
func (w *window) hop(seq store.Seq) store.Seq {
	seq = max((seq|(chunkSize-1))+1, w.base)
	if seq < w.base+store.Seq(len(w.chunks)-w.head)<<chunkBits {
		return seq
	}
	for i := range w.far {
		if seq < w.far[i].end() {
			return max(seq, w.far[i].base)
		}
	}
	return max(seq, w.next)
}
