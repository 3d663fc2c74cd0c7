package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// until waits for something that must become true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (s *server) queue(name string) broker.QueueStats {
	for _, q := range s.b.Queues() {
		if q.Name == name {
			return q
		}
	}
	return broker.QueueStats{}
}

// TestQueueHoldsBackFromAReaderThatDoesNotRead checks that such a client gets no more than
// its outbox and the socket take, that another gets the rest, and that what the first did
// not get comes back when it goes.
func TestQueueHoldsBackFromAReaderThatDoesNotRead(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	deaf := s.dial(t)
	_ = deaf.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	deaf.Connect("1.2")
	deaf.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:s\n\n^@")
	deaf.Expect("RECEIPT\nreceipt-id:s\n")

	const count, size = 400, 64 << 10
	p := s.dial(t)
	p.Connect("1.2")
	body := strings.Repeat("x", size)
	for i := range count {
		p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nn:%d\ncontent-length:%d\n\n%s^@", i, size, body))
	}
	p.Nothing()
	if q := s.queue("/queue/a"); q.Ready < count/4 || q.Enqueued != count {
		t.Errorf("a client that does not read was given too much: %+v", q)
	}
	until(t, "nothing moves", func() bool { q := s.queue("/queue/a"); return q.Unacked > 0 })

	p.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client-individual\nprefetch-count:1\n\n^@")
	first := p.Expect("MESSAGE\nredelivered:false\n")
	ack, _ := first.Get("ack")
	p.Send("ACK\nid:" + ack + "\n\n^@")
	_ = deaf.Conn.Close()
	seen := map[string]int{}
	redelivered := 0
	for s.queue("/queue/a").Ready > 0 || s.queue("/queue/a").Unacked > 0 {
		f, err := p.Read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Command != "MESSAGE" {
			continue
		}
		n, _ := f.Get("n")
		seen[n]++
		if r, _ := f.Get("redelivered"); r == "true" {
			redelivered++
		}
		ack, _ := f.Get("ack")
		p.Send("ACK\nid:" + ack + "\nreceipt:" + ack + "\n\n^@")
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("message %s came %d times", n, times)
		}
	}
	// What the socket took counts as delivered; it is little beside what was sent.
	if len(seen) < count/2 || redelivered == len(seen) {
		t.Errorf("got %d of %d, %d of them redelivered", len(seen), count, redelivered)
	}
}

// TestTopicDoesNotWaitForAReaderThatDoesNotRead checks that another subscriber and the
// sender go on, that memory stays below the outbox, and that the slow one misses the oldest.
func TestTopicDoesNotWaitForAReaderThatDoesNotRead(t *testing.T) {
	const limit = 1 << 20
	s := newServer(t, broker.Config{}, session.Config{Limits: session.Limits{Outbox: limit}})
	deaf, ear := s.dial(t), s.dial(t)
	_ = deaf.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	for _, p := range []*transcript.Peer{deaf, ear} {
		p.Connect("1.2")
		p.Send("SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:s\n\n^@")
		p.Expect("RECEIPT\nreceipt-id:s\n")
	}
	p := s.dial(t)
	p.Connect("1.2")
	body := strings.Repeat("x", 32<<10)
	const count = 1000
	var wg sync.WaitGroup
	ahead := make(chan struct{}, 8) // what the ear may be behind: well below its own outbox
	wg.Go(func() {
		for i := range count {
			ear.Expect(fmt.Sprintf("MESSAGE\nn:%d\n", i))
			<-ahead
		}
	})
	for i := range count {
		ahead <- struct{}{}
		p.Send(fmt.Sprintf("SEND\ndestination:/topic/a\nn:%d\n\n%s^@", i, body))
		if used := s.b.Stats().MemoryUsed; used > 2*limit {
			t.Fatalf("%d bytes wait for a slow client whose limit is %d", used, limit)
		}
	}
	p.Nothing()
	wg.Wait()
	if s.b.Stats().Dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	// What the slow one gets is in order, with a gap, and ends with the last.
	last := -1
	for last < count-1 {
		f, err := deaf.Read()
		if err != nil {
			t.Fatal(err)
		}
		v, _ := f.Get("n")
		n := -1
		fmt.Sscan(v, &n)
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		last = n
	}
}

