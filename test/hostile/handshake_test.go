package hostile_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/test/certificate"
	"stompserver/test/process"
)

// openAll is a server that speaks everything that clients may begin with.
func openAll(t *testing.T, settings ...string) *process.Server {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate.Write(t, dir, "server", "localhost")
	settings = append(settings, "STOMPSERVER_TLS_CERT="+cert, "STOMPSERVER_TLS_KEY="+key, "STOMPSERVER_LOG_LEVEL=error",
		`STOMPSERVER_TRUSTED_PROXIES=["127.0.0.9/32"]`)
	return process.StartIn(t, dir, settings...)
}

// dialFrom connects from one of the addresses of this machine, where it has as many.
func dialFrom(s *process.Server, last byte) (net.Conn, error) {
	d := net.Dialer{Timeout: wait}
	if goos := os.Getenv("GOOS"); goos == "" || goos == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}
	}
	return d.Dial("tcp", s.Addr())
}

// hello is the first flight of a TLS client.
func hello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, 64<<10)
		n, _ := far.Read(b)
		got <- b[:n]
		_ = far.Close()
	}()
	_ = tls.Client(near, &tls.Config{InsecureSkipVerify: true}).Handshake()
	_ = near.Close()
	return <-got
}

const upgradeHead = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Pad: "

// TestSlowHandshakes: whatever a client begins with, and however slowly it goes on, it is gone when
// limits.login_timeout is over, and costs the others nothing.
func TestSlowHandshakes(t *testing.T) {
	s := openAll(t, "STOMPSERVER_LIMITS_LOGIN_TIMEOUT=2s")
	pad := strings.Repeat("x", 200)
	for name, begin := range map[string]string{
		"STOMP":                "CONNECT\naccept-version:1.2\npad:" + pad,
		"TLS":                  string(hello(t)),
		"WebSocket":            upgradeHead + pad,
		"PROXY, version 1":     "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1 65535 65534",
		"PROXY, version 2":     "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x03\xe8" + pad,
		"frame of a WebSocket": upgradeHead + "\r\n\r\n\x82\xfe\x20\x00\x00\x00\x00\x00CONNECT\npad:" + pad,
	} {
		t.Run(name, func(t *testing.T) {
			const n = 200
			late := lateness()
			var last atomic.Int64 // the longest that one of them was there
			underAttack(t, s, bounds{}, func() {
				var wg sync.WaitGroup
				for range n {
					c, err := dialFrom(s, 9) // who may begin with a PROXY header
					if err != nil {
						t.Fatal(err)
					}
					wg.Go(func() {
						defer c.Close()
						start := time.Now()
						_ = c.SetDeadline(start.Add(wait))
						gone := make(chan struct{})
						go func() {
							_, _ = io.Copy(io.Discard, c)
							close(gone)
						}()
						head := 0
						if i := strings.Index(begin, "\r\n\r\n\x82"); i > 0 {
							head = i + 4
							_, _ = io.WriteString(c, begin[:head])
						}
						for i := head; ; i++ { // the last byte again and again
							if _, err := io.WriteString(c, string(begin[min(i, len(begin)-1)])); err != nil {
								break
							}
							select {
							case <-gone:
								for d := int64(time.Since(start)); ; {
									if before := last.Load(); before >= d || last.CompareAndSwap(before, d) {
										return
									}
								}
							case <-time.After(20 * time.Millisecond):
							}
						}
						<-gone
					})
				}
				wg.Wait()
			})
			if d := time.Duration(last.Load()); d > 6*time.Second+late() {
				t.Errorf("gone after %v, want 2 s", d)
			}
		})
	}
}

// TestTLSFlood: clients that have the server make handshakes and do nothing with them, as fast as
// they can.
func TestTLSFlood(t *testing.T) {
	s := openAll(t)
	first := hello(t)
	var made atomic.Int64
	fails := func(t *testing.T, c net.Conn, err error) bool {
		if err != nil {
			t.Error(err)
			time.Sleep(100 * time.Millisecond)
			return true
		}
		_ = c.SetDeadline(time.Now().Add(wait))
		_ = c.(*net.TCPConn).SetLinger(0) // or the machine runs out of ports
		return false
	}
	for name, attack := range map[string]func(t *testing.T, c net.Conn){
		"hellos": func(_ *testing.T, c net.Conn) {
			_, _ = c.Write(first)
		},
		"hellos that are answered": func(_ *testing.T, c net.Conn) {
			_, _ = c.Write(first)
			_, _ = c.Read(make([]byte, 16<<10))
		},
		"whole handshakes": func(_ *testing.T, c net.Conn) {
			_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
		},
		"handshakes of TLS 1.2": func(_ *testing.T, c net.Conn) {
			_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake()
		},
		"garbage behind a hello": func(_ *testing.T, c net.Conn) {
			_, _ = c.Write(append(append([]byte{}, first...), make([]byte, 4<<10)...))
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			made.Store(0)
			underAttack(t, s, bounds{}, func() {
				swarm(64, 2*time.Second, func(i int) {
					c, err := dialFrom(s, byte(20+i))
					if fails(t, c, err) {
						return
					}
					attack(t, c)
					_ = c.Close()
					made.Add(1)
				})
			})
			t.Logf("%d connections", made.Load())
		})
	}

	// Hundreds wait for the server's part at the same moment.
	t.Run("all at once", func(t *testing.T) {
		underAttack(t, s, bounds{}, func() {
			for range 5 {
				var cs []net.Conn
				for i := range 300 {
					c, err := dialFrom(s, byte(20+i%64))
					if fails(t, c, err) {
						return
					}
					_, _ = c.Write(first[:len(first)-1])
					cs = append(cs, c)
				}
				for _, c := range cs {
					_, _ = c.Write(first[len(first)-1:])
				}
				for _, c := range cs {
					_, _ = c.Read(make([]byte, 1))
					_ = c.Close()
				}
			}
		})
	})
}

// TestKeyUpdates: a client of TLS 1.3 that has the server change its keys again and again, and says
// nothing else, is cut off.
func TestKeyUpdates(t *testing.T) {
	s := openAll(t)
	for _, answer := range []byte{0, 1} { // whether the server is to change its own, too
		t.Run(fmt.Sprint("answer ", answer), func(t *testing.T) {
			var sent atomic.Int64
			underAttack(t, s, bounds{}, func() {
				swarm(4, time.Second, func(int) {
					c, err := dialFrom(s, 30)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(wait))
					k, err := newKeys(c)
					if err != nil {
						t.Error(err)
						return
					}
					go func() { _, _ = io.Copy(io.Discard, c) }()
					for range 100_000 {
						if _, err := c.Write(k.update(answer)); err != nil {
							return
						}
						sent.Add(1)
					}
					t.Error("100,000 updates of keys were taken")
				})
			})
			t.Logf("%d updates", sent.Load())
		})
	}
}

// TestRenegotiation: nobody makes the server negotiate again.
func TestRenegotiation(t *testing.T) {
	s := openAll(t)
	out := openssl(t, "s_client", "-connect", s.Addr(), "-tls1_2")
	if !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert unexpected message") {
		t.Errorf("openssl says\n%.3000s", out)
	}
}
