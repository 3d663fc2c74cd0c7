package session

import (
	"fmt"
	"testing"

	"stompserver/internal/destination"
)

// TestManyExpressions: the patterns of a list are read once each, and not for each pair of them, or a frame of a
// few kilobytes would keep a core busy for seconds.
func TestManyExpressions(t *testing.T) {
	var names []destination.Name
	for i := range maxParts {
		text := fmt.Sprintf("/topic/{[a-c]%d}", i)
		names = append(names, destination.Name{Kind: destination.Topic, Text: text, Spelt: text})
	}
	if n := testing.AllocsPerRun(3, func() {
		if left := withoutDoubles(names, 0); len(left) != len(names) {
			t.Fatalf("%d of %d names are left", len(left), len(names))
		}
	}); n > 100_000 { // to read them for each pair takes 460,000
		t.Errorf("a list of %d takes %.0f allocations", len(names), n)
	}
}
