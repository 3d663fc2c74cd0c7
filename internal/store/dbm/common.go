package dbm

import (
	"encoding/binary"
	"maps"
	"slices"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A common is what a survey finds of messages that several queues have.
type common struct {
	p       *pages
	s       *survey
	at      map[uint64]place       // the messages, by number
	holders map[uint64]uint64      // how many references there are to be
	count   map[uint64]uint64      // how many there are
	read    bool                   // the messages are wanted
	refs    map[uint64][]reference // then: the references
}

// A reference is one, by its key.
type reference struct {
	key      [16]byte
	attempts uint32
}

func newCommon(s *survey, p *pages, read bool) *common {
	return &common{
		p: p, s: s, read: read, at: make(map[uint64]place), holders: make(map[uint64]uint64), count: make(map[uint64]uint64),
		refs: make(map[uint64][]reference),
	}
}

// reference takes down what lies in a place, if that is a reference and whole. Near is what lies there, if it is at hand.
func (c *common) reference(key []byte, at place, near []byte) bool {
	if near == nil {
		var err error
		if near, err = c.p.read(at); err != nil {
			return false
		}
	}
	id, ok := referenceOf(key, near)
	if !ok {
		return false
	}
	c.count[id]++
	if c.read {
		attempts, _, _ := splitValue(key, near)
		c.refs[id] = append(c.refs[id], reference{[16]byte(key), attempts})
	} else {
		c.s.held[binary.BigEndian.Uint64(key)]++
	}
	return true
}

// look looks whether all fits together. Damaged and whole are told of what is to be read.
func (c *common) look(parts map[string][]place, damaged func(key []byte, err error), whole func([]byte, *message.Message, uint32)) {
	all := maps.Clone(c.count)
	for id := range c.at {
		all[id] += 0
	}
	for id := range c.holders {
		all[id] += 0
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		at, there := c.at[id]
		switch n := c.count[id]; {
		case n == 0:
			c.s.damage.add("message number %d of several queues is in none", id)
		case !there:
			c.s.damage.add("message number %d of several queues, which is in %d, is missing", id, n)
			continue
		case n != c.holders[id]:
			c.s.damage.add("message number %d of several queues is in %d, and is to be in %d", id, n, c.holders[id])
		}
		if len(c.refs[id]) == 0 {
			continue
		}
		key := appendKey(nil, 0, store.Seq(id))
		v, err := c.p.read(at)
		var m *message.Message
		if err == nil {
			m, _, err = parse(key, v, &placedParts{c.p, parts[string(key)]})
		}
		for _, r := range c.refs[id] {
			if err != nil {
				damaged(r.key[:], err)
			} else {
				whole(r.key[:], m, r.attempts)
			}
		}
	}
}
