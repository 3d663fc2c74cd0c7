package hostile_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/test/process"
	"stompserver/test/webclient"
)

// ways are those to wrap STOMP in.
var ways = []struct {
	name string
	tls  bool
	web  *webclient.Options
}{
	{name: "tcp"},
	{name: "tls", tls: true},
	{name: "ws", web: &webclient.Options{}},
	{name: "ws in text", web: &webclient.Options{Text: true}},
	{name: "ws in parts", web: &webclient.Options{Part: 1000}},
	{name: "ws compressed", web: &webclient.Options{Deflate: true}},
	{name: "wss", tls: true, web: &webclient.Options{}},
}

// way opens a connection one way; a client that cannot have it fails the test.
func way(t *testing.T, s *process.Server, i int) net.Conn {
	t.Helper()
	c, err := dialFrom(s, byte(20+i))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	if ways[i].tls {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if o := ways[i].web; o != nil {
		return webclient.Open(t, c, *o)
	}
	return c
}

// TestNoEndBeforeTheLogin: who pours in without a login is cut off at limits.frame_before_login,
// however it is wrapped, and however much a compressed message would become.
func TestNoEndBeforeTheLogin(t *testing.T) {
	s := openAll(t)
	chunk := append([]byte("CONNECT\naccept-version:1.2\npad:"), bytes.Repeat([]byte("x"), 256<<10)...) // which is compressed before it goes
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			underAttack(t, s, bounds{rss: 32 << 20}, func() {
				var wg sync.WaitGroup
				for range 4 {
					c := way(t, s, i)
					wg.Go(func() {
						go func() { // it ends with the connection
							for range 256 {
								if _, err := c.Write(chunk); err != nil {
									return
								}
							}
						}()
						if _, err := io.Copy(io.Discard, c); isTimeout(err) {
							t.Error("the connection is still open")
						}
						_ = c.Close()
					})
				}
				wg.Wait()
			})
		})
	}
}

// TestGarbageWithin: any bytes at all, within each wrapping, and in place of its frames.
func TestGarbageWithin(t *testing.T) {
	s := openAll(t)
	t.Logf("-seed=%d", *seed)
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			underAttack(t, s, bounds{}, func() {
				rng := rand.New(rand.NewPCG(*seed, uint64(i)))
				for n := range 40 {
					c := way(t, s, i)
					junk := make([]byte, 1+rng.IntN(32<<10))
					for j := range junk {
						junk[j] = byte(rng.Uint32())
					}
					raw := io.Writer(c)
					if web, ok := c.(*webclient.Conn); ok && n%2 == 0 {
						raw = web.Conn
					}
					if n%4 > 1 {
						_, _ = io.WriteString(c, "CONNECT\naccept-version:1.2\nhost:h\n\n\x00")
					}
					done := make(chan struct{})
					go func() {
						_, _ = raw.Write(junk)
						if web, ok := c.(*webclient.Conn); ok {
							web.Frame(0x88, nil)
						}
						closeWrite(c)
						close(done)
					}()
					if _, err := io.Copy(io.Discard, c); isTimeout(err) {
						t.Errorf("connection %d is still open", n)
					}
					_ = c.Close()
					<-done
				}
			})
		})
	}
}

// closeWrite ends what c has to say.
func closeWrite(c net.Conn) {
	switch c := c.(type) {
	case *webclient.Conn:
		closeWrite(c.Conn)
	case interface{ CloseWrite() error }:
		_ = c.CloseWrite()
	}
}

// TestPingFlood: pings, which cost a client little, as fast as they go; the pongs are read.
func TestPingFlood(t *testing.T) {
	s := openAll(t)
	var sent atomic.Int64
	underAttack(t, s, bounds{}, func() {
		ping := bytes.Repeat([]byte("\x89\xfd\x00\x00\x00\x00"+strings.Repeat("x", 125)), 100)
		var wg sync.WaitGroup
		for range 4 {
			c := way(t, s, 2).(*webclient.Conn)
			wg.Go(func() {
				go func() { _, _ = io.Copy(io.Discard, c.Conn) }() // it ends with the connection
				for end := time.Now().Add(2 * time.Second); time.Now().Before(end); sent.Add(100) {
					if _, err := c.Conn.Write(ping); err != nil {
						t.Error(err)
						break
					}
				}
				_ = c.Close()
			})
		}
		wg.Wait()
	})
	t.Logf("%d pings", sent.Load())
}

// TestDeafBrowsers: subscribers within each wrapping that never read hold back nobody and no more
// memory than limits.outbox.
func TestDeafBrowsers(t *testing.T) {
	s := openAll(t, "STOMPSERVER_LIMITS_OUTBOX=1MiB")
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			underAttack(t, s, bounds{rss: 48 << 20, files: 40}, func() {
				for range 10 {
					c := way(t, s, i)
					_, _ = io.WriteString(c, "CONNECT\naccept-version:1.2\nhost:h\n\n\x00SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
					_, _ = io.ReadAtLeast(c, make([]byte, 1<<10), 100) // it is subscribed
				}
				p := login(t, s, "1.2")
				p.pour(chunkFrame("/topic/flood"), chunks)
				p.send("SEND\ndestination:/topic/none\nreceipt:end\n\n\x00")
				p.want("RECEIPT")
			})
		})
	}
}
