package broker

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// What a topic keeps is in the order of its numbers, and so in that of time, by which clients look for where
// they begin. Only where the clock was set back it is not: those places are remembered, over restarts too.

// maxSteps is how many places are remembered of one topic, the newest.
const maxSteps = 16

// steps are those of all topics.
type steps struct {
	ledger *ledger

	mu sync.Mutex // guards of
	of map[string][]store.Seq
}

func (b *Broker) openSteps() (err error) {
	s := &b.steps
	s.of = make(map[string][]store.Seq)
	if s.ledger, err = b.openLedger("steps"); err != nil {
		return err
	}
	s.ledger.all(func(queue string, row *message.Message) {
		text, _ := row.Header("steps")
		for _, f := range strings.Fields(text) {
			if n, err := strconv.ParseUint(f, 10, 64); err == nil {
				s.of[queue] = append(s.of[queue], store.Seq(n))
			}
		}
	})
	return nil
}

// note remembers that the clock was set back before a message of a queue.
func (s *steps) note(queue string, seq store.Seq) {
	s.mu.Lock()
	all := append(slices.Clone(s.of[queue]), seq)
	if len(all) > maxSteps {
		all = all[1:]
	}
	s.of[queue] = all
	s.mu.Unlock()
	var text []string
	for _, seq := range all {
		text = append(text, decimal(seq))
	}
	s.ledger.set(queue, "steps", strings.Join(text, " "))
}

// get returns the places in a queue, in order.
func (s *steps) get(queue string) []store.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[queue]
}

func (s *steps) forget(queue string) {
	s.mu.Lock()
	known := s.of[queue] != nil
	delete(s.of, queue)
	s.mu.Unlock()
	if known {
		s.ledger.drop(queue)
	}
}

// came notes when a message comes that is going to have the number seq. Called with q.mu held.
func (k *kept) came(q *queue, m *message.Message, seq store.Seq) {
	at := m.Arrived()
	if at < k.latest-slack {
		q.b.steps.note(q.name, seq)
		k.latest = at
	}
	k.latest = max(k.latest, at)
	if k.first == 0 {
		k.first = at
	}
}

// recall looks when the newest of the messages up to last came, which were there before this process. It is a
// goroutine of its own, for nobody is to wait for the disk.
func (q *queue) recall(last store.Seq) {
	at, _, err := q.newest(last, 1)
	ds := []store.Delivery(nil)
	if err == nil {
		ds, err = q.st.Browse(nil, at, 1)
	}
	if err != nil {
		q.b.cfg.Log.Error("browse failed", "destination", q.name, "err", err)
	}
	if len(ds) == 0 || ds[0].Seq > last {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch k, at := q.kept, ds[0].Msg.Arrived(); {
	case k.first == 0:
		k.latest = at
	case k.first < at-slack:
		q.b.steps.note(q.name, last+1)
	}
}
