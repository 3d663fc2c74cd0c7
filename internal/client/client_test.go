package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
)

// A script is the server's side of a conversation, line by line of the wire: it expects
// what the client is to send and answers. "\x00" is written ^@.
type script struct {
	t    *testing.T
	conn net.Conn
}

func play(s string) string { return strings.ReplaceAll(s, "^@", "\x00") }

// expect reads as much as want is long, and compares.
func (s *script) expect(want string) {
	s.t.Helper()
	want = play(want)
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		b := make([]byte, len(want)-len(got))
		n, err := s.conn.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			s.t.Errorf("the client sent %q and then %v, want %q", got, err, want)
			return
		}
	}
	if string(got) != want {
		s.t.Errorf("the client sent %q, want %q", got, want)
	}
}

func (s *script) answer(text string) {
	s.t.Helper()
	if _, err := s.conn.Write([]byte(play(text))); err != nil {
		s.t.Errorf("answering %q: %v", text[:min(len(text), 100)], err)
	}
}

// dialogue runs server beside the client that Connect makes, in a bubble of synctest.
func dialogue(t *testing.T, o client.Options, server func(*script), use func(*testing.T, *client.Conn, error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			server(&script{t, far})
		}()
		c, err := client.Connect(t.Context(), near, o)
		use(t, c, err)
		if c != nil {
			_ = c.Close()
		}
		<-done
	})
}

const (
	connect12   = "CONNECT\naccept-version:1.2\nhost:broker\nheart-beat:0,0\n\n^@\n"
	connected12 = "CONNECTED\nversion:1.2\nserver:test/1\nsession:s1\n\n^@\n"
)

var only12 = client.Options{Host: "broker", Versions: []frame.Version{frame.V12}}

func TestConnect(t *testing.T) {
	all := client.Options{Host: "broker", Login: "me", Passcode: " a:b\\ "}
	const hello = "CONNECT\naccept-version:1.0,1.1,1.2\nhost:broker\nheart-beat:0,0\nlogin:me\npasscode: a:b\\ \n\n^@\n"
	for _, tt := range []struct {
		name    string
		options client.Options
		hello   string
		answer  string
		version frame.Version
		wantErr string
	}{
		{"newest version", all, hello, connected12, frame.V12, ""},
		{"1.1 chosen", all, hello, "CONNECTED\nversion:1.1\n\n^@", frame.V11, ""},
		{"no version is 1.0", all, hello, "CONNECTED\nsession:wow\n\n^@\n", frame.V10, ""},
		{"line ends with CR", only12, connect12, "CONNECTED\r\nversion:1.2\r\n\r\n^@", frame.V12, ""},
		{"only 1.0 asks like 1.0", client.Options{Versions: []frame.Version{frame.V10}}, "CONNECT\n\n^@\n", "CONNECTED\n\n^@", frame.V10, ""},
		{"login refused", all, hello, "ERROR\nmessage:Login failed\nerror-code:login-failed\n\nUnknown user.^@", 0, "the server refused the connection: Login failed: Unknown user."},
		{"version not offered", only12, connect12, "CONNECTED\nversion:1.1\n\n^@", 0, `the server chose version "1.1", which was not offered`},
		{"no STOMP", only12, connect12, "HTTP/1.1 400 Bad Request\n\n^@", 0, `the server answered CONNECT with "HTTP/1.1 400 Bad Request", which is not STOMP`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dialogue(t, tt.options, func(s *script) {
				s.expect(tt.hello)
				s.answer(tt.answer)
			}, func(t *testing.T, c *client.Conn, err error) {
				switch {
				case tt.wantErr != "":
					if err == nil || err.Error() != tt.wantErr {
						t.Errorf("Connect: error %v, want %q", err, tt.wantErr)
					}
				case err != nil:
					t.Errorf("Connect: %v", err)
				case c.Version() != tt.version:
					t.Errorf("version %v, want %v", c.Version(), tt.version)
				}
			})
		})
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() {
			b := make([]byte, 1000)
			for {
				if _, err := far.Read(b); err != nil {
					return
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := client.Connect(ctx, near, only12)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Connect: error %v, want the deadline", err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("Connect took %v, want 3 s", took)
		}
	})
}

