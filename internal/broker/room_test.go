package broker_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

// A start makes room in a queue that holds more than it may, as after a crash that forgot what had made room,
// with nobody there and nothing coming: the oldest of the lowest priority go, and who comes at once sees none of
// them.
func TestRoomAtStart(t *testing.T) {
	all, err := pattern.Both.Parse("/queue/ring")
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{20, 2000} { // most of these are not at hand
		for _, browses := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, browses %v", count, browses), func(t *testing.T) {
				inBubble(t, broker.Config{}, func(x *bubble) {
					var low, high []string
					for i := range count {
						body := strconv.Itoa(i)
						x.send("/queue/ring", body, "priority", strconv.Itoa(4+5*(i%2)))
						if i%2 == 0 {
							low = append(low, body+":1")
						} else {
							high = append(high, body+":1")
						}
					}
					x.cfg.Rules = []broker.Rule{{Match: all, Properties: broker.Properties{MaxMessages: count/2 + 3, WhenFull: broker.DropHead}}}
					x.restart()
					want := slices.Concat(high, low[count/2-3:])
					if !browses {
						x.got(openSink(t, x.b, "/queue/ring", count, nil), want...)
					} else if got := spell(browse(t, x.b, "/queue/ring")); len(got) != len(want)+1 || got[0][:2] != want[0][:2] {
						t.Errorf("a browser is shown %q, want %q", got, want)
					}
					x.holds("/queue/ring", count/2+3)
				})
			})
		}
	}
	t.Run("alone", func(t *testing.T) {
		inBubble(t, broker.Config{}, func(x *bubble) {
			for i := range 10 {
				x.send("/queue/ring", strconv.Itoa(i))
			}
			x.cfg.Rules = []broker.Rule{{Match: all, Properties: broker.Properties{MaxMessages: 3, WhenFull: broker.DropHead}}}
			x.restart()
			x.holds("/queue/ring", 3)
		})
	})
}

// browse is what a browser is shown, its end too.
func browse(t *testing.T, b *broker.Broker, dest string) []broker.Delivery {
	t.Helper()
	c := &sink{new: make(chan struct{}, 1)}
	var err error
	if c.sub, err = b.Subscribe(dest, broker.Options{Consumer: c, Browse: &broker.Browse{}}); err != nil {
		t.Fatal(err)
	}
	var w broker.Wake
	c.sub.Start(&w)
	w.Run()
	synctest.Wait()
	return c.take()
}
