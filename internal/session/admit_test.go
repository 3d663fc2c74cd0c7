package session_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// oneWord lets in who knows it.
type oneWord struct{}

func (oneWord) Authenticate(_ context.Context, login, passcode string) (*auth.Identity, error) {
	if passcode != "right" {
		return nil, auth.ErrDenied
	}
	return &auth.Identity{Name: login}, nil
}

func TestConnectionsPerAddress(t *testing.T) {
	s := newPort(t, session.Config{Limits: session.Limits{ConnectionsPerAddress: 2}}, &session.Port{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	come := func(from, want string) *transcript.Peer {
		t.Helper()
		p := s.dial(t)
		if from != "" {
			p.Send("PROXY TCP4 " + from + " 198.51.100.1 4711 61613\r\n")
		}
		p.Send("CONNECT\naccept-version:1.2\nhost:x\n\n^@")
		p.Expect(want)
		return p
	}
	a := come("192.0.2.1", "CONNECTED\n")
	come("192.0.2.1", "CONNECTED\n")
	come("192.0.2.1", "ERROR\nerror-code:limit-reached\n")
	come("192.0.2.2", "CONNECTED\n")
	come("", "CONNECTED\n")
	a.Send("DISCONNECT\n\n^@")
	a.Closed()
	_ = a.Conn.Close()
	for range 10_000 { // the server may not have seen the end of it yet
		p := s.dial(t)
		p.Send("PROXY TCP4 192.0.2.1 198.51.100.1 4711 61613\r\nCONNECT\naccept-version:1.2\nhost:x\n\n^@")
		if f, err := p.Read(); err == nil && f.Command == "CONNECTED" {
			return
		}
	}
	t.Error("the place of a client that left stays taken")
}

func TestConnectionsPerUser(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{Auth: oneWord{}, Limits: session.Limits{ConnectionsPerUser: 1}})
	come := func(user, want string) *transcript.Peer {
		t.Helper()
		p := s.dial(t)
		p.Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:" + user + "\npasscode:right\n\n^@")
		p.Expect(want)
		return p
	}
	a := come("a", "CONNECTED\n")
	come("a", "ERROR\nerror-code:limit-reached\n")
	b := come("b", "CONNECTED\n")
	// Who logs in as another leaves a place and takes one.
	b.Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:c\npasscode:right\n\n^@")
	b.Expect("CONNECTED\n")
	come("b", "CONNECTED\n")
	a.Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:c\npasscode:right\n\n^@")
	a.Expect("ERROR\nerror-code:limit-reached\n")
}

func TestConnectRate(t *testing.T) {
	bubble(t, session.Config{Limits: session.Limits{ConnectRate: 2}}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		come := func(want string) {
			t.Helper()
			p := dial()
			p.Send("CONNECT\naccept-version:1.2\nhost:x\n\n^@")
			p.Expect(want)
		}
		come("CONNECTED\n")
		come("CONNECTED\n")
		come("ERROR\nerror-code:limit-reached\n")
		time.Sleep(500 * time.Millisecond)
		come("CONNECTED\n")
		come("ERROR\nerror-code:limit-reached\n")
		time.Sleep(time.Hour)
		come("CONNECTED\n")
		come("CONNECTED\n")
		come("ERROR\nerror-code:limit-reached\n")
	})
}

// TestFailedLoginsAreAnsweredLater: each failure costs more time, the right passcode none.
func TestFailedLoginsAreAnsweredLater(t *testing.T) {
	bubble(t, session.Config{Auth: oneWord{}}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		try := func(user, passcode, want string, took time.Duration) {
			t.Helper()
			p := dial()
			start := time.Now()
			p.Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:" + user + "\npasscode:" + passcode + "\n\n^@")
			p.Expect(want)
			if d := time.Since(start); d != took {
				t.Errorf("%s of %s is answered after %v, want %v", passcode, user, d, took)
			}
		}
		const no = "ERROR\nerror-code:login-failed\n"
		for range 3 {
			try("a", "wrong", no, 0)
		}
		try("a", "wrong", no, 100*time.Millisecond) // of the user
		try("a", "wrong", no, 300*time.Millisecond) // 100 of the address, 200 of the user
		try("b", "wrong", no, 200*time.Millisecond) // of the address
		try("b", "right", "CONNECTED\n", 400*time.Millisecond)
		try("a", "right", "CONNECTED\n", 0)
		try("a", "wrong", no, 400*time.Millisecond)
		time.Sleep(5 * time.Minute)
		try("a", "wrong", no, 0)
	})
}

// TestPace: who sends more than a user may is read later, on all connections together; heart-beats
// are not missed meanwhile, and others do not wait.
func TestPace(t *testing.T) {
	limits := session.Limits{FrameRate: 10}
	bubble(t, session.Config{Auth: oneWord{}, Limits: limits}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		connect := func(user string) *transcript.Peer {
			p := dial()
			p.Send("CONNECT\naccept-version:1.2\nhost:x\nheart-beat:1000,0\nlogin:" + user + "\npasscode:right\n\n^@")
			p.Expect("CONNECTED\n")
			return p
		}
		a, again, b := connect("a"), connect("a"), connect("b")
		send := func(p *transcript.Peer, n int) time.Duration {
			start := time.Now()
			for range n {
				p.Send("SEND\ndestination:/topic/a\nreceipt:r\n\n^@")
				p.Expect("RECEIPT\n")
			}
			return time.Since(start)
		}
		time.Sleep(2 * time.Second)
		if d := send(a, 10); d != 0 {
			t.Errorf("10 frames took %v", d)
		}
		if d := send(b, 10); d != 0 {
			t.Errorf("10 frames of another took %v", d)
		}
		if d := send(again, 1) + send(again, 30); d < 2900*time.Millisecond || d > 3100*time.Millisecond {
			t.Errorf("31 frames more took %v, want 3 s", d)
		}
	})
	bubble(t, session.Config{Limits: session.Limits{ByteRate: 1000}}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		p := dial()
		p.Send("CONNECT\naccept-version:1.2\nhost:x\n\n^@")
		p.Expect("CONNECTED\n")
		start := time.Now()
		for range 4 {
			p.Send("SEND\ndestination:/topic/a\nreceipt:r\n\n" + strings.Repeat("x", 962) + "^@") // 1000 bytes
			p.Expect("RECEIPT\n")
		}
		if d := time.Since(start); d < 2*time.Second || d > 3100*time.Millisecond {
			t.Errorf("4 frames of 1000 bytes took %v", d)
		}
	})
}
