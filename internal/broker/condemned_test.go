package broker_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/message"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
)

// What a bound condemns is shown to nobody who comes once something newer was shown, however long the store
// takes to drop it.

// bounded are the bounds of what a topic keeps that come to three of the messages m1, m2 and so on.
func bounded(t *testing.T) map[string]broker.Properties {
	size := int64(newMessage(t, "/topic/a", "m1").Size())
	return map[string]broker.Properties{
		"count": {NonDestructive: true, MaxMessages: 3},
		"bytes": {NonDestructive: true, MaxBytes: 3*size + size/2},
	}
}

// onBoundedTopic plays with a broker that has /topic/a keep three messages, by each bound.
func onBoundedTopic(t *testing.T, play func(s *stage)) {
	for name, p := range bounded(t) {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.rules("/topic/a", p)
				play(s)
			})
		})
	}
	t.Run("of its declaration", func(t *testing.T) {
		onStage(t, func(s *stage) {
			name, _ := s.b.KeptQueue("/topic/a")
			if same, err := s.b.Declare(name, broker.Properties{NonDestructive: true, MaxMessages: 3}, true); !same || err != nil {
				s.Fatal(same, err)
			}
			play(s)
		})
	})
}

// rules has the broker have that rule alone, now and when it is opened again.
func (s *stage) rules(dest string, p broker.Properties) {
	s.Helper()
	match, err := pattern.Both.Parse(dest)
	if err != nil {
		s.Fatal(err)
	}
	s.set = []broker.Rule{{Match: match, Properties: p}}
	s.b.SetRules(s.set)
}

func (s *stage) restart() {
	s.Helper()
	synctest.Wait()
	s.close()
	s.open()
}

func (s *stage) send(bodies ...string) {
	s.Helper()
	for _, body := range bodies {
		a, err := s.b.Address("/topic/a")
		if err != nil {
			s.Fatal(err)
		}
		var w broker.Wake
		m := newMessage(s, "/topic/a", body)
		m.SetArrived(time.Now().UnixMilli())
		a.Send(m, broker.NewOp(nil), &w)
		w.Run()
	}
}

// together sends in a transaction, and returns whether that was confirmed by now.
func (s *stage) together(bodies ...string) (confirmed func() bool) {
	s.Helper()
	a, err := s.b.Address("/topic/a")
	if err != nil {
		s.Fatal(err)
	}
	tx := s.b.Begin()
	for _, body := range bodies {
		tx.Send(&a, newMessage(s, "/topic/a", body))
	}
	var w broker.Wake
	var done atomic.Bool
	tx.Commit(broker.NewOp(ownerFunc(func(err error) { done.Store(err == nil) })), &w)
	w.Run()
	return done.Load
}

// A listener notes what a subscription is shown: the bodies, with a + where it is told of a gap before them.
type listener struct {
	mu   sync.Mutex
	got  []string
	most int // how many it takes; 0: all
	sub  *broker.Subscription
}

func (l *listener) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	body := string(d.Msg.Body())
	if gap, _ := d.Msg.Header("gap"); gap == "true" {
		body = "+" + body
	}
	l.got = append(l.got, body)
	return l.most == 0 || len(l.got) < l.most
}

func (l *listener) Lagging(int, broker.Slow) {}

func (l *listener) bodies() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (s *stage) listen(how broker.Browse, most int) *listener {
	s.Helper()
	return s.listenTo("/topic/a", how, most)
}

func (s *stage) listenTo(dest string, how broker.Browse, most int) *listener {
	s.Helper()
	l := &listener{most: most}
	how.Follow = true
	var err error
	if l.sub, err = s.b.Subscribe(dest, broker.Options{Consumer: l, Browse: &how, Budget: &broker.Budget{Limit: 1 << 20}}); err != nil {
		s.Fatal(err)
	}
	var w broker.Wake
	l.sub.Start(&w)
	w.Run()
	return l
}

// wants checks what all who may come to it are shown.
func (s *stage) wants(when string, bodies ...string) {
	s.Helper()
	gap := slices.Clone(bodies)
	if len(s.set) == 0 || !s.set[0].Properties.LastValue { // of which numbers lack anyway
		gap[0] = "+" + gap[0]
	}
	for _, c := range []struct {
		name string
		how  broker.Browse
		want []string
	}{
		{"from the first", broker.Browse{From: 1}, gap},
		{"from the second", broker.Browse{From: 2}, gap},
		{"all there is", broker.Browse{}, bodies},
		{"since long ago", broker.Browse{Since: 1}, bodies},
		{"the last two", broker.Browse{Last: 2}, bodies[len(bodies)-2:]},
	} {
		l := s.listen(c.how, 0)
		synctest.Wait()
		wantBodies(s, when+", "+c.name, l.bodies(), c.want...)
		var w broker.Wake
		l.sub.Close(0, &w)
		w.Run()
	}
}