func TestSlowTopicSubscriberIsDisconnectedIfSoConfigured(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{Slow: broker.Slowness{Policy: broker.SlowDisconnect}, Limits: session.Limits{Outbox: 256 << 10}})
	deaf := s.dial(t)
	_ = deaf.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	deaf.Connect("1.2")
	deaf.Send("SUBSCRIBE\nid:7\ndestination:/topic/a\nreceipt:s\n\n^@")
	deaf.Expect("RECEIPT\nreceipt-id:s\n")
	p := s.dial(t)
	p.Connect("1.2")
	body := strings.Repeat("x", 32<<10)
	for s.b.Stats().Dropped == 0 {
		p.Send("SEND\ndestination:/topic/a\n\n" + body + "^@")
		p.Nothing()
	}
	for {
		f, err := deaf.Read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Command == "ERROR" {
			if diff := transcript.Match(f, "ERROR\nerror-code:limit-reached\nsubscription:7\n"); diff != "" || !strings.Contains(f.Body, "limits.outbox") {
				t.Errorf("%s: %v", diff, f)
			}
			break
		}
	}
	deaf.Closed()
}

// TestReceiptsAreReadFirst checks that a client which asks for many receipts and is slow to
// read them gets them all, in order, while it is held back.
func TestReceiptsAreReadFirst(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{Limits: session.Limits{Outbox: 64 << 10}})
	p := s.dial(t)
	p.Connect("1.2")
	id := strings.Repeat("r", 2000)
	const count = 10000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range count {
			p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%s%d\n\n^@", id, i))
		}
	}()
	for i := range count {
		p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%s%d\n", id, i))
	}
	<-sent
}

// TestMemoryLimit checks that a full broker first holds senders back, lets them go on when
// there is room, and tells them when there is none for too long.
func TestMemoryLimit(t *testing.T) {
	s := newServer(t, broker.Config{MemoryLimit: 1 << 20}, session.Config{Limits: session.Limits{MemoryWait: patience}})
	p := s.dial(t)
	p.Connect("1.2")
	body := strings.Repeat("x", 100<<10)
	const count = 30
	sent := make(chan struct{})
	go func() {
		for i := range count {
			p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\n\n%s^@", i, body))
		}
		close(sent)
	}()
	for i := range 10 {
		p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", i))
	}
	until(t, "the limit", s.b.MemoryFull)
	if q := s.queue("/queue/a"); q.Ready > 12 {
		t.Errorf("%d messages of 100 KiB with a limit of 1 MiB", q.Ready)
	}
	c := s.dial(t)
	c.Connect("1.2")
	c.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\n\n^@")
	for range count {
		c.Expect("MESSAGE\n")
	}
	for i := 10; i < count; i++ {
		p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", i))
	}
	<-sent
}

func TestMemoryLimitIsTold(t *testing.T) {
	s := newServer(t, broker.Config{MemoryLimit: 100 << 10}, session.Config{Limits: session.Limits{MemoryWait: 10 * time.Millisecond}})
	p := s.dial(t)
	p.Connect("1.2")
	p.Send("SEND\ndestination:/queue/a\nreceipt:1\n\n" + strings.Repeat("x", 200<<10) + "^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")
	p.Send("SEND\ndestination:/queue/a\nreceipt:2\n\nx^@")
	f := p.Expect("ERROR\nerror-code:limit-reached\nreceipt-id:2\n")
	if !strings.Contains(f.Body, "limits.memory") {
		t.Errorf("body %q", f.Body)
	}
	p.Closed()
	if q := s.queue("/queue/a"); q.Ready != 1 {
		t.Errorf("%+v", q)
	}
}

