package hostile_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestLimits: what is too large is answered by an ERROR that names the limit, however much
// of it there is, and is never held in memory.
func TestLimits(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_BODY=1MiB", "STOMPSERVER_LIMITS_SUBSCRIPTIONS=50")
	big := bytes.Repeat([]byte("x"), 1<<20)
	headers := []byte(strings.Repeat("name:value\n", 100_000))
	tests := []struct {
		name     string
		stranger bool // before CONNECT
		head     string
		then     []byte // up to 64 times
		code     string
		names    string
	}{
		{name: "a command without end", stranger: true, then: big, code: "frame-too-large", names: "limits.command"},
		{name: "a command without end after CONNECT", then: big, code: "frame-too-large", names: "limits.command"},
		{name: "a header line without end", head: "SEND\ndestination:/queue/", then: big, code: "frame-too-large", names: "limits.header"},
		{name: "a header name without end", head: "SEND\n", then: big, code: "frame-too-large", names: "limits.header"},
		{name: "headers without end", head: "SEND\n", then: headers, code: "frame-too-large", names: "limits.headers"},
		{name: "a login without end", stranger: true, head: "CONNECT\nlogin:", then: big, code: "frame-too-large", names: "limits.frame_before_login"},
		{name: "CONNECT headers without end", stranger: true, head: "CONNECT\n", then: headers, code: "frame-too-large", names: "limits."},
		{name: "a stranger's body", stranger: true, head: "CONNECT\ncontent-length:1000000\n\n", then: big, code: "frame-too-large", names: "limits.frame_before_login"},
		{name: "a stranger's body without length", stranger: true, head: "CONNECT\n\n", then: big, code: "frame-too-large", names: "limits.frame_before_login"},
		{name: "a body that is too long", head: "SEND\ndestination:/queue/a\ncontent-length:1048577\n\n", then: big, code: "frame-too-large", names: "limits.body"},
		{name: "a length that is too long", head: "SEND\ndestination:/queue/a\ncontent-length:10000000000\n\n", code: "frame-too-large", names: "limits.body"},
		{name: "a body without end", head: "SEND\ndestination:/queue/a\n\n", then: big, code: "frame-too-large", names: "limits.body"},
		{name: "a length past any number", head: "SEND\ndestination:/queue/a\ncontent-length:99999999999999999999999\n\n\x00", code: "frame-too-large", names: "limits.body"},
		{name: "a negative length", head: "SEND\ndestination:/queue/a\ncontent-length:-1\n\n\x00", code: "", names: "content-length"},
		{name: "a length in words", head: "SEND\ndestination:/queue/a\ncontent-length:ten\n\n\x00", code: "", names: "content-length"},
		{name: "no NUL where the length ends", head: "SEND\ndestination:/queue/a\ncontent-length:3\n\nlonger\x00", code: "malformed-frame"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s)
			if !tt.stranger {
				c.connect("1.2")
			}
			c.send(tt.head)
			if tt.then != nil {
				t.Logf("%d bytes were written until the end", c.pour(tt.then, 64))
			}
			if tt.code == "" { // more than one word fits
				c.wantAnyError(tt.names)
			} else {
				c.wantError(tt.code, tt.names)
			}
		})
	}

	t.Run("subscriptions", func(t *testing.T) {
		c := login(t, s, "1.2")
		for i := range 51 {
			c.pour(fmt.Appendf(nil, "SUBSCRIBE\nid:%d\ndestination:/queue/n%d\n\n\x00", i, i), 1)
		}
		c.wantError("limit-reached", "limits.subscriptions")
	})
	t.Run("transactions", func(t *testing.T) {
		c := login(t, s, "1.2")
		for i := range 65 {
			c.pour(fmt.Appendf(nil, "BEGIN\ntransaction:%d\n\n\x00", i), 1)
		}
		c.wantError("limit-reached", "limits.transactions")
	})
	t.Run("frames of a transaction", func(t *testing.T) {
		c := login(t, s, "1.2")
		c.send("BEGIN\ntransaction:t\n\n\x00")
		c.pour([]byte(strings.Repeat("SEND\ndestination:/queue/t\ntransaction:t\n\n\x00", 1001)), 10)
		c.wantError("limit-reached", "limits.transaction_frames")
	})
	t.Run("bytes of a transaction", func(t *testing.T) {
		c := login(t, s, "1.2")
		c.send("BEGIN\ntransaction:t\n\n\x00")
		frame := fmt.Appendf(nil, "SEND\ndestination:/queue/t\ntransaction:t\ncontent-length:%d\n\n%s\x00", len(big), big)
		c.pour(frame, 70)
		c.wantError("limit-reached", "limits.transaction_bytes")
	})
}

// wantAnyError is wantError for any error-code.
func (c *conn) wantAnyError(names string) {
	c.t.Helper()
	f := c.want("ERROR")
	if f.header["error-code"] == "" || !strings.Contains(f.header["message"]+f.body, names) {
		c.t.Errorf("got %v, want an ERROR that names %q", f, names)
	}
	c.wantEnd()
}

// TestConnections: past limits.connections a client is told why it is not let in, and the
// others stay.
func TestConnections(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_CONNECTIONS=20")
	var cs []*conn
	for range 19 { // the healthy client is the twentieth
		cs = append(cs, login(t, s, "1.2"))
	}
	c := dial(t, s)
	c.wantError("limit-reached", "limits.connections")
	cs[0].send("DISCONNECT\nreceipt:bye\n\n\x00")
	cs[0].want("RECEIPT")
	cs[0].wantEnd()
	for { // the server counts it until its goroutine has ended
		c := dial(t, s)
		c.pour([]byte("CONNECT\naccept-version:1.2\nhost:h\n\n\x00"), 1)
		f, err := c.read()
		if err != nil {
			t.Fatalf("after one has left: %v", err)
		}
		if f.command == "CONNECTED" {
			return
		}
	}
}
