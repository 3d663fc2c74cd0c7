package broker_test

import (
	"testing"

	"stompserver/internal/broker"
)

// A request has one name, by which rights are asked, whatever spelling it comes in.
func TestControlName(t *testing.T) {
	for name, want := range map[string]string{
		"/queue/$sys/stats":                             "/queue/$sys/stats",
		"/queue/ActiveMQ.Statistics.Broker":             "/queue/$sys/stats",
		"/queue/$sys/stats/a":                           "/queue/$sys/stats/queue/a",
		"/queue/ActiveMQ.Statistics.Destination.a":      "/queue/$sys/stats/queue/a",
		"/queue/$sys/stats/$subscriptions":              "/queue/$sys/stats/$subscriptions",
		"/queue/$sys/stats/queue/$subscriptions":        "/queue/$sys/stats/$subscriptions",
		"/queue/ActiveMQ.Statistics.Subscription":       "/queue/$sys/stats/$subscriptions",
		"/topic/ActiveMQ.Statistics.Subscription":       "/queue/$sys/stats/$subscriptions",
		"/queue/ActiveMQ.Statistics.Subscription.more":  "",
		"/queue/ActiveMQ.Statistics.Destination.$sys.a": "/queue/$sys/stats/queue/$sys.a",
	} {
		if got, _ := broker.ControlName(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
