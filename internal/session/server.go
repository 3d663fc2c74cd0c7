package session

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/transport"
)

// A Server holds the sessions of all listeners. It may be used from any goroutine.
type Server struct {
	b     *broker.Broker
	cfg   atomic.Pointer[Config]
	epoch time.Time // sessions measure time from here
	ids   atomic.Uint64
	odd   atomic.Bool // a message was told of whose time to live cannot be meant

	mu        sync.Mutex // guards what follows
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	admitted  admission
	refused   admission // the rate of those who are refused in what they speak
	refusing  int       // and how many are, now
	stopping  bool

	backoff auth.Backoff // of failed logins

	turns   transport.Turns // of handshakes
	leaving atomic.Int64    // how many sessions there were at the shutdown
	tallies [tallies]tally
	census  census

	ctx     context.Context // ended by Shutdown
	cancel  context.CancelFunc
	quit    <-chan struct{} // of ctx
	readers sync.WaitGroup  // of the sessions
	writers sync.WaitGroup  // goroutines that write for them
}

// NewServer makes a server of b's clients.
func NewServer(b *broker.Broker, cfg Config) *Server {
	srv := &Server{
		b: b, epoch: time.Now(),
		listeners: make(map[net.Listener]struct{}), sessions: make(map[*session]struct{}),
	}
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	srv.quit = srv.ctx.Done()
	srv.census.begin()
	srv.turns = transport.NewTurns()
	srv.cfg.Store(cfg.withDefaults())
	return srv
}

// SetConfig gives another configuration to the sessions that begin from now on. Its Rights and Auth
// are for all (see Recheck), and so are its Limits, but those of the login and of what waits for a
// client, and the prefetch.
func (srv *Server) SetConfig(cfg Config) {
	c := cfg.withDefaults()
	srv.cfg.Store(c)
	srv.Recheck()
	for _, s := range srv.all() {
		s.beat.idle(c.Limits.IdleTimeout)
		s.nudge() // it may be held back by a limit that is another now
	}
}

// all are the sessions that there are.
func (srv *Server) all() []*session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.sessions))
}

// Anonymous reports whether clients are let in without a login, though others need one.
func (srv *Server) Anonymous() bool { return anonymous(srv.cfg.Load().Rights) }

// Recheck ends the sessions whose users are not known any more, and those with a subscription
// that their rights do not allow any more.
func (srv *Server) Recheck() {
	cfg := srv.cfg.Load()
	for _, s := range srv.all() {
		s.recheck(cfg)
	}
}

// Users are those who are logged in, each connection's.
func (srv *Server) Users() []*auth.Identity {
	srv.mu.Lock()
	all := slices.Collect(maps.Keys(srv.sessions))
	srv.mu.Unlock()
	var users []*auth.Identity
	for _, s := range all {
		s.access.mu.Lock()
		if s.access.user != nil {
			users = append(users, s.access.user)
		}
		s.access.mu.Unlock()
	}
	return users
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("session: server closed")

// Serve accepts clients on l until Shutdown, and closes l. They may speak what p says; nil is
// STOMP and nothing else.
func (srv *Server) Serve(l net.Listener, p *Port) error {
	defer l.Close()
	srv.mu.Lock()
	if srv.stopping {
		srv.mu.Unlock()
		return ErrServerClosed
	}
	srv.listeners[l] = struct{}{}
	srv.mu.Unlock()
	defer func() {
		srv.mu.Lock()
		delete(srv.listeners, l)
		srv.mu.Unlock()
	}()
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err != nil {
			select {
			case <-srv.quit:
				return ErrServerClosed
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, most likely: it passes when a client leaves.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			srv.cfg.Load().Log.Error("accept failed", "addr", l.Addr().String(), "err", err, "again_in", pause)
			select {
			case <-time.After(pause):
			case <-srv.quit:
			}
			continue
		}
		pause = 0
		srv.ServeConn(c, p)
	}
}

// ServeConn speaks what p says on c, which it closes in the end, on a goroutine of its own; nil is
// STOMP and nothing else.
func (srv *Server) ServeConn(c net.Conn, p *Port) {
	s := newSession(srv, c, p, srv.ids.Add(1))
	now := time.Now()
	srv.mu.Lock()
	switch {
	case srv.stopping:
		srv.mu.Unlock()
		_ = c.Close()
		return
	case len(srv.sessions) >= s.cfg.Limits.Connections:
		srv.turnAway(s, now, "limits.connections", s.cfg.Limits.Connections, "Too many clients are connected.")
		srv.mu.Unlock()
		return
	case p != nil && !srv.admitted.atRate(s.cfg.Limits.ConnectRate, now):
		srv.turnAway(s, now, "limits.connect_rate", s.cfg.Limits.ConnectRate, "Too many clients connect. Try again in a second.")
		srv.mu.Unlock()
		return
	}
	srv.sessions[s] = struct{}{}
	srv.readers.Add(1)
	srv.mu.Unlock()
	s.start()
	go srv.run(s) // ends with the connection; Shutdown sees to that and waits
}

func (srv *Server) run(s *session) {
	if !s.run() {
		go srv.run(s) // in place of this one
		return
	}
	defer srv.readers.Done()
	srv.mu.Lock()
	delete(srv.sessions, s)
	srv.admitted.leave(s)
	srv.mu.Unlock()
}

// Connections is the number of clients.
func (srv *Server) Connections() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Shutdown closes the listeners, tells every client and waits until all have gone. When
// ctx ends first it cuts those that are left, and returns ctx's error.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	srv.stopping = true
	srv.leaving.Store(int64(len(srv.sessions)))
	srv.cancel()
	for l := range srv.listeners {
		_ = l.Close()
	}
	for s := range srv.sessions {
		s.fail(srv.errShuttingDown())
	}
	srv.mu.Unlock()

	gone := make(chan struct{})
	go func() { // ends when the last session does, which is below at the latest
		srv.readers.Wait()
		srv.writers.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	srv.mu.Lock()
	for s := range srv.sessions {
		_ = s.sock.Close()
	}
	srv.mu.Unlock()
	<-gone
	return ctx.Err()
}
