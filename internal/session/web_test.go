package session_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/origin"
	"stompserver/internal/session"
	"stompserver/internal/store/spool"
	"stompserver/test/certificate"
	"stompserver/test/transcript"
	"stompserver/test/webclient"
)

// newPort serves what p says.
func newPort(t testing.TB, sc session.Config, p *session.Port) *server {
	t.Helper()
	s := newServerOn(t, broker.Config{Store: spool.New()}, sc)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.srv.Serve(l, p) }() // ended by the clean-up of s
	s.ln = l
	return s
}

func (s *server) tcp() (net.Conn, error) { return net.Dial("tcp", s.ln.Addr().String()) }

func (s *server) web(t testing.TB, o webclient.Options) *webclient.Conn {
	t.Helper()
	c, err := s.tcp()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(transcript.Patience))
	return webclient.Open(t, c, o)
}

// TestTranscriptsByEachWay plays the conversations of this package by each of the ways that a
// port offers.
func TestTranscriptsByEachWay(t *testing.T) {
	cert := certificate.Make(t, "localhost")
	serving := &tls.Config{Certificates: []tls.Certificate{cert}}
	client := &tls.Config{InsecureSkipVerify: true}
	overTLS := func(s *server) (net.Conn, error) { return tls.Dial("tcp", s.ln.Addr().String(), client) }
	web := func(o webclient.Options) func(*server) (net.Conn, error) {
		return func(s *server) (net.Conn, error) {
			c, err := s.tcp()
			if err != nil {
				return nil, err
			}
			return webclient.Open(t, c, o), nil
		}
	}
	ways := []struct {
		name string
		dial func(*server) (net.Conn, error)
	}{
		{"TLS", overTLS},
		{"binary", web(webclient.Options{Protocol: "v12.stomp"})},
		{"text", web(webclient.Options{Text: true})},
		{"compressed", web(webclient.Options{Deflate: true})},
		{"in parts", web(webclient.Options{Part: 3, Text: true})},
		{"compressed in parts", web(webclient.Options{Part: 3, Deflate: true})},
		{"byte for byte", web(webclient.Options{Part: 1, Trickle: true})},
		{"WebSocket within TLS", func(s *server) (net.Conn, error) {
			c, err := overTLS(s)
			if err != nil {
				return nil, err
			}
			return webclient.Open(t, c, webclient.Options{Text: true}), nil
		}},
		{"behind a proxy", func(s *server) (net.Conn, error) {
			c, err := s.tcp()
			if err == nil {
				_, err = io.WriteString(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n")
			}
			return c, err
		}},
	}
	files, err := filepath.Glob("testdata/*.stomp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".stomp"), func(t *testing.T) {
					t.Parallel()
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					s := newPort(t, session.Config{ServerHeader: "test/1"}, &session.Port{TLS: serving, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
					addr := webclient.Bridge(t, func() (net.Conn, error) { return way.dial(s) })
					transcript.Play(t, addr, string(text), nil)
				})
			}
		})
	}
}

func connectWeb(t *testing.T, w *webclient.Conn) {
	t.Helper()
	if w.Response.StatusCode != 101 {
		t.Fatalf("answered with %s", w.Response.Status)
	}
	_, _ = w.Write([]byte("CONNECT\naccept-version:1.2\nhost:x\n\n\x00"))
	if _, p, err := w.Message(); err != nil || !strings.HasPrefix(string(p), "CONNECTED\n") {
		t.Fatalf("got %q, %v", p, err)
	}
}

