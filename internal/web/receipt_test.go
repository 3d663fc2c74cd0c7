package web_test

import (
	"testing"

	"stompserver"
)

// TestReceipt checks that the answer to a PUT says what the RECEIPT does.
func TestReceipt(t *testing.T) {
	p := open(t, stompserver.Config{})
	first := p.do("PUT", "/queue/once", "1", "X-Stomp-Dedupe-Id", "7")
	p.want(first, 200, "Message Enqueued")
	again := p.do("PUT", "/queue/once", "1", "X-Stomp-Dedupe-Id", "7")
	p.want(again, 200, "Message Enqueued")
	if first.header.Get("X-Stomp-duplicate") != "" || again.header.Get("X-Stomp-duplicate") != "true" || again.header.Get("X-Stomp-message-id") == "" {
		t.Errorf("first %v, again %v", first.header, again.header)
	}
	later := p.do("PUT", "/queue/later", "1", "X-Stomp-Delay", "100000")
	p.want(later, 200, "Message Enqueued")
	if later.header.Get("X-Stomp-schedule-id") == "" {
		t.Errorf("later: %v", later.header)
	}
}