func TestLimitsOfASession(t *testing.T) {
	limits := session.Limits{
		Subscriptions: 2, Transactions: 1, TransactionFrames: 2, TransactionBytes: 2000, Body: 1000,
		FrameBeforeLogin: 200, Headers: 5, HeaderLine: 100, Command: 20,
	}
	s := newServer(t, broker.Config{}, session.Config{Limits: limits})
	sub := func(i int) string { return fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/a\n\n^@", i) }
	tx := "SEND\ntransaction:t\ndestination:/queue/a\n\n^@"
	for _, test := range []struct{ name, send, want string }{
		{"subscriptions", sub(1) + sub(2) + sub(3), "limits.subscriptions: 2"},
		{"transactions", "BEGIN\ntransaction:t\n\n^@BEGIN\ntransaction:u\n\n^@", "limits.transactions: 1"},
		{"transaction_frames", "BEGIN\ntransaction:t\n\n^@" + tx + tx + tx, "limits.transaction_frames: 2"},
		{"transaction_bytes", "BEGIN\ntransaction:t\n\n^@" + strings.Replace(tx, "\n\n", "\n\n"+strings.Repeat("x", 900), 1) + strings.Replace(tx, "\n\n", "\n\n"+strings.Repeat("x", 900), 1), "limits.transaction_bytes: 2000"},
		{"body", "SEND\ndestination:/queue/a\ncontent-length:1001\n\n", "limits.body"},
		{"headers", "SEND\na:1\na:2\na:3\na:4\na:5\na:6\n\n^@", "limits.headers"},
		{"header line", "SEND\na:" + strings.Repeat("x", 200) + "\n\n^@", "limits.header"},
		{"command", "SENDDDDDDDDDDDDDDDDDDDDDDDDDDDD\n\n^@", "limits.command"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := s.dial(t)
			p.Connect("1.2")
			p.Send(test.send)
			f := p.Expect("ERROR\n")
			if !strings.Contains(f.Body, test.want) {
				t.Errorf("body %q does not name %q", f.Body, test.want)
			}
			p.Closed()
		})
	}
	p := s.dial(t)
	p.Send("CONNECT\naccept-version:1.2\n\n" + strings.Repeat("x", 300))
	if f := p.Expect("ERROR\nerror-code:frame-too-large\n"); !strings.Contains(f.Body, "limits.frame_before_login") {
		t.Errorf("body %q", f.Body)
	}
}

func TestTooManyClients(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{Limits: session.Limits{Connections: 1}})
	a := s.dial(t)
	a.Connect("1.2")
	b := s.dial(t)
	if f := b.Expect("ERROR\nerror-code:limit-reached\n"); !strings.Contains(f.Body, "limits.connections: 1") {
		t.Errorf("body %q", f.Body)
	}
	b.Closed()
	a.Nothing()
	_ = a.Conn.Close()
	until(t, "the first has gone", func() bool { return s.srv.Connections() == 0 })
	s.dial(t).Connect("1.2")
}

func TestForeignClients(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	p := s.dial(t)
	p.Send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
	b, err := io.ReadAll(p.R)
	if head, body, _ := strings.Cut(string(b), "\r\n\r\n"); err != nil || !strings.HasPrefix(head, "HTTP/1.1 400 ") ||
		!strings.Contains(head, fmt.Sprintf("Content-Length: %d\r\n", len(body))) || !strings.Contains(body, "STOMP") {
		t.Errorf("HTTP: got %q, %v", b, err)
	}
	p = s.dial(t)
	p.Send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	if b, err := io.ReadAll(p.R); err != nil || len(b) != 7 || b[0] != 0x15 {
		t.Errorf("TLS: got %x, %v", b, err)
	}
}

// TestErrorReachesAClientThatStillSends has a client in full flow: a reset must not
// overtake the ERROR.
func TestErrorReachesAClientThatStillSends(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	p := s.dial(t)
	p.Connect("1.2")
	p.Send("NONSENSE\n\n^@")
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		_, err = io.WriteString(p.Conn, "SEND\ndestination:/queue/a\n\n"+strings.Repeat("x", 10000)+"\x00")
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("writing ended with %v", err)
	}
	p.Expect("ERROR\nerror-code:malformed-frame\n")
	p.Closed()
	if q := s.queue("/queue/a"); q.Enqueued != 0 {
		t.Errorf("%d messages after the error were taken", q.Enqueued)
	}
}

func TestShutdownTellsClients(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	p := s.dial(t)
	p.Connect("1.2")
	p.Send("SEND\ndestination:/queue/a\nreceipt:1\n\nx^@")
	p.Expect("RECEIPT\nreceipt-id:1\n")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := contextFor(patience)
		defer cancel()
		done <- s.srv.Shutdown(ctx)
	}()
	p.Expect("ERROR\nmessage:Shutting down\nerror-code:shutting-down\n")
	p.Closed()
	_ = p.Conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.ln.Addr().String()); err == nil {
		t.Error("still listening")
	}
}