// TestWebSocketRules breaks each rule of RFC 6455, and keeps each that may surprise.
func TestWebSocketRules(t *testing.T) {
	s := newPort(t, session.Config{}, &session.Port{})
	long := bytes.Repeat([]byte("x"), 126)
	utf := []byte("SEND\ndestination:/topic/a\n\nκόσμε\x00")
	tests := []struct {
		name string
		do   func(w *webclient.Conn)
		code int // of the close frame that answers; 0: the connection stays
	}{
		{"a ping", func(w *webclient.Conn) { w.Frame(0x89, []byte("hello")) }, 0},
		{"a pong that nobody asked for", func(w *webclient.Conn) { w.Frame(0x8a, []byte("hello")) }, 0},
		{"an empty message", func(w *webclient.Conn) { w.Frame(0x82, nil) }, 0},
		{"a text cut within a character", func(w *webclient.Conn) { w.Frame(0x01, utf[:28]); w.Frame(0x80, utf[28:]) }, 0},
		{"a ping that is too long", func(w *webclient.Conn) { w.Frame(0x89, long) }, 1002},
		{"a ping in parts", func(w *webclient.Conn) { w.Frame(0x09, nil) }, 1002},
		{"reserved bit 1", func(w *webclient.Conn) { w.Frame(0xc2, nil) }, 1002},
		{"reserved bit 2", func(w *webclient.Conn) { w.Frame(0xa2, nil) }, 1002},
		{"reserved bit 3", func(w *webclient.Conn) { w.Frame(0x92, nil) }, 1002},
		{"opcode 3", func(w *webclient.Conn) { w.Frame(0x83, nil) }, 1002},
		{"opcode 11", func(w *webclient.Conn) { w.Frame(0x8b, nil) }, 1002},
		{"what continues nothing", func(w *webclient.Conn) { w.Frame(0x80, nil) }, 1002},
		{"a message within another", func(w *webclient.Conn) { w.Frame(0x02, nil); w.Frame(0x82, nil) }, 1002},
		{"no mask", func(w *webclient.Conn) { _, _ = w.Conn.Write([]byte{0x82, 0}) }, 1002},
		{"a length that is too long, 16 bits", func(w *webclient.Conn) { _, _ = w.Conn.Write([]byte{0x82, 0xfe, 0, 5, 0, 0, 0, 0}) }, 1002},
		{"a length that is too long, 64 bits", func(w *webclient.Conn) {
			_, _ = w.Conn.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0})
		}, 1002},
		{"a negative length", func(w *webclient.Conn) {
			_, _ = w.Conn.Write([]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0})
		}, 1002},
		{"a text that is none", func(w *webclient.Conn) { w.Frame(0x81, []byte("\n\xff")) }, 1007},
		{"a text that ends within a character", func(w *webclient.Conn) { w.Frame(0x81, []byte("\n\xce")) }, 1007},
		{"a text that is wrong at once, in its first part", func(w *webclient.Conn) { w.Frame(0x01, []byte("\n\xf4\x90")) }, 1007},
		{"close", func(w *webclient.Conn) { w.Frame(0x88, []byte{3, 0xe8}) }, 1000},
		{"close with a reason", func(w *webclient.Conn) { w.Frame(0x88, append([]byte{0x0f, 0xa0}, "bye"...)) }, 4000},
		{"close without a code", func(w *webclient.Conn) { w.Frame(0x88, nil) }, 1005},
		{"close with half a code", func(w *webclient.Conn) { w.Frame(0x88, []byte{3}) }, 1002},
		{"close with a code that may not be sent", func(w *webclient.Conn) { w.Frame(0x88, []byte{3, 0xed}) }, 1002},
		{"close with a code that does not exist", func(w *webclient.Conn) { w.Frame(0x88, []byte{0, 1}) }, 1002},
		{"close with a reason that is no text", func(w *webclient.Conn) { w.Frame(0x88, []byte{3, 0xe8, 0xff}) }, 1007},
		{"a STOMP frame that is wrong", func(w *webclient.Conn) { _, _ = w.Write([]byte("FOO\n\n\x00")) }, 1008},
		{"DISCONNECT", func(w *webclient.Conn) { _, _ = w.Write([]byte("DISCONNECT\n\n\x00")) }, 1000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := s.web(t, webclient.Options{})
			connectWeb(t, w)
			test.do(w)
			if test.code == 0 {
				_, _ = w.Write([]byte("SEND\ndestination:/topic/b\nreceipt:r\n\n\x00"))
				for {
					op, p, err := w.Message()
					if err != nil {
						t.Fatal(err)
					}
					if op == 10 && string(p) != "hello" {
						t.Errorf("the pong holds %q", p)
					} else if op == 2 {
						if !strings.HasPrefix(string(p), "RECEIPT\n") {
							t.Errorf("got %q", p)
						}
						return
					}
				}
			}
			for {
				if _, _, err := w.Message(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			code := 1005
			if len(w.Closed) >= 2 {
				code = int(binary.BigEndian.Uint16(w.Closed))
			}
			if w.Closed == nil || code != test.code {
				t.Errorf("closed with %q, want %d", w.Closed, test.code)
			}
			if test.code == 1000 || test.code == 1008 {
				w.Frame(0x88, w.Closed[:2])
			}
			if _, err := w.R.ReadByte(); err != io.EOF {
				t.Errorf("the connection is not closed: %v", err)
			}
		})
	}
}

