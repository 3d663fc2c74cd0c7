package stompserver_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/test/certificate"
	"stompserver/test/transcript"
	"stompserver/test/webclient"
)

// TestWrongPort has each kind of client come to each kind of port. What is not spoken there is
// answered by something that the client understands.
func TestWrongPort(t *testing.T) {
	dir := t.TempDir()
	var cfg stompserver.Config
	cfg.TLS.Cert, cfg.TLS.Key = certificate.Write(t, dir, "a", "localhost")
	kinds := []string{"stomp", "stomp+tls", "ws", "wss"}
	for _, kind := range kinds {
		cfg.Listeners = append(cfg.Listeners, stompserver.Listener{Address: "127.0.0.1:0", Protocols: []string{kind}})
	}
	s := start(t, cfg)
	connect := "CONNECT\naccept-version:1.2\n\n\x00DISCONNECT\nreceipt:1\n\n\x00"
	upgrade := "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n"
	const alert = "remote error: tls: handshake failure"
	want := map[string][]string{ // by port, what the kinds of clients are answered
		"stomp":     {"CONNECTED\n", alert, "HTTP/1.1 403 ", alert},
		"stomp+tls": {"ERROR\nmessage:TLS required\nerror-code:tls-required\n", "CONNECTED\n", "HTTP/1.1 400 ", "HTTP/1.1 403 "},
		"ws":        {"ERROR\nmessage:WebSocket only\n", alert, "HTTP/1.1 101 ", alert},
		"wss":       {"ERROR\nmessage:WebSocket only\n", "ERROR\nmessage:WebSocket only\n", "HTTP/1.1 400 ", "HTTP/1.1 101 "},
	}
	for i, port := range kinds {
		for j, client := range kinds {
			t.Run(client+" comes to "+port, func(t *testing.T) {
				addr := s.MoreAddrs()[i].String()
				var c net.Conn
				var err error
				if j%2 == 0 {
					c, err = net.Dial("tcp", addr)
				} else {
					c, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: [][]string{{"stomp"}, {"http/1.1"}}[j/2]})
				}
				got := ""
				if err != nil {
					got = err.Error()
				} else {
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(time.Minute))
					if t, ok := c.(*tls.Conn); ok {
						if alpn := t.ConnectionState().NegotiatedProtocol; alpn != []string{"stomp", "http/1.1"}[j/2] {
							got = "ALPN " + alpn
						}
					}
					text := connect
					if j >= 2 {
						text = upgrade
					}
					_, _ = io.WriteString(c, text)
					b := make([]byte, 4096)
					n, _ := io.ReadAtLeast(c, b, 40)
					got += string(b[:n])
				}
				if !strings.HasPrefix(got, want[port][j]) {
					t.Errorf("the answer is %q, want %q", got, want[port][j])
				}
			})
		}
	}
	// What no side has in common is said in the handshake.
	if _, err := tls.Dial("tcp", s.MoreAddrs()[1].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("h2 alone: %v", err)
	}
}

// TestBasicAuth has the request for a WebSocket bring the login of a CONNECT that has none.
func TestBasicAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".passwd")
	if err := os.WriteFile(file, []byte("joe:joe's\nann:ann's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		s := start(t, stompserver.Config{Auth: true, PasswdFiles: []string{file}, BasicAuth: on, HTTP: stompserver.HTTP{Listen: "127.0.0.1:0"}})
		for _, addr := range []net.Addr{s.Addrs()[0], s.HTTPAddrs()[0]} {
			for _, row := range []struct {
				basic, head string
				in          bool
			}{
				{"joe:joe's", "", on},
				{"joe:wrong", "", false},
				{"joe:", "", false},
				{"", "", false},
				{"joe:wrong", "login:ann\npasscode:ann's\n", true},
				{"joe:joe's", "login:ann\npasscode:wrong\n", false},
				{"joe:joe's", "login:ann\n", false},
			} {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Fatal(err)
				}
				p := transcript.NewPeer(t, webclient.Open(t, c, webclient.Options{Basic: row.basic, Text: true}))
				p.Send("CONNECT\naccept-version:1.2\n" + row.head + "\n^@")
				if row.in {
					p.Expect("CONNECTED\n")
				} else {
					p.Expect("ERROR\nerror-code:login-failed\n")
				}
				_ = c.Close()
			}
		}
	}
}
