package broker_test

import (
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
)

// TestMessageIDs checks that ids of a durable store depend on the queue alone, and that all
// others differ from process to process.
func TestMessageIDs(t *testing.T) {
	prefixes := func(durable bool, dests ...string) (ps []string) {
		t.Helper()
		st := spool.New()
		b, err := broker.New(broker.Config{Store: st, Durable: durable})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		defer b.Close()
		for _, dest := range dests {
			sub, err := b.Subscribe(dest, broker.Options{Consumer: &taker{}, Budget: &broker.Budget{}})
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, sub.IDPrefix())
		}
		time.Sleep(2 * time.Millisecond) // the next process starts later
		return ps
	}
	one, two := prefixes(true, "/queue/a", "/queue/b", "/topic/a"), prefixes(true, "/queue/b", "/queue/a", "/topic/a")
	if one[0] != two[1] || one[1] != two[0] || one[0] == one[1] {
		t.Errorf("durable queues: %q, then %q", one[:2], two[:2])
	}
	if one[2] == two[2] {
		t.Errorf("topics: %q twice", one[2])
	}
	seen := make(map[string]bool)
	for _, p := range append(prefixes(false, "/queue/a", "/queue/b"), prefixes(false, "/queue/a", "/queue/b")...) {
		if seen[p] {
			t.Errorf("%q twice in memory", p)
		}
		seen[p] = true
	}
}
