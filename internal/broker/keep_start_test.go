package broker_test

import (
	"testing"
	"testing/synctest"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
)

// keeps are the rules by which /topic/a has these properties from the next start on.
func (x *bubble) keeps(p broker.Properties) {
	x.Helper()
	match, err := pattern.Both.Parse("/topic/a")
	if err != nil {
		x.Fatal(err)
	}
	p.NonDestructive = true
	x.cfg.Rules = []broker.Rule{{Match: match, Properties: p}}
}

// follows opens a consumer of /topic/a that begins there.
func (x *bubble) follows(browse broker.Browse) *sink {
	x.Helper()
	c := &sink{new: make(chan struct{}, 1)}
	var err error
	if c.sub, err = x.b.Subscribe("/topic/a", broker.Options{Consumer: c, Browse: &browse}); err != nil {
		x.Fatal(err)
	}
	var w broker.Wake
	c.sub.Start(&w)
	w.Run()
	synctest.Wait()
	return c
}

// Who goes on behind a kill, after which numbers go on far behind, misses nothing that way: also if what it saw
// last makes room before the next message comes to it.
func TestNoGapAfterKill(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		x.keeps(broker.Properties{MaxMessages: 2, WhenFull: broker.DropHead})
		x.restart()
		x.send("/topic/a", "1")
		seen := x.got(x.follows(broker.Browse{Follow: true, From: 1}), "1:1")[0].Seq
		killed := *x
		defer killed.close()
		x.open()
		c := x.follows(broker.Browse{Follow: true, From: seen + 1})
		a, err := x.b.Address("/topic/a")
		if err != nil {
			t.Fatal(err)
		}
		tx := x.b.Begin()
		for _, body := range []string{"2", "3", "4"} {
			tx.Send(&a, x.message("/topic/a", body))
		}
		var w broker.Wake
		tx.Commit(broker.NewOp(nil), &w)
		w.Run()
		for _, d := range x.got(c, "2:1", "3:1", "4:1") {
			if gap, ok := d.Msg.Header("gap"); ok {
				t.Errorf("%s has gap:%s", d.Msg.Body(), gap)
			}
		}
		if n := kept(x.st); n != 2 {
			t.Errorf("%d messages are kept, want 2", n)
		}
	})
}
