package session_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/pattern"
	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// An ear reads what a client is sent, which a pipe would block on, as it comes.
type ear struct {
	mu   sync.Mutex
	text strings.Builder
	over bool
}

func listen(p *transcript.Peer) *ear {
	e := new(ear)
	_ = p.Conn.SetReadDeadline(time.Time{})
	go func() {
		for {
			c, err := p.R.ReadByte()
			e.mu.Lock()
			if err != nil {
				e.over = true
				e.mu.Unlock()
				return
			}
			e.text.WriteByte(c)
			e.mu.Unlock()
		}
	}()
	return e
}

// heard is what came since it was asked last, and whether that is all there will be.
func (e *ear) heard() (text string, over bool) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	text = e.text.String()
	e.text.Reset()
	return text, e.over
}

// full makes a queue with room for n messages, whose senders wait.
func full(t *testing.T, s *server, n int) {
	p, err := pattern.Both.Parse("/queue/small")
	if err != nil {
		t.Fatal(err)
	}
	s.b.SetRules([]broker.Rule{{Match: p, Properties: broker.Properties{MaxMessages: n}}})
}

// TestBlockedSenderIsServed has a client wait for room for an hour: its heart-beats go on both ways, what it
// subscribes to comes, nobody else is held up, and its RECEIPT comes when there is room and not before.
func TestBlockedSenderIsServed(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		full(t, s, 1)
		p, other := dial(), dial()
		p.Connect("1.2", "heart-beat:10000,10000")
		p.Send("SUBSCRIBE\nid:n\ndestination:/topic/news\nreceipt:n\n\n^@")
		p.Expect("RECEIPT\nreceipt-id:n\n")
		other.Connect("1.2")
		ears := listen(p)
		p.Send("SEND\ndestination:/queue/small\n\n1^@SEND\ndestination:/queue/small\nreceipt:two\n\n2^@")
		for minute := range 60 {
			time.Sleep(time.Minute)
			other.Send(fmt.Sprintf("SEND\ndestination:/queue/other\nreceipt:%d\n\nx^@", minute))
			other.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", minute))
			other.Send(fmt.Sprintf("SEND\ndestination:/topic/news\nreceipt:n%d\n\nnews %d^@", minute, minute))
			other.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:n%d\n", minute))
			text, over := ears.heard()
			if over || strings.Contains(text, "RECEIPT") || !strings.Contains(text, fmt.Sprintf("news %d\x00", minute)) {
				t.Fatalf("minute %d: got %q, closed %v", minute, text, over)
			}
			if beats := strings.Count(strings.ReplaceAll(text, "\x00\n", "\x00"), "\n\n"); beats == 0 {
				t.Fatalf("minute %d: no heart-beat in %q", minute, text)
			}
		}
		other.Send("SUBSCRIBE\nid:0\ndestination:/queue/small\n\n^@")
		other.Expect("MESSAGE\n\n1")
		other.Expect("MESSAGE\n\n2")
		if text, _ := ears.heard(); !strings.Contains(text, "RECEIPT\nreceipt-id:two\n") {
			t.Errorf("no receipt in %q", text)
		}
	})
}

// TestWhoWaitsForItself has clients fill a queue that they consume themselves: in each mode they are told
// after 30 s, and what they had goes back.
func TestWhoWaitsForItself(t *testing.T) {
	for name, subscribe := range map[string]string{
		"with what it has to acknowledge": "SUBSCRIBE\nid:0\ndestination:/queue/small\nack:client-individual\nprefetch-count:1\n\n^@",
		"with what it has of another":     "SUBSCRIBE\nid:0\ndestination:/queue/other\nack:client\n\n^@SEND\ndestination:/queue/other\n\nx^@",
		"with what it does not read":      "SUBSCRIBE\nid:0\ndestination:/queue/small\n\n^@",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
				full(t, s, 10)
				p := dial()
				p.Connect("1.2")
				p.Send(subscribe)
				deaf := strings.Contains(name, "read")
				var ears *ear
				if !deaf {
					ears = listen(p)
				}
				body := strings.Repeat("x", 64<<10)
				done := make(chan bool)
				go func() { // which the pipe may block
					for i := range 100 {
						if _, err := fmt.Fprintf(p.Conn, "SEND\ndestination:/queue/small\nreceipt:%d\n\n%s\x00", i, body); err != nil {
							break
						}
					}
					_, _ = io.WriteString(p.Conn, "ACK\nid:0-1\n\n\x00") // too late
					close(done)
				}()
				time.Sleep(29 * time.Second)
				if ears != nil {
					if text, over := ears.heard(); over || strings.Contains(text, "ERROR") {
						t.Errorf("told too early: %q", text)
					}
				}
				time.Sleep(2 * time.Second)
				if ears == nil {
					ears = listen(p)
				}
				time.Sleep(10 * time.Second) // for what lingers
				text, over := ears.heard()
				if !over || !strings.Contains(text, "error-code:queue-full") {
					t.Errorf("after 30 s: closed %v, %q", over, strings.ReplaceAll(text, body, "..."))
				}
				<-done
				q := s.queue("/queue/small")
				if q.Unacked != 0 || q.Ready == 0 {
					t.Errorf("left behind: %+v", q)
				}
			})
		})
	}
}
