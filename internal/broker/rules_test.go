package broker_test

import (
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

func TestRulesChangeUnderConsumers(t *testing.T) {
	b := newBroker(t, broker.Config{})
	match, err := pattern.Both.Parse("/queue/a")
	if err != nil {
		t.Fatal(err)
	}
	first := subscribe(t, b, "/queue/a", broker.Auto, 0, 0)
	second := subscribe(t, b, "/queue/a", broker.Auto, 0, 0)
	b.SetRules([]broker.Rule{{Match: match, Properties: broker.Properties{SingleActive: true}}})
	send(t, b, "/queue/a", "1", "2")
	wantBodies(t, "first alone", first.bodies(), "1", "2")
	b.SetRules(nil)
	send(t, b, "/queue/a", "3", "4")
	got := append(first.bodies(), second.bodies()...)
	wantBodies(t, "both", got, "3", "4")
	b.SetRules([]broker.Rule{{Match: match, Properties: broker.Properties{MaxMessages: 1}}})
	b.SetRules(nil)
	send(t, b, "/queue/a", "5", "6")
	if a, b := len(first.bodies()), len(second.bodies()); a != 1 || b != 1 {
		t.Errorf("without a rule the consumers got %d and %d", a, b)
	}
}
