package durable_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/process"
)

// TestExactlyOnce has a producer name what it sends, and send again what was not confirmed, and
// a worker take each message, send its result with the same name and acknowledge it in one
// transaction, while the server is killed again and again: each result is there once.
func TestExactlyOnce(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-durable.seed=%d", *seed)
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(*seed, 2))
			dir := t.TempDir()
			const count = 400
			sent := 0
			for life := 0; ; life++ {
				s := start(t, dir, queue)
				last := life == *kills
				var wg sync.WaitGroup
				producer, worker := dial(t, s), dial(t, s)
				wg.Go(func() {
					for (sent < count/2 || last && sent < count) && produce(t.Context(), producer, sent) == nil {
						sent++
					}
					if last {
						_ = producer.SendConfirmed(t.Context(), "/queue/in", nil, []byte("end"))
					}
				})
				wg.Go(func() { transform(t.Context(), worker) })
				if last {
					wg.Wait()
					results(t, s, count)
					return
				}
				time.Sleep(time.Duration(10+rnd.IntN(150)) * time.Millisecond) // it may die at any moment
				s.Kill(t)
				wg.Wait()
			}
		})
	}
}

func named(name string) frame.Header {
	var h frame.Header
	h.Add("dedupe-id", name)
	return h
}

// produce sends number i twice, as one does who lost the first receipt.
func produce(ctx context.Context, c *client.Conn, i int) error {
	body := []byte(strconv.Itoa(i))
	if err := c.Send("/queue/in", named("in-"+strconv.Itoa(i)), body); err != nil {
		return err
	}
	return c.SendConfirmed(ctx, "/queue/in", named("in-"+strconv.Itoa(i)), body)
}

// transform works until the end comes, or the server is gone.
func transform(ctx context.Context, c *client.Conn) {
	sub, err := c.Subscribe(ctx, "/queue/in", client.SubscribeOptions{Ack: "client-individual"})
	for err == nil {
		var m *client.Message
		if m, err = sub.Next(ctx); err != nil || string(m.Body) == "end" {
			return
		}
		var tx *client.Transaction
		if tx, err = c.Begin(); err != nil {
			return
		}
		_ = tx.Send("/queue/out", named("out-"+string(m.Body)), m.Body)
		_ = tx.Ack(m)
		err = tx.Commit(ctx)
	}
}

// results looks whether each number came out once.
func results(t *testing.T, s *process.Server, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(t, s)
	defer c.Close()
	if err := c.SendConfirmed(ctx, "/queue/out", nil, []byte("end")); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(ctx, "/queue/out", client.SubscribeOptions{Ack: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Body) == "end" {
			break
		}
		got[string(m.Body)]++
	}
	for i := range count {
		if n := got[fmt.Sprint(i)]; n != 1 {
			t.Errorf("%d came out %d times", i, n)
		}
	}
}
