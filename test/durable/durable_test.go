package durable_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/process"
)

func TestMain(m *testing.M) { process.Main(m, race) }

// stores are the queue types that outlive the process.
var stores = []string{"journal", "file", "dbm", "activerecord"}

func start(t *testing.T, dir, queue string) *process.Server {
	t.Helper()
	queue, checkpoint, _ := strings.Cut(queue, " -c ")
	return startWith(t, dir, "STOMPSERVER_QUEUE="+queue, "STOMPSERVER_CHECKPOINT="+cmp.Or(checkpoint, "0"))
}

// startWith starts one where another one may have been killed.
func startWith(t *testing.T, dir string, settings ...string) *process.Server {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "ports.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return process.StartIn(t, dir, settings...)
}

func dial(t *testing.T, s *process.Server) *client.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, "stomp://"+s.Addr(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	kills = flag.Int("durable.kills", 6, "how often TestKill kills the server, for each store")
	seed  = flag.Uint64("durable.seed", 0, "of TestKill; 0 picks one")
)

// TestKill kills the server at random moments, in the middle of what clients do, and looks
// after each restart at what is there.
func TestKill(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-durable.seed=%d", *seed)
	for _, queue := range append(stores, "dbm -c 1") { // which is another one where receipts do not wait
		t.Run(queue, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(*seed, 1))
			dir := t.TempDir()
			s := start(t, dir, queue)
			for life := range *kills {
				l := &load{life: life}
				l.run(t, s, time.Duration(20+rnd.IntN(400))*time.Millisecond)
				s = start(t, dir, queue)
				l.check(t, s)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// A load is what clients did in one life of the server.
type load struct {
	life int

	mu    sync.Mutex
	sent  []string        // to /queue/a, with a receipt
	acked map[string]bool // taken from there; true: with a receipt for the ACK
	pairs []string        // committed, with a receipt, to /queue/b and /queue/c
	moved []string        // committed, with a receipt, from /queue/d to /queue/e
}

const movable = 500

// run has clients at work for a while, and kills the server.
func (l *load) run(t *testing.T, s *process.Server, after time.Duration) {
	l.acked = make(map[string]bool)
	ctx := t.Context()
	c := dial(t, s)
	for i := range movable {
		if err := c.Send("/queue/d", nil, l.body(0, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SendConfirmed(ctx, "/queue/d", nil, []byte("last")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	work := func(do func(c *client.Conn, i int) error) {
		c := dial(t, s)
		wg.Go(func() {
			for i := 0; do(c, i) == nil; i++ {
			}
		})
	}
	note := func(list *[]string, body string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		*list = append(*list, body)
	}
	for p := range 3 {
		work(func(c *client.Conn, i int) error {
			body := l.body(p, i)
			err := c.SendConfirmed(ctx, "/queue/a", nil, body)
			if err == nil {
				note(&l.sent, string(body))
			}
			return err
		})
	}
	work(func(c *client.Conn, i int) error {
		tx, err := c.Begin()
		if err != nil {
			return err
		}
		body := l.body(0, i)
		if err := errors.Join(tx.Send("/queue/b", nil, body), tx.Send("/queue/c", nil, body), tx.Commit(ctx)); err != nil {
			return err
		}
		note(&l.pairs, string(body))
		return nil
	})
	var mover, taker *client.Subscription
	subscribe := func(c *client.Conn, to **client.Subscription, dest string) error {
		if *to != nil {
			return nil
		}
		var err error
		*to, err = c.Subscribe(ctx, dest, client.SubscribeOptions{Ack: "client-individual"})
		return err
	}
	work(func(c *client.Conn, i int) error {
		if err := subscribe(c, &mover, "/queue/d"); err != nil {
			return err
		}
		m, err := mover.Next(ctx)
		if err != nil || string(m.Body) == "last" {
			return errors.Join(err, io.EOF)
		}
		tx, err := c.Begin()
		if err != nil {
			return err
		}
		if err := errors.Join(tx.Ack(m), tx.Send("/queue/e", nil, m.Body), tx.Commit(ctx)); err != nil {
			return err
		}
		note(&l.moved, string(m.Body))
		return nil
	})
	work(func(c *client.Conn, i int) error {
		if err := subscribe(c, &taker, "/queue/a"); err != nil {
			return err
		}
		m, err := taker.Next(ctx)
		if err != nil || i%3 == 0 { // every third one stays
			return err
		}
		l.mu.Lock()
		l.acked[string(m.Body)] = false
		l.mu.Unlock()
		f := &frame.Frame{Command: frame.Ack}
		f.Header.Add("id", m.Header.Value("ack"))
		if err := c.Request(ctx, f); err != nil {
			return err
		}
		l.mu.Lock()
		l.acked[string(m.Body)] = true
		l.mu.Unlock()
		return nil
	})
	time.Sleep(after) // the moment does not matter
	s.Kill(t)
	wg.Wait()
}

func (l *load) body(sender, i int) []byte { return fmt.Appendf(nil, "%d.%d.%d", l.life, sender, i) }

// check empties the queues and compares.
func (l *load) check(t *testing.T, s *process.Server) {
	a, b, c, d, e := l.drain(t, s, "/queue/a"), l.drain(t, s, "/queue/b"), l.drain(t, s, "/queue/c"), l.drain(t, s, "/queue/d"), l.drain(t, s, "/queue/e")
	lost := 0
	for _, body := range l.sent {
		if _, taken := l.acked[body]; !taken && !a[body] {
			lost++
		}
	}
	back := 0
	for body, confirmed := range l.acked {
		if confirmed && a[body] {
			back++
		}
	}
	for _, body := range l.pairs {
		if !b[body] || !c[body] {
			lost++
		}
	}
	for _, body := range l.moved {
		if !e[body] || d[body] {
			lost++
		}
	}
	if lost > 0 || back > 0 {
		t.Errorf("life %d: of what was confirmed, %d SENDs of %d are lost, and %d ACKs of %d", l.life, lost, len(l.sent)+len(l.pairs)+len(l.moved), back, len(l.acked))
	}
	if !maps.Equal(b, c) {
		t.Errorf("life %d: half a transaction: %d messages in one queue, %d in the other", l.life, len(b), len(c))
	}
	for i := range movable {
		if body := string(l.body(0, i)); d[body] == e[body] {
			t.Errorf("life %d: %s is in both queues, or in neither: %v", l.life, body, d[body])
		}
	}
	t.Logf("life %d: %d sent, %d acknowledged, %d pairs, %d moved", l.life, len(l.sent), len(l.acked), len(l.pairs), len(l.moved))
}

// drain takes all messages of this life from dest, and looks that those of each sender come
// in order. What earlier lives left, whose acknowledgement the kill may have overtaken, does
// not count.
func (l *load) drain(t *testing.T, s *process.Server, dest string) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(t, s)
	defer c.Close()
	end := fmt.Sprint("end of life ", l.life)
	if err := c.SendConfirmed(ctx, dest, nil, []byte(end)); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(ctx, dest, client.SubscribeOptions{Ack: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	last := map[int]int{}
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		body := string(m.Body)
		if body == end {
			return all
		}
		var life, sender, i int
		if n, _ := fmt.Sscanf(body, "%d.%d.%d", &life, &sender, &i); n < 3 || life != l.life {
			continue
		}
		if was, ok := last[sender]; ok && i <= was {
			t.Errorf("life %d: in %s %s comes after %d", life, dest, body, was)
		}
		last[sender] = i
		all[body] = true
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
