package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A basket is a Consumer that counts what it gets, from any goroutine.
type basket struct {
	mu  sync.Mutex
	got map[string]int
	sub *broker.Subscription
}

func (c *basket) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[string(d.Msg.Body())]++
	return true
}

func (c *basket) Lagging(int, broker.Slow) {}

func (c *basket) count(body string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[body]
}

// finish waits for the operation that begin begins.
func finish(t *testing.T, begin func(op *broker.Op)) {
	t.Helper()
	done := make(chan error, 1)
	op := broker.NewOp(nil)
	op.Finally(func(err error) { done <- err })
	begin(op)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}

// What a durable subscription held when it was destroyed does not come to the next of that name, though most of
// it has to be read from the disk first and some is in flight; and not if the process ends before it is gone.
func TestDestroyedIsGone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "at once", true: "after a restart"}[restart], func(t *testing.T) {
			backend := &storetest.Reference{}
			var b *broker.Broker
			open := func() (end func()) {
				st, err := spool.Open(spool.Config{Backend: backend, Window: 8 << 10})
				if err != nil {
					t.Fatal(err)
				}
				if b, err = broker.New(broker.Config{Store: st, Durable: true}); err != nil {
					t.Fatal(err)
				}
				return sync.OnceFunc(func() {
					b.Close()
					if err := st.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			end := open()
			defer func() { end() }()
			bind := func() *basket {
				finish(t, func(op *broker.Op) {
					if err := b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/a"}, op); err != nil {
						t.Fatal(err)
					}
				})
				s := &basket{got: make(map[string]int)}
				var err error
				if s.sub, err = b.Subscribe("/dsub/d", broker.Options{Mode: broker.Client, Prefetch: 10, Consumer: s}); err != nil {
					t.Fatal(err)
				}
				return s
			}
			var w broker.Wake
			send := func(body string, headers ...string) {
				a, err := b.Address("/topic/a")
				if err != nil {
					t.Fatal(err)
				}
				finish(t, func(op *broker.Op) { a.Send(newMessage(t, "/topic/a", body, headers...), op, &w) })
			}
			first := bind()
			for i := range 2000 {
				send("old", "priority", []string{"4", "9"}[i%2], "fill", strings.Repeat("x", 500))
			}
			first.sub.Start(&w)
			eventually(t, "ten are in flight", func() bool { return first.count("old") == 10 })
			finish(t, func(op *broker.Op) {
				if left, ok := b.Unbind("/dsub/d", op); !ok || len(left) != 1 || left[0] != broker.Consumer(first) {
					t.Fatal(left, ok)
				}
			})
			if restart {
				end()
				end = open()
			}
			second := bind()
			send("new")
			second.sub.Start(&w)
			eventually(t, "the new message comes", func() bool { return second.count("new") == 1 })
			if !restart {
				first.sub.Close(1000, &w)
			}
			eventually(t, "the queue holds that alone", func() bool {
				for _, q := range b.Queues() {
					if q.Name == "/dsub/d" {
						return q.Ready == 0 && q.Unacked == 1
					}
				}
				return false
			})
			if n := second.count("old"); n > 0 {
				t.Errorf("got %d old ones", n)
			}
			if restart { // and it is bound as it was
				end()
				end = open()
				if d, ok := b.Bound("/dsub/d"); !ok || d.Topic != "/topic/a" {
					t.Error(d, ok)
				}
			}
		})
	}
}

// An unreadable backend fails to read a queue while it is told to.
type unreadable struct {
	storetest.Reference
	queue atomic.Pointer[string]
	told  atomic.Bool // that it failed
}

func (u *unreadable) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) ([]store.Record, bool, error) {
	if name := u.queue.Load(); name != nil && *name == queue {
		return dst, false, errors.New("the disk is gone")
	}
	return u.Reference.Read(dst, queue, after, max, size)
}

