package hostile_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"stompserver/test/process"
	"stompserver/test/webclient"
)

// TestManyBrowsers: ten thousand clients as browsers are, with sub-protocol, Origin, compression and
// heart-beats, each subscribed to one topic and one of its own. Each gets what is for it, and what is
// for all; when they are gone nothing of them is left.
func TestManyBrowsers(t *testing.T) {
	n := min(10_000, descriptors()-200)
	s := process.Start(t, "STOMPSERVER_LOG_LEVEL=error")
	rss, _ := s.RSS()
	files := s.Files()
	begin := time.Now()
	all := make([]*webclient.Conn, n)
	for i := range all {
		c, err := dialFrom(s, byte(2+i%8))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(4 * wait))
		w := webclient.Open(t, c, webclient.Options{Text: true, Deflate: i%2 == 0, Protocol: "v12.stomp", Origin: "http://localhost:8080"})
		if w.Response.StatusCode != 101 || w.Response.Header.Get("Sec-WebSocket-Protocol") != "v12.stomp" {
			t.Fatalf("connection %d: %s", i, w.Response.Status)
		}
		_, _ = io.WriteString(w, "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:600000,600000\n\n\x00")
		_, _ = fmt.Fprintf(w, "SUBSCRIBE\nid:0\ndestination:/topic/all\n\n\x00")
		_, _ = fmt.Fprintf(w, "SUBSCRIBE\nid:1\ndestination:/topic/one.%d\nreceipt:r\n\n\x00", i)
		for _, want := range []string{"CONNECTED\n", "RECEIPT\n"} {
			if _, p, err := w.Message(); err != nil || !strings.HasPrefix(string(p), want) {
				t.Fatalf("connection %d: got %q, %v, want %s", i, p, err, want)
			}
		}
		all[i] = w
	}
	opened := time.Since(begin)
	now := settled(s)
	t.Logf("%d browsers in %v, %v of processor, %d bytes of the server for each", n, opened.Round(time.Millisecond), s.CPU(), (now-rss)/int64(n))
	if each := (now - rss) / int64(n); each > 32<<10 {
		t.Errorf("each costs %d bytes, want at most 32 KiB", each)
	}

	for _, w := range all { // to open so many may have taken minutes
		_ = w.Conn.SetDeadline(time.Now().Add(4 * wait))
	}
	p := login(t, s, "1.2")
	begin = time.Now()
	p.send("SEND\ndestination:/topic/all\n\nfor all\x00")
	for i := range all {
		p.send(fmt.Sprintf("SEND\ndestination:/topic/one.%d\n\nfor %d\x00", i, i))
	}
	for i, w := range all {
		for _, want := range []string{"for all\x00", fmt.Sprintf("for %d\x00", i)} {
			if _, m, err := w.Message(); err != nil || !strings.HasPrefix(string(m), "MESSAGE\n") || !strings.Contains(string(m), want) {
				t.Fatalf("browser %d got %q, %v, want %q", i, m, err, want)
			}
		}
	}
	t.Logf("each had its two messages after %v", time.Since(begin).Round(time.Millisecond))
	for _, w := range all {
		_ = w.Conn.(*net.TCPConn).SetLinger(0)
		_ = w.Conn.Close()
	}
	for end := time.Now().Add(wait); s.Files() > files+10; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d files are open, %d were before", s.Files(), files)
		}
	}
	p.send("BEGIN\ntransaction:1\nreceipt:r\n\n\x00")
	p.want("RECEIPT")
}
