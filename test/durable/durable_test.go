package durable_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/test/process"
)

func TestMain(m *testing.M) { process.Main(m, race) }

// stores are the queue types that outlive the process.
var stores = []string{"journal", "dbm"}

func start(t *testing.T, dir, queue string) *process.Server {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "ports.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return process.StartIn(t, dir, "STOMPSERVER_QUEUE="+queue)
}

func dial(t *testing.T, s *process.Server) *client.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "stomp://"+s.Addr(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKill has clients that send and wait for each receipt, others that consume and
// acknowledge, and the server killed in the middle of it, three times: what was confirmed
// and not acknowledged is there, in the order of its sender.
func TestKill(t *testing.T) {
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			dir := t.TempDir()
			var mu sync.Mutex
			confirmed := map[string]bool{} // sent, with a receipt
			got := map[string]bool{}       // received and acknowledged, whether that was heard or not
			for life := range 3 {
				s := start(t, dir, queue)
				var wg sync.WaitGroup
				for p := range 4 {
					c := dial(t, s)
					wg.Go(func() {
						for i := 0; ; i++ {
							body := fmt.Sprintf("%d.%d.%d", life, p, i)
							f := client.SendFrame("/queue/a", nil, []byte(body))
							if c.Request(context.Background(), f) != nil {
								return
							}
							mu.Lock()
							confirmed[body] = true
							n := len(confirmed)
							mu.Unlock()
							if p == 0 && n > 400*(life+1) {
								s.Kill(t)
							}
						}
					})
				}
				c := dial(t, s)
				sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{Ack: "client-individual"})
				if err != nil {
					t.Fatal(err)
				}
				for {
					m, err := sub.Next(context.Background())
					if err != nil {
						break
					}
					mu.Lock()
					if len(got)%2 == 0 { // every other one stays
						got[string(m.Body)] = true
						mu.Unlock()
						if errors.Join(c.Ack(m), c.Flush()) != nil {
							break
						}
						continue
					}
					got["not "+string(m.Body)] = false
					mu.Unlock()
				}
				wg.Wait()
			}
			s := start(t, dir, queue)
			c := dial(t, s)
			sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{Ack: "auto"})
			if err != nil {
				t.Fatal(err)
			}
			missing := map[string]bool{}
			for body := range confirmed {
				if !got[body] {
					missing[body] = true
				}
			}
			last := map[string]int{}
			for len(missing) > 0 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				m, err := sub.Next(ctx)
				cancel()
				if err != nil {
					t.Fatalf("%d of %d confirmed messages are lost: %v", len(missing), len(confirmed), err)
				}
				delete(missing, string(m.Body))
				var life, p, i int
				if _, err := fmt.Sscanf(string(m.Body), "%d.%d.%d", &life, &p, &i); err != nil {
					t.Fatalf("a message %q", m.Body)
				}
				sender := fmt.Sprint(life, ".", p)
				if was, ok := last[sender]; ok && i <= was {
					t.Errorf("%s came after %d", m.Body, was)
				}
				last[sender] = i
			}
		})
	}
}

// TestRestart stops the server as it should be: numbers of tries are exact afterwards.
func TestRestart(t *testing.T) {
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			dir := t.TempDir()
			for life := range 3 {
				t.Run(fmt.Sprint("life ", life), func(t *testing.T) {
					s := start(t, dir, queue)
					c := dial(t, s)
					if life == 0 {
						for i := range 3 {
							if err := c.Request(t.Context(), client.SendFrame("/queue/a", nil, fmt.Append(nil, i))); err != nil {
								t.Fatal(err)
							}
						}
					}
					sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{Ack: "client"})
					if err != nil {
						t.Fatal(err)
					}
					for i := range 3 {
						m, err := sub.Next(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						count := m.Header.Value("delivery-count")
						if want := fmt.Sprint(life + 1); string(m.Body) != fmt.Sprint(i) || life > 0 && count != want || life == 0 && count != "" {
							t.Errorf("life %d: got %s, delivery-count %q", life, m.Body, count)
						}
					}
				})
			}
		})
	}
}
