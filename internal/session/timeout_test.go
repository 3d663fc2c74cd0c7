package session_test

import (
	"testing"
	"time"

	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// TestAckTimeout: what is not acknowledged in time comes again, unless more time was asked for; an ACK that
// comes too late is no error and takes nothing from who has it now.
func TestAckTimeout(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		p := dial()
		p.Connect("1.2")
		p.Send("SUBSCRIBE\nid:0\ndestination:/queue/slow\nack:client-individual\nack-timeout:2000\nprefetch-count:1\n\n^@" +
			"SEND\ndestination:/queue/slow\n\nfive^@")
		ack := func(m transcript.Reply, headers string) {
			t.Helper()
			id, _ := m.Get("ack")
			p.Send("ACK\nid:" + id + "\n" + headers + "receipt:r\n\n^@")
			p.Expect("RECEIPT\nreceipt-id:r\n")
		}
		first := p.Expect("MESSAGE\nredelivered:false\n\nfive")
		began := time.Now()
		second := p.Expect("MESSAGE\nredelivered:true\n\nfive")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it came again after %v", took)
		}
		ack(first, "extend:600000\n")
		ack(first, "")
		ack(second, "extend:600000\n")
		time.Sleep(9 * time.Minute)
		p.Silent()
		ack(second, "")
		time.Sleep(time.Hour)
		p.Silent()
		p.Nothing()
	})
}
