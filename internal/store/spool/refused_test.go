package spool_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"stompserver/internal/store"
	"stompserver/internal/store/storetest"
)

// TestRefused: messages that the backend can never hold fail with their batches; everything
// else of the group is written.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, true)
		first := s.put("a", "b")
		s.written("put a, put b")
		s.gate <- nil
		<-first
		s.fetch("")
		s.written("mark 2")
		s.gate <- nil
		synctest.Wait()
		ds := s.fetch("a:1 b:1")
		held := s.put("x")
		s.written("put x, mark 3")
		good, bad, ack := s.put("c"), s.put("d"), s.ack(ds[0])
		move := s.commit(func(b *store.Batch) {
			b.Ack(s.q, ds[1].Seq)
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("e")))
		})
		last := s.put("f")
		s.gate <- nil
		<-held
		s.written("put c, put d, ack 1-1, ack 2-2, put e, put f, mark 7")
		s.gate <- &store.RefusedError{Records: []int{1}, Err: errors.New("too large")}
		s.written("put c, ack 1-1, ack 2-2, put e, put f, mark 7")
		s.gate <- &store.RefusedError{Records: []int{3}, Err: errors.New("no text")}
		s.written("put c, ack 1-1, put f, mark 7")
		s.gate <- nil
		for want, done := range map[string]<-chan error{"too large": bad, "no text": move} {
			var refused *store.RefusedError
			if err := <-done; !errors.As(err, &refused) || refused.Err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
		for name, done := range map[string]<-chan error{"c": good, "f": last, "ack": ack} {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		ds = s.fetch("b:2 x:1 c:1 f:1") // what was to be acked with e comes back
		acked := s.ack(ds...)
		s.written("ack 2-2, ack 3-3, ack 4-4, ack 7-7")
		s.gate <- nil
		<-acked
		alone := s.put("g")
		s.written("put g, mark 8")
		s.gate <- &store.RefusedError{Records: []int{0}, Err: errors.New("too large")}
		s.written("mark 8")
		s.gate <- nil
		if err := <-alone; err == nil {
			t.Error("a message alone was not refused")
		}
		if n, st := s.st.Bytes(), s.q.Stats(); n != 0 || fmt.Sprint(st.Ready, st.Leased) != "0 0" {
			t.Errorf("%d bytes of nothing, %+v", n, st)
		}
		s.close()
	})
}
