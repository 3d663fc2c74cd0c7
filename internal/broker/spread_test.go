package broker_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// TestManyQueuesOneMessage: a message that waits in the queues of many durable subscriptions, and in what the
// topic keeps, is in memory once, and counts as memory so until the last of them has it.
func TestManyQueuesOneMessage(t *testing.T) {
	const dest, subs, count, size = "/topic/a", 50, 8, 64 << 10
	for _, keeps := range []bool{false, true} {
		for _, name := range []string{"memory", "paged"} {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, keeps %v, together %v", name, keeps, together), func(t *testing.T) {
					st := spool.New()
					if name == "paged" {
						var err error
						if st, err = spool.Open(spool.Config{Backend: &storetest.Reference{}, Window: 2 * size}); err != nil {
							t.Fatal(err)
						}
					}
					b, err := broker.New(broker.Config{Store: st, Durable: name == "paged"})
					if err != nil {
						t.Fatal(err)
					}
					defer func() {
						b.Close()
						if err := st.Close(); err != nil {
							t.Error(err)
						}
					}()
					if keeps {
						keeping(t, b, dest, broker.Properties{MaxMessages: 1})
					}
					for i := range subs {
						if err := b.Bind(broker.Durable{Queue: fmt.Sprint("/dsub/", i), Topic: dest}, broker.NewOp(nil)); err != nil {
							t.Fatal(err)
						}
					}
					before := st.Bytes()
					body := strings.Repeat("x", size)
					for range count {
						if !together {
							send(t, b, dest, body)
							continue
						}
						a, err := b.Address(dest)
						if err != nil {
							t.Fatal(err)
						}
						tx := b.Begin()
						tx.Send(&a, newMessage(t, dest, body))
						done := make(chan error, 1)
						var w broker.Wake
						tx.Commit(broker.NewOp(ownerFunc(func(err error) { done <- err })), &w)
						w.Run()
						if err := <-done; err != nil {
							t.Fatal(err)
						}
					}
					if held := st.Bytes() - before; held > (count+1)*size*3/2 {
						t.Errorf("%d KiB are counted for %d messages of %d", held>>10, count, size>>10)
					}
					for _, i := range rand.Perm(subs) {
						c := openSink(t, b, fmt.Sprint("/dsub/", i), count, nil)
						var w broker.Wake
						for acked := 0; acked < count; {
							for _, d := range c.wait(t) {
								if err := c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
									t.Fatal(err)
								}
								acked++
							}
						}
						c.sub.Close(1<<60, &w)
						w.Run()
					}
					left := int64(0)
					if keeps {
						left = size
					}
					held := st.Bytes() - before
					for end := time.Now().Add(time.Minute); held > left+size/2 && time.Now().Before(end); held = st.Bytes() - before {
						time.Sleep(time.Millisecond) // what is settled is dropped a little later
					}
					if held < left || held > left+size/2 {
						t.Errorf("%d KiB are counted when all have them, want %d", held>>10, left>>10)
					}
				})
			}
		}
	}
}

// TestManyQueuesSmallMessages: what each queue needs to know of a message that is in memory once counts as memory, so that very
// many queues of small messages do not take what nobody allowed.
func TestManyQueuesSmallMessages(t *testing.T) {
	const dest, subs, count = "/topic/a", 300, 500
	st := spool.New()
	b, err := broker.New(broker.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range subs {
		if err := b.Bind(broker.Durable{Queue: fmt.Sprint("/dsub/", i), Topic: dest}, broker.NewOp(nil)); err != nil {
			t.Fatal(err)
		}
	}
	inUse := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	counted, used := st.Bytes(), inUse()
	for range count {
		send(t, b, dest, "x")
	}
	counted, used = st.Bytes()-counted, inUse()-used
	t.Logf("%d KiB are in use, %d KiB are counted", used>>10, counted>>10)
	if used > counted {
		t.Errorf("%d KiB are in use, and %d KiB are counted", used>>10, counted>>10)
	}
}
