package session

import (
	"net"
	"sync"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
)

// TestDescribeWhileSubscribing: who asks for the figures of all subscriptions may do so while others subscribe.
func TestDescribeWhileSubscribing(t *testing.T) {
	b, err := broker.New(broker.Config{Store: spool.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	srv := NewServer(b, Config{})
	var wg sync.WaitGroup
	for i, text := range []string{
		"SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00",
		"SEND\ndestination:/queue/$sys/stats/$subscriptions\nreply-to:/topic/nobody\n\n\x00",
	} {
		end, _ := net.Pipe()
		s := newSession(srv, end, nil, uint64(i+1))
		s.c = &sink{end: end}
		s.start()
		feed(t, s, []byte("CONNECT\naccept-version:1.2\nhost:x\n\n\x00"))
		wg.Go(func() {
			for range 3000 {
				feed(t, s, []byte(text))
			}
		})
	}
	wg.Wait()
}
