package session_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/internal/store/spool"
	"stompserver/test/transcript"
)

// patience bounds how long a test waits for what must come.
const patience = transcript.Patience

// A server is a broker with sessions, for tests.
type server struct {
	b   *broker.Broker
	srv *session.Server
	ln  net.Listener
}

func newServer(t testing.TB, bc broker.Config, sc session.Config) *server {
	t.Helper()
	bc.Store = spool.New()
	return newServerOn(t, bc, sc)
}

// newServerOn serves the store of bc.
func newServerOn(t testing.TB, bc broker.Config, sc session.Config) *server {
	t.Helper()
	st := bc.Store
	b, err := broker.New(bc)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{b: b}
	s.srv = session.NewServer(s.b, sc)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(ln, &session.Port{}) }()
	t.Cleanup(func() {
		ctx, cancel := contextFor(patience)
		defer cancel()
		if err := s.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, session.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) dial(t testing.TB) *transcript.Peer {
	t.Helper()
	return transcript.Dial(t, s.ln.Addr().String())
}

// TestTranscripts plays testdata/*.stomp, as transcript.Play has them.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.stomp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".stomp"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := newServer(t, broker.Config{}, session.Config{ServerHeader: "test/1"})
			transcript.Play(t, s.ln.Addr().String(), string(text), nil)
		})
	}
}

// TestDisconnectGivesBackFirst: once a client has its RECEIPT for DISCONNECT, what it did not
// settle is back in its place.
func TestDisconnectGivesBackFirst(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	for range 300 {
		a := s.dial(t)
		a.Connect("1.2")
		a.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\nprefetch-count:2\n\n^@")
		for _, body := range []string{"1", "2", "3", "4"} {
			a.Send("SEND\ndestination:/queue/a\n\n" + body + "^@")
		}
		a.Expect("MESSAGE\n")
		a.Expect("MESSAGE\n")
		a.Send("DISCONNECT\nreceipt:r\n\n^@")
		a.Expect("RECEIPT\n")
		b := s.dial(t)
		b.Connect("1.2")
		b.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\n\n^@")
		for i, redelivered := range []string{"true", "true", "false", "false"} {
			m, err := b.Read()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := m.Get("redelivered"); m.Body != strconv.Itoa(i+1) || got != redelivered {
				t.Fatalf("message %d: body %q, redelivered:%s, want %d and %s", i+1, m.Body, got, i+1, redelivered)
			}
		}
		b.Send("DISCONNECT\nreceipt:r\n\n^@")
		b.Expect("RECEIPT\n")
	}
}

// TestDisconnectIsToldFirst: who sees the end of its stream has been told of to those who listen.
func TestDisconnectIsToldFirst(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	e := s.dial(t)
	e.Connect("1.2")
	e.Send("SUBSCRIBE\nid:e\ndestination:/topic/$sys/disconnect\n\n^@SUBSCRIBE\nid:own\ndestination:/topic/own\nreceipt:r\n\n^@")
	e.Expect("RECEIPT\n")
	for _, ends := range []string{"DISCONNECT\n\n^@", "NONSENSE\n\n^@"} {
		a := s.dial(t)
		a.Connect("1.2")
		a.Send(ends)
		if _, err := io.Copy(io.Discard, a.R); err != nil {
			t.Fatal(err)
		}
		e.Send("SEND\ndestination:/topic/own\n\n^@")
		e.Expect("MESSAGE\nsubscription:e\n")
		e.Expect("MESSAGE\nsubscription:own\n")
	}
}