func TestRequests(t *testing.T) {
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		s.expect("SEND\ndestination:/queue/a\nnote:x\\cy\\nz\ncontent-length:3\n\na^@b^@\n")
		s.expect("SEND\ndestination:/queue/a\nreceipt:r-1\ncontent-length:1\n\nc^@\n")
		s.answer("RECEIPT\nreceipt-id:r-1\n\n^@\n")
		s.expect("BEGIN\ntransaction:t-2\n\n^@\n")
		s.expect("SEND\ndestination:/queue/b\ntransaction:t-2\ncontent-length:1\n\nd^@\n")
		s.expect("COMMIT\ntransaction:t-2\nreceipt:r-3\n\n^@\n")
		s.answer("RECEIPT\nreceipt-id:r-3\n\n^@\n")
		s.expect("DISCONNECT\nreceipt:r-4\n\n^@\n")
		s.answer("RECEIPT\nreceipt-id:r-4\n\n^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		ctx := t.Context()
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		must("Connect", err)
		must("Send", c.Send("/queue/a", frame.Header{{Name: []byte("note"), Value: []byte("x:y\nz")}}, []byte("a\x00b")))
		must("SendConfirmed", c.SendConfirmed(ctx, "/queue/a", nil, []byte("c")))
		tx, err := c.Begin()
		must("Begin", err)
		must("tx.Send", tx.Send("/queue/b", nil, []byte("d")))
		must("Commit", tx.Commit(ctx))
		must("Disconnect", c.Disconnect(ctx))
		if err := c.Send("/queue/a", nil, nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Send after Disconnect: %v, want ErrClosed", err)
		}
	})
}

func TestHoldGathersUntilAnAnswerIsAwaited(t *testing.T) {
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		b := make([]byte, 4096)
		n, _ := s.conn.Read(b) // net.Pipe hands over one write at most
		if got := strings.Count(string(b[:n]), "SEND\n"); got != 3 {
			t.Errorf("the first write has %d SENDs, want 3", got)
		}
		s.answer("RECEIPT\nreceipt-id:r-1\n\n^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		c.Hold()
		_ = c.Send("/queue/a", nil, []byte("1"))
		_ = c.Send("/queue/a", nil, []byte("2"))
		if err := c.SendConfirmed(t.Context(), "/queue/a", nil, []byte("3")); err != nil {
			t.Error(err)
		}
	})
}

func TestSubscribe(t *testing.T) {
	for _, tt := range []struct {
		name                       string
		version                    frame.Version
		subscribe, message, ack    string
		nack                       string
		wantID, wantBody, wantNote string
	}{
		{
			"1.2 settles by the ack header", frame.V12,
			"SUBSCRIBE\nid:s-1\ndestination:/queue/a\nack:client\nprefetch-count:5\n\n^@\n",
			"MESSAGE\nsubscription:s-1\nmessage-id:m\\c1\ndestination:/queue/a\nack:k\\c9\nnote:a\\nb\\r\ncontent-length:3\n\nx^@y^@\n",
			"ACK\nid:k\\c9\n\n^@\n", "NACK\nid:k\\c9\n\n^@\n", "m:1", "x\x00y", "a\nb\r",
		},
		{
			"1.1 settles by message-id and subscription", frame.V11,
			"SUBSCRIBE\nid:s-1\ndestination:/queue/a\nack:client\nprefetch-count:5\n\n^@\n",
			"MESSAGE\nsubscription:s-1\nmessage-id:m\\c1\ndestination:/queue/a\n\nxy^@\n",
			"ACK\nmessage-id:m\\c1\nsubscription:s-1\n\n^@\n", "NACK\nmessage-id:m\\c1\nsubscription:s-1\n\n^@\n", "m:1", "xy", "",
		},
		{
			"1.0 may leave out the subscription, and has no escapes", frame.V10,
			"SUBSCRIBE\nid:s-1\ndestination:/queue/a\nack:client\nprefetch-count:5\n\n^@\n",
			"MESSAGE\nmessage-id: m:1 \ndestination:/queue/a\nnote:a\\nb\n\n^@\n\n",
			"ACK\nmessage-id:m:1\n\n^@\n", "NACK\nmessage-id:m:1\n\n^@\n", "m:1", "", "a\\nb",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := client.Options{Host: "broker", Versions: []frame.Version{tt.version}}
			dialogue(t, o, func(s *script) {
				if tt.version == frame.V10 {
					s.expect("CONNECT\n\n^@\n")
					s.answer("CONNECTED\n\n^@\n")
				} else {
					s.expect("CONNECT\naccept-version:" + tt.version.String() + "\nhost:broker\nheart-beat:0,0\n\n^@\n")
					s.answer("CONNECTED\nversion:" + tt.version.String() + "\n\n^@\n")
				}
				s.expect(tt.subscribe)
				s.answer(tt.message)
				s.expect(tt.ack)
				s.expect(tt.nack)
				s.answer("MESSAGE\nsubscription:s-1\nmessage-id:2\ndestination:/queue/a\n\nlast^@")
			}, func(t *testing.T, c *client.Conn, err error) {
				if err != nil {
					t.Fatal(err)
				}
				var h frame.Header
				h.Add("prefetch-count", "5")
				sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{Ack: "client", Header: h})
				if err != nil {
					t.Fatal(err)
				}
				m, err := sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m.ID() != tt.wantID || string(m.Body) != tt.wantBody || m.Header.Value("note") != tt.wantNote {
					t.Errorf("got id %q body %q note %q, want %q %q %q", m.ID(), m.Body, m.Header.Value("note"), tt.wantID, tt.wantBody, tt.wantNote)
				}
				if err := errors.Join(c.Ack(m), c.Nack(m)); err != nil {
					t.Error(err)
				}
				// What came before the server left is still handed out.
				synctest.Wait()
				if m, err := sub.Next(t.Context()); err != nil || string(m.Body) != "last" {
					t.Errorf("Next: %v, %v, want the last message", m, err)
				}
				if _, err := sub.Next(t.Context()); !errors.Is(err, client.ErrServerLeft) {
					t.Errorf("Next after the end: %v, want ErrServerLeft", err)
				}
			})
		})
	}
}

