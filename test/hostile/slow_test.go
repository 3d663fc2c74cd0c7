package hostile_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/test/process"
)

// TestByteByByte: a whole conversation arrives in as many pieces as it has bytes, on many
// connections side by side.
func TestByteByByte(t *testing.T) {
	s := start(t)
	const clients = 100
	cs := make([]*conn, clients)
	scripts := make([]string, clients)
	var longest int
	for i := range cs {
		cs[i] = dial(t, s)
		scripts[i] = fmt.Sprintf("\r\n\nCONNECT\r\naccept-version:1.2\r\nhost:h\r\n\r\n\x00\n"+
			"SUBSCRIBE\nid:1\ndestination:/queue/slow%d\nack:client\nreceipt:a\n\n\x00"+
			"SEND\ndestination:/queue/slow%d\ncontent-length:7\nreceipt:b\nnote:\\\\\\c\\n\n\n\x00grüß\x00\n\n"+
			"DISCONNECT\nreceipt:c\n\n\x00", i, i)
		longest = max(longest, len(scripts[i]))
	}
	for at := range longest {
		for i, c := range cs {
			if at < len(scripts[i]) {
				c.send(scripts[i][at : at+1])
			}
		}
	}
	for _, c := range cs {
		c.want("CONNECTED")
		var seen []string
		for range 4 {
			f := c.next()
			if f.command == "MESSAGE" && (f.body != "\x00grüß" || f.header["note"] != `\\\c\n`) {
				t.Errorf("got %v", f)
			}
			seen = append(seen, f.command+f.header["receipt-id"])
		}
		// MESSAGE and the SEND's receipt may come in either order.
		if got := strings.Join(seen, " "); got != "RECEIPTa MESSAGE RECEIPTb RECEIPTc" && got != "RECEIPTa RECEIPTb MESSAGE RECEIPTc" {
			t.Errorf("got %s", got)
		}
		c.wantEnd()
	}
}

// next reads the next frame, whatever it is.
func (c *conn) next() frame {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(wait))
	f, err := c.read()
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return f
}

// TestManyFramesAtOnce: the other way round, a conversation in one write.
func TestManyFramesAtOnce(t *testing.T) {
	s := start(t)
	c := dial(t, s)
	var script strings.Builder
	script.WriteString("CONNECT\naccept-version:1.1\nhost:h\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/burst\n\n\x00")
	const n = 1000
	for i := range n {
		fmt.Fprintf(&script, "SEND\ndestination:/queue/burst\n\n%d\x00", i)
	}
	script.WriteString("\n\nSEND\ndestination:/queue/none\nreceipt:last\n\n\x00")
	c.send(script.String())
	c.want("CONNECTED")
	receipt := false
	for i := 0; i < n; {
		f := c.next()
		if f.command == "RECEIPT" { // by whom the messages are written is free
			receipt = true
			continue
		}
		if f.body != fmt.Sprint(i) {
			t.Fatalf("got %v as message %d", f, i)
		}
		i++
	}
	if !receipt {
		c.want("RECEIPT")
	}
}

// TestLoginTimeout: bytes do not win time. Who trickles them is cut off like one who is
// silent, and is told why.
func TestLoginTimeout(t *testing.T) {
	const timeout = time.Second
	s := start(t, "STOMPSERVER_LIMITS_LOGIN_TIMEOUT=1s")
	late := time.Now().Add(40 * timeout) // long before who trickles has said it all
	var wg sync.WaitGroup
	for i := range 200 {
		c := dial(t, s)
		wg.Go(func() {
			script := strings.Repeat("\n", i%50) + "CONNECT\naccept-version:1.2\nlogin:" + strings.Repeat("x", 500)
			for at := range len(script) { // a tenth of the time limit each
				if i%10 == 0 {
					break // says nothing
				}
				c.SetDeadline(time.Now().Add(timeout / 10))
				if _, err := c.Write([]byte(script[at : at+1])); err != nil {
					break
				}
				if _, err := c.r.Peek(1); !isTimeout(err) {
					break // it was told something
				}
			}
			c.SetDeadline(late)
			f, err := c.read()
			if err != nil || f.command != "ERROR" || !strings.Contains(f.body, "limits.login_timeout") {
				t.Errorf("got %v, %v, want an ERROR that names limits.login_timeout", f, err)
				return
			}
			if _, err := io.Copy(io.Discard, c.r); isTimeout(err) {
				t.Error("the connection is still open")
			}
		})
	}
	wg.Wait()
}

// TestHalfOpen: ten thousand who never finish their CONNECT. They are all there at once,
// cost little, are gone when their time is up, and leave nothing behind.
func TestHalfOpen(t *testing.T) {
	const timeout = 5 * time.Second
	n := min(10_000, descriptors()-200)
	if n < 10_000 {
		t.Logf("only %d file descriptors are allowed: %d connections", n+200, n)
	}
	s := start(t, fmt.Sprintf("STOMPSERVER_LIMITS_LOGIN_TIMEOUT=%v", timeout))
	begin := time.Now()
	partial := []string{
		"",
		"\n\n\n",
		"CONN",
		"CONNECT\naccept-version:1.2\nhost:h\nlogin:guest\npasscode:gue",
		"CONNECT\naccept-version:1.2\nnote:" + strings.Repeat("x", 8<<10),
		"CONNECT\ncontent-length:1000\n\n" + strings.Repeat("y", 900),
	}
	cs := make([]net.Conn, n)
	for i := range cs {
		d := net.Dialer{Timeout: wait}
		if runtime.GOOS == "linux" { // all of 127/8 is there: as many ports for each
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}
		}
		c, err := d.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		cs[i] = c
		if _, err := io.WriteString(c, partial[i%len(partial)]); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	took := time.Since(begin)
	rss := settled(s)
	t.Logf("%d connections in %v, the server then had %d MiB", n, took.Round(time.Millisecond), rss>>20)
	if took < timeout { // else the first are gone already
		login(t, s, "1.2").send("DISCONNECT\n\n\x00")
	}

	// One after the other, but their time runs for all of them together.
	deadline := time.Now().Add(timeout + wait)
	buf := make([]byte, 4096)
	var told int
	for i, c := range cs {
		c.SetReadDeadline(deadline)
		var err error
		var n int
		for first := true; err == nil; first = false {
			if n, err = c.Read(buf); first && strings.HasPrefix(string(buf[:n]), "ERROR\n") {
				told++
			}
		}
		if isTimeout(err) {
			t.Fatalf("connection %d is still open %v after the last one was made", i, time.Since(begin)-took)
		}
		c.Close()
	}
	if took > timeout/2 && told == 0 || took <= timeout/2 && told < n*9/10 {
		t.Errorf("%d of %d were told why", told, n)
	}
	t.Logf("%d of %d were told why; the last was gone %v after it was made", told, n, (time.Since(begin) - took).Round(time.Millisecond))
	login(t, s, "1.2").send("DISCONNECT\n\n\x00")
}

// settled is the server's memory when it stays the same for two looks, or after a second.
func settled(s *process.Server) int64 {
	before, _ := s.RSS()
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		now, _ := s.RSS()
		if now == before {
			break
		}
		before = now
	}
	return before
}
