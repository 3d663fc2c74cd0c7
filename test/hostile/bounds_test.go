package hostile_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/test/process"
)

// TestTopicGoesOn: several publishers, and subscribers that read all the time: when the
// publishers are done, what is sent next reaches every subscriber.
func TestTopicGoesOn(t *testing.T) {
	s := process.Start(t)
	const subscribers, publishers = 4, 8
	var seen [subscribers]atomic.Int64 // the round whose last message came
	var count [subscribers]atomic.Int64
	for i := range subscribers {
		c := login(t, s, "1.2")
		c.send("SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r\n\n\x00")
		c.want("RECEIPT")
		go func() {
			for {
				l, err := c.r.ReadBytes(0)
				if err != nil {
					return
				}
				count[i].Add(1)
				if at := bytes.Index(l, []byte("final ")); at >= 0 {
					var n int64
					_, _ = fmt.Sscanf(string(l[at:]), "final %d", &n)
					seen[i].Store(n)
				}
			}
		}()
	}
	batch := bytes.Repeat([]byte("SEND\ndestination:/topic/a\n\n"+strings.Repeat("x", 1000)+"\x00"), 50)
	for round := int64(1); round <= 10; round++ {
		var wg sync.WaitGroup
		for range publishers {
			c := login(t, s, "1.2")
			wg.Go(func() {
				c.pour(batch, 40)
				time.Sleep(20 * time.Millisecond)
				c.Close()
			})
		}
		wg.Wait()
		end := login(t, s, "1.2")
		for deadline := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
			end.send(fmt.Sprintf("SEND\ndestination:/topic/a\n\nfinal %d\x00", round))
			all := true
			for i := range subscribers {
				all = all && seen[i].Load() == round
			}
			if all {
				break
			}
			if time.Now().After(deadline) {
				for i := range subscribers {
					t.Logf("subscriber %d: %d messages, last of round %d", i, count[i].Load(), seen[i].Load())
				}
				t.Fatalf("round %d: for %v a subscriber that reads gets nothing of what is sent to the topic", round, wait)
			}
		}
		end.Close()
	}
}

// TestAckTwice: an ACK of what an open transaction has acknowledged is refused; it could be
// lost with the transaction.
func TestAckTwice(t *testing.T) {
	s := process.Start(t)
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client-individual\n\n\x00SEND\ndestination:/queue/a\n\nx\x00")
	id := c.want("MESSAGE").header["ack"]
	c.send("BEGIN\ntransaction:t\n\n\x00ACK\nid:" + id + "\ntransaction:t\n\n\x00ACK\nid:" + id + "\nreceipt:ack\n\n\x00")
	f, err := c.read()
	if err != nil || f.command != "ERROR" || f.header["error-code"] != "ack-unknown" {
		t.Fatal(f, err)
	}
	c.Close()
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00")
	other.want("MESSAGE") // it is nobody's any more
}

// TestDeafSubscribersDoNotStopSenders: what waits for slow subscribers of a topic is held
// once and counted for each of them, and keeps every sender of the broker out.
func TestDeafSubscribersDoNotStopSenders(t *testing.T) {
	s := process.Start(t, "STOMPSERVER_LIMITS_MEMORY=64MiB")
	for range 6 {
		c := deaf(t, login(t, s, "1.2"))
		c.send("SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r\n\n\x00")
		c.want("RECEIPT")
	}
	p := login(t, s, "1.2")
	p.pour(chunkFrame("/topic/a"), 1500) // 24 MiB, of which 16 remain
	q := login(t, s, "1.2")
	body := strings.Repeat("y", 1<<20)
	for i := range 16 {
		q.send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\ncontent-length:%d\n\n%s\x00", i, len(body), body))
		q.SetReadDeadline(time.Now().Add(wait))
		if _, err := q.read(); err != nil {
			now, _ := s.RSS()
			t.Fatalf("with %d MiB in a queue, and 64 allowed, the sender waits (%v); resident are %d MiB", i, err, now>>20)
		}
	}
}

