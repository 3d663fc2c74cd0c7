package session_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/rights"
	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// lending lets everybody in for half a minute.
type lending struct{}

func (lending) Authenticate(_ context.Context, login, _ string) (*auth.Identity, error) {
	return &auth.Identity{Name: login, Expires: time.Now().Add(30 * time.Second)}, nil
}

// TestLoginExpires: a connection ends some time after its login does, unless a second CONNECT came
// in time.
func TestLoginExpires(t *testing.T) {
	bubble(t, session.Config{Auth: lending{}, Heartbeat: session.Heartbeat{Send: -1, Receive: -1}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		began := time.Now()
		stays, goes := dial(), dial()
		for _, p := range []*transcript.Peer{stays, goes} {
			p.Connect("1.2", "login:joe", "passcode:x")
		}
		time.Sleep(35 * time.Second) // expired, and in the time for another
		stays.Connect("1.2", "login:joe", "passcode:y")
		goes.Expect("ERROR\nmessage:Login expired\nerror-code:login-failed\n")
		if at := time.Since(began); at != 40*time.Second {
			t.Errorf("ended after %v, want 40 s", at)
		}
		time.Sleep(30 * time.Second)
		stays.Expect("ERROR\nmessage:Login expired\n")
		if at := time.Since(began); at != 75*time.Second {
			t.Errorf("the other one ended after %v, want 75 s", at)
		}
	})
}

// farOff lets everybody in for longer than a time can be.
type farOff struct{}

func (farOff) Authenticate(_ context.Context, login, _ string) (*auth.Identity, error) {
	return &auth.Identity{Name: login, Expires: time.Now().AddDate(10_000, 0, 0)}, nil
}

// TestLoginOfNoEnd: a login that expires in some other age has not expired.
func TestLoginOfNoEnd(t *testing.T) {
	bubble(t, session.Config{Auth: farOff{}, Heartbeat: session.Heartbeat{Send: -1, Receive: -1}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		p := dial()
		p.Connect("1.2", "login:joe", "passcode:x")
		time.Sleep(24 * time.Hour)
		p.Nothing()
		p.Send("SEND\ndestination:/topic/a\nreceipt:1\n\n^@")
		p.Expect("RECEIPT\nreceipt-id:1\n")
	})
}

// TestAnotherUserOnAConnection: who logs in on a connection of another user has the rights of its
// own, and none of the subscriptions that these do not allow.
func TestAnotherUserOnAConnection(t *testing.T) {
	rule := func(text string) []rights.Rule {
		r, err := rights.ParseRules([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s := newPort(t, session.Config{Auth: lending{}, Rights: &rights.Policy{Users: map[string]rights.Grant{
		"a": {Allow: rule("read /queue/a")}, "b": {Allow: rule("read /queue/b")},
	}}}, &session.Port{})
	p := s.dial(t)
	p.Connect("1.2", "login:a", "passcode:x")
	p.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:1\n\n^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")
	p.Send("CONNECT\naccept-version:1.2\nlogin:b\npasscode:x\n\n^@")
	p.Expect("ERROR\nmessage:Server cancelled subscription\nsubscription:0\nerror-code:access-refused\n")
	p.Closed()
}

// A list knows one user, who is taken off it while somebody looks whether the passcode is right.
type list struct {
	asked, answer chan struct{}
	gone          atomic.Bool
}

func (l *list) Authenticate(_ context.Context, login, _ string) (*auth.Identity, error) {
	l.asked <- struct{}{}
	<-l.answer
	return &auth.Identity{Name: login, Listed: true}, nil
}

func (l *list) Still(id *auth.Identity) *auth.Identity {
	if l.gone.Load() {
		return nil
	}
	return id
}

// TestUserGoneWhileLoggingIn: a user who is taken off the list is not let in by a login that was under way.
func TestUserGoneWhileLoggingIn(t *testing.T) {
	l := &list{asked: make(chan struct{}), answer: make(chan struct{})}
	s := newServer(t, broker.Config{}, session.Config{Auth: l})
	p := s.dial(t)
	p.Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:joe\npasscode:x\n\n^@")
	<-l.asked
	l.gone.Store(true)
	s.srv.Recheck()
	close(l.answer)
	p.Expect("ERROR\nmessage:Login withdrawn\nerror-code:login-failed\n")
}
