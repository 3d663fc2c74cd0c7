package session

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
)

// most has a client say one frame after the other until it is refused, and returns how many it could say.
func most(t *testing.T, s *session, frame func(i int) string) int {
	t.Helper()
	for i := range 2000 {
		bytes := []byte(frame(i))
		s.dec.Filled(copy(s.space(), bytes))
		var e *Error
		switch err := s.work(0); {
		case errors.As(err, &e) && e.Code == codeLimit:
			return i
		case err != nil:
			t.Fatal(err)
		}
	}
	t.Fatal("there is no limit")
	return 0
}

func member(t *testing.T, c Config) *session {
	b, err := broker.New(broker.Config{Store: spool.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	end, _ := net.Pipe()
	s := newSession(NewServer(b, c), end, nil, 1)
	s.c = &sink{end: end}
	s.start()
	feed(t, s, []byte("CONNECT\naccept-version:1.2\nhost:x\n\n\x00"))
	return s
}

// TestExpressionsAreBounded: what the expressions of a connection cost the server, and all who send, has an end,
// of topics and of queues.
func TestExpressionsAreBounded(t *testing.T) {
	large := "{[^a]{400}}"
	for _, kind := range []string{"topic", "queue"} {
		s := member(t, Config{})
		if n := most(t, s, func(i int) string {
			return fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/%s/%d.%s\n\n\x00", i, kind, i, large)
		}); n < 10 || n > 100 {
			t.Errorf("%d subscriptions to a %s with large expressions", n, kind)
		}
	}
	s := member(t, Config{})
	for range 200 { // what is ended does not count
		feed(t, s, []byte(strings.ReplaceAll("SUBSCRIBE\nid:t\ndestination:/topic/LARGE\n\n\x00UNSUBSCRIBE\nid:t\n\n\x00"+
			"SUBSCRIBE\nid:q\ndestination:/queue/LARGE\n\n\x00UNSUBSCRIBE\nid:q\n\n\x00", "LARGE", large)))
	}
	if s.exprs != 0 {
		t.Errorf("%d bytes are left", s.exprs)
	}
	for i := range 500 {
		feed(t, s, fmt.Appendf(nil, "SUBSCRIBE\nid:%d\ndestination:/topic/%d.{[0-9]+}\n\n\x00", i, i))
	}
}

// TestPatternsOfQueuesAreBounded: a subscription to a pattern counts as one, if no queue is there that matches.
func TestPatternsOfQueuesAreBounded(t *testing.T) {
	c := Config{}
	c.Limits.Subscriptions = 20
	if n := most(t, member(t, c), func(i int) string {
		return fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/none.%d.*\n\n\x00", i, i)
	}); n != 20 {
		t.Errorf("%d subscriptions to patterns", n)
	}
}
