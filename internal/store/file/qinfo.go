package file

import (
	"errors"
	"fmt"

	"stompserver/internal/ruby/marshal"
	"stompserver/internal/store"
)

// The index of the Ruby server, qinfo, is a Hash of two: queues, of each of which it has
// numbers and the names of its messages in order, and frames, what it has of each message.

// An indexed queue is one that qinfo has.
type indexed struct {
	name                           string
	frames                         []string
	exceptions                     map[string]int64 // by the name of the message: how often it was put back
	msgid                          int64            // the next
	enqueued, dequeued, putBackAll int64
}

func parseQinfo(b []byte) ([]indexed, error) {
	v, err := marshal.Load(b)
	if err != nil {
		return nil, err
	}
	top, _ := v.(*marshal.Hash)
	if top == nil {
		return nil, errors.New("it holds no Hash")
	}
	queues, _ := top.Get("queues").(*marshal.Hash)
	frames, _ := top.Get("frames").(*marshal.Hash)
	if queues == nil || frames == nil {
		return nil, errors.New("it has no queues or no frames")
	}
	number := func(v any) int64 {
		n, _ := v.(int64)
		return n
	}
	var all []indexed
	byName := make(map[string]int)
	for _, p := range queues.Pairs {
		name, ok := p.Key.(marshal.String)
		h, isHash := p.Value.(*marshal.Hash)
		if !ok || !isHash {
			return nil, errors.New("one of its queues is none")
		}
		q := indexed{
			name: name.Bytes, msgid: number(h.Get("msgid")), exceptions: make(map[string]int64),
			enqueued: number(h.Get("enqueued")), dequeued: number(h.Get("dequeued")), putBackAll: number(h.Get("exceptions")),
		}
		list, _ := h.Get("frames").(*marshal.Array)
		if list == nil {
			return nil, fmt.Errorf("the queue %q has no list of messages", q.name)
		}
		for _, item := range list.Items {
			id, ok := item.(marshal.String)
			if !ok {
				return nil, fmt.Errorf("the queue %q lists what is no message", q.name)
			}
			q.frames = append(q.frames, id.Bytes)
		}
		byName[q.name] = len(all)
		all = append(all, q)
	}
	for _, p := range frames.Pairs {
		name, _ := p.Key.(marshal.String)
		h, _ := p.Value.(*marshal.Hash)
		i, ok := byName[name.Bytes]
		if h == nil || !ok {
			continue
		}
		for _, f := range h.Pairs {
			id, _ := f.Key.(marshal.String)
			if one, _ := f.Value.(*marshal.Hash); one != nil {
				all[i].exceptions[id.Bytes] = number(one.Get("exceptions"))
			}
		}
	}
	return all, nil
}

// appendQinfo is the index of what qs hold. Of dir it tells where the Ruby server looks.
func appendQinfo(dst []byte, qs []*queue, dir string, nameOf func(*queue, store.Seq) string) ([]byte, error) {
	queues, frames := &marshal.Hash{}, &marshal.Hash{}
	for _, q := range qs {
		if q.count == 0 {
			continue
		}
		list, each := &marshal.Array{}, &marshal.Hash{}
		for _, s := range q.slots {
			if s.size == 0 {
				continue
			}
			id := marshal.String{Bytes: nameOf(q, s.seq)}
			of := &marshal.Hash{}
			of.Set("exceptions", int64(q.tries[s.seq]))
			list.Items = append(list.Items, id)
			each.Pairs = append(each.Pairs, marshal.Pair{Key: id, Value: of})
		}
		h := &marshal.Hash{}
		h.Set("size", q.count)
		h.Set("frames", list)
		h.Set("msgid", int64(q.last)+1)
		h.Set("enqueued", q.enqueued)
		h.Set("dequeued", q.dequeued)
		h.Set("exceptions", q.exceptions)
		h.Set("queue_dir", text(dir+"/"+q.folder))
		queues.Pairs = append(queues.Pairs, marshal.Pair{Key: text(q.name), Value: h})
		frames.Pairs = append(frames.Pairs, marshal.Pair{Key: text(q.name), Value: each})
	}
	top := &marshal.Hash{}
	top.Set("queues", queues)
	top.Set("frames", frames)
	return marshal.Append(dst, top)
}