// TestWebSocketRequests sees what is opened, and what is not.
func TestWebSocketRequests(t *testing.T) {
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const ask = "Host: 127.0.0.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	tests := []struct {
		name   string
		port   session.Port
		head   string
		status int
		want   string // in the answer
	}{
		{"the example of RFC 6455", session.Port{}, "GET /chat HTTP/1.1\r\n" + ask + key, 101, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
		{"the best sub-protocol", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Sec-WebSocket-Protocol: v10.stomp, v11.stomp\r\nSec-WebSocket-Protocol: v12.stomp\r\n", 101, "Sec-WebSocket-Protocol: v12.stomp\r\n"},
		{"stomp", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Sec-WebSocket-Protocol: stomp\r\n", 101, "Sec-WebSocket-Protocol: stomp\r\n"},
		{"another sub-protocol", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Sec-WebSocket-Protocol: mqtt\r\n", 400, "v12.stomp"},
		{"compression", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Sec-WebSocket-Extensions: foo, permessage-deflate; client_max_window_bits\r\n", 101, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"the second offer of compression", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate\r\n", 101, "permessage-deflate; server_no_context_takeover"},
		{"another version", session.Port{}, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n" + key, 426, "Sec-WebSocket-Version: 13\r\n"},
		{"no key", session.Port{}, "GET / HTTP/1.1\r\n" + ask, 400, "Sec-WebSocket-Key"},
		{"POST", session.Port{}, "POST / HTTP/1.1\r\n" + ask + key, 405, "Allow: GET\r\n"},
		{"HTTP/1.0", session.Port{}, "GET / HTTP/1.0\r\n" + ask + key, 400, ""},
		{"no WebSocket", session.Port{Hint: "HTTP is at http://x/."}, "GET / HTTP/1.1\r\nHost: x\r\n", 400, "This port speaks STOMP and STOMP within WebSocket, not HTTP. HTTP is at http://x/."},
		{"HTTP where there is no WebSocket", session.Port{Speaks: session.Plain}, "GET / HTTP/1.1\r\nHost: x\r\n", 400, "This port speaks STOMP, not HTTP."},
		{"HTTP where there is WebSocket only", session.Port{Speaks: session.Web}, "GET / HTTP/1.1\r\nHost: x\r\n", 400, "This port speaks STOMP within WebSocket, not HTTP."},
		{"what is no request", session.Port{}, "GET / HTTP/x\r\nfoo\r\n", 400, ""},
		{"a head without an end", session.Port{}, "GET / HTTP/1.1\r\n" + strings.Repeat("x: y\r\n", 4000), 431, ""},
		{"a page of another site", session.Port{}, "GET / HTTP/1.1\r\n" + ask + key + "Origin: https://evil.example\r\n", 403, ""},
		{"a page that is allowed", session.Port{Origins: origin.Guard{Origins: []string{"https://app.example"}}}, "GET / HTTP/1.1\r\n" + ask + key + "Origin: https://app.example\r\n", 101, ""},
		{"where there is no WebSocket", session.Port{Speaks: session.Plain}, "GET / HTTP/1.1\r\n" + ask + key, 403, "speaks STOMP"},
		{"where all is within TLS", session.Port{Speaks: session.Secure | session.WebOver}, "GET / HTTP/1.1\r\n" + ask + key, 400, "TLS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newPort(t, session.Config{}, &test.port)
			p := s.dial(t)
			p.Send(test.head + "\r\n")
			_ = p.Conn.SetReadDeadline(time.Now().Add(transcript.Patience))
			got := make([]byte, 4096)
			n, err := io.ReadAtLeast(p.R, got, 20)
			for err == nil && test.status != 101 {
				var k int
				k, err = p.R.Read(got[n:])
				n += k
			}
			text := string(got[:n])
			if !strings.HasPrefix(text, fmt.Sprintf("HTTP/1.1 %d ", test.status)) || !strings.Contains(text, test.want) {
				t.Errorf("got %q", text)
			}
		})
	}
}

// TestPortsRefuse sees what a client is told that speaks the wrong way.
func TestPortsRefuse(t *testing.T) {
	cert := &tls.Config{Certificates: []tls.Certificate{certificate.Make(t, "localhost")}}
	connect := "CONNECT\naccept-version:1.2\nhost:x\n\n\x00"
	tests := []struct {
		name string
		port session.Port
		send string
		want string
	}{
		{"STOMP in the clear where TLS is wanted", session.Port{Speaks: session.Secure, TLS: cert}, connect, "error-code:tls-required\n"},
		{"STOMP where WebSocket is wanted", session.Port{Speaks: session.Web}, connect, "error-code:not-allowed\n"},
		{"a proxy that is not trusted, version 1", session.Port{}, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n" + connect, "error-code:not-allowed\n"},
		{"a proxy that is not trusted, version 2", session.Port{}, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02" + connect, "error-code:malformed-frame\n"},
		{"TLS where there is none", session.Port{}, "\x16\x03\x01\x00\xc8\x01", "\x15\x03\x01\x00\x02\x02\x28"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newPort(t, session.Config{}, &test.port)
			c, err := s.tcp()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(transcript.Patience))
			_, _ = io.WriteString(c, test.send)
			got, err := io.ReadAll(c)
			if err != nil || !strings.Contains(string(got), test.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestLoginByCertificate: a client that shows a certificate and no login is who that says, and
// nobody else's certificate counts.
func TestLoginByCertificate(t *testing.T) {
	app := certificate.Make(t, "app")
	pool := x509.NewCertPool()
	pool.AddCert(app.Leaf)
	cert := &tls.Config{Certificates: []tls.Certificate{certificate.Make(t, "localhost")}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	s := newPort(t, session.Config{Auth: nobody{}}, &session.Port{TLS: cert, LoginBy: "cn"})
	for _, test := range []struct {
		name string
		cert []tls.Certificate
		head string
		want string
	}{
		{"its own", []tls.Certificate{app}, "", "CONNECTED\n"},
		{"none", nil, "", "ERROR\nmessage:Bad CONNECT\n"},
		{"its own, and a login", []tls.Certificate{app}, "login:app\npasscode:x\n", "ERROR\nmessage:Bad CONNECT\n"},
		{"one that nobody signed", []tls.Certificate{certificate.Make(t, "app")}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := tls.Dial("tcp", s.ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, Certificates: test.cert})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(transcript.Patience))
			_, _ = io.WriteString(c, "CONNECT\naccept-version:1.2\nhost:x\n"+test.head+"\n\x00")
			b := make([]byte, 200)
			n, _ := c.Read(b)
			if got := string(b[:n]); !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestManyMessagesOfEachSize has messages of sizes about every bound go there and back, in
// text, as bytes that are none and compressed.
func TestManyMessagesOfEachSize(t *testing.T) {
	s := newPort(t, session.Config{}, &session.Port{})
	for _, o := range []webclient.Options{{}, {Text: true}, {Deflate: true}, {Deflate: true, Text: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			t.Parallel()
			w := s.web(t, o)
			connectWeb(t, w)
			p := transcript.NewPeer(t, w)
			p.Send("SUBSCRIBE\nid:0\ndestination:/topic/" + strings.ReplaceAll(t.Name(), " ", "") + "\nreceipt:s\n\n^@")
			p.Expect("RECEIPT\n")
			for _, n := range []int{0, 1, 40, 50, 60, 100, 125, 126, 127, 1000, 16 << 10, 16<<10 + 1, 65000, 65535, 65536, 70000, 1<<20 - 100, 1 << 20, 3 << 20} {
				body := strings.Repeat("añ€😀 ", n/10+1)[:n] // may end within a character
				if o.Text {
					body = strings.ToValidUTF8(body, "")
				}
				_, _ = fmt.Fprintf(w, "SEND\ndestination:/topic/%s\ncontent-length:%d\n\n%s\x00", strings.ReplaceAll(t.Name(), " ", ""), len(body), body)
				m, err := p.Read()
				if err != nil || m.Command != "MESSAGE" || m.Body != body {
					t.Fatalf("%d bytes: got %s of %d bytes, %v", n, m.Command, len(m.Body), err)
				}
			}
			if o.Text && !o.Deflate && bytes.Contains(w.Ops, []byte{2}) {
				t.Error("a text came as bytes")
			}
		})
	}
}

// nobody is let in.
type nobody struct{}

func (nobody) Authenticate(context.Context, string, string) (*auth.Identity, error) {
	return nil, auth.ErrDenied
}
