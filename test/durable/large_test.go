//go:build linux && !race

package durable_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"strconv"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/certificate"
	"stompserver/test/process"
)

const (
	largeBody = 64 << 20
	beside    = 24 << 20 // what the server needs for anything else
)

// TestLargeBody sends a body of 64 MiB and gets it back: how often it is in the server's memory
// at the same time. On its way in it is copied out of a quarter of its room, and that out of a
// quarter. Databases want it in one piece and copy that.
func TestLargeBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), largeBody/16)
	want := sha256.Sum256(body)
	cert, key := certificate.Write(t, t.TempDir(), "a", "localhost")
	for _, c := range []struct {
		queue, scheme string
		most          float64 // bodies
	}{
		{"memory", "stomp", 1.5}, {"memory", "ws", 1.5}, {"memory", "stomps", 1.5},
		{"journal", "stomp", 1.5}, {"journal", "wss", 1.5},
		{"file", "stomp", 1.5},
		{"dbm", "stomp", 1.9},          // bbolt looks at each of its parts in the file to remove it
		{"activerecord", "stomp", 4.6}, // the YAML, and what the driver and SQLite make of it
	} {
		t.Run(c.queue+" "+c.scheme, func(t *testing.T) {
			s := process.Start(t, "STOMPSERVER_QUEUE="+c.queue, "STOMPSERVER_TLS_CERT="+cert, "STOMPSERVER_TLS_KEY="+key)
			before, _ := s.RSS()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn := connect(ctx, t, s, c.scheme)
			if err := conn.SendConfirmed(ctx, "/queue/a", persistent(), body); err != nil {
				t.Fatal(err)
			}
			sub, err := conn.Subscribe(ctx, "/queue/a", client.SubscribeOptions{Ack: "client-individual"})
			if err != nil {
				t.Fatal(err)
			}
			m, err := sub.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(m.Body) != want {
				t.Fatalf("another body came, of %d bytes", len(m.Body))
			}
			if err := conn.AckConfirmed(ctx, m); err != nil {
				t.Fatal(err)
			}
			_, peak := s.RSS()
			got := float64(peak-before-beside) / largeBody
			t.Logf("%.2f bodies and %d MiB beside them", got, beside>>20)
			if got > c.most {
				t.Errorf("a body of %d MiB was %.2f times in memory beside %d MiB, want at most %.2f", largeBody>>20, got, beside>>20, c.most)
			}
		})
	}
}

// TestLargeBacklog has far more in a queue than the server is to have in memory, and clients
// that take it one by one, look through it, and want some of it.
func TestLargeBacklog(t *testing.T) {
	const count, size = 32, 16 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, c := range []struct {
		queue string
		most  int // bodies, with those that are garbage
	}{
		{"journal", 16},
		{"file", 24}, // its redo log of 64 MiB is in memory, too
	} {
		t.Run(c.queue, func(t *testing.T) {
			s := process.Start(t, "STOMPSERVER_QUEUE="+c.queue)
			before, _ := s.RSS()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			conn := connect(ctx, t, s, "stomp")
			for i := range count {
				h := persistent()
				h.Add("n", strconv.Itoa(i))
				if err := conn.SendConfirmed(ctx, "/queue/a", h, body); err != nil {
					t.Fatal(err)
				}
			}
			for _, as := range []struct{ name, header, value string }{
				{"browser", "browser", "true"}, {"selector", "selector", "n >= 16"}, {"consumer", "prefetch-count", "2"},
			} {
				conn := connect(ctx, t, s, "stomp")
				var h frame.Header
				h.Add(as.header, as.value)
				sub, err := conn.Subscribe(ctx, "/queue/a", client.SubscribeOptions{Ack: "client-individual", Header: h})
				if err != nil {
					t.Fatal(err)
				}
				first, n := 0, count
				switch as.name {
				case "selector":
					first, n = count/2, count/2
				case "consumer":
					n = count / 2
				}
				for i := range n {
					m, err := sub.Next(ctx)
					if err != nil {
						t.Fatalf("%s: message %d: %v", as.name, i, err)
					}
					if got := m.Header.Value("n"); got != strconv.Itoa(first+i) || len(m.Body) != size {
						t.Fatalf("%s: message %s of %d bytes came, want %d", as.name, got, len(m.Body), first+i)
					}
					if as.name != "browser" {
						if err := conn.AckConfirmed(ctx, m); err != nil {
							t.Fatal(err)
						}
					}
				}
				_ = conn.Close()
				_, peak := s.RSS()
				t.Logf("%s: %d MiB", as.name, (peak-before)>>20)
				if peak-before > int64(c.most)*size {
					t.Errorf("%s: %d bodies of %d MiB took %d MiB of memory, want at most that of %d", as.name, count, size>>20, (peak-before)>>20, c.most)
				}
			}
		})
	}
}

func persistent() (h frame.Header) {
	h.Add("persistent", "true")
	return h
}

func connect(ctx context.Context, t *testing.T, s *process.Server, scheme string) *client.Conn {
	t.Helper()
	c, err := client.Dial(ctx, scheme+"://"+s.Addr(), client.Options{TLS: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
