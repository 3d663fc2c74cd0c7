package session_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/monitor"
	"stompserver/internal/session"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/test/transcript"
)

// bubble runs f against a server on the clock of testing/synctest.
func bubble(t *testing.T, sc session.Config, f func(t *testing.T, s *server, dial func() *transcript.Peer)) {
	bubbleOn(t, spool.New(), sc, f)
}

func bubbleOn(t *testing.T, st store.Store, sc session.Config, f func(t *testing.T, s *server, dial func() *transcript.Peer)) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Config{Store: st})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{b: b}
		s.srv = session.NewServer(s.b, sc)
		var ends []net.Conn
		f(t, s, func() *transcript.Peer {
			here, there := net.Pipe()
			ends = append(ends, here)
			s.srv.ServeConn(there, &session.Port{})
			return transcript.NewPeer(t, here)
		})
		for _, c := range ends {
			_ = c.Close()
		}
		ctx, cancel := contextFor(time.Minute)
		defer cancel()
		if err := s.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		s.b.Close()
		_ = st.Close()
	})
}

// TestHeartbeatNegotiation has the table of "Heart-beating" in STOMP 1.1 and 1.2: who sends
// how often, and what CONNECTED says.
func TestHeartbeatNegotiation(t *testing.T) {
	for _, test := range []struct {
		name   string
		cfg    session.Heartbeat
		client string
		says   string
		sends  time.Duration // how often the server sends, 0 never
	}{
		{name: "client wants none", client: "0,0", says: "10000,10000"},
		{name: "client wants them oftener than the server can", client: "0,100", says: "10000,10000", sends: 10 * time.Second},
		{name: "client wants them more seldom", client: "0,60000", says: "10000,10000", sends: time.Minute},
		{name: "server sends none", cfg: session.Heartbeat{Send: -1}, client: "0,1000", says: "0,10000"},
		{name: "server of one second", cfg: session.Heartbeat{Send: time.Second}, client: "0,500", says: "1000,10000", sends: time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, session.Config{Heartbeat: test.cfg}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
				p := dial()
				p.Send("CONNECT\naccept-version:1.2\nheart-beat:" + test.client + "\n\n^@")
				p.Expect("CONNECTED\nheart-beat:" + test.says + "\n")
				if b, err := p.R.ReadByte(); err != nil || b != '\n' { // the LF behind the NUL
					t.Fatal(b, err)
				}
				_ = p.Conn.SetReadDeadline(time.Time{})
				if test.sends == 0 {
					_ = p.Conn.SetReadDeadline(time.Now().Add(time.Hour))
					if b, err := p.R.ReadByte(); err == nil {
						t.Fatalf("got %q though no heart-beat was agreed", b)
					}
					return
				}
				for range 5 {
					before := time.Now()
					b, err := p.R.ReadByte()
					if err != nil || b != '\n' {
						t.Fatalf("got %q, %v", b, err)
					}
					if after := time.Since(before); after > test.sends {
						t.Errorf("a heart-beat came after %v, agreed was %v", after, test.sends)
					}
				}
			})
		})
	}
}

// discard reads what the server writes, which a pipe would block on, and reports it.
func discard(p *transcript.Peer) <-chan string {
	got := make(chan string, 1)
	_ = p.Conn.SetReadDeadline(time.Time{})
	go func() {
		b, _ := io.ReadAll(p.R)
		got <- string(b)
	}()
	return got
}

func TestSilentClientIsGivenUp(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		p := dial()
		p.Connect("1.2", "heart-beat:10000,0")
		start := time.Now()
		said := <-discard(p)
		// Twice the interval and three seconds more.
		if d := time.Since(start); d < 23*time.Second || d > 25*time.Second {
			t.Errorf("given up after %v", d)
		}
		if !strings.Contains(said, "error-code:heartbeat-lost") {
			t.Errorf("told %q", said)
		}
	})
}

