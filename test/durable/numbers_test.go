package durable_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/process"
)

// TestNumbers has messages of a queue acknowledged before they are stored, and a topic keep others, and
// kills the server now and then: no message-id and no order number names two messages. Where it was
// stopped as it should be they go on without a gap.
func TestNumbers(t *testing.T) {
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "stompserver.conf")
			if err := os.WriteFile(conf, []byte("destinations:\n  rules:\n    - {match: /topic/kept, retain: {count: 3}}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ids := map[string]string{}
			last := map[string]int{}
			for life := range 6 {
				if err := os.RemoveAll(filepath.Join(dir, "ports.json")); err != nil {
					t.Fatal(err)
				}
				s := process.StartIn(t, dir, "STOMPSERVER_QUEUE="+queue, "STOMPSERVER_CONFIG="+conf)
				c := dial(t, s)
				clean := life == 3 || life == 4 // the life before ended well
				for _, dest := range []string{"/queue/a", "/topic/kept"} {
					sub, err := c.Subscribe(t.Context(), dest, client.SubscribeOptions{Ack: "auto", Header: numbered()})
					if err != nil {
						t.Fatal(err)
					}
					for i := range 20 {
						body := fmt.Sprintf("%d of life %d to %s", i, life, dest)
						if err := c.Send(dest, nil, []byte(body)); err != nil {
							t.Fatal(err)
						}
						m, err := sub.Next(t.Context())
						if err == nil && m.Header.Value("redelivered") == "true" { // whose ACK the kill overtook
							m, err = sub.Next(t.Context())
						}
						if err != nil {
							t.Fatal(err)
						}
						if string(m.Body) != body {
							t.Fatalf("got %q, want %q", m.Body, body)
						}
						id := m.Header.Value("message-id")
						if other := ids[id]; other != "" {
							t.Errorf("%q has the message-id of %q", body, other)
						}
						ids[id] = body
						n, err := strconv.Atoi(m.Header.Value("number"))
						if err != nil {
							t.Fatal(err)
						}
						if n <= last[dest] || (i > 0 || clean) && n != last[dest]+1 {
							t.Errorf("%q has the number %d after %d", body, n, last[dest])
						}
						last[dest] = n
					}
				}
				if life == 2 || life == 3 {
					s.Stop(t)
				} else {
					s.Kill(t)
				}
			}
		})
	}
}

func numbered() frame.Header {
	var h frame.Header
	h.Add("include-seq", "number")
	return h
}
