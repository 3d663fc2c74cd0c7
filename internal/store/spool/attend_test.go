package spool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// attended puts a message that is to be attended.
func (s *scene) attended(body string) <-chan error {
	return s.commit(func(b *store.Batch) {
		b.Attended = true
		b.Put(s.q, storetest.Message(s, s.q.Name(), []byte(body)))
	})
}

// attend calls Attend, and returns where its result will come.
func (s *scene) attend() <-chan bool {
	here := make(chan bool, 1)
	go func() { here <- s.st.Attend() }() // ends with the Write, which the test sees to
	synctest.Wait()
	return here
}

// untouched makes sure that nothing is written.
func (s *scene) untouched() {
	s.Helper()
	synctest.Wait()
	select {
	case rs := <-s.seen:
		s.Fatalf("written: %s; want nothing", spelt(rs))
	default:
	}
}

// TestAttendWrites checks that a lone batch is left to who attends it, and is written before
// Attend returns.
func TestAttendWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		synctest.Wait() // the committer waits for work
		for _, body := range []string{"a", "b"} {
			done := s.attended(body)
			s.untouched()
			here := s.attend()
			s.written("put " + body)
			s.pending(done)
			s.gate <- nil
			if !<-here {
				t.Error("Attend says that it did not write")
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if s.st.Attend() {
			t.Error("Attend wrote nothing, and says it did")
		}
		s.close()
	})
}

// TestAttendLeavesGroupsTogether checks that several batches are one group of the
// committer's, and that nobody waits for who attends: what comes meanwhile is the next group.
func TestAttendLeavesGroupsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		synctest.Wait() // the committer waits for work
		a, b := s.attended("a"), s.attended("b")
		s.untouched()
		if <-s.attend() {
			t.Error("Attend took one of two batches")
		}
		s.written("put a, put b")
		c := s.attended("c")
		if <-s.attend() {
			t.Error("Attend wrote beside the committer")
		}
		s.gate <- nil
		<-a
		<-b
		s.written("put c")
		s.gate <- nil
		<-c
		s.close()
	})
}

// TestAttendedWithOthers checks that a batch to be attended is not left behind: the batch of
// somebody who does not attend takes it along.
func TestAttendedWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		synctest.Wait() // the committer waits for work
		a := s.attended("a")
		s.untouched()
		b := s.put("b")
		s.written("put a, put b")
		s.gate <- nil
		<-a
		<-b
		if s.st.Attend() {
			t.Error("Attend says that it wrote what the committer did")
		}
		s.close()
	})
}

// TestCloseWaitsForAttend checks that the backend is not closed while somebody writes, and
// that what waits unattended is written by Close.
func TestCloseWaitsForAttend(t *testing.T) {
	for _, more := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t, true)
			synctest.Wait() // the committer waits for work
			a := s.attended("a")
			here := s.attend()
			s.written("put a")
			var b <-chan error
			if more {
				b = s.attended("b")
			}
			closed := make(chan error, 1)
			go func() { closed <- s.st.Close() }() // ends with the Writes, below
			s.untouched()
			if len(closed) > 0 {
				t.Error("closed while somebody writes")
			}
			s.gate <- nil
			<-a
			<-here
			if more {
				s.written("put b")
				s.gate <- nil
				<-b
			}
			s.written("mark 0")
			s.gate <- nil
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAttendTakesWhatIsLazy checks that the committer rests when somebody who attends took
// what it was about to write: in a bubble time only passes when everyone does.
func TestAttendTakesWhatIsLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, false)
		synctest.Wait()
		done := make(chan error, 1)
		for range 3 {
			s.st.Commit(lazy(done, func(b *store.Batch) { b.Put(s.q, storetest.Message(s, "/queue/a", []byte("a"))) }))
			synctest.Wait() // the committer waits for the moment in which it writes that
			b := s.attended("b")
			<-s.attend()
			s.written("put a, put b")
			<-done
			<-b
			time.Sleep(time.Minute)
			s.untouched()
		}
		s.close()
	})
}

// TestAttendNotBrief checks that a backend which may take long is left to the committer.
func TestAttendNotBrief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		synctest.Wait() // the committer waits for work
		st, err := spool.Open(spool.Config{Backend: s.ref})
		if err != nil {
			t.Fatal(err)
		}
		s.close()
		s.st, s.ref.Before = st, func(rs []store.Record) error { s.seen <- rs; return <-s.gate }
		if s.q, err = st.Queue("/queue/b", func() {}); err != nil {
			t.Fatal(err)
		}
		a := s.attended("a")
		s.written("put a")
		if <-s.attend() {
			t.Error("Attend wrote")
		}
		s.gate <- nil
		<-a
		s.close()
	})
}