func TestAnyByteIsASignOfLife(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		p := dial()
		p.Connect("1.2", "heart-beat:10000,0")
		got := discard(p)
		for _, c := range "SEND\ndestination:/queue/slow\n\nslowly" { // half a frame
			time.Sleep(20 * time.Second)
			p.Send(string(c))
		}
		select {
		case said := <-got:
			t.Fatalf("given up: %q", said)
		default:
		}
	})
}

func TestLoginTimeout(t *testing.T) {
	bubble(t, session.Config{Limits: session.Limits{LoginTimeout: 5 * time.Second}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		p := dial()
		got := discard(p)
		start := time.Now()
		for range 4 { // bytes alone do not help
			time.Sleep(time.Second)
			p.Send("C")
		}
		said := <-got
		if d := time.Since(start); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("cut after %v", d)
		}
		if !strings.Contains(said, "limits.login_timeout") {
			t.Errorf("told %q", said)
		}
	})
}

func TestIdleTimeoutAndItsAbsence(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit time.Duration
		cut   bool
	}{{"none by default", 0, false}, {"one minute", time.Minute, true}} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, session.Config{Limits: session.Limits{IdleTimeout: test.limit}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
				p := dial()
				p.Connect("")
				got := discard(p)
				time.Sleep(24 * time.Hour)
				if cut := s.srv.Connections() == 0; cut != test.cut {
					t.Errorf("cut: %v, want %v", cut, test.cut)
				}
				if test.cut {
					if said := <-got; !strings.Contains(said, "limits.idle_timeout") {
						t.Errorf("told %q", said)
					}
				}
			})
		})
	}
}

// TestMonitor has the report of the man page: every five seconds, never stored.
func TestMonitor(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		m := monitor.Start(func() []*broker.Broker { return []*broker.Broker{s.b} }, monitor.Interval)
		defer m.Stop()
		p := dial()
		p.Connect("")
		p.Send("SUBSCRIBE\ndestination:/queue/monitor\nack:client\n\n^@")
		time.Sleep(21 * time.Second) // no queue, no report
		p.Send("SEND\ndestination:/queue/b\n\n1^@SEND\ndestination:/queue/b\n\n2^@")
		p.Send("SEND\ndestination:/queue/a\n\n3^@SUBSCRIBE\ndestination:/queue/a\n\n^@")
		p.Expect("MESSAGE\ndestination:/queue/a\n")
		want := "Queue: /queue/a\nsize: 0\ndequeued: 1\nenqueued: 1\n\nQueue: /queue/b\nsize: 2\ndequeued: 0\nenqueued: 2\n\n"
		for range 200 { // past any prefetch: it hears no ACK
			before := time.Now()
			f, err := p.Read()
			if err != nil {
				t.Fatal(err)
			}
			if d, _ := f.Get("destination"); f.Command != "MESSAGE" || d != "/queue/monitor" || f.Body != want {
				t.Fatalf("got %q\nwant %q", f.Body, want)
			}
			if d := time.Since(before); d > 5*time.Second {
				t.Errorf("a report after %v", d)
			}
		}
	})
}

// TestMonitorCanBeAcknowledged: a library whose listener acknowledges what it gets finds an
// ack header in 1.2, and its ACK is ignored.
func TestMonitorCanBeAcknowledged(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		m := monitor.Start(func() []*broker.Broker { return []*broker.Broker{s.b} }, monitor.Interval)
		defer m.Stop()
		p := dial()
		p.Connect("1.2")
		p.Send("SEND\ndestination:/queue/b\n\n1^@SUBSCRIBE\nid:0\ndestination:/queue/monitor\nack:client-individual\n\n^@")
		for range 3 {
			ack, ok := p.Expect("MESSAGE\ndestination:/queue/monitor\n").Get("ack")
			if !ok {
				t.Fatal("no ack header")
			}
			p.Send("ACK\nid:" + ack + "\nreceipt:r\n\n^@")
			p.Expect("RECEIPT\nreceipt-id:r\n")
		}
		p.Send("SUBSCRIBE\nid:1\ndestination:/queue/monitor\n\n^@")
		p.Send("UNSUBSCRIBE\nid:0\n\n^@")
		p.Expect("MESSAGE\nsubscription:1\n!ack\n")
	})
}
