package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"stompserver"
	"stompserver/internal/client"
	"stompserver/internal/frame"
)

// TestFullQueue: a PUT, and a client by WebSocket, wait for room in a queue, which is told on a topic; others are
// served meanwhile. One that refuses says so.
func TestFullQueue(t *testing.T) {
	for name, soft := range map[string]bool{"": false, "soft errors": true} {
		t.Run(name, func(t *testing.T) { fullQueue(t, stompserver.Config{Queue: "memory", SoftErrors: soft}) })
	}
}

func fullQueue(t *testing.T, cfg stompserver.Config) {
	if err := cfg.Destinations.SetRules("[{match: /queue/small, max_messages: 1}, {match: /queue/strict, max_messages: 1, when_full: reject}]"); err != nil {
		t.Fatal(err)
	}
	p := open(t, cfg)
	c := p.stomp()
	events := p.subscribe(c, "/topic/$sys/blocked")
	blocked := func() {
		t.Helper()
		var e struct{ Event, Destination, Remote string }
		if err := json.Unmarshal(p.next(events).Body, &e); err != nil || e.Event != "blocked" || e.Destination != "/queue/small" || e.Remote == "" {
			t.Errorf("told %+v, %v", e, err)
		}
	}
	p.want(p.do("PUT", "/queue/small", "1"), 200, "Message Enqueued")
	sent := make(chan answer, 1)
	go func() {
		a, _ := p.try(t.Context(), "PUT", "/queue/small", strings.NewReader("2"))
		sent <- a
	}()
	blocked()
	p.want(p.do("PUT", "/queue/other", "x"), 200, "Message Enqueued")
	select {
	case a := <-sent:
		t.Fatalf("a full queue took a message: %+v", a)
	default:
	}
	p.want(p.do("GET", "/queue/small", ""), 200, "1")
	p.want(<-sent, 200, "Message Enqueued")

	ws, err := client.Dial(t.Context(), "ws://"+p.Addrs()[0].String()+"/ws", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	confirmed := make(chan error, 1)
	go func() {
		f := &frame.Frame{Command: frame.Send, Body: []byte("3")}
		f.Header.Add("destination", "/queue/small")
		confirmed <- ws.Request(t.Context(), f)
	}()
	blocked()
	select {
	case err := <-confirmed:
		t.Fatalf("a full queue took a message: %v", err)
	default:
	}
	p.want(p.do("GET", "/queue/small", ""), 200, "2")
	if err := <-confirmed; err != nil {
		t.Error(err)
	}
	p.want(p.do("GET", "/queue/small?wait=10s", ""), 200, "3")

	p.want(p.do("PUT", "/queue/strict", "1"), 200, "Message Enqueued")
	if a := p.do("PUT", "/queue/strict", "2"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a queue that refuses: %+v", a)
	}
	p.want(p.do("PUT", "/queue/other", "y"), 200, "Message Enqueued")
}
