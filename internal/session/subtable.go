package session

import (
	"slices"
	"sync"

	"stompserver/internal/broker"
)

// A subTable holds the subscriptions of a session in the order of their num, those that
// only wait for acknowledgements included.
type subTable struct {
	mu   sync.Mutex // held where list changes or one of it ends, and by who reads it but the reader
	list []*subscr
	byID map[string]*subscr // made when there are many
	next uint64
}

// close ends all subscriptions, and gives back what was delivered and not settled.
func (t *subTable) close(w *broker.Wake) {
	for _, sub := range t.list {
		sub.bs.Close(sub.written.Load(), w)
		sub.unshare()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list, t.byID, t.next = nil, nil, 0
}

// outstanding reports whether the client has to settle anything of a queue.
func (t *subTable) outstanding() bool {
	for _, sub := range t.list {
		if !sub.topic && sub.bs.Outstanding() > 0 {
			return true
		}
	}
	return false
}

// yield has the client hold back no more who sends to one of its topics: it does so itself.
func (t *subTable) yield() {
	for _, sub := range t.list {
		sub.bs.Yield()
	}
}

// room reports whether limit allows one more. What is over and only waits for
// acknowledgements counts as well; of a topic, where these change nothing, it makes way.
func (t *subTable) room(limit int) bool {
	if len(t.list) < limit {
		return true
	}
	for i, sub := range t.list {
		if sub.gone && sub.topic {
			t.cut(i)
			return true
		}
	}
	return false
}

const manySubs = 8

func (t *subTable) byName(id string) *subscr {
	if t.byID != nil {
		return t.byID[id]
	}
	for _, sub := range t.list {
		if sub.named && !sub.gone && sub.id == id {
			return sub
		}
	}
	return nil
}

// named reports whether any subscription has or had that id, of those that are listed.
func (t *subTable) named(id string) bool {
	return slices.ContainsFunc(t.list, func(sub *subscr) bool { return sub.id == id })
}

func (t *subTable) byNum(num uint64) *subscr {
	lo, hi := 0, len(t.list)
	for lo < hi {
		if mid := (lo + hi) / 2; t.list[mid].num < num {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(t.list) && t.list[lo].num == num {
		return t.list[lo]
	}
	return nil
}

func (t *subTable) add(sub *subscr) {
	t.mu.Lock()
	t.list = append(t.list, sub)
	t.mu.Unlock()
	if t.byID == nil && len(t.list) > manySubs {
		t.byID = make(map[string]*subscr)
		for _, o := range t.list {
			if o.named && !o.gone {
				t.byID[o.id] = o
			}
		}
	} else if t.byID != nil && sub.named {
		t.byID[sub.id] = sub
	}
}

// end marks sub as unsubscribed; it stays in the list while it has deliveries in flight.
func (t *subTable) end(sub *subscr) {
	t.mu.Lock()
	sub.gone = true
	t.mu.Unlock()
	if t.byID != nil && sub.named {
		delete(t.byID, sub.id)
	}
	t.weed(sub)
}

// weed removes sub if it is over.
func (t *subTable) weed(sub *subscr) {
	if !sub.gone || sub.bs.Outstanding() > 0 {
		return
	}
	if i := slices.Index(t.list, sub); i >= 0 {
		t.cut(i)
	}
}

func (t *subTable) cut(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.Delete(t.list, i, i+1)
}

// has reports whether there is a subscription to dest, by the broker's name for it.
func (t *subTable) has(dest string) bool {
	for _, sub := range t.list {
		if !sub.gone && sub.dest == dest {
			return true
		}
	}
	return false
}
