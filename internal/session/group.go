package session

import "stompserver/internal/broker"

// A group is the subscriptions that one SUBSCRIBE to several destinations made. To the
// client they are one: a cumulative ACK covers what was delivered before by any of them.
type group struct {
	parts []*subscr
	log   []delivered // in the order they were made, those not settled; guarded by outbox.mu
}

type delivered struct {
	sub *subscr
	ref broker.Ref
}

// join makes sub a part of g; it has not started.
func (g *group) join(sub *subscr) {
	sub.group = g
	g.parts = append(g.parts, sub)
}

// whole returns all parts of the subscription that sub is one of.
func (sub *subscr) whole() []*subscr {
	if sub.group == nil {
		return []*subscr{sub}
	}
	return sub.group.parts
}

// delivered notes a delivery that a cumulative ACK may have to cover. Called with outbox.mu
// held.
func (g *group) delivered(sub *subscr, d broker.Delivery) {
	if d.Tag != 0 && sub.bs.Mode() == broker.Client {
		g.log = append(g.log, delivered{sub, broker.Ref{Tag: d.Tag, Seq: d.Seq}})
	}
}

// before returns the last delivery of each part up to the one that t names, and forgets
// them. It is empty if t is not there.
func (g *group) before(t target) []target {
	o := &t.sub.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	at := -1
	for i := len(g.log) - 1; i >= 0 && at < 0; i-- {
		d := g.log[i]
		if d.sub == t.sub && (t.ref.Tag == d.ref.Tag || t.ref.Tag == 0 && t.ref.Seq == d.ref.Seq) {
			at = i
		}
	}
	var all []target
	for _, p := range g.parts {
		for i := at; i >= 0; i-- {
			if g.log[i].sub == p {
				all = append(all, target{sub: p, ref: broker.Ref{Tag: g.log[i].ref.Tag}})
				break
			}
		}
	}
	g.log = append(g.log[:0], g.log[at+1:]...)
	return all
}
