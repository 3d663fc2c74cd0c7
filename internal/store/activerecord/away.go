package activerecord

import (
	"context"
	"fmt"
	"time"

	"stompserver/internal/store"
)

// Away implements store.Remote. Without it patience is the end.
func (s *Store) Away(told func(err error)) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.told = told
}

// GiveUp implements store.Remote.
func (s *Store) GiveUp() {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.giveUp.IsZero() {
		s.giveUp = time.Now().Add(grace)
	}
}

// grace is for a database that is just being started again.
const grace = 5 * time.Second

// Wait implements store.Remote.
func (s *Store) Wait() error {
	return s.withConn(func(ctx context.Context) error {
		_, _, err := s.signed(ctx, s.conn)
		return err
	})
}

// again does something with the database until it works, or fails for a reason that does not
// pass, or is given up.
func (s *Store) again(do func(ctx context.Context) error) error { return s.againWhile(nil, do) }

// againWhile does not wait for longer than patience once there is nothing to find out: unsure
// is asked after each attempt that failed, if it is not nil.
func (s *Store) againWhile(unsure func() bool, do func(ctx context.Context) error) error {
	w := waiting{s: s, begin: time.Now()}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := s.attempt(do)
		if k := kindOf(err); err == nil || k != lost && k != again {
			w.end(err)
			return err
		}
		over, away := w.over(err)
		if over {
			return fmt.Errorf("given up after %s: %w", w.took(), err)
		}
		if away && unsure != nil && !unsure() {
			return fmt.Errorf("%w: %w", store.ErrAway, err)
		}
		time.Sleep(pause)
	}
}

// attempt does not wait for ever for a server that does not answer.
func (s *Store) attempt(do func(ctx context.Context) error) error {
	ctx := context.Background()
	if s.d.lock != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(s.cfg.Patience, time.Minute))
		defer cancel()
	}
	return do(ctx)
}

// A waiting is one call that waits for the database.
type waiting struct {
	s      *Store
	begin  time.Time
	warned bool
}

func (w *waiting) took() time.Duration { return time.Since(w.begin).Round(time.Millisecond) }

// over reports whether it has been waited long enough for good, and else whether the database
// is away, of which it tells.
func (w *waiting) over(err error) (over, away bool) {
	s := w.s
	if !w.warned && (kindOf(err) == lost || time.Since(w.begin) > time.Second) {
		w.warned = true
		s.cfg.Log.Warn("the database is away, and is tried again", "database", s.cfg.Database.String(), "err", err)
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	switch {
	case !s.giveUp.IsZero() && time.Now().After(s.giveUp):
		return true, false
	case !s.away && time.Since(w.begin) < s.cfg.Patience:
		return false, false
	case s.told == nil:
		return true, false
	case !s.away:
		s.away = true
		s.cfg.Log.Error("the database has been away for long: messages are refused until it is back", "database", s.cfg.Database.String(), "err", err)
	}
	s.told(err)
	return false, true
}

// end is called when the database has answered, be it with an error.
func (w *waiting) end(err error) {
	s := w.s
	if w.warned && err == nil {
		s.cfg.Log.Info("the database is back", "database", s.cfg.Database.String(), "after", w.took())
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.away {
		s.away = false
		s.told(nil)
	}
}
