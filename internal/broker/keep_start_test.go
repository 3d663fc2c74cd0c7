package broker_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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

// What a start finds that is not the last of its key goes, without anything coming.
func TestOvertakenAtStart(t *testing.T) {
	for _, far := range []int{0, 2000} { // most of these are not at hand
		inBubble(t, broker.Config{}, func(x *bubble) {
			x.keeps(broker.Properties{MaxAge: time.Hour})
			x.restart()
			for _, body := range []string{"a", "b", "c"} {
				x.send("/topic/a", body, "last-value-key", "k")
				for range far / 3 {
					x.send("/topic/a", "other")
				}
			}
			x.keeps(broker.Properties{LastValue: true})
			x.restart()
			synctest.Wait()
			if n := kept(x.st); n != far/3*3+1 {
				t.Errorf("%d messages are kept, want %d", n, far/3*3+1)
			}
			for _, d := range x.follows(broker.Browse{Follow: true, From: 1}).take() {
				if body := string(d.Msg.Body()); body != "c" && body != "other" {
					t.Errorf("%s comes, and another has taken its place", body)
				}
			}
		})
	}
}

// While it is looked through what a topic holds for the last of each key, nobody misses one that was not come by yet.
func TestLastIsShownWhileKeysAreLearned(t *testing.T) {
	onStage(t, func(s *stage) {
		s.rules("/topic/a", broker.Properties{NonDestructive: true})
		a, err := s.b.Address("/topic/a")
		if err != nil {
			t.Fatal(err)
		}
		var w broker.Wake
		for i := range 600 { // most of which are not at hand
			m := newMessage(t, "/topic/a", "other")
			if i%599 == 0 {
				m = newMessage(t, "/topic/a", fmt.Sprint(i), "last-value-key", "x")
			}
			a.Send(m, broker.NewOp(nil), &w)
		}
		w.Run()
		s.restart()
		s.listenTo("/topic/a", broker.Browse{Follow: true, Skip: true}, 0) // so that it is there
		synctest.Wait()
		s.h.hold()
		s.rules("/topic/a", broker.Properties{NonDestructive: true, LastValue: true})
		synctest.Wait()
		first, second := *s.h.gate.Load(), make(chan struct{})
		s.h.gate.Store(&second)
		close(first) // one page is read
		synctest.Wait()
		s.h.gate.Store(nil)
		l := s.listenTo("/topic/a", broker.Browse{}, 0)
		synctest.Wait()

		if !slices.Contains(l.bodies(), "599") {
			t.Error("the last of its key is missed")
		}
		close(second)
	})
}
