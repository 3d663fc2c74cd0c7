package session

import (
	"errors"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/rights"
)

// maxDestination bounds the length of a destination's name, in bytes, and maxParts how many
// of them one header may join.
const (
	maxDestination = 255
	maxParts       = 64
)

// names returns the destinations that f names.
func (s *session) names(f *frame.Frame) ([]destination.Name, error) {
	dest, ok := f.Header.Get("destination")
	if !ok || len(dest) == 0 {
		return nil, errMissing(f.Command, "destination")
	}
	for _, c := range dest {
		if c < ' ' || c == 0x7f {
			return nil, errf(codeBadDestination, "Invalid destination", "The destination %s holds a control character.", cut(dest))
		}
	}
	hint, err := hintOf(f)
	if err != nil {
		return nil, err
	}
	all, err := destination.Parse(string(dest), hint)
	if err != nil {
		return nil, err
	}
	if len(all) > maxParts {
		return nil, errf(codeBadDestination, "Invalid destination", "The destination %s joins %d names; at most %d are possible.", cut(dest), len(all), maxParts)
	}
	for i := range all {
		if all[i].Bare && hint == destination.None && s.cfg.UnknownPrefix != "" {
			if err := s.unknown(&all[i]); err != nil {
				return nil, err
			}
		}
		if n, most := len(all[i].Spelt), s.longest(); n > most {
			return nil, errf(codeBadDestination, "Invalid destination", "The destination %s has %d bytes; at most %d are possible.", cut([]byte(all[i].Spelt)), n, most)
		}
		if all[i].Every && f.Command == frame.Send {
			return nil, errf(codeBadDestination, "Invalid destination", "The destination %s cannot be used. The exchange amq.topic wants a routing key: /exchange/amq.topic/KEY.", cut([]byte(all[i].Spelt)))
		}
		if all[i].Queue != "" && f.Command == frame.Send { // which reaches that queue alone
			all[i].Kind, all[i].Text, all[i].Queue = destination.Existing, all[i].Queue, ""
		}
		if err := s.own(f, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// unknown has a name without a known prefix be what the configuration says.
func (s *session) unknown(n *destination.Name) error {
	if _, control := broker.ControlName(n.Text); control || strings.HasPrefix(n.Text, "$share/") {
		return nil
	}
	switch s.cfg.UnknownPrefix {
	case "queue":
		n.Kind, n.Text = destination.Queue, destination.QueuePrefix+strings.TrimPrefix(n.Text, "/")
	case "error":
		return errf(codeBadDestination, "Unknown destination", "The destination %s begins with none of /queue/, /topic/, /exchange/, /amq/queue/, /temp-queue/, /temp-topic/, /reply-queue/, /reply-topic/ and /dsub/.", cut([]byte(n.Spelt)))
	}
	return nil
}

// hintOf reads what Artemis's clients say of a name without a prefix.
func hintOf(f *frame.Frame) (destination.Hint, error) {
	name := "destination-type"
	v, ok := f.Header.Get(name)
	if !ok && f.Command != frame.Send {
		name = "subscription-type"
		v, ok = f.Header.Get(name)
	}
	if !ok {
		return destination.None, nil
	}
	hint, ok := destination.HintOf(string(v))
	if !ok {
		return destination.None, errHeader(f.Command, name, v, "ANYCAST or MULTICAST")
	}
	return hint, nil
}

// own turns a name of the connection's own into the one behind it, and refuses what is not
// there.
func (s *session) own(f *frame.Frame, n *destination.Name) error {
	switch n.Kind {
	case destination.TempQueue, destination.TempTopic:
		text, err := s.temporary(n.Text, n.Kind == destination.TempTopic)
		if err != nil {
			return err
		}
		n.Text = text
	case destination.Queue:
		if s.cfg.NoAutoCreate {
			return s.mayMake(f, n)
		}
	case destination.Existing, destination.Durable:
		a := rights.Write
		if f.Command != frame.Send {
			a = s.reading(f, n.Text)
		}
		if err := s.may(a, n.Text, n.Spelt); err != nil { // before it is told what there is
			return err
		}
		if !s.b.Exists(n.Text) {
			return errNotFound("There is no queue %s.", cut([]byte(n.Text)))
		}
	}
	return nil
}

// mayMake refuses a queue that is not there and is not to be made by use.
func (s *session) mayMake(f *frame.Frame, n *destination.Name) error {
	if s.b.IsPattern(n.Text) || n.System() || !s.b.Makes(n.Text) || s.b.Foreseen(n.Text) {
		return nil
	}
	a := rights.Write
	if f.Command != frame.Send {
		a = s.reading(f, n.Text)
	}
	if err := s.may(a, n.Text, n.Spelt); err != nil { // before it is told what there is
		return err
	}
	return errNotFound("There is no queue %s, and it is not made by use: destinations.auto_create is false here, and no rule of destinations.rules is for it.", cut([]byte(n.Spelt)))
}

// temporary returns what stands behind a temporary name, making it if need be.
func (s *session) temporary(name string, topic bool) (string, error) {
	if text, ok := s.temps[name]; ok {
		return text, nil
	}
	if len(s.temps) >= s.lim.Subscriptions {
		return "", errLimit("limits.subscriptions", s.lim.Subscriptions, "This connection has too many temporary destinations.")
	}
	if s.temps == nil {
		s.temps = make(map[string]string)
	}
	text := s.b.NewTemporary(s.id, topic)
	s.temps[name] = text
	return text, nil
}

// dropTemporary ends the connection's temporary destinations, and the queues that it has for itself.
func (s *session) dropTemporary() {
	for _, text := range s.temps {
		s.b.DropTemporary(text)
	}
	for _, queue := range s.exclusive {
		s.b.Abandon(queue, s.id)
	}
	s.temps, s.exclusive = nil, nil
}

func errNotFound(format string, args ...any) *Error {
	return errf(codeNotFound, "not_found", format, args...)
}

// A route is where the SENDs to one destination go, as the client spells it.
type route struct {
	text  string // the header; empty: there is no route
	hint  destination.Hint
	bare  bool // the header destination-type may change what it means
	spelt string
	to    broker.Address
	kind  Kind
	more  []part         // the others of a composite destination
	right *rights.Rights // with which it was found
}

// A part is one of several destinations of a SEND.
type part struct {
	spelt string
	to    broker.Address
	copy  bool // the client does not know of it
}

// fits reports whether r is the way of f, whose header destination is dest, for who has right.
func (r *route) fits(f *frame.Frame, dest []byte, right *rights.Rights) bool {
	if string(dest) != r.text || r.text == "" || r.right != right {
		return false
	}
	if !r.bare {
		return true
	}
	hint, err := hintOf(f)
	return err == nil && hint == r.hint
}

// look finds where f goes.
func (s *session) look(f *frame.Frame) error {
	s.to = route{}
	right := s.access.rights.Load()
	all, err := s.names(f)
	if err != nil {
		return err
	}
	r := route{text: f.Header.Value("destination"), right: right}
	r.hint, _ = hintOf(f)
	for i, n := range all {
		r.bare = r.bare || n.Bare
		if err := s.may(rights.Write, n.Text, n.Spelt); err != nil {
			return err
		}
		if s.b.IsQueue(n.Text) && !n.System() {
			if err := s.declare(f, n.Text, n.Text); err != nil {
				return err
			}
		} else if err := s.declareTopic(f, n); err != nil {
			return err
		}
		to, err := s.b.Address(n.Text)
		if err != nil {
			return err
		}
		if i == 0 {
			r.spelt, r.to = n.Spelt, to
			if !to.Queue() {
				r.kind = Topic
			}
		} else {
			r.more = append(r.more, part{spelt: n.Spelt, to: to})
		}
	}
	if s.cfg.Copies != nil && !r.to.Control() {
		copies, err := s.cfg.Copies.of(all)
		if err != nil {
			return err
		}
		for _, n := range copies {
			to, err := s.b.Address(n.Text)
			if err != nil {
				return err
			}
			r.more = append(r.more, part{spelt: n.Spelt, to: to, copy: true})
		}
	}
	s.to = r
	return nil
}

// asDestinationError is what a client is told of a destination that cannot be used.
func asDestinationError(err error) (*Error, bool) {
	var d *destination.Error
	switch {
	case errors.As(err, &d) && d.Missing:
		return errNotFound("%s.", d.Reason), true
	case errors.As(err, &d):
		return errf(codeBadDestination, "Invalid destination", "The destination %s cannot be used. %s.", cut([]byte(d.Text)), d.Reason), true
	case errors.Is(err, broker.ErrReserved):
		return errf(codeBadDestination, "Invalid destination", "The server reports its statistics there; it can be subscribed to, not sent to."), true
	case errors.Is(err, broker.ErrSystem):
		return errf(codeBadDestination, "Invalid destination", "Names that begin with /queue/$ and /topic/$ are the server's own."), true
	case errors.Is(err, broker.ErrWildcard):
		if _, why, ok := strings.Cut(err.Error(), ": pattern: "); ok { // it is none that can be read
			return errf(codeBadDestination, "Invalid destination", "The pattern of names cannot be used: %s.", why), true
		}
		return errf(codeBadDestination, "Invalid destination", "A pattern of names can be subscribed to, not sent to. Send to several destinations with commas between them."), true
	case errors.Is(err, broker.ErrTaken):
		return errf(codeAccess, "access_refused", "The queue is exclusive: the connection that subscribed to it first has it alone, until it ends."), true
	case errors.Is(err, broker.ErrNotOwner):
		return errf(codeAccess, "access_refused", "Only the connection that made a temporary destination can subscribe to it."), true
	}
	return nil, false
}
