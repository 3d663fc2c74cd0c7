package session

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
)

// A herd is the subscription to the queues that a pattern stands for: one to each of them, those
// that come to be later too. To the client they are one, as those of a list are. It belongs to
// the reader, which is called when there is another queue.
type herd struct {
	f        *frame.Frame // the SUBSCRIBE
	name     destination.Name
	o        broker.Options
	group    *group
	follower *broker.Follower
	has      map[string]bool
	paused   bool // what is new is to be, too
	exprs    int  // bytes of the expressions in its pattern
}

// isHerd reports whether n stands for several queues.
func (s *session) isHerd(n destination.Name) bool {
	if n.Kind != destination.Queue || !s.b.IsPattern(n.Text) {
		return false
	}
	_, virtual := virtualTopic(n.Text) // that is one queue, of many topics
	return !virtual
}

// newHerd begins the subscription of f to the queues of n.
func (s *session) newHerd(f *frame.Frame, n destination.Name, o broker.Options, g *group) (*herd, error) {
	if err := s.may(s.reading(f, n.Text), n.Text, n.Spelt); err != nil {
		return nil, err
	}
	h := &herd{name: n, o: o, group: g, has: make(map[string]bool)}
	h.f = &frame.Frame{Command: f.Command, Header: make(frame.Header, len(f.Header))}
	for i, field := range f.Header {
		h.f.Header[i] = frame.Field{Name: bytes.Clone(field.Name), Value: bytes.Clone(field.Value)}
	}
	var err error
	if h.exprs, err = s.express(n); err != nil {
		return nil, err
	}
	if h.follower, err = s.b.Follow(n.Text, s.call); err != nil {
		s.exprs -= h.exprs
		return nil, err
	}
	s.herds = append(s.herds, h)
	return h, nil
}

// gather subscribes to the queues of h that are new. They have not started.
func (s *session) gather(h *herd) (parts []*subscr, err error) {
	for _, name := range h.follower.Next() {
		if h.has[name] {
			continue
		}
		if s.b.Exclusive(name) {
			continue // it is for who names it
		}
		if !s.subs.room(s.lim.Subscriptions) {
			e := s.errManySubscriptions()
			e.Subscription = h.f.Header.Value("id")
			return parts, e
		}
		sub, err := s.attach(h.f, destination.Name{Kind: destination.Queue, Text: name, Spelt: h.name.Spelt}, h.o, false)
		var e *Error
		if errors.As(err, &e) && e.Code == codeAccess {
			continue // a rule takes it out of the pattern
		}
		if err != nil {
			return parts, err
		}
		h.group.join(sub)
		h.has[name] = true
		if h.paused {
			sub.bs.Pause(true, &s.wake)
		}
		parts = append(parts, sub)
	}
	return parts, nil
}

// PauseSubscription implements broker.Pauser.
func (s *session) PauseSubscription(id string, on bool, w *broker.Wake) bool {
	var parts []*subscr
	if sub := s.subs.byName(id); sub != nil {
		parts = sub.whole()
	}
	found := len(parts) > 0
	for _, h := range s.herds {
		if v, ok := h.f.Header.Get("id"); ok && string(v) == id {
			h.paused, found, parts = on, true, h.group.parts
		}
	}
	for _, p := range parts {
		p.bs.Pause(on, w)
	}
	return found
}

// endHerd ends what h has.
func (s *session) endHerd(h *herd) {
	h.follower.End()
	for _, p := range slices.Clone(h.group.parts) {
		if !p.gone && h.has[p.dest] {
			s.endSubscription(p)
		}
	}
	if i := slices.Index(s.herds, h); i >= 0 {
		s.exprs -= h.exprs
		s.herds = slices.Delete(s.herds, i, i+1)
	}
}

// herdOf returns a herd of the subscription with that id.
func (s *session) herdOf(id string) *herd {
	for _, h := range s.herds {
		if v, ok := h.f.Header.Get("id"); ok && string(v) == id {
			return h
		}
	}
	return nil
}

// call has the reader come, which may wait for bytes. Called from any goroutine.
func (s *session) call() {
	_ = s.sock.SetReadDeadline(time.Unix(1, 0))
}

// answer is err, unless the reader was only called: then it has seen to what for.
func (s *session) answer(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || s.failure.Load() != nil || s.state != connected {
		return err
	}
	_ = s.sock.SetReadDeadline(time.Time{})
	if s.failure.Load() != nil { // its deadline may be the one that was taken away
		return err
	}
	defer s.flush()
	for _, h := range s.herds {
		parts, err := s.gather(h)
		s.tellOf("subscribe", "Consumer", parts)
		for _, p := range parts {
			p.bs.Start(&s.wake)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
