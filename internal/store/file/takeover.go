package file

import (
	"cmp"
	"errors"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// An item is a message in the order that qinfo has it in.
type item struct {
	name  string // of its file; "": it has none yet
	seq   store.Seq
	tries uint32
	size  int64
	at    place // in the log; 0: it has a file alone
	there bool  // of its slot
	among bool
}

// takeOver takes what qinfo says, and behind it what there is of ours besides.
func (r *recovery) takeOver() error {
	f := r.f
	var all []indexed
	if r.qinfo != nil {
		var err error
		if all, err = parseQinfo(r.qinfo); err != nil {
			r.problem("%s: %v", qinfoName, err)
			r.unsure = true
		}
	}
	if r.unsure && f.cfg.StartDamaged {
		more, err := r.byFrames(all)
		if err != nil {
			return err
		}
		all = more
	}
	top := f.floor // no Seq is above it
	for _, q := range f.queues {
		top = max(top, q.last)
	}
	for i := range all {
		in := &all[i]
		q := f.queues[in.name]
		if q == nil {
			q = newQueue(in.name, folderName(in.name), f.nextID)
			r.define(q)
		}
		q.enqueued, q.dequeued, q.exceptions = in.enqueued, in.dequeued, in.putBackAll
		if in.msgid > 1 {
			q.last = max(q.last, store.Seq(in.msgid-1))
		}
		items, err := r.items(q, in)
		if err != nil {
			return err
		}
		for _, it := range items {
			top = max(top, it.seq)
		}
		r.order(q, items, max(top, q.last))
		top = max(top, q.last)
	}
	return nil
}

// items are the messages of q: those that qinfo lists first.
func (r *recovery) items(q *queue, in *indexed) (items []item, err error) {
	f := r.f
	taken, listed := make(map[store.Seq]bool), make(map[string]bool)
	for _, id := range in.frames {
		p := path{q.folder, id}
		at := r.listing[p]
		if at == nil || at.q != nil && at.q != q {
			r.missing = append(r.missing, id)
			continue
		}
		if listed[id] {
			continue
		}
		listed[id] = true
		it := item{name: id, seq: lastNumber(id), tries: uint32(max(in.exceptions[id], 0))}
		if at.q == q {
			s := q.get(at.seq)
			if s == nil {
				continue // acked, which the Ruby server could not know after a crash
			}
			it.seq, it.at, it.there, it.among, it.size = at.seq, s.at, s.there, s.among, int64(s.size)
			taken[at.seq] = true
		}
		if ok, err := r.look(q, &it, p); err != nil {
			return nil, err
		} else if ok {
			items = append(items, it)
		}
		at.q = q
	}
	for _, s := range q.slots {
		if s.size == 0 || taken[s.seq] {
			continue
		}
		it := item{seq: s.seq, tries: q.tries[s.seq], at: s.at, there: s.there, among: s.among, size: int64(s.size)}
		if it.at == 0 || it.there {
			it.name = f.nameOf(q, s.seq)
		}
		if ok, err := r.look(q, &it, path{q.folder, it.name}); err != nil {
			return nil, err
		} else if ok {
			items = append(items, it)
		}
	}
	return items, nil
}

// look reads a message, and reports whether it can be served.
func (r *recovery) look(q *queue, it *item, p path) (bool, error) {
	if it.at != 0 {
		return true, nil
	}
	m, err := r.f.readMessage(p, q.name)
	if errors.Is(err, errDamaged) {
		r.problem("%v", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	it.size = int64(m.Size())
	return true, nil
}

// order gives q the messages that it is to have, in that order. They keep their numbers if
// these are in order too; else they get new ones, above last.
func (r *recovery) order(q *queue, items []item, last store.Seq) {
	inOrder, before := true, store.Seq(0)
	for _, it := range items {
		inOrder = inOrder && it.seq > before
		before = it.seq
	}
	q.remove(0, q.last, func(s slot) { r.f.lives(s, -1) })
	clear(q.foreign)
	clear(q.tries)
	for _, it := range items {
		if !inOrder {
			last++
			it.seq = last
		}
		r.f.put(q, it.seq, it.size, it.at, it.among)
		q.get(it.seq).there = it.there
		if it.name != "" && it.name != messageName(r.f.prefix, q.id, it.seq) {
			q.foreign[it.seq] = it.name
		}
		if it.tries > 0 {
			q.tries[it.seq] = it.tries
		}
		if at := r.listing[path{q.folder, it.name}]; at != nil {
			at.q, at.seq = q, it.seq
		}
	}
	q.marked = 0
}

// byFrames adds to what qinfo says the messages that it does not list, each to the queue that
// it was sent to.
func (r *recovery) byFrames(all []indexed) ([]indexed, error) {
	byName, listed := make(map[string]int), make(map[path]bool)
	for i := range all {
		byName[all[i].name] = i
		for _, id := range all[i].frames {
			listed[path{folderName(all[i].name), id}] = true
		}
	}
	of := make(map[string][]string)
	for p, at := range r.listing {
		if at.q != nil || listed[p] {
			continue
		}
		m, err := r.f.readMessage(p, "")
		if errors.Is(err, errDamaged) {
			r.problem("%v", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if dest := destination(m); folderName(dest) == p.folder {
			of[dest] = append(of[dest], p.name)
		}
	}
	for name, ids := range of {
		slices.SortFunc(ids, func(a, b string) int {
			return cmp.Or(cmp.Compare(nameTime(a), nameTime(b)), cmp.Compare(lastNumber(a), lastNumber(b)), cmp.Compare(a, b))
		})
		i, ok := byName[name]
		if !ok {
			i = len(all)
			all = append(all, indexed{name: name})
		}
		all[i].frames = append(all[i].frames, ids...)
	}
	return all, nil
}

// destination is where a message that was read for no queue was sent to.
func destination(m *message.Message) string {
	dest, _ := m.Header("original-destination")
	return dest
}
