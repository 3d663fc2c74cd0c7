//go:build unix

package activerecord_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// A spooler is a store whose database goes away.
type spooler struct {
	*testing.T
	st store.Store
	q  store.Queue
}

func (s *spooler) commit(fill func(b *store.Batch)) <-chan error {
	done := make(chan error, 1)
	b := &store.Batch{Done: func(_ *store.Batch, err error) { done <- err }}
	fill(b)
	s.st.Commit(b)
	return done
}

func (s *spooler) put(body string) <-chan error {
	return s.commit(func(b *store.Batch) { b.Put(s.q, storetest.Message(s, s.q.Name(), []byte(body))) })
}

// fetch waits for n messages.
func (s *spooler) fetch(n int, ready <-chan struct{}) (ds []store.Delivery) {
	s.Helper()
	for deadline := time.After(time.Minute); len(ds) < n; {
		var err error
		if ds, err = s.q.Fetch(ds, n-len(ds)); err != nil {
			s.Fatal(err)
		}
		if len(ds) == n {
			break
		}
		select {
		case <-ready:
		case <-deadline:
			s.Fatalf("%d messages, want %d", len(ds), n)
		}
	}
	return ds
}

func spoolOf(t *testing.T, cfg activerecord.Config) (s *spooler, ready <-chan struct{}) {
	t.Helper()
	cfg.Patience = 200 * time.Millisecond
	st, err := spool.Open(spool.Config{Backend: open(t, cfg), Failed: func(err error) { t.Errorf("failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	wake := make(chan struct{}, 1)
	s = &spooler{T: t, st: st}
	if s.q, err = st.Queue("/queue/a", func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	return s, wake
}

// away has the database be gone for longer than patience: puts are refused, what was confirmed
// is there when it is back, and all goes on.
func away(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	sp, ready := spoolOf(t, cfg)
	for i := range 3 {
		if err := <-sp.put(fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
	}
	ds := sp.fetch(3, ready)
	s.Kill()
	killed := time.Now()
	ack := sp.commit(func(b *store.Batch) { b.AckRange(sp.q, ds[0].Seq, ds[1].Seq) })
	var held []<-chan error // whose fate nobody knows: the last breath of the database, one that waits, or refused
	for gone := sp.st.(*spool.Spool); gone.Away() == nil; {
		if time.Since(killed) > 2*time.Minute {
			t.Fatal("nobody notices that the database is away")
		}
		held = append(held, sp.put("perhaps"))
		time.Sleep(10 * time.Millisecond)
	}
	for range 3 {
		if err := <-sp.put("refused"); !errors.Is(err, store.ErrAway) {
			t.Errorf("a put while the database is away: %v", err)
		}
	}
	s.Start()
	if err := <-ack; err != nil {
		t.Error(err)
	}
	for _, done := range held {
		if err := <-done; err != nil && !errors.Is(err, store.ErrAway) {
			t.Error(err)
		}
	}
	for {
		err := <-sp.put("late")
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrAway) {
			t.Fatal(err)
		}
	}
	if err := sp.st.Close(); err != nil {
		t.Error(err)
	}
	b := open(t, cfg)
	if got := bodies(t, b, "/queue/a"); !strings.HasPrefix(got, "3:m2 ") || !strings.HasSuffix(got, ":late") || strings.Contains(got, "refused") {
		t.Errorf("it holds %s", got)
	}
	closeIt(t, b)
}

// givenUp stops a store whose database is away.
func givenUp(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	cfg.Patience = 200 * time.Millisecond
	st, err := spool.Open(spool.Config{Backend: open(t, cfg)})
	if err != nil {
		t.Fatal(err)
	}
	sp := &spooler{T: t, st: st}
	if sp.q, err = st.Queue("/queue/a", func() {}); err != nil {
		t.Fatal(err)
	}
	if err := <-sp.put("m"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	defer s.Start()
	var put <-chan error
	for alive := true; alive; { // a process of it may outlive it for a moment
		put = sp.put("x")
		select {
		case err := <-put:
			if alive = err == nil; !alive {
				again := make(chan error, 1)
				again <- err
				put = again
			}
		case <-time.After(cfg.Patience / 2):
			alive = st.Away() == nil // else it is slow
		}
	}
	if err := st.Close(); err == nil {
		t.Error("no error")
	}
	if err := <-put; err == nil {
		t.Error("a put succeeded without a database")
	}
}
