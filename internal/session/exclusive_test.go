package session

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/store/spool"
)

// TestManyExclusiveQueues: a connection that uses one exclusive queue after the other does not remember those that
// are forgotten.
func TestManyExclusiveQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Config{Store: spool.New(), DeleteIdleAfter: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		all, err := pattern.Both.Parse("/queue/own.*")
		if err != nil {
			t.Fatal(err)
		}
		b.SetRules([]broker.Rule{{Match: all, Properties: broker.Properties{Exclusive: true}}})
		end, _ := net.Pipe()
		s := newSession(NewServer(b, Config{}), end, nil, 1)
		s.c = &sink{end: end}
		s.start()
		feed(t, s, []byte("CONNECT\naccept-version:1.2\nhost:x\n\n\x00"))
		for i := range 1000 {
			feed(t, s, fmt.Appendf(nil, "SUBSCRIBE\nid:1\ndestination:/queue/own.%d\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00", i))
			if i%20 == 0 {
				time.Sleep(3 * time.Second)
			}
		}
		if n := len(s.exclusive); n > 100 {
			t.Errorf("%d queues are remembered", n)
		}
	})
}
