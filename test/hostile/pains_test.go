package hostile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/test/process"
)

// What has hurt users of other brokers, as their issue trackers tell, and must not here.

// TestEscapedPasscode: CONNECT has no escapes, yet several libraries write them there.
func TestEscapedPasscode(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".passwd"), []byte("app:se:cr\\et\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.StartIn(t, dir, "STOMPSERVER_AUTH=true")
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		for _, passcode := range []string{`se:cr\et`, `se\ccr\\et`} {
			c := dial(t, s)
			c.send("CONNECT\naccept-version:" + version + "\nhost:h\nlogin:app\npasscode:" + passcode + "\n\n\x00")
			c.want("CONNECTED")
		}
		c := dial(t, s)
		c.send("CONNECT\naccept-version:" + version + "\nhost:h\nlogin:app\npasscode:se\n\n\x00")
		if f := c.wantError("login-failed"); strings.Contains(f.String(), `cr\et`) {
			t.Errorf("got %v, which tells the passcode", f)
		}
	}
}

// TestTrimmedLogin: 1.0 trims header values, and its clients write a blank behind the colon;
// in 1.1 and 1.2 a blank is part of the value.
func TestTrimmedLogin(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".passwd"), []byte("app:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.StartIn(t, dir, "STOMPSERVER_AUTH=true")
	for _, version := range []string{"", "accept-version: 1.0\n", "accept-version:1.1\n", "accept-version:1.2\n"} {
		c := dial(t, s)
		c.send("CONNECT\n" + version + "login: app\npasscode: secret \n\n\x00")
		if strings.HasSuffix(version, "1\n") || strings.HasSuffix(version, "2\n") {
			c.wantError("login-failed")
		} else {
			c.want("CONNECTED")
		}
	}
}

// TestErrors: each of these mistakes is told in words, before the end.
func TestErrors(t *testing.T) {
	s := start(t)
	tests := []struct{ name, frames, code, names string }{
		{"two subscriptions of one id", "SUBSCRIBE\nid:1\ndestination:/queue/e1\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/e2\n\n\x00", "subscription-exists", "1"},
		{"ack of an unknown id", "SUBSCRIBE\nid:1\nack:client\ndestination:/queue/e1\n\n\x00ACK\nid:no-such\n\n\x00", "ack-unknown", "no-such"},
		{"nack of an unknown id", "NACK\nid:no-such\n\n\x00", "ack-unknown", "no-such"},
		{"commit of an unknown transaction", "COMMIT\ntransaction:no-such\n\n\x00", "transaction-unknown", "no-such"},
		{"abort of an unknown transaction", "ABORT\ntransaction:no-such\n\n\x00", "transaction-unknown", "no-such"},
		{"begin of an open transaction", "BEGIN\ntransaction:t\n\n\x00BEGIN\ntransaction:t\n\n\x00", "transaction-exists", "t"},
		{"an unknown subscription", "UNSUBSCRIBE\nid:no-such\n\n\x00", "subscription-unknown", "no-such"},
		{"SEND to nowhere", "SEND\n\nbody\x00", "header-missing", "destination"},
		{"SUBSCRIBE to nothing", "SUBSCRIBE\nid:1\n\n\x00", "header-missing", "destination"},
		{"an unknown ack mode", "SUBSCRIBE\nid:1\ndestination:/queue/e\nack:sometimes\n\n\x00", "bad-header", "sometimes"},
		{"an unknown command", "PUBLISH\ndestination:/queue/e\n\n\x00", "malformed-frame", "PUBLISH"},
		{"an undefined escape", "SEND\ndestination:/queue/e\nnote:\\t\n\n\x00", "malformed-frame", ""},
		{"a header without colon", "SEND\ndestination:/queue/e\nnote\n\n\x00", "malformed-frame", ""},
		{"a header without name", "SEND\ndestination:/queue/e\n:note\n\n\x00", "malformed-frame", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := login(t, s, "1.2")
			c.send(tt.frames)
			c.wantError(tt.code, tt.names)
		})
	}
	t.Run("before CONNECT", func(t *testing.T) {
		c := dial(t, s)
		c.send("SEND\ndestination:/queue/e\n\nbody\x00")
		c.wantError("login-required", "CONNECT")
	})
	t.Run("no version in common", func(t *testing.T) {
		c := dial(t, s)
		c.send("CONNECT\naccept-version:2.0,3.1\nhost:h\n\n\x00")
		f := c.wantError("version-mismatch")
		if f.header["version"] != "1.0,1.1,1.2" {
			t.Errorf("got version:%s, want those that are spoken here", f.header["version"])
		}
	})
}

