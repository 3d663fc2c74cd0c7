package hostile_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"stompserver/test/process"
)

// reached is how often a limit was reached, as /metrics tells it.
func reached(t *testing.T, s *process.Server, limit string) int {
	t.Helper()
	client := http.Client{Timeout: wait}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^stompserver_limit_reached_total\{limit="` + limit + `"\} (\d+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no metric in\n%.2000s", limit, text)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// TestLimitsAreCounted: each limit has a metric, which is 0 while nobody reaches it, and an ERROR that
// names it, if it does not have its client wait.
func TestLimitsAreCounted(t *testing.T) {
	big := strings.Repeat("x", 64<<10)
	send := func(body string) string { return "SEND\ndestination:/queue/a\nreceipt:r\n\n" + body + "\x00" }
	for _, tt := range []struct {
		limit, value string
		frames       string // after CONNECT
		first        string // in place of it
		waits        bool   // and no ERROR
		more         int    // connections before
	}{
		{limit: "subscriptions", value: "1", frames: "SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\x00SUBSCRIBE\nid:2\ndestination:/topic/a\n\n\x00"},
		{limit: "transactions", value: "1", frames: "BEGIN\ntransaction:1\n\n\x00BEGIN\ntransaction:2\n\n\x00"},
		{limit: "transaction_frames", value: "1", frames: "BEGIN\ntransaction:1\n\n\x00" + strings.Repeat("SEND\ndestination:/queue/a\ntransaction:1\n\n\x00", 2)},
		{limit: "transaction_bytes", value: "1KiB", frames: "BEGIN\ntransaction:1\n\n\x00SEND\ndestination:/queue/a\ntransaction:1\n\n" + big + "\x00"},
		{limit: "command", value: "20B", frames: strings.Repeat("X", 100) + "\n"},
		{limit: "header", value: "1KiB", frames: "SEND\nx:" + big + "\n"},
		{limit: "headers", value: "20", frames: "SEND\n" + strings.Repeat("x:y\n", 30)},
		{limit: "body", value: "1KiB", frames: send(big)},
		{limit: "frame_before_login", value: "1KiB", first: "CONNECT\nx:" + strings.Repeat("x", 2000)},
		{limit: "login_timeout", value: "200ms", first: "CONN"},
		{limit: "idle_timeout", value: "200ms", frames: "\n"},
		{limit: "connections", value: "1", more: 1},
		{limit: "connections_per_address", value: "1", more: 1},
		{limit: "connect_rate", value: "1", more: 1},
		{limit: "frame_rate", value: "5", frames: strings.Repeat(send(""), 8), waits: true},
		{limit: "byte_rate", value: "1KiB", frames: send(strings.Repeat("x", 2000)), waits: true},
		{limit: "memory", value: "64KiB", frames: strings.Repeat(send(big), 2), waits: true},
		{limit: "uncommitted", value: "1KiB", frames: strings.Repeat(send(big), 20), waits: true},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			settings := []string{"STOMPSERVER_LIMITS_" + strings.ToUpper(tt.limit) + "=" + tt.value, "STOMPSERVER_LOG_LEVEL=error"}
			if tt.limit == "uncommitted" {
				settings = append(settings, "STOMPSERVER_QUEUE=journal") // memory confirms at once
			}
			s := process.Start(t, settings...)
			if n := reached(t, s, tt.limit); n != 0 {
				t.Fatalf("it was reached %d times before anybody came", n)
			}
			for range tt.more {
				login(t, s, "1.2")
			}
			c := dial(t, s)
			switch {
			case tt.first != "":
				c.pour([]byte(tt.first), 1)
			case tt.more == 0:
				c.connect("1.2")
				c.pour([]byte(tt.frames), 1)
			}
			if !tt.waits {
				c.SetReadDeadline(time.Now().Add(wait))
				for {
					f, err := c.read()
					if err != nil {
						t.Fatalf("no ERROR: %v", err)
					}
					if f.command == "ERROR" {
						if !strings.Contains(f.body, "limits."+tt.limit) {
							t.Errorf("got %v, want an ERROR that names limits.%s", f, tt.limit)
						}
						break
					}
				}
			}
			for end := time.Now().Add(wait); reached(t, s, tt.limit) == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it is not counted")
				}
			}
		})
	}
}
