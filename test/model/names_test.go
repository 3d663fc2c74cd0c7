package model_test

import (
	"fmt"
	"maps"
	"time"
)

// What names say that SENDs have.

// A name is one that was used at a destination.
type name struct {
	until   int64
	used    []entry    // whether it is: the last is so, the first is certain
	sent    []*message // by it, the last time
	retired bool       // what became of it is not known
}

const (
	window = 400 * time.Millisecond // for which names are kept
	slack  = 1500                   // so many milliseconds longer they may be
)

// nameFor picks a name for a SEND to some destinations; empty: none that is known to be used, or not.
func (g *game) nameFor(dests []string, n int) string {
	if n%4 > 0 {
		return ""
	}
	for i := range 20 {
		text := fmt.Sprint("n", n/4%3+3*i)
		sure := true
		for _, dest := range dests {
			if k := g.names[dest+text]; k != nil {
				sure = sure && !k.retired && (k.until > now() || k.until+slack < now())
			}
		}
		if sure {
			return text
		}
	}
	return ""
}

// nameInLine is a name for a SEND that has to wait for room: a new one, or that of the one before it in line, which is
// taken in the same moment. Empty: none.
func (g *game) nameInLine(q *queue, n int) string {
	switch n % 4 {
	case 0:
		return fmt.Sprint("w", g.messages)
	case 1, 2:
		if n := len(q.line); n > 0 {
			return q.line[n-1].id
		}
	}
	return ""
}

// claim reports whether a SEND of that name to dest is the first, and notes that it was sent.
func (g *game) claim(dest, text string, r *request) bool {
	if text == "" {
		return true
	}
	k := g.names[dest+text]
	if g.isUsed(dest, text) {
		r.want = map[string]string{"duplicate": "true"}
		g.logf("%s was sent to %s before", text, dest)
		return false
	}
	if k == nil {
		k = &name{used: []entry{{}}}
		g.names[dest+text] = k
	}
	k.until = now() + window.Milliseconds()*g.slowly
	k.used = append(k.used, entry{place: text, by: r})
	k.sent = nil
	r.parts = append(r.parts, part{"the name " + text, &k.used})
	return true
}

// isUsed reports whether something of that name was sent to dest.
func (g *game) isUsed(dest, text string) bool {
	k := g.names[dest+text]
	return text != "" && k != nil && k.until > now() && k.used[len(k.used)-1].place != nowhere
}

// named notes what was sent by a name. What found no room does not use it.
func (g *game) named(dest, text string, m *message, r *request) {
	if text == "" {
		return
	}
	k := g.names[dest+text]
	k.sent = append(k.sent, m)
	if m.noRoom {
		k.used = append(k.used, entry{by: r})
	}
}

// recall finds out what became of names after a crash: what is there by one shows that it was used.
func (g *game) recall(is map[*message]string) {
	for _, k := range maps.Clone(g.names) {
		if len(k.used) == 1 {
			continue
		}
		k.retired = true
		for _, m := range k.sent {
			if is[m] != nowhere {
				k.retired = false
				k.used = k.used[len(k.used)-1:]
				k.used[0].by = nil
			}
		}
	}
}
