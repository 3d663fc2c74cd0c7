package spool_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A remote is a backend that can be away: its Write waits at the gate.
type remote struct {
	*storetest.Reference
	told    func(error)
	back    chan error // Wait takes its result from it
	givenUp chan struct{}
}

func (r *remote) Away(told func(error)) { r.told = told }
func (r *remote) Wait() error           { return <-r.back }
func (r *remote) GiveUp()               { close(r.givenUp) }

// TestAway: while the backend is away, SENDs are refused, those that wait already too; a write
// under way and acks wait; and when it is back nothing is missing.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, ref: &storetest.Reference{}, seen: make(chan []store.Record, 100), gate: make(chan error)}
		s.ref.Before = func(rs []store.Record) error {
			s.seen <- rs
			return <-s.gate
		}
		r := &remote{Reference: s.ref, back: make(chan error), givenUp: make(chan struct{})}
		var err error
		if s.st, err = spool.Open(spool.Config{Backend: r}); err != nil {
			t.Fatal(err)
		}
		if s.q, err = s.st.Queue("/queue/a", func() {}); err != nil {
			t.Fatal(err)
		}
		first := s.put("a", "b", "c")
		s.written("put a, put b, put c")
		s.gate <- nil
		<-first
		s.fetch("")
		s.written("mark 3")
		s.gate <- nil
		synctest.Wait()
		ds := s.fetch("a:1 b:1 c:1")

		under := s.put("x")
		s.written("put x, mark 4")
		waits, ack := s.put("y", "z"), s.ack(ds[0])
		move := s.commit(func(b *store.Batch) {
			b.Ack(s.q, ds[1].Seq)
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("d")))
		})
		gone := errors.New("no route to host")
		for range 2 {
			r.told(gone)
			if err := s.st.(interface{ Away() error }).Away(); !errors.Is(err, gone) {
				t.Errorf("away: %v", err)
			}
			for _, done := range []<-chan error{waits, s.put("w")} {
				if err := <-done; !errors.Is(err, store.ErrAway) || !errors.Is(err, gone) {
					t.Errorf("a put: %v", err)
				}
			}
			waits = s.put("v", "w")
		}
		<-waits
		late := s.ack(ds[2])
		for _, done := range []<-chan error{under, ack, move, late} {
			s.pending(done)
		}
		if n := s.st.Bytes(); n == 0 {
			t.Error("nothing is held of what waits")
		}

		r.told(nil)
		if err := s.st.(interface{ Away() error }).Away(); err != nil {
			t.Errorf("back, and away: %v", err)
		}
		s.gate <- nil
		s.written("ack 1-1, ack 2-2, put d, ack 3-3, mark 7")
		s.gate <- nil
		for _, done := range []<-chan error{under, ack, move, late} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		after := s.put("e")
		s.written("put e, mark 8")
		s.gate <- nil
		if err := <-after; err != nil {
			t.Error(err)
		}

		// A Write that is sure not to be done is refused as well, but for its acks.
		ds = s.fetch("x:1 d:1 e:1")
		held := s.put("f")
		s.written("put f, mark 9")
		refused, kept := s.commit(func(b *store.Batch) {
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("g")))
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("g2")))
		}), s.commit(func(b *store.Batch) {
			b.Ack(s.q, ds[0].Seq)
			b.Put(s.q, storetest.Message(s, "/queue/a", []byte("h")))
		})
		s.gate <- nil
		<-held
		s.written("put g, put g2, ack 4-4, put h, mark 12")
		r.told(gone)
		s.gate <- fmt.Errorf("%w: %w", store.ErrAway, gone)
		for _, done := range []<-chan error{refused, s.put("w")} {
			if err := <-done; !errors.Is(err, store.ErrAway) {
				t.Errorf("a put: %v", err)
			}
		}
		s.pending(kept)
		r.told(nil)
		r.back <- nil
		s.written("ack 4-4, put h, mark 12")
		s.gate <- nil
		if err := <-kept; err != nil {
			t.Error(err)
		}
		ds = append(ds[1:], s.fetch("f:1 h:1")...)
		acked := s.ack(ds...)
		s.written("ack 7-7, ack 8-8, ack 9-9, ack 12-12")
		s.gate <- nil
		<-acked
		if n, st := s.st.Bytes(), s.q.Stats(); n != 0 || st.Ready != 0 || st.Leased != 0 {
			t.Errorf("%d bytes of nothing, %+v", n, st)
		}
		if shown := s.q.Shown(); shown != s.q.Stats().Last {
			t.Errorf("all is durable, and shown up to %d of %d", shown, s.q.Stats().Last)
		}
		s.close()
		<-r.givenUp
	})
}
