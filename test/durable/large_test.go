//go:build linux && !race

package durable_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/certificate"
	"stompserver/test/databases"
	"stompserver/test/process"
)

const (
	largeBody = 64 << 20
	beside    = 24 << 20 // what the server needs for anything else
)

// TestLargeBody sends a body of 64 MiB and gets it back, at once and from a server that was started
// anew: how often it is in the server's memory at the same time. On its way in it is copied out of a
// quarter of its room, and that out of a quarter. What a database has is a frame first, of which the body
// is made where it stands.
func TestLargeBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), largeBody/16)
	cert, key := certificate.Write(t, t.TempDir(), "a", "localhost")
	for _, c := range []struct {
		name, queue, scheme string
		most, anew          float64                   // bodies
		database            func(t *testing.T) string // starts one, and returns the file that names it
	}{
		{"memory", "memory", "stomp", 1.5, 0, nil},
		{"memory, WebSocket", "memory", "ws", 1.5, 0, nil},
		{"memory, TLS", "memory", "stomps", 1.5, 0, nil},
		{"journal", "journal", "stomp", 1.5, 1.2, nil},
		{"journal, WebSocket over TLS", "journal", "wss", 1.5, 1.2, nil},
		{"file", "file", "stomp", 1.5, 1.2, nil},
		{"dbm", "dbm", "stomp", 1.5, 1.5, nil},
		{"SQLite", "activerecord", "stomp", 1.5, 1.2, nil},
		{"PostgreSQL", "activerecord", "stomp", 1.5, 1.9, postgreSQL},
		{"MariaDB", "activerecord", "stomp", 1.6, 1.5, mariaDB},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := []string{"STOMPSERVER_QUEUE=" + c.queue, "STOMPSERVER_TLS_CERT=" + cert, "STOMPSERVER_TLS_KEY=" + key}
			if c.database != nil {
				settings = append(settings, "STOMPSERVER_DBYML="+c.database(t))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			dir := t.TempDir()
			s := startWith(t, dir, settings...)
			before, _ := s.RSS()
			conn := connect(ctx, t, s, c.scheme)
			sendBody(ctx, t, conn, body)
			takeBody(ctx, t, conn, body)
			inMemory(t, s, "as it comes", before, c.most)
			if c.anew == 0 {
				return
			}
			sendBody(ctx, t, conn, body)
			s.Kill(t)
			s = startWith(t, dir, settings...)
			takeBody(ctx, t, connect(ctx, t, s, c.scheme), body)
			inMemory(t, s, "from the store", before, c.anew)
		})
	}
}

func sendBody(ctx context.Context, t *testing.T, conn *client.Conn, body []byte) {
	t.Helper()
	if err := conn.SendConfirmed(ctx, "/queue/a", persistent(), body); err != nil {
		t.Fatal(err)
	}
}

func takeBody(ctx context.Context, t *testing.T, conn *client.Conn, body []byte) {
	t.Helper()
	sub, err := conn.Subscribe(ctx, "/queue/a", client.SubscribeOptions{Ack: "client-individual"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := sub.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Body, body) {
		t.Fatalf("another body came, of %d bytes", len(m.Body))
	}
	if err := conn.AckConfirmed(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Fatal(err)
	}
}

// inMemory compares the most that s had in memory with what it is to have.
func inMemory(t *testing.T, s *process.Server, when string, before int64, most float64) {
	t.Helper()
	_, peak := s.RSS()
	got := float64(peak-before-beside) / largeBody
	t.Logf("%s: %.2f bodies and %d MiB beside them", when, got, beside>>20)
	if got > most {
		t.Errorf("%s, a body of %d MiB was %.2f times in memory beside %d MiB, want at most %.2f", when, largeBody>>20, got, beside>>20, most)
	}
}

func postgreSQL(t *testing.T) string { return writeYAML(t, databases.PostgreSQL(t), "postgres") }

func mariaDB(t *testing.T) string {
	return writeYAML(t, databases.MariaDB(t, func(string) []string { return []string{"--max-allowed-packet=256M"} }), "mysql")
}

func writeYAML(t *testing.T, s *databases.Server, name string) string {
	path := filepath.Join(t.TempDir(), "database.yml")
	text := fmt.Sprintf("development:\n  adapter: %s\n  host: %q\n  socket: %q\n  username: %s\n  database: %s\n", s.At.Adapter, s.At.Host, s.At.Socket, s.At.Username, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
		{"file", 16},
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