// TestCondemnedFarBehind: what is to make room is not at hand, and the store takes its time to read it.
func TestCondemnedFarBehind(t *testing.T) {
	onBoundedTopic(t, func(s *stage) {
		s.send("m1", "m2", "m3")
		s.restart()
		a := s.listen(broker.Browse{Skip: true}, 0)
		letGo := s.h.hold()
		s.send("m4", "m5")
		synctest.Wait()
		wantBodies(s, "who was there", a.bodies(), "m4", "m5")
		s.h.gate.Store(nil) // from now on others are not slow
		var all []*listener
		for _, from := range []store.Seq{2, 3, 4} {
			all = append(all, s.listen(broker.Browse{From: from}, 0))
		}
		synctest.Wait()
		letGo()
		synctest.Wait()
		wantBodies(s, "from the second", all[0].bodies(), "+m3", "m4", "m5")
		wantBodies(s, "from the third", all[1].bodies(), "m3", "m4", "m5")
		wantBodies(s, "from the fourth", all[2].bodies(), "m4", "m5")
		s.wants("later", "m3", "m4", "m5")
		s.restart()
		s.wants("after a restart", "m3", "m4", "m5")
	})
}

// TestCondemnedOfTransaction: the store takes its time to make a transaction durable that fills more than the
// bound, and what comes behind it meanwhile is newer.
func TestCondemnedOfTransaction(t *testing.T) {
	for _, behind := range [][]string{nil, {"m8"}, {"m8", "m9", "m10", "m11"}} {
		t.Run(fmt.Sprint(len(behind), " behind it"), func(t *testing.T) {
			onBoundedTopic(t, func(s *stage) {
				s.send("m1", "m2")
				synctest.Wait()
				gate := make(chan struct{})
				s.h.Before = func([]store.Record) error { <-gate; return nil }
				confirmed := s.together("m3", "m4", "m5", "m6", "m7")
				s.send(behind...)
				synctest.Wait()
				if confirmed() {
					s.Fatal("it is confirmed, and cannot be durable")
				}
				close(gate)
				synctest.Wait()
				if !confirmed() {
					s.Fatal("it is not confirmed")
				}
				last := append([]string{"m5", "m6", "m7"}, behind...)
				last = last[len(last)-3:]
				s.wants("once it is durable", last...)
				if n := kept(s.st); n != 3 {
					s.Errorf("%d messages are kept", n)
				}
				s.restart()
				s.wants("after a restart", last...)
			})
		})
	}
}

// TestCondemnedAtHand: somebody is slow, for whom messages stay at hand that are not kept any more.
func TestCondemnedAtHand(t *testing.T) {
	onBoundedTopic(t, func(s *stage) {
		slow := s.listen(broker.Browse{Skip: true}, 1)
		s.send("m1", "m2", "m3", "m4", "m5", "m6", "m7")
		synctest.Wait()
		s.wants("beside who is slow", "m5", "m6", "m7")
		s.restart()
		s.listen(broker.Browse{Skip: true}, 1)
		letGo := s.h.hold()
		s.send("m8", "m9", "m10", "m11", "m12")
		synctest.Wait()
		s.h.gate.Store(nil)
		late, at := s.listen(broker.Browse{From: 8}, 0), s.listen(broker.Browse{From: 10}, 0)
		synctest.Wait()
		letGo()
		synctest.Wait()
		wantBodies(s, "where more is to go", late.bodies(), "+m10", "m11", "m12")
		wantBodies(s, "where that is at hand", at.bodies(), "m10", "m11", "m12")
		if got := slow.bodies(); len(got) != 1 {
			t.Errorf("who is slow took %q", got)
		}
	})
}