// TestLargeMessagesToDeafSubscribers: what the outbox of a subscriber holds of a topic's
// messages counts as memory.
func TestLargeMessagesToDeafSubscribers(t *testing.T) {
	s := process.Start(t, "STOMPSERVER_LIMITS_MEMORY=32MiB")
	t.Cleanup(func() {
		if _, peak := s.RSS(); peak > memory {
			t.Errorf("the server had %d MiB, want at most %d", peak>>20, int64(memory)>>20)
		}
	})
	p := login(t, s, "1.2")
	body := strings.Repeat("x", 8<<20)
	for i := range 40 {
		c := deaf(t, login(t, s, "1.2"))
		c.send(fmt.Sprintf("SUBSCRIBE\nid:1\ndestination:/topic/%d\nreceipt:r\n\n\x00", i))
		c.want("RECEIPT")
		p.send(fmt.Sprintf("SEND\ndestination:/topic/%d\nreceipt:r\ncontent-length:%d\n\n%s\x00", i, len(body), body))
		p.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := p.read(); err != nil {
			return // it waits: well
		}
	}
}

// TestQueueNames: one client makes queues and leaves them.
func TestQueueNames(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_MEMORY=32MiB", "STOMPSERVER_LOG_LEVEL=error")
	c := login(t, s, "1.2")
	pad := strings.Repeat("0", 200)
	for k := range 20 {
		var b strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&b, "SUBSCRIBE\nid:1\ndestination:/queue/%s%d\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00", pad, k*10_000+i)
		}
		b.WriteString("BEGIN\ntransaction:t\nreceipt:r\n\n\x00ABORT\ntransaction:t\n\n\x00")
		c.send(b.String())
		if f, err := c.read(); err != nil || f.command != "RECEIPT" {
			return // refused: well
		}
	}
}

// TestSubscriptionsThatAreOver: what was delivered of a topic and not acknowledged keeps a
// subscription that is over, past limits.subscriptions.
func TestSubscriptionsThatAreOver(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_SUBSCRIPTIONS=10")
	c := login(t, s, "1.2")
	one := strings.Repeat("SUBSCRIBE\nid:1\nack:client\ndestination:/topic/a\n\n\x00SEND\ndestination:/topic/a\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00", 1000)
	round := func() {
		c.send(one + "BEGIN\ntransaction:t\nreceipt:r\n\n\x00ABORT\ntransaction:t\n\n\x00")
		for {
			c.SetReadDeadline(time.Now().Add(wait))
			f, err := c.read()
			if err != nil || f.command == "ERROR" {
				t.Fatal(f, err)
			}
			if f.command == "RECEIPT" {
				return
			}
		}
	}
	for range 50 {
		round()
	}
	before, _ := s.RSS() // with what the garbage collector lets lie
	for range 100 {
		round()
	}
	if now, _ := s.RSS(); now-before > 20<<20 {
		t.Errorf("100,000 subscriptions that are over hold %d MiB, %d bytes each", (now-before)>>20, (now-before)/100_000)
	}
}

// TestGoneWhileItWaitsForMemory: the messages of a client that waits with a SEND for memory
// are back when it goes.
func TestGoneWhileItWaitsForMemory(t *testing.T) {
	s := process.Start(t, "STOMPSERVER_LIMITS_MEMORY=1MiB")
	p := login(t, s, "1.2")
	p.send("SEND\ndestination:/queue/work\nreceipt:r\n\nwork\x00")
	p.want("RECEIPT")
	c := login(t, s, "1.2")
	c.send("SUBSCRIBE\nid:1\nack:client\ndestination:/queue/work\n\n\x00")
	c.want("MESSAGE")
	p.send("SEND\ndestination:/queue/full\nreceipt:r\n\n" + strings.Repeat("x", 1<<20) + "\x00")
	p.want("RECEIPT")
	c.send("SEND\ndestination:/queue/other\n\nx\x00")
	time.Sleep(200 * time.Millisecond)
	c.Close()
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/queue/work\n\n\x00")
	began := time.Now()
	other.SetReadDeadline(began.Add(wait))
	if _, err := other.read(); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// TestStopDuringLogins: TERM ends the server in ten seconds, whatever waits for its hash.
func TestStopDuringLogins(t *testing.T) {
	dir := t.TempDir()
	hash := "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if err := os.WriteFile(filepath.Join(dir, ".passwd"), []byte("app:"+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	late := lateness()
	t.Cleanup(func() { // runs after that of StartIn, which sends TERM and waits
		if d := time.Since(began); d > 12*time.Second+late() {
			t.Errorf("the server ended %v after TERM, want 10 s at most", d)
		}
	})
	s := process.StartIn(t, dir, "STOMPSERVER_AUTH=true")
	for range 1200 {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "CONNECT\nlogin:app\npasscode:w\\\\x\n\n\x00")
	}
	began = time.Now()
}
