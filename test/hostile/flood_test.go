package hostile_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/auth"
	"stompserver/test/process"
)

// TestBruteForce: who guesses passcodes gets few guesses, costs others little, and cannot keep the
// user whose passcode it is from logging in. What a guess costs does not tell whether there is
// such a user.
func TestBruteForce(t *testing.T) {
	h, err := auth.Hash("secret")
	if err != nil {
		t.Fatal(err)
	}
	const most = 25 // tries of each kind
	users := []string{fmt.Sprintf("{name: app, passcode: %q}", h)}
	for i := range most {
		users = append(users, fmt.Sprintf("{name: user%d, passcode: %q}", i, h))
	}
	s := process.Start(t, "STOMPSERVER_AUTH=true", "STOMPSERVER_LOG_LEVEL=error", `STOMPSERVER_ANONYMOUS_ALLOW=["write /queue/watched", "read /queue/watched"]`,
		"STOMPSERVER_USERS=["+strings.Join(users, ", ")+"]")
	try := func(from byte, user, passcode string) (ok bool, took time.Duration) {
		c, err := dialFrom(s, from)
		if err != nil {
			t.Error(err)
			return false, 0
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(wait))
		start := time.Now()
		fmt.Fprintf(c, "CONNECT\naccept-version:1.2\nhost:h\nlogin:%s\npasscode:%s\n\n\x00", user, passcode)
		b := make([]byte, 9)
		_, err = io.ReadFull(c, b)
		return err == nil && string(b) == "CONNECTED", time.Since(start)
	}

	// The two in turn, for the first hashes cost more than the others. One is from one address, and
	// of one user, so that nobody waits. The quickest count, of more where the machine is busy.
	var known, unknown []time.Duration
	apart := func() bool {
		k, u := slices.Min(known), slices.Min(unknown)
		return k > 3*u || u > 3*k
	}
	for i := range byte(most) {
		_, took := try(40+2*i, fmt.Sprint("user", i), "wrong")
		if i > 0 {
			known = append(known, took)
		}
		_, took = try(41+2*i, fmt.Sprint("nobody", i), "wrong")
		if i > 0 {
			unknown = append(unknown, took)
		}
		if i >= 5 && !apart() {
			break
		}
	}
	k, u := spread(known), spread(unknown)
	t.Logf("a wrong passcode of a user: %v; of nobody: %v", k, u)
	if apart() {
		t.Error("the times tell whether there is such a user")
	}

	var guesses atomic.Int64
	var slowest time.Duration
	late := lateness()
	underAttack(t, s, bounds{}, func() {
		var wg sync.WaitGroup
		wg.Go(func() {
			swarm(32, 3*time.Second, func(i int) {
				if ok, _ := try(byte(100+i%4), "app", "wrong"); ok {
					t.Error("a wrong passcode logs in")
				}
				guesses.Add(1)
			})
		})
		for range 5 {
			ok, took := try(200, "app", "secret")
			if !ok {
				t.Error("the user cannot log in")
			}
			slowest = max(slowest, took)
			time.Sleep(300 * time.Millisecond)
		}
		wg.Wait()
	})
	t.Logf("%d guesses from 4 addresses in 3 s; the user's own login took %v at most", guesses.Load(), slowest.Round(time.Millisecond))
	if guesses.Load() > 300 {
		t.Errorf("%d guesses were answered in 3 s", guesses.Load())
	}
	if slowest > slow+late() {
		t.Errorf("the user's login took %v", slowest)
	}
}

// rounds sends frames made by f until the server holds the client back or ends it, at most n times
// with many frames each.
func rounds(c *conn, n, many int, f func(i int) string) {
	for k := range n {
		var b strings.Builder
		for i := range many {
			b.WriteString(f(k*many + i))
		}
		b.WriteString("BEGIN\ntransaction:t\nreceipt:r\n\n\x00ABORT\ntransaction:t\n\n\x00")
		if _, err := io.WriteString(c, b.String()); err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		for {
			f, err := c.read()
			if err != nil || f.command == "ERROR" {
				return
			}
			if f.command == "RECEIPT" && f.header["receipt-id"] == "r" {
				break
			}
		}
	}
}

