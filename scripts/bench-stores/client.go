//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// size is that of the bodies.
const size = 1024

// sendFrame is a SEND as the clients of this program send it: it is the same bytes for all
// that is compared.
func sendFrame(queue string) []byte {
	return fmt.Appendf(nil, "SEND\ndestination:%s\npersistent:true\ncontent-length:%d\nreceipt:1\n\n%s\x00", queue, size, strings.Repeat("x", size))
}

// benchQueue is where they are sent to.
const benchQueue = "/queue/bench"

// A client sends and waits, with one goroutine and nothing between it and the socket.
type client struct {
	conn net.Conn
	in   []byte
}

func dial(ctx context.Context, addr string) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: make([]byte, 64<<10)}
	if err := c.ask([]byte("CONNECT\nlogin:\npasscode:\n\n\x00")); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// ask writes a frame and reads the one that answers it.
func (c *client) ask(frame []byte) error {
	if _, err := c.conn.Write(frame); err != nil {
		return err
	}
	for have := 0; ; {
		n, err := c.conn.Read(c.in[have:])
		if err != nil {
			return err
		}
		have += n
		answer := bytes.TrimLeft(c.in[:have], "\n")
		if bytes.IndexByte(answer, 0) < 0 {
			continue
		}
		if bytes.HasPrefix(answer, []byte("ERROR")) {
			return fmt.Errorf("the server said: %s", answer)
		}
		return nil
	}
}

// roundTrips has n connections send a message, wait for its receipt, and so on.
func roundTrips(addr string, n int) func(context.Context, time.Duration) (int64, time.Duration, error) {
	return func(ctx context.Context, d time.Duration) (int64, time.Duration, error) {
		return sendAll(ctx, addr, n, d)
	}
}

func sendAll(ctx context.Context, addr string, n int, d time.Duration) (all int64, took time.Duration, err error) {
	var cs []*client
	defer func() {
		for _, c := range cs {
			_ = c.conn.Close()
		}
	}()
	for range n {
		c, err := dial(ctx, addr)
		if err != nil {
			return 0, 0, err
		}
		cs = append(cs, c)
	}
	frame := sendFrame(benchQueue)
	var wg sync.WaitGroup
	var count atomic.Int64
	errs := make(chan error, n)
	begin := time.Now()
	for _, c := range cs {
		wg.Go(func() {
			k := int64(0)
			for time.Since(begin) < d {
				if err := c.ask(frame); err != nil {
					errs <- err
					return
				}
				k++
			}
			count.Add(k)
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	return count.Load(), time.Since(begin), nil
}

// ahead has connections send messages with receipts, each with so many under way at most: n of them
// in all, or if that is 0 as many as they can.
func ahead(addr string, conns, window int, n int64) func(context.Context, time.Duration) (int64, time.Duration, error) {
	return func(ctx context.Context, d time.Duration) (int64, time.Duration, error) {
		var left, count atomic.Int64
		left.Store(n)
		begin := time.Now()
		more := func() bool { return left.Add(-1) >= 0 }
		if n == 0 {
			more = func() bool { return time.Since(begin) < d }
		}
		errs := make(chan error, conns)
		for range conns {
			go func() {
				c, err := dial(ctx, addr)
				if err == nil {
					err = c.sendAhead(window, more, &count)
					_ = c.conn.Close()
				}
				errs <- err
			}()
		}
		var failed error
		for range conns {
			if err := <-errs; err != nil {
				failed = err
			}
		}
		return count.Load(), time.Since(begin), failed
	}
}

// sendAhead sends as long as there are more, and counts what was confirmed.
func (c *client) sendAhead(window int, more func() bool, count *atomic.Int64) error {
	frame := sendFrame(benchQueue)
	var out []byte
	open, done := 0, false
	for {
		out = out[:0]
		for !done && open < window && len(out) < 64<<10 {
			if done = !more(); !done {
				out = append(out, frame...)
				open++
			}
		}
		if _, err := c.conn.Write(out); err != nil {
			return err
		}
		if open == 0 {
			return nil
		}
		if len(out) > 0 && open < window && !done {
			continue
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.conn.Read(c.in)
		if err != nil {
			return err
		}
		if bytes.Contains(c.in[:n], []byte("ERROR")) {
			return fmt.Errorf("the server said: %s", c.in[:n])
		}
		k := bytes.Count(c.in[:n], []byte{0})
		open -= k
		count.Add(int64(k))
	}
}

// drain takes n messages out of a queue, each acknowledged by itself.
func drain(ctx context.Context, addr, queue string, n int) (time.Duration, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	begin := time.Now()
	if err := c.take(queue, "client-individual", n); err != nil {
		return 0, err
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	err = c.ask([]byte("DISCONNECT\nreceipt:end\n\n\x00"))
	return time.Since(begin), err
}

// take subscribes to a queue and acknowledges n messages.
func (c *client) take(queue, ack string, n int) error {
	if _, err := fmt.Fprintf(c.conn, "SUBSCRIBE\nid:1\ndestination:%s\nack:%s\nprefetch-count:1000\n\n\x00", queue, ack); err != nil {
		return err
	}
	var acks []byte
	have := 0
	for left := n; left > 0; {
		_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		k, err := c.conn.Read(c.in[have:])
		if err != nil {
			return fmt.Errorf("with %d messages left: %w", left, err)
		}
		have += k
		b := c.in[:have]
		acks = acks[:0]
		for {
			b = bytes.TrimLeft(b, "\n")
			head, _, ok := bytes.Cut(b, []byte("\n\n"))
			if !ok {
				break
			}
			if bytes.HasPrefix(head, []byte("ERROR")) {
				return fmt.Errorf("the server said: %s", head)
			}
			length, _ := strconv.Atoi(field(head, "content-length"))
			end := len(head) + 2 + length + 1
			if length == 0 {
				return errors.New("a frame without content-length")
			}
			if len(b) < end {
				break
			}
			acks = fmt.Appendf(acks, "ACK\nmessage-id:%s\nsubscription:1\n\n\x00", field(head, "message-id"))
			b = b[end:]
			left--
		}
		have = copy(c.in, b)
		if _, err := c.conn.Write(acks); err != nil {
			return err
		}
	}
	return nil
}

// passing is roundTrips with somebody who takes and acknowledges what is sent.
func passing(addr string, n int) func(context.Context, time.Duration) (int64, time.Duration, error) {
	return func(ctx context.Context, d time.Duration) (int64, time.Duration, error) {
		c, err := dial(ctx, addr)
		if err != nil {
			return 0, 0, err
		}
		gone := make(chan struct{})
		go func() { // ends with the connection
			defer close(gone)
			_ = c.take(benchQueue, "client", math.MaxInt)
		}()
		defer func() {
			_ = c.conn.Close()
			<-gone
		}()
		return sendAll(ctx, addr, n, d)
	}
}

func field(head []byte, name string) string {
	for line := range strings.SplitSeq(string(head), "\n") {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return v
		}
	}
	return ""
}
