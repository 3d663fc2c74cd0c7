package session_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// TestLimitsReachLiveConnections: a change of the configuration is for those who are connected too,
// what they have begun included.
func TestLimitsReachLiveConnections(t *testing.T) {
	connect := func(dial func() *transcript.Peer) *transcript.Peer {
		p := dial()
		p.Send("CONNECT\naccept-version:1.2\nhost:x\n\n^@")
		p.Expect("CONNECTED\n")
		return p
	}
	send := func(p *transcript.Peer, n int) time.Duration {
		start := time.Now()
		for range n {
			p.Send("SEND\ndestination:/topic/a\nreceipt:r\n\n^@")
			p.Expect("RECEIPT\n")
		}
		return time.Since(start)
	}
	t.Run("body", func(t *testing.T) {
		bubble(t, session.Config{Limits: session.Limits{Body: 10}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			p, q := connect(dial), connect(dial)
			synctest.Wait()
			s.srv.SetConfig(session.Config{Limits: session.Limits{Body: 1000}})
			long := "SEND\ndestination:/topic/a\nreceipt:r\n\n" + strings.Repeat("x", 500) + "^@"
			p.Send(long)
			p.Expect("RECEIPT\n")
			s.srv.SetConfig(session.Config{Limits: session.Limits{Body: 10}})
			q.Send(long)
			q.Expect("ERROR\nerror-code:frame-too-large\n")
		})
	})
	t.Run("within a frame", func(t *testing.T) {
		bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			p := connect(dial)
			p.Send("SEND\ndestination:/topic/a\n\n" + strings.Repeat("x", 5000))
			synctest.Wait() // they were looked at
			s.srv.SetConfig(session.Config{Limits: session.Limits{Body: 10}})
			p.Send("x")
			p.Expect("ERROR\nerror-code:frame-too-large\n")
		})
	})
	t.Run("subscriptions and transactions", func(t *testing.T) {
		bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			p, q := connect(dial), connect(dial)
			synctest.Wait()
			s.srv.SetConfig(session.Config{Limits: session.Limits{Subscriptions: 1, Transactions: 1}})
			p.Send("SUBSCRIBE\nid:1\ndestination:/topic/a\n\n^@SUBSCRIBE\nid:2\ndestination:/topic/a\n\n^@")
			p.Expect("ERROR\nerror-code:limit-reached\n")
			q.Send("BEGIN\ntransaction:1\n\n^@BEGIN\ntransaction:2\n\n^@")
			q.Expect("ERROR\nerror-code:limit-reached\n")
		})
	})
	t.Run("rates", func(t *testing.T) {
		bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			p := connect(dial)
			if d := send(p, 30); d != 0 {
				t.Errorf("30 frames without a limit took %v", d)
			}
			s.srv.SetConfig(session.Config{Limits: session.Limits{FrameRate: 10}})
			if d := send(p, 30); d < 1900*time.Millisecond || d > 2100*time.Millisecond {
				t.Errorf("30 frames at 10 a second took %v, want 2 s", d)
			}
			// Who is held back for an hour is read again when the limit is gone.
			s.srv.SetConfig(session.Config{Limits: session.Limits{ByteRate: 1}})
			p.Send("SEND\ndestination:/topic/a\nreceipt:r\n\n" + strings.Repeat("x", 3600) + "^@")
			p.Expect("RECEIPT\n")
			time.Sleep(time.Second)
			s.srv.SetConfig(session.Config{})
			if d := send(p, 30); d != 0 {
				t.Errorf("30 frames after the limit was taken away took %v", d)
			}
		})
	})
	t.Run("the rate of a user", func(t *testing.T) {
		bubble(t, session.Config{Auth: oneWord{}}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			var ps [2]*transcript.Peer
			for i := range ps {
				ps[i] = dial()
				ps[i].Send("CONNECT\naccept-version:1.2\nhost:x\nlogin:a\npasscode:right\n\n^@")
				ps[i].Expect("CONNECTED\n")
			}
			s.srv.SetConfig(session.Config{Auth: oneWord{}, Limits: session.Limits{FrameRate: 10}})
			if d := send(ps[0], 15) + send(ps[1], 15); d < 1800*time.Millisecond || d > 2200*time.Millisecond {
				t.Errorf("30 frames on two connections at 10 a second took %v, want 2 s", d)
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
			p := connect(dial)
			time.Sleep(time.Hour)
			s.srv.SetConfig(session.Config{Limits: session.Limits{IdleTimeout: 2 * time.Hour}})
			start := time.Now()
			time.Sleep(time.Hour - time.Second)
			p.Expect("ERROR\nerror-code:limit-reached\n")
			if d := time.Since(start); d != time.Hour {
				t.Errorf("given up after %v more, want 1 h", d)
			}
		})
	})
}