// TestNoAckForWhatNeedsNone: a 1.2 server that takes no acknowledgement, of its monitor say,
// sends no ack header, and an ACK would end the connection.
func TestNoAckForWhatNeedsNone(t *testing.T) {
	dialogue(t, client.Options{Host: "broker", Versions: []frame.Version{frame.V12}}, func(s *script) {
		s.expect("CONNECT\naccept-version:1.2\nhost:broker\nheart-beat:0,0\n\n^@\n")
		s.answer("CONNECTED\nversion:1.2\n\n^@\n")
		s.expect("SUBSCRIBE\nid:s-1\ndestination:/queue/monitor\nack:client\n\n^@\n")
		s.answer("MESSAGE\nsubscription:s-1\nmessage-id:1\ndestination:/queue/monitor\n\n^@")
		s.expect("SEND\ndestination:/queue/b\nreceipt:r-2\n\n^@\n")
		s.answer("RECEIPT\nreceipt-id:r-2\n\n^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		sub, err := c.Subscribe(t.Context(), "/queue/monitor", client.SubscribeOptions{Ack: "client"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Ack(m), c.Nack(m), c.SendConfirmed(t.Context(), "/queue/b", nil, nil)); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorEndsEverything(t *testing.T) {
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		s.expect("SUBSCRIBE\nid:s-1\ndestination:/queue/a\nack:auto\n\n^@\n")
		s.expect("SEND\ndestination:/queue/b\nreceipt:r-2\ncontent-length:1\n\nx^@\n")
		s.answer("ERROR\nmessage:Not allowed\nerror-code:not-allowed\nreceipt-id:r-2\ncontent-length:3\n\nno.^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"SendConfirmed": c.SendConfirmed(t.Context(), "/queue/b", nil, []byte("x")),
			"Next":          func() error { _, err := sub.Next(t.Context()); return err }(),
			"Send":          c.Send("/queue/b", nil, nil),
		} {
			var e *client.ServerError
			if !errors.As(err, &e) || e.Code != "not-allowed" || e.ReceiptID != "r-2" || e.Error() != "the server said: Not allowed: no." {
				t.Errorf("%s: %v, want the ERROR", what, err)
			}
		}
	})
}

func TestHeartBeat(t *testing.T) {
	o := only12
	o.HeartBeat = 10 * time.Second
	const hello = "CONNECT\naccept-version:1.2\nhost:broker\nheart-beat:10000,10000\n\n^@\n"
	for _, tt := range []struct {
		name   string
		server string // its heart-beat header
		beats  int    // of the client in the two minutes after CONNECTED
	}{
		{"both agree", "10000,10000", 15},
		{"the server wants fewer", "0,30000", 5},
		{"the server wants more than was offered", "0,1000", 15},
		{"the server wants none", "0,0", 0},
		{"nonsense is none", "x,-1", 0},
	} {
		t.Run("send: "+tt.name, func(t *testing.T) {
			dialogue(t, o, func(s *script) {
				s.expect(hello)
				s.answer("CONNECTED\nversion:1.2\nheart-beat:" + tt.server + "\n\n^@\n")
				stop := make(chan struct{})
				defer close(stop)
				go func() { // keeps the client content, where the server promised to
					for {
						select {
						case <-stop:
							return
						case <-time.After(5 * time.Second):
							_, _ = s.conn.Write([]byte("\n"))
						}
					}
				}()
				_ = s.conn.SetReadDeadline(time.Now().Add(2*time.Minute + time.Second))
				beats := 0
				b := make([]byte, 1)
				for {
					if _, err := s.conn.Read(b); err != nil {
						break
					}
					if b[0] != '\n' {
						t.Errorf("the client sent %q", b)
					}
					beats++
				}
				if beats != tt.beats {
					t.Errorf("%d heart-beats in two minutes, want %d", beats, tt.beats)
				}
			}, func(t *testing.T, c *client.Conn, err error) {
				if err != nil {
					t.Fatal(err)
				}
				<-c.Done()
				if !errors.Is(c.Err(), client.ErrServerLeft) {
					t.Errorf("ended by %v, want by the server", c.Err())
				}
			})
		})
	}
	t.Run("a silent server is noticed", func(t *testing.T) {
		dialogue(t, o, func(s *script) {
			s.expect(hello)
			s.answer("CONNECTED\nversion:1.2\nheart-beat:10000,0\n\n^@\n")
			_, _ = s.conn.Read(make([]byte, 1)) // until the client closes
		}, func(t *testing.T, c *client.Conn, err error) {
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			<-c.Done()
			if !errors.Is(c.Err(), client.ErrSilent) || time.Since(begin) != 21*time.Second {
				t.Errorf("ended by %v after %v, want ErrSilent after 21 s", c.Err(), time.Since(begin))
			}
		})
	})
}

func TestUntakenMessagesHoldBackTheServer(t *testing.T) {
	const size, count = 1 << 20, 40
	body := strings.Repeat("x", size)
	var sent atomic.Int32
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		s.expect("SUBSCRIBE\nid:s-1\ndestination:/topic/a\nack:auto\n\n^@\n")
		for range count {
			s.answer("MESSAGE\nsubscription:s-1\nmessage-id:1\ndestination:/topic/a\ncontent-length:1048576\n\n" + body + "^@")
			sent.Add(1)
		}
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		sub, err := c.Subscribe(t.Context(), "/topic/a", client.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := sent.Load(); n < 16 || n > 18 {
			t.Errorf("the server could send %d MiB that nobody took, want about 16", n)
		}
		for range count {
			if _, err := sub.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		in      string
		want    client.Address
		wantErr string
	}{
		{"stomp://host", client.Address{HostPort: "host:61613", Host: "host"}, ""},
		{"tcp://u:p%40q@127.0.0.1:1/", client.Address{HostPort: "127.0.0.1:1", Host: "127.0.0.1", Login: "u", Passcode: "p@q"}, ""},
		{"stomp://[::1]:5/%2F", client.Address{HostPort: "[::1]:5", Host: "/"}, ""},
		{"stomp://h/vhost", client.Address{HostPort: "h:61613", Host: "vhost"}, ""},
		{"stomps://h", client.Address{HostPort: "h:61613", Host: "h", Secure: true}, ""},
		{"ws://h", client.Address{HostPort: "h:61613", Host: "h", Path: "/ws"}, ""},
		{"wss://h", client.Address{HostPort: "h:61613", Host: "h", Secure: true, Path: "/ws"}, ""},
		{"http://h", client.Address{}, "http:// is unknown: there are stomp://, stomps://, ws:// and wss://"},
		{"host", client.Address{HostPort: "host:61613", Host: "host"}, ""},
		{"host:1", client.Address{HostPort: "host:1", Host: "host"}, ""},
		{"u:p@host:1/v", client.Address{HostPort: "host:1", Host: "v", Login: "u", Passcode: "p"}, ""},
		{"127.0.0.1", client.Address{HostPort: "127.0.0.1:61613", Host: "127.0.0.1"}, ""},
		{"::1", client.Address{HostPort: "[::1]:61613", Host: "::1"}, ""},
		{"[::1]:5", client.Address{HostPort: "[::1]:5", Host: "::1"}, ""},
		{"fe80::1%eth0", client.Address{HostPort: "[fe80::1%eth0]:61613", Host: "fe80::1%eth0"}, ""},
		{"host:0", client.Address{}, "0 is not a port: they go from 1 to 65535"},
		{"stomp://host:65536", client.Address{}, "65536 is not a port: they go from 1 to 65535"},
		{"host:port", client.Address{}, `"host:port" is not like HOST:61613 or stomp://HOST:61613`},
		{":61613", client.Address{}, `":61613" is not like HOST:61613 or stomp://HOST:61613`},
		{"", client.Address{}, `"" is not like HOST:61613 or stomp://HOST:61613`},
		{"stomp://u:secret%@h", client.Address{}, `"…@h" is not like HOST:61613 or stomp://HOST:61613`},
	} {
		got, err := client.ParseAddress(tt.in)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.wantErr {
			t.Errorf("ParseAddress(%q) = %+v, %q, want %+v, %q", tt.in, got, text, tt.want, tt.wantErr)
		}
	}
}