// TestCondemnedOfQueue: a queue that keeps what it delivers has to read what is to make room.
func TestCondemnedOfQueue(t *testing.T) {
	const dest = "/queue/a"
	onStage(t, func(s *stage) {
		s.rules(dest, bounded(t)["count"])
		send(s, s.b, dest, "m1", "m2", "m3")
		s.restart()
		letGo := s.h.hold()
		send(s, s.b, dest, "m4", "m5")
		synctest.Wait()
		s.h.gate.Store(nil)
		var all []*listener
		hows := []broker.Browse{{}, {From: 2}, {Last: 2}, {Skip: true}}
		for _, how := range hows {
			all = append(all, s.listenTo(dest, how, 0))
		}
		synctest.Wait()
		letGo()
		synctest.Wait()
		for i, want := range [][]string{{"m3", "m4", "m5"}, {"+m3", "m4", "m5"}, {"m4", "m5"}, nil} {
			wantBodies(s, fmt.Sprintf("%+v", hows[i]), all[i].bodies(), want...)
		}
	})
}

// TestCondemnedByKey: the store takes its time with messages of one key, of which a topic keeps the last.
func TestCondemnedByKey(t *testing.T) {
	onStage(t, func(s *stage) {
		s.rules("/topic/a", broker.Properties{NonDestructive: true, LastValue: true, KeyHeader: "key"})
		put := func(body, key string) {
			a, err := s.b.Address("/topic/a")
			if err != nil {
				s.Fatal(err)
			}
			var w broker.Wake
			a.Send(newMessage(s, "/topic/a", body, "key", key), broker.NewOp(nil), &w)
			w.Run()
		}
		before := s.listen(broker.Browse{}, 0)
		put("m1", "x")
		synctest.Wait()
		gate := make(chan struct{})
		s.h.Before = func([]store.Record) error { <-gate; return nil }
		put("m2", "x")
		put("m3", "x")
		put("m4", "y")
		close(gate)
		synctest.Wait()
		wantBodies(s, "who was there", before.bodies(), "m1", "m2", "m3", "m4")
		s.wants("later", "m3", "m4")
		s.restart()
		letGo := s.h.hold()
		put("m5", "x")
		synctest.Wait()
		s.h.gate.Store(nil)
		s.wants("after a restart", "m4", "m5")
		letGo()
		synctest.Wait()
	})
}

// TestCondemnedByRule: a rule says less than what is kept.
func TestCondemnedByRule(t *testing.T) {
	for _, again := range []bool{false, true} {
		onStage(t, func(s *stage) {
			s.rules("/topic/a", broker.Properties{NonDestructive: true})
			s.send("m1", "m2", "m3", "m4", "m5", "m6")
			if again {
				s.restart()
			}
			s.rules("/topic/a", bounded(t)["count"])
			s.wants("by the new rule", "m4", "m5", "m6")
		})
	}
}

// TestCondemnedByAge: the time of what is kept is over, and the store takes its time to read what is to go.
func TestCondemnedByAge(t *testing.T) {
	onStage(t, func(s *stage) {
		s.rules("/topic/a", broker.Properties{NonDestructive: true, MaxAge: time.Hour})
		s.send("m1", "m2")
		time.Sleep(30 * time.Minute)
		s.send("m3", "m4")
		s.restart()
		time.Sleep(time.Minute)
		letGo := s.h.hold()
		time.Sleep(30 * time.Minute)
		s.h.gate.Store(nil)
		s.wants("while they are still there", "m3", "m4")
		letGo()
		synctest.Wait()
		s.wants("once they are not", "m3", "m4")
	})
}

// TestCondemnedBySelector: who wants some messages only is given nothing that is to make room, also when he is looked at alone.
func TestCondemnedBySelector(t *testing.T) {
	const dest = "/queue/a"
	for _, filter := range []broker.Filter{nil, all{}} {
		t.Run(fmt.Sprintf("filter %v", filter != nil), func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.rules(dest, broker.Properties{MaxMessages: 3, WhenFull: broker.DropHead})
				send(s, s.b, dest, "m1", "m2", "m3")
				s.restart()
				letGo := s.h.hold()
				send(s, s.b, dest, "m4", "m5")
				synctest.Wait()
				s.h.gate.Store(nil) // from now on others are not slow
				c := openSink(s.T, s.b, dest, 10, filter)
				synctest.Wait()
				var w broker.Wake
				c.sub.Resume(&w) // for which he is looked at again
				w.Run()
				synctest.Wait()
				wantBodies(s, "while it is read what is to go", bodiesOf(c.take()))
				letGo()
				synctest.Wait()
				wantBodies(s, "then", bodiesOf(c.take()), "m3", "m4", "m5")
			})
		})
	}
}

type all struct{}

func (all) Wants(*message.Message) bool { return true }

func bodiesOf(ds []broker.Delivery) (all []string) {
	for _, d := range ds {
		all = append(all, string(d.Msg.Body()))
	}
	return all
}