// TestErrorIsRead: a client that still has much to say when its ERROR comes reads it all
// the same: the connection is not reset under it.
func TestErrorIsRead(t *testing.T) {
	s := start(t)
	for range 20 {
		c := login(t, s, "1.2")
		c.send("COMMIT\ntransaction:no-such\nreceipt:r\n\n\x00")
		c.pour(chunkFrame("/queue/unread"), 64)
		f := c.wantError("transaction-unknown", "no-such")
		if f.header["receipt-id"] != "r" {
			t.Errorf("got %v, want receipt-id:r", f)
		}
	}
}

// TestInjection: what a sender puts into a header with escapes of its version is no line of
// its own for a subscriber whose version has none.
func TestInjection(t *testing.T) {
	s := start(t)
	old := login(t, s, "1.0")
	old.send("SUBSCRIBE\ndestination:/topic/inject\nreceipt:r\n\n\x00")
	old.want("RECEIPT")
	sender := login(t, s, "1.2")
	sender.send("SEND\ndestination:/topic/inject\nnote:a\\nforged:1\\n\\nbody\nsubscription:9\nmessage-id:mine\nredelivered:true\nack:9\n" +
		"content-length:4\n\nreal\x00")
	sender.send("SEND\ndestination:/topic/inject\n\nend\x00")
	f := old.want("MESSAGE")
	if _, ok := f.header["forged"]; ok || f.body != "real" {
		t.Errorf("got %v, want neither the header nor the body that were in a header", f)
	}
	if f.header["message-id"] == "mine" || f.header["subscription"] == "9" || f.header["ack"] == "9" || f.header["redelivered"] == "true" {
		t.Errorf("got %v, with headers that are the server's to say", f)
	}
	if f := old.want("MESSAGE"); f.body != "end" {
		t.Errorf("got %v, want the next message", f)
	}
}

// TestAutoWithPrefetchOne: nothing is ever acknowledged in mode auto, so nothing waits.
func TestAutoWithPrefetchOne(t *testing.T) {
	s := start(t)
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/auto\nack:auto\nprefetch-count:1\n\n\x00")
	for i := range 50 {
		c.send(fmt.Sprintf("SEND\ndestination:/queue/auto\n\n%d\x00", i))
	}
	for i := range 50 {
		if f := c.want("MESSAGE"); f.body != fmt.Sprint(i) {
			t.Fatalf("got %v, want message %d", f, i)
		}
	}
}

// TestPrefetch: a consumer has as many as it asked for, and the rest is there for others.
func TestPrefetch(t *testing.T) {
	s := start(t)
	sender := login(t, s, "1.2")
	for i := range 10 {
		sender.send(fmt.Sprintf("SEND\ndestination:/queue/prefetch\nreceipt:%d\n\n%d\x00", i, i))
		sender.want("RECEIPT")
	}
	greedy := login(t, s, "1.2")
	greedy.send("SUBSCRIBE\nid:1\ndestination:/queue/prefetch\nack:client-individual\nprefetch-count:3\n\n\x00")
	var held []frame
	for i := range 3 {
		f := greedy.want("MESSAGE")
		if f.body != fmt.Sprint(i) {
			t.Fatalf("got %v, want message %d", f, i)
		}
		held = append(held, f)
	}
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/queue/prefetch\nack:auto\n\n\x00")
	for i := 3; i < 10; i++ {
		if f := other.want("MESSAGE"); f.body != fmt.Sprint(i) {
			t.Fatalf("got %v, want message %d", f, i)
		}
	}
	greedy.send("NACK\nid:" + held[1].header["ack"] + "\n\n\x00ACK\nid:" + held[0].header["ack"] + "\n\n\x00DISCONNECT\nreceipt:bye\n\n\x00")
	seen := map[string]bool{}
	for range 2 {
		f := other.want("MESSAGE")
		if seen[f.body] = true; f.header["redelivered"] != "true" {
			t.Errorf("got %v, want redelivered:true", f)
		}
	}
	if !seen["1"] || !seen["2"] {
		t.Errorf("got %v again, want 1 and 2", seen)
	}
}