// TestFloods: things that a client makes and leaves, or keeps, have a bound: by a limit of the
// connection or by limits.memory. The connections are many, and their client-ids differ.
func TestFloods(t *testing.T) {
	pad := strings.Repeat("0", 180)
	for _, tt := range []struct {
		name    string
		connect string // headers of CONNECT, with the number of the connection
		frame   func(conn, i int) string
	}{
		{"subscriptions", "", func(_, i int) string {
			return fmt.Sprintf("SUBSCRIBE\nid:%s%d\ndestination:/topic/%s%d\n\n\x00", pad, i, pad, i)
		}},
		{"subscriptions by pattern", "", func(_, i int) string {
			return fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/topic/*.%s%d.>\n\n\x00", i, pad, i)
		}},
		{"transactions", "", func(_, i int) string { return fmt.Sprintf("BEGIN\ntransaction:%s%d\n\n\x00", pad, i) }},
		{"durable subscriptions", "client-id:%d\n", func(n, i int) string {
			return fmt.Sprintf("SUBSCRIBE\nid:1\nactivemq.subscriptionName:%d%d%s\ndestination:/topic/a\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00", n, i, pad)
		}},
		{"shared subscriptions", "", func(n, i int) string {
			return fmt.Sprintf("SUBSCRIBE\nid:1\ngroup:%d%d%s\ndestination:/topic/a\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00", n, i, pad)
		}},
		{"queues with properties", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/queue/%d%d%s\nx-max-length:1\n\n\x00", n, i, pad)
		}},
		{"retained topics", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/topic/%d%d%s\nretain:set\n\n\x00", n, i, pad)
		}},
		{"names of messages", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/queue/a\nttl:1\ndedupe-id:%d%d%s\n\n\x00", n, i, pad)
		}},
		{"scheduled messages", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/queue/a\ndelay:1000000\n\n%d%d%s\x00", n, i, pad)
		}},
		{"temporary queues", "", func(_, i int) string {
			return fmt.Sprintf("SEND\ndestination:/topic/a\nreply-to:/temp-queue/%s%d\n\n\x00", pad, i)
		}},
		{"priorities", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/queue/%d%d%s\npriority:%d\n\n\x00", n, i/9, pad, i%10)
		}},
		{"message groups", "", func(n, i int) string {
			return fmt.Sprintf("SEND\ndestination:/queue/g\nJMSXGroupID:%d%d%s\n\n\x00", n, i, pad)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := process.Start(t, "STOMPSERVER_LIMITS_MEMORY=32MiB", "STOMPSERVER_LOG_LEVEL=error")
			// What waits for room keeps the healthy client waiting as well: it is asked afterwards.
			var wg sync.WaitGroup
			for n := range 4 {
				c := dial(t, s)
				connect := tt.connect
				if connect != "" {
					connect = fmt.Sprintf(connect, n)
				}
				c.send("CONNECT\naccept-version:1.2\nhost:h\n" + connect + "\n\x00")
				c.want("CONNECTED")
				wg.Go(func() { rounds(c, 10, 5_000, func(i int) string { return tt.frame(n, i) }) })
			}
			wg.Wait()
			now, peak := s.RSS()
			t.Logf("memory: %d MiB, at most %d; processor %v", now>>20, peak>>20, s.CPU())
			if peak > memory {
				t.Errorf("the server had %d MiB, want at most %d", peak>>20, int64(memory)>>20)
			}
			if c := login(t, s, "1.2"); c.tripReceipt() != nil {
				t.Error("a client that connects afterwards gets no answer")
			}
		})
	}
}

// tripReceipt asks for an answer that needs no memory.
func (c *conn) tripReceipt() error {
	c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, "BEGIN\ntransaction:x\nreceipt:x\n\n\x00"); err != nil {
		return err
	}
	f, err := c.read()
	if err == nil && f.command != "RECEIPT" {
		err = fmt.Errorf("got %v", f)
	}
	return err
}
