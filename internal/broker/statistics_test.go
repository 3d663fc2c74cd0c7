package broker_test

import (
	"fmt"
	"runtime"
	"testing"

	"stompserver/internal/broker"
)

// TestFiguresOfMany: what a request for the figures of many queues costs grows with their number, and not with its
// square: a single SEND would keep a core busy for minutes.
func TestFiguresOfMany(t *testing.T) {
	b := newBroker(t, broker.Config{})
	const many = 1000
	for i := range many {
		send(t, b, fmt.Sprintf("/queue/q.%d", i), "1")
	}
	a, err := b.Address("/queue/$sys/stats/queue/q.*")
	if err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	finish(t, func(op *broker.Op) {
		a.Send(newMessage(t, "/queue/$sys/stats", "", "reply-to", "/queue/answers"), op, &w)
	})
	runtime.ReadMemStats(&after)
	if n := b.Waiting("/queue/answers"); n != many {
		t.Errorf("%d answers", n)
	}
	if n := (after.TotalAlloc - before.TotalAlloc) / many; n > 20_000 {
		t.Errorf("%d bytes were allocated for each", n)
	}
}
