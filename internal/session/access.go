package session

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/rights"
)

// An access is who a client is, and what it may do. The reader changes it at a login, a change
// of the configuration at any time.
type access struct {
	rights atomic.Pointer[rights.Rights] // nil: everything

	mu     sync.Mutex // guards what follows, and that rights are of it
	known  bool       // who it is
	client rights.Client
	user   *auth.Identity // as it logged in

	expiry *time.Timer // of the login; nil: it does not expire
	over   bool        // the session is
}

// admitAs has the session be who logged in, with the rights of that. The error is that of a
// subscription which somebody else made on the connection.
func (s *session) admitAs(user *auth.Identity, anonymous bool) error {
	s.user = user
	a := &s.access
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known, a.user = true, user
	a.client = rights.Client{User: user.Name, Anonymous: anonymous, ID: s.client, Host: s.lodging.host, Grant: user.Grant}
	cfg := s.srv.cfg.Load()
	if err := a.stands(cfg.Auth); err != nil { // the list may have changed since it was asked
		return err
	}
	s.entitle(cfg.Rights)
	a.expire(user.Expires, s)
	return s.mayKeepAll()
}

// expire has the session end when the login does, and some time to make a new one has passed.
// Called with mu held.
func (a *access) expire(at time.Time, s *session) {
	a.stop()
	if at.IsZero() || a.over {
		return
	}
	// Of what is further off than a time can say the grace would make something that is past.
	a.expiry = time.AfterFunc(min(time.Until(at), farthest)+s.cfg.LoginGrace, func() {
		s.log().Info("login expired", "user", a.name())
		s.fail(errf(codeLoginFailed, "Login expired", "The token of this connection has expired. A CONNECT with a new one in time keeps a connection."))
	})
}

// stands looks again who the client is, if that is in a list of users. Called with mu held.
func (a *access) stands(by auth.Authenticator) *Error {
	list, ok := by.(auth.Roster)
	if !ok || !a.user.Listed {
		return nil
	}
	now := list.Still(a.user)
	if now == nil {
		return errf(codeLoginFailed, "Login withdrawn", "The user of this connection is no longer known here.")
	}
	a.client.Grant = now.Grant
	return nil
}

// farthest is how long a login is watched at most.
const farthest = 100 * 365 * 24 * time.Hour

func (a *access) stop() {
	if a.expiry != nil {
		a.expiry.Stop()
		a.expiry = nil
	}
}

// leave is for a session that is over.
func (a *access) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.stop()
}

func (a *access) name() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client.User
}

// entitle takes the rights of the client out of p. Called with access.mu held.
func (s *session) entitle(p *rights.Policy) {
	r := p.For(s.access.client)
	s.access.rights.Store(r)
	if r != nil && len(r.Void) > 0 {
		s.log().Warn("rights with a placeholder do not count for a client: what it is called has a meaning in patterns", "user", s.access.client.User, "client_id", s.access.client.ID, "rule", r.Void[0].String())
	}
}

// recheck looks again whether the client is to be here, and may keep its subscriptions, after the
// configuration or the list of users has changed. It may be called from any goroutine.
func (s *session) recheck(cfg *Config) {
	a := &s.access
	a.mu.Lock()
	defer a.mu.Unlock()
	loggedIn := a.known && s.cfg.Auth != nil
	if loggedIn {
		if err := a.stands(cfg.Auth); err != nil {
			s.log().Info("connection ended: its user was removed", "user", a.client.User)
			s.fail(err)
			return
		}
	}
	if s.lodging.entered && cfg.Hosts != nil { // after its roles are what they are now
		if _, err := s.mayBeIn(cfg); err != nil {
			s.fail(err)
			return
		}
	}
	if !loggedIn {
		return
	}
	if a.client.Anonymous && !anonymous(cfg.Rights) {
		s.fail(errf(codeLoginRequired, "Login withdrawn", "This server does not serve clients without a login any more."))
		return
	}
	s.entitle(cfg.Rights)
	var e *Error
	if errors.As(s.mayKeepAll(), &e) {
		s.fail(e)
	}
}

// mayKeepAll is the error of the first subscription that the client may not have any more.
func (s *session) mayKeepAll() error {
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	for _, sub := range s.subs.list {
		if sub.gone {
			continue
		}
		if err := s.mayKeep(sub); err != nil {
			return err
		}
	}
	return nil
}

func anonymous(p *rights.Policy) bool { return p != nil && len(p.Anonymous) > 0 }

// mayKeep is the error of a subscription that the client may not have any more.
func (s *session) mayKeep(sub *subscr) *Error {
	a := max(sub.needs, rights.Consume)
	err := s.mayOf(a, sub.right(), sub.spelt)
	if err == nil && sub.of != "" && (!strings.HasPrefix(sub.dest, destination.DurablePrefix) || s.another(sub.dest)) {
		err = s.mayOf(a, sub.dest, sub.dest)
	}
	if err != nil {
		err.Message, err.Subscription = "Server cancelled subscription", sub.id
	}
	return err
}

// another reports whether a durable subscription is of another user. Called with access.mu held, or by the
// reader.
func (s *session) another(queue string) bool {
	if s.access.rights.Load() == nil {
		return false
	}
	d, ok := s.b.Bound(queue)
	return ok && !d.Shared && d.Owner != "" && d.Owner != s.access.who()
}

// right is the name that a right to the subscription is asked for: of a durable one its topic.
func (sub *subscr) right() string {
	if sub.of != "" {
		return sub.of
	}
	return sub.dest
}

