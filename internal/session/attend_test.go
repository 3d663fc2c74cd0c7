//go:build unix

package session_test

import (
	"fmt"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
)

// An attendedStore has a disk that is as slow as the test wants. What is to be attended is
// done by Attend, the rest by the test.
type attendedStore struct {
	*spool.Spool
	here    []func()      // what Attend will do; the reader's
	came    chan bool     // for each batch, whether it is to be attended
	at      chan struct{} // Attend is there
	goOn    chan struct{} // and may go on
	settled chan func()   // what the test is to do
	over    chan struct{} // closed when the test is, perhaps too soon
}

func (a *attendedStore) Commit(b *store.Batch) {
	done, attended := b.Done, b.Attended
	b.Done = func(b *store.Batch, err error) {
		b.Done = done
		if attended {
			a.here = append(a.here, func() { b.Finish(err) })
		} else {
			a.settled <- func() { b.Finish(err) }
		}
	}
	a.Spool.Commit(b)
	a.came <- attended
}

func (a *attendedStore) Attend() bool {
	select {
	case a.at <- struct{}{}:
		select {
		case <-a.goOn:
		case <-a.over:
		}
	case <-a.over:
	}
	for _, f := range a.here {
		f()
	}
	a.here = nil
	return true
}

func attendedServer(t *testing.T) (*server, *attendedStore) {
	st := &attendedStore{
		Spool: spool.New(), came: make(chan bool, 10), at: make(chan struct{}), goOn: make(chan struct{}),
		settled: make(chan func(), 10), over: make(chan struct{}),
	}
	s := newServerOn(t, broker.Config{Store: st}, session.Config{})
	t.Cleanup(func() { close(st.over) })
	return s, st
}

// TestWaitingClientIsAttended checks that the reader of a client which waits for each of its
// receipts does the store's work, and that deliveries to that client do not wait for it.
func TestWaitingClientIsAttended(t *testing.T) {
	s, st := attendedServer(t)
	p, other := s.dial(t), s.dial(t)
	p.Connect("1.2")
	other.Connect("1.2")
	p.Send("SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:s\n\n^@")
	p.Expect("RECEIPT\nreceipt-id:s\n")
	const count = 50
	for i := range count {
		p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\n\n^@", i))
		if !<-st.came {
			t.Fatalf("receipt %d is left to the store", i)
		}
		<-st.at
		if i == count-1 {
			other.Send("SEND\ndestination:/topic/a\n\n^@")
			p.Expect("MESSAGE\n")
		}
		st.goOn <- struct{}{}
		p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", i))
	}
}

// TestTalkingClientIsRead checks that a client which goes on sending is found out, and read
// while the store works, but for a try now and then.
func TestTalkingClientIsRead(t *testing.T) {
	s, st := attendedServer(t)
	p := s.dial(t)
	p.Connect("1.2")
	frames := func(n int) string { return fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\n\n^@", n) }
	p.Send(frames(0))
	attended := 0
	const count = 100
	for i := range count {
		talks := <-st.came
		if talks {
			attended++
			<-st.at
			p.Send(frames(i + 1)) // it does not wait for its receipt
			st.goOn <- struct{}{}
		} else {
			(<-st.settled)()
		}
		p.Expect(fmt.Sprintf("RECEIPT\nreceipt-id:%d\n", i))
		if !talks {
			p.Send(frames(i + 1))
		}
	}
	if attended == 0 || attended > count/20 {
		t.Errorf("%d of %d were attended, want a few", attended, count)
	}
}
