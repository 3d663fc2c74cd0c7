package session_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/test/transcript"
)

// A lateStore takes batches at once, and says that they are done when it is told to, from
// another goroutine: what a store does that waits for a disk.
type lateStore struct {
	*spool.Spool
	mu      sync.Mutex
	pending []func(error)
}

func (l *lateStore) Commit(b *store.Batch) {
	done := b.Done
	b.Done = func(b *store.Batch, err error) {
		b.Done = done
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pending = append(l.pending, func(late error) {
			if err == nil {
				err = late
			}
			b.Finish(err)
		})
	}
	l.Spool.Commit(b)
}

// waits is how many batches are not done.
func (l *lateStore) waits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// settle ends the first n batches with err.
func (l *lateStore) settle(n int, err error) {
	l.mu.Lock()
	ready := l.pending[:n]
	l.pending = l.pending[n:]
	l.mu.Unlock()
	for _, f := range ready {
		f(err)
	}
}

// lately connects a client to a broker whose store is late, on the clock of synctest.
func lately(t *testing.T, sc session.Config, f func(p *transcript.Peer, st *lateStore)) {
	st := &lateStore{Spool: spool.New()}
	bubbleOn(t, st, sc, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
		p := dial()
		p.Connect("1.2")
		f(p, st)
	})
}

// TestReceiptsWaitForTheStore checks that nothing is confirmed before it is durable, and
// that receipts keep the order of the frames.
func TestReceiptsWaitForTheStore(t *testing.T) {
	lately(t, session.Config{}, func(p *transcript.Peer, st *lateStore) {
		p.Send("SEND\ndestination:/queue/a\nreceipt:1\n\n^@SEND\ndestination:/topic/a\nreceipt:2\n\n^@SEND\ndestination:/queue/b\nreceipt:3\n\n^@")
		p.Silent()
		st.settle(1, nil)
		p.Expect("RECEIPT\nreceipt-id:1\n")
		p.Expect("RECEIPT\nreceipt-id:2\n")
		p.Silent()
		st.settle(1, nil)
		p.Expect("RECEIPT\nreceipt-id:3\n")
	})
}

// TestDisconnectWaitsForTheStore checks that its receipt comes behind all that was sent
// before it, whether that asked for a receipt or not.
func TestDisconnectWaitsForTheStore(t *testing.T) {
	for _, receipt := range []string{"", "receipt:1\n"} {
		lately(t, session.Config{}, func(p *transcript.Peer, st *lateStore) {
			p.Send("SUBSCRIBE\nid:0\nack:client\ndestination:/queue/a\n\n^@SEND\ndestination:/queue/a\n\n^@")
			m := p.Expect("MESSAGE\n")
			st.settle(1, nil)
			ack, _ := m.Get("ack")
			p.Send("ACK\nid:" + ack + "\n" + receipt + "\n^@DISCONNECT\nreceipt:bye\n\n^@")
			p.Silent()
			st.settle(1, nil)
			if receipt != "" {
				p.Expect("RECEIPT\nreceipt-id:1\n")
			}
			p.Expect("RECEIPT\nreceipt-id:bye\n")
			p.Closed()
		})
	}
}

// TestUncommittedIsBounded checks that a client whose SENDs the store has not confirmed is
// not read for ever.
func TestUncommittedIsBounded(t *testing.T) {
	lately(t, session.Config{Limits: session.Limits{Uncommitted: 1 << 20}}, func(p *transcript.Peer, st *lateStore) {
		const count = 40
		body := strings.Repeat("x", 100<<10)
		go func() { // ends when the server has read all
			for i := range count {
				p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\n\n%s^@", i, body))
			}
		}()
		p.Silent()
		if n := st.waits(); n != 11 {
			t.Errorf("%d batches of 100 KiB are not confirmed, with a limit of 1 MiB", n)
		}
		for i := range count {
			p.Silent()
			st.settle(1, nil)
			p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", i))
		}
	})
}

// TestStoreFails checks that what the store refuses is told with its receipt, and that
// what it took before is confirmed.
func TestStoreFails(t *testing.T) {
	for code, err := range map[string]error{
		"storage-full":    store.ErrFull,
		"storage-away":    fmt.Errorf("%w: no route to host", store.ErrAway),
		"storage-refused": &store.RefusedError{Records: []int{0}, Err: errors.New("too large")},
		"internal":        errors.New("anything else"),
	} {
		t.Run(code, func(t *testing.T) {
			lately(t, session.Config{}, func(p *transcript.Peer, st *lateStore) {
				p.Send("SEND\ndestination:/queue/a\nreceipt:1\n\n^@SEND\ndestination:/queue/a\nreceipt:2\n\n^@")
				p.Silent()
				st.settle(1, nil)
				st.settle(1, err)
				p.Expect("RECEIPT\nreceipt-id:1\n")
				p.Expect("ERROR\nreceipt-id:2\nerror-code:" + code + "\n")
				p.Closed()
			})
		})
	}
}

// TestReceiptOfSubscribeComesBehindItsStart: whoever has read the RECEIPT of a SUBSCRIBE misses
// nothing that is sent from then on, also while other messages are being written to the client.
func TestReceiptOfSubscribeComesBehindItsStart(t *testing.T) {
	s := newServer(t, broker.Config{}, session.Config{})
	a, b, noise := s.dial(t), s.dial(t), s.dial(t)
	for _, c := range []*transcript.Peer{a, b, noise} {
		c.Connect("1.2")
	}
	a.Send("SUBSCRIBE\nid:noise\ndestination:/topic/noise\nreceipt:r\n\n^@")
	a.Expect("RECEIPT\n")
	read := func(want string) {
		t.Helper()
		for {
			f, err := a.Read()
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if f.Command == want || f.Body == want {
				return
			}
		}
	}
	for i := range 500 {
		for range 20 {
			noise.Send("SEND\ndestination:/topic/noise\n\nnoise^@")
		}
		a.Send(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/topic/t%d\nreceipt:r\n\n^@", i, i))
		read("RECEIPT")
		b.Send(fmt.Sprintf("SEND\ndestination:/topic/t%d\n\nyours^@", i))
		read("yours")
	}
}