// may is the error of what the client may not do with a destination, by the broker's name for it
// and the client's.
func (s *session) may(a rights.Actions, name, spelt string) error {
	if err := s.mayOf(a, name, spelt); err != nil {
		return err
	}
	return nil
}

func (s *session) mayOf(a rights.Actions, name, spelt string) *Error {
	if a == rights.Read {
		if err := s.mayOf(rights.Consume, name, spelt); err != nil {
			return err
		}
		a = rights.Browse
	}
	r := s.access.rights.Load()
	if r == nil || broker.IsTemporary(name) || name == broker.SubscriptionControl {
		return nil
	}
	if asked, control := broker.ControlName(name); control {
		name = asked
	}
	ok, by := false, ""
	of, held := s.holds(name)
	switch {
	case held || s.b.IsPattern(name):
		p, err := s.b.Separators().Parse(of)
		switch {
		case err != nil:
			return errf(codeBadDestination, "Invalid destination", "The destination %s cannot be used: %s.", cut([]byte(spelt)), strings.TrimPrefix(err.Error(), "pattern: "))
		case held:
			ok, by = r.MayHeld(a, name, p)
		default:
			ok, by = r.MayAll(a, p)
		}
	default:
		ok, by = r.May(a, name)
	}
	if ok {
		return nil
	}
	if by == "" {
		by = "no rule allows it"
	}
	user, who := s.access.who(), "A client without a login"
	if user != "" {
		who = "The user " + cut([]byte(user))
	}
	s.srv.census.denied.add(a.String())
	s.log().Info("access refused", "user", user, "action", a.String(), "vhost", s.lodging.host, "destination", name, "rule", by)
	return errf(codeAccess, "access_refused", "%s may not %s %s here.", who, deeds[a], cut([]byte(spelt)))
}

// holds returns what is in the queue of a durable subscription, which is of a topic or of a pattern of
// topics; of another name it returns that.
func (s *session) holds(name string) (topic string, held bool) {
	if strings.HasPrefix(name, destination.DurablePrefix) {
		if d, ok := s.b.Bound(name); ok {
			return d.Topic, true
		}
	}
	return name, false
}

// who is the name of the client; it does not change while the reader, or who holds mu, asks.
func (a *access) who() string { return a.client.User }

// deeds are the actions in a sentence.
var deeds = map[rights.Actions]string{
	rights.Write: "send to", rights.Consume: "subscribe to", rights.Browse: "browse",
	rights.Create: "set the properties of", rights.Destroy: "end the subscription",
}

// reading is what f, which is no SEND, wants to do with a destination. What a topic keeps is browsed,
// and what comes to it consumed.
func (s *session) reading(f *frame.Frame, name string) rights.Actions {
	on, _ := flag(f, false, "browser") // an error is told by who reads it next
	switch {
	case s.b.IsQueue(name) && (on || s.b.Keeps(name)):
		return rights.Browse
	case s.b.IsQueue(name):
		return rights.Consume
	case on:
		if end, _ := flag(f, true, "browser-end"); end {
			return rights.Browse
		}
		return rights.Read
	}
	if from, err := s.replays(f, true); err != nil || from {
		return rights.Read
	}
	return rights.Consume
}

// mayReply checks where the server would answer the request of f: it must not write for a client
// where that may not, nor make a queue for it.
func (s *session) mayReply(f *frame.Frame) error {
	for _, name := range []string{"reply-to", "JMSReplyTo"} {
		all, err := destination.Parse(f.Header.Value(name), destination.None)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.Kind == destination.TempQueue || n.Kind == destination.TempTopic || n.Text == "" {
				continue
			}
			if err := s.may(rights.Write, n.Text, n.Spelt); err != nil {
				return err
			}
			if s.cfg.NoAutoCreate {
				if err := s.mayMake(f, &n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// mayBind checks what a durable or shared subscription is made of: its topic, and if that is not
// kept for it alone the queue, which then gets what is sent to the topic.
func (s *session) mayBind(f *frame.Frame, d broker.Durable) error {
	if s.access.rights.Load() == nil {
		return nil
	}
	if err := s.may(rights.Consume, d.Topic, f.Header.Value("destination")); err != nil {
		return err
	}
	if !strings.HasPrefix(d.Queue, destination.DurablePrefix) {
		for _, a := range []rights.Actions{rights.Consume, rights.Write} {
			if a == rights.Write && d.Virtual {
				break // which topics feed it is in its name
			}
			if err := s.may(a, d.Queue, d.Queue); err != nil {
				return err
			}
		}
	}
	old, ok := s.b.Bound(d.Queue)
	if !ok {
		return nil
	}
	if old.Topic != d.Topic { // what it holds is of that
		if err := s.may(rights.Consume, old.Topic, old.Topic); err != nil {
			return err
		}
	}
	if d.Shared && old.Shared {
		return nil
	}
	if old.Owner != "" && old.Owner != s.user.Name {
		return s.may(rights.Consume, d.Queue, d.Queue)
	}
	return nil
}

// mayUnbind checks whether the client may end a durable subscription for good.
func (s *session) mayUnbind(queue string) error {
	if s.access.rights.Load() == nil {
		return nil
	}
	old, ok := s.b.Bound(queue)
	switch {
	case !ok || old.Owner != "" && old.Owner == s.user.Name:
		return nil
	case old.Owner == "":
		return s.may(rights.Consume, old.Topic, old.Topic)
	}
	return s.may(rights.Destroy, queue, queue)
}