// TestUnsubscribeInFlight: what an ended subscription holds is not lost, whether its client
// stays or not.
func TestUnsubscribeInFlight(t *testing.T) {
	s := start(t)
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/unsub\nack:client\n\n\x00SEND\ndestination:/queue/unsub\n\nkept\x00")
	c.want("MESSAGE")
	c.send("UNSUBSCRIBE\nid:1\nreceipt:u\n\n\x00")
	c.want("RECEIPT")
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/queue/unsub\nack:client\nreceipt:r\n\n\x00")
	other.want("RECEIPT")
	c.Close()
	if f := other.want("MESSAGE"); f.body != "kept" || f.header["redelivered"] != "true" {
		t.Errorf("got %v, want the message again", f)
	}
}

// TestDeathInTransaction: of a client that dies with a transaction open nothing remains,
// and what it acknowledged in there comes again.
func TestDeathInTransaction(t *testing.T) {
	s := start(t)
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/death\nack:client\n\n\x00SEND\ndestination:/queue/death\n\nkept\x00")
	f := c.want("MESSAGE")
	c.send("BEGIN\ntransaction:t\n\n\x00ACK\nid:" + f.header["ack"] + "\ntransaction:t\n\n\x00" +
		"SEND\ndestination:/queue/death\ntransaction:t\nreceipt:r\n\nnever\x00")
	c.want("RECEIPT")
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/queue/death\nack:auto\nreceipt:r\n\n\x00")
	other.want("RECEIPT")
	c.Close()
	if f := other.want("MESSAGE"); f.body != "kept" || f.header["redelivered"] != "true" {
		t.Errorf("got %v, want the message again", f)
	}
	other.send("SEND\ndestination:/queue/death\n\nend\x00")
	if f := other.want("MESSAGE"); f.body != "end" {
		t.Errorf("got %v, want the end", f)
	}
}

// TestGhost: a consumer whose machine is gone, without a word to the server, holds messages
// only until its heart-beats are missed.
func TestGhost(t *testing.T) {
	s := start(t, "STOMPSERVER_HEARTBEAT_RECEIVE=200ms", "STOMPSERVER_HEARTBEAT_GRACE=100ms")
	ghost := dial(t, s)
	ghost.send("CONNECT\naccept-version:1.2\nhost:h\nheart-beat:200,0\n\n\x00" +
		"SUBSCRIBE\nid:1\ndestination:/queue/ghost\nack:client-individual\nreceipt:r\n\n\x00")
	ghost.want("CONNECTED")
	ghost.want("RECEIPT")
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/ghost\nack:auto\nreceipt:r\n\n\x00")
	c.want("RECEIPT")
	begin := time.Now()
	for i := range 10 {
		c.send(fmt.Sprintf("SEND\ndestination:/queue/ghost\n\n%d\x00", i))
	}
	seen := map[string]bool{}
	for range 10 {
		seen[c.want("MESSAGE").body] = true
	}
	if len(seen) != 10 {
		t.Errorf("got %d of 10 messages", len(seen))
	}
	t.Logf("all were there after %v", time.Since(begin).Round(time.Millisecond))
	ghost.wantError("heartbeat-lost")
}

// TestDisconnectReceipt: it is the last thing a client reads, behind all it had asked for.
func TestDisconnectReceipt(t *testing.T) {
	s := start(t)
	for range 50 {
		c := login(t, s, "1.1")
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "SEND\ndestination:/topic/none\nreceipt:%d\n\n\x00", i)
		}
		c.send(b.String() + "DISCONNECT\nreceipt:bye\n\n\x00")
		for i := range 100 {
			if f := c.want("RECEIPT"); f.header["receipt-id"] != fmt.Sprint(i) {
				t.Fatalf("got %v, want receipt-id:%d", f, i)
			}
		}
		if f := c.want("RECEIPT"); f.header["receipt-id"] != "bye" {
			t.Fatalf("got %v, want receipt-id:bye", f)
		}
		c.wantEnd()
		c.Close()
	}
}