// Enabled and the rest have it be a slog.Handler that waits for the broker to have seen the failure.
func (u *unreadable) Enabled(context.Context, slog.Level) bool { return true }
func (u *unreadable) WithAttrs([]slog.Attr) slog.Handler       { return u }
func (u *unreadable) WithGroup(string) slog.Handler            { return u }
func (u *unreadable) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "fetch failed" {
		u.told.Store(true)
	}
	return nil
}

// What a durable subscription held when it was destroyed does not come back where it could not be read, and so
// was not dropped, before the process ended. Who makes one of that name meanwhile need not wait for the disk.
func TestDestroyedCannotBeRead(t *testing.T) {
	backend := &unreadable{}
	var b *broker.Broker
	open := func() (end func()) {
		st, err := spool.Open(spool.Config{Backend: backend, Window: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if b, err = broker.New(broker.Config{Store: st, Durable: true, Log: slog.New(backend)}); err != nil {
			t.Fatal(err)
		}
		return func() {
			b.Close()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	const name = "/dsub/d"
	fails := func(on bool) {
		backend.queue.Store(nil)
		if on {
			at := name
			backend.queue.Store(&at)
		}
		backend.told.Store(false)
	}
	subscribe := func() *basket {
		finish(t, func(op *broker.Op) {
			if err := b.Bind(broker.Durable{Queue: name, Topic: "/topic/a"}, op); err != nil {
				t.Fatal(err)
			}
		})
		s := &basket{got: make(map[string]int)}
		var err error
		if s.sub, err = b.Subscribe(name, broker.Options{Mode: broker.Client, Prefetch: 10, Consumer: s}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	var w broker.Wake
	send := func(body string) {
		a, err := b.Address("/topic/a")
		if err != nil {
			t.Fatal(err)
		}
		finish(t, func(op *broker.Op) { a.Send(newMessage(t, "/topic/a", body, "fill", strings.Repeat("x", 500)), op, &w) })
	}
	end := open()
	first := subscribe()
	for range 1000 {
		send("old")
	}
	first.sub.Start(&w)
	eventually(t, "ten are in flight", func() bool { return first.count("old") == 10 })
	fails(true)
	finish(t, func(op *broker.Op) { b.Unbind(name, op) })
	eventually(t, "the rest cannot be read", backend.told.Load)
	end()
	fails(false)
	end = open()
	second := subscribe()
	send("new")
	second.sub.Start(&w)
	eventually(t, "the new message comes", func() bool { return second.count("new") == 1 })
	if n := second.count("old"); n > 0 {
		t.Errorf("got %d old ones", n)
	}
	for range 1000 {
		send("old")
	}
	fails(true)
	finish(t, func(op *broker.Op) { b.Unbind(name, op) })
	eventually(t, "the rest cannot be read", backend.told.Load)
	third := subscribe()
	fails(false)
	third.sub.Start(&w)
	send("newer")
	eventually(t, "the newer message comes", func() bool { return third.count("newer") == 1 })
	if n := third.count("old"); n > 0 {
		t.Errorf("got %d old ones", n)
	}
	end()
	end = open()
	if _, ok := b.Bound(name); !ok {
		t.Error("it is forgotten")
	}
	end()
}

// An exclusive queue that goes with its connection goes as a whole, though most of it has to be read from the disk
// first and the next connection is there before.
func TestAbandonedIsGone(t *testing.T) {
	backend := &held{}
	var b *broker.Broker
	var w broker.Wake
	open := func() (end func()) {
		st, err := spool.Open(spool.Config{Backend: backend, Window: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if b, err = broker.New(broker.Config{Store: st, Durable: true}); err != nil {
			t.Fatal(err)
		}
		return func() {
			b.Close()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	put := func(body string) {
		a, err := b.Address("/queue/own")
		if err != nil {
			t.Fatal(err)
		}
		finish(t, func(op *broker.Op) {
			a.Send(newMessage(t, "/queue/own", body, "fill", strings.Repeat("x", 500)), op, &w)
		})
	}
	subscribe := func(owner uint64) *basket {
		s := &basket{got: make(map[string]int)}
		var err error
		if s.sub, err = b.Subscribe("/queue/own", broker.Options{Mode: broker.Client, Prefetch: 10, Consumer: s, Owner: owner}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	end := open()
	for range 2000 { // more than one read brings
		put("old")
	}
	end()
	end = open()
	defer func() { end() }()
	own, err := pattern.Both.Parse("/queue/own")
	if err != nil {
		t.Fatal(err)
	}
	b.SetRules([]broker.Rule{{Match: own, Properties: broker.Properties{Exclusive: true}}})
	first := subscribe(1)
	first.sub.Start(&w)
	eventually(t, "ten are in flight", func() bool { return first.count("old") == 10 })
	first.sub.Detach(&w)
	first.sub.Close(1000, &w)
	letGo := backend.hold()
	b.Abandon("/queue/own", 1)
	second := subscribe(2)
	look := &basket{got: make(map[string]int)}
	if look.sub, err = b.Subscribe("/queue/own", broker.Options{Consumer: look, Owner: 2, Browse: &broker.Browse{}}); err != nil {
		t.Fatal(err)
	}
	look.sub.Start(&w)
	letGo()
	eventually(t, "all is seen", func() bool { return look.count("") == 1 })
	if n := look.count("old"); n > 0 {
		t.Errorf("saw %d old ones", n)
	}
	put("new")
	second.sub.Start(&w)
	eventually(t, "the new message comes", func() bool { return second.count("new") == 1 })
	if n := second.count("old"); n > 0 {
		t.Errorf("got %d old ones", n)
	}
}

// TestDestroyedIsNotThere: what was destroyed does not exist any more, though what it held is still on the disk.
func TestDestroyedIsNotThere(t *testing.T) {
	inBubble(t, broker.Config{}, func(x *bubble) {
		bind := func() {
			t.Helper()
			if err := x.b.Bind(broker.Durable{Queue: "/dsub/d", Topic: "/topic/a"}, broker.NewOp(nil)); err != nil {
				t.Fatal(err)
			}
		}
		bind()
		for range 2000 {
			x.send("/topic/a", "old")
		}
		x.restart()
		if !x.b.Exists("/dsub/d") {
			t.Error("it is not there after a restart")
		}
		x.b.Unbind("/dsub/d", broker.NewOp(nil))
		if x.b.Exists("/dsub/d") {
			t.Error("it is still there")
		}
		bind()
		if !x.b.Exists("/dsub/d") {
			t.Error("the new one is not there")
		}
		x.got(openSink(t, x.b, "/dsub/d", 10, nil))
	})
}

// A closing store is one in the middle of its Close: some queues of it are closed, and others are not.
type closing struct {
	store.Store
	closed atomic.Pointer[string] // name of a queue
}

func (c *closing) Commit(b *store.Batch) {
	for _, change := range b.Changes() {
		if name := c.closed.Load(); name != nil && change.Queue.Name() == *name {
			b.Done(b, store.ErrClosed)
			return
		}
	}
	c.Store.Commit(b)
}

// What was in flight when a durable subscription was destroyed, and could not be dropped before the store closed,
// does not come back.
func TestDestroyedWhileClosing(t *testing.T) {
	const name = "/dsub/d"
	inBubble(t, broker.Config{}, func(x *bubble) {
		c := &closing{}
		x.wrap = func(st store.Store) store.Store {
			c = &closing{Store: st}
			return c
		}
		x.restart()
		bind := func() {
			t.Helper()
			if err := x.b.Bind(broker.Durable{Queue: name, Topic: "/topic/a"}, broker.NewOp(nil)); err != nil {
				t.Fatal(err)
			}
		}
		bind()
		for range 10 {
			x.send("/topic/a", "old")
		}
		held := openSink(t, x.b, name, 10, nil)
		synctest.Wait()
		if n := len(held.take()); n != 10 {
			t.Fatalf("%d are in flight", n)
		}
		at := name
		c.closed.Store(&at)
		x.b.Unbind(name, broker.NewOp(nil))
		time.Sleep(time.Minute)
		x.restart()
		bind()
		x.got(openSink(t, x.b, name, 10, nil))
	})
}
