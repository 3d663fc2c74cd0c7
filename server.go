package stompserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/monitor"
	"stompserver/internal/session"
	"stompserver/internal/store"
	"stompserver/internal/transport"
	"stompserver/internal/web"
)

// A Server is a running broker: its listeners, its clients and its queues. Its methods may
// be called from any goroutine.
type Server struct {
	cfg       Config
	passwd    *auth.Passwd     // nil: auth is off
	tokens    *auth.Tokens     // nil: there are none
	directory *auth.Directory  // nil: there is none
	lookUp    chan struct{}    // asks for its users to be looked up
	certs     *transport.Certs // nil: there is no TLS
	acme      *transport.ACME  // nil: there is none
	store     store.Store
	broker    *broker.Broker // of the default virtual host
	vhosts    vhosts
	sessions  *session.Server

	probe  probe      // of the storage directory
	shows  shows      // for the metrics
	opener opener     // of listeners
	failed chan error // takes why the store failed for good

	mu        sync.Mutex // guards what follows
	started   bool
	stopped   bool
	succeeded bool // another process goes on with the sockets
	listeners []port
	main      int          // how many of them, the first, are those of Host and Port
	door      *web.Door    // nil: there is none
	answers   *http.Server // of an authority that looks at HTTP; nil: there is none
	doors     []net.Listener
	monitor   *monitor.Monitor
	unwatch   context.CancelFunc // ends the watch of files
	accepting sync.WaitGroup
}

// ErrStopped is returned for a server that was shut down.
var ErrStopped = errors.New("stompserver: the server was shut down")

// New makes a server. It reads the password file and opens the store; nothing else is touched
// before Start. Shutdown frees it, also if it was never started. That the store cannot be
// opened is a *StorageError.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue != "memory" {
		if err := setQueue(&Settings{}, cfg.Queue); err != nil {
			return nil, fmt.Errorf("stompserver: queue: %w", err)
		}
	}
	if err := oneOf(cfg.Destinations.SlowConsumer, slowPolicies...); err != nil {
		return nil, fmt.Errorf("stompserver: slow consumer: %w", err)
	}
	if err := oneOf(cfg.Destinations.Separator, ".", "/", "./", "/."); err != nil {
		return nil, fmt.Errorf("stompserver: separator: %w", err)
	}
	if err := oneOf(cfg.Destinations.UnknownPrefix, UnknownTopic, UnknownQueue, UnknownError); err != nil {
		return nil, fmt.Errorf("stompserver: unknown prefix: %w", err)
	}
	if err := oneOf(cfg.OnDamage, RefuseDamaged, StartDamaged); err != nil {
		return nil, fmt.Errorf("stompserver: on damage: %w", err)
	}
	s := &Server{cfg: cfg, opener: opener{given: cfg.Sockets}, failed: make(chan error, 1), lookUp: make(chan struct{}, 1)}
	made := false
	defer func() {
		if !made && s.tokens != nil {
			s.tokens.Close()
		}
	}()
	if _, err := cfg.policy(); err != nil {
		return nil, fmt.Errorf("stompserver: rights: %w", err)
	}
	if _, err := cfg.VHosts.check(&cfg); err != nil {
		return nil, fmt.Errorf("stompserver: vhosts: %w", err)
	}
	if cfg.Auth {
		var err error
		s.passwd, err = auth.Config{Log: cfg.Log, AllowEmpty: cfg.AllowEmptyPasswords, Users: cfg.logins(), Others: cfg.JWT.on() || cfg.LDAP.on()}.OpenPasswd(cfg.PasswdFiles...)
		if err != nil {
			return nil, fmt.Errorf("stompserver: %w", err)
		}
		if s.tokens, err = cfg.tokens(); err != nil {
			return nil, fmt.Errorf("stompserver: %w", err)
		}
		if s.directory, err = cfg.OpenDirectory(); err != nil {
			return nil, fmt.Errorf("stompserver: %w", err)
		}
	}
	if err := s.openTLS(); err != nil {
		return nil, err
	}
	var err error
	if s.store, err = openStore(cfg, func(err error) { s.failed <- err }); err != nil {
		return nil, fmt.Errorf("stompserver: %w", err)
	}
	bc := broker.Config{
		Durable:           Durable(cfg.Queue),
		Separators:        cfg.Destinations.separators(),
		MakeFilter:        session.MakeFilter,
		Store:             s.store,
		MaxDeliveries:     cfg.Destinations.MaxDeliveries,
		DeadLetter:        cfg.Destinations.DeadLetter,
		DeadLetterExpired: cfg.Destinations.DeadLetterExpired,
		Rules:             cfg.Destinations.rulesOf(DefaultVHost),
		DedupeWindow:      cfg.Destinations.DedupeWindow,
		Redelivery: broker.Redelivery{
			Delay: cfg.Destinations.RedeliveryDelay, Multiplier: cfg.Destinations.RedeliveryMultiplier,
			Max: cfg.Destinations.RedeliveryMaxDelay, Jitter: cfg.Destinations.RedeliveryJitter,
		},
		MemoryLimit:     cfg.memoryLimit(),
		DeleteIdleAfter: cfg.Destinations.DeleteIdleAfter,
		Log:             cfg.Log,
	}
	if cfg.NoMonitor {
		bc.Monitor = "-" // its name is a queue like any
	}
	if err := s.openBrokers(&cfg, bc); err != nil {
		_ = s.store.Close()
		return nil, fmt.Errorf("stompserver: %w", err)
	}
	s.sessions = session.NewServer(s.broker, s.sessionConfig(cfg))
	s.shows.show(cfg.Metrics)
	s.shows.read(true)
	made = true
	return s, nil
}

// sessionConfig is the part of cfg that sessions know.
func (s *Server) sessionConfig(cfg Config) session.Config {
	l := cfg.Limits
	most, _ := s.maxConnections(cfg)
	if most == 0 {
		most = -1
	}
	sc := session.Config{
		Limits: session.Limits{
			Connections: most, Subscriptions: l.Subscriptions,
			ConnectionsPerAddress: l.ConnectionsPerAddress, ConnectionsPerUser: l.ConnectionsPerUser, ConnectRate: l.ConnectRate, FrameRate: l.FrameRate, ByteRate: l.ByteRate,
			Command: l.Command, HeaderLine: l.Header, Headers: l.Headers, Body: l.Body, FrameBeforeLogin: l.FrameBeforeLogin,
			Transactions: l.Transactions, TransactionFrames: l.TransactionFrames, TransactionBytes: l.TransactionBytes,
			Uncommitted: l.Uncommitted, Outbox: l.Outbox,
			LoginTimeout: l.LoginTimeout, IdleTimeout: l.IdleTimeout, Prefetch: l.Prefetch,
		},
		Heartbeat: session.Heartbeat{
			Send: cfg.Heartbeat.Send, Receive: cfg.Heartbeat.Receive,
			Tolerance: cfg.Heartbeat.Tolerance, Grace: cfg.Heartbeat.Grace,
		},
		ServerHeader: cfg.ServerHeader,
		AckTimeout:   cfg.Destinations.AckTimeout,
		Slow:         cfg.Destinations.slowness(),
		Copies:       cfg.Destinations.copies.Split(cfg.Destinations.separators()),
		Volatile:     cfg.Destinations.DefaultVolatile,
		UserHeader:   cfg.UserHeader, TimestampHeader: cfg.TimestampHeader, AgainHeader: cfg.RedeliveriesHeader,
		NoAutoCreate: cfg.Destinations.NoAutoCreate, NoTrailingLF: cfg.NoTrailingLF, SoftErrors: cfg.SoftErrors,
		Hosts: s.sessionHosts(&cfg),
		Log:   cfg.Log,
		Debug: cfg.Debug,
	}
	if u := cfg.Destinations.UnknownPrefix; u != UnknownTopic {
		sc.UnknownPrefix = u
	}
	if s.passwd != nil {
		sc.Auth = auth.Several{Tokens: s.tokens, Directory: s.directory, Passwd: s.passwd}
		sc.LoginGrace = cfg.JWT.Grace
		sc.Rights, _ = cfg.policy() // New and Reload looked at it
	}
	return sc
}

// memoryLimit is the broker's limit in bytes, 0 for none.
func (c *Config) memoryLimit() int64 {
	switch m := c.Limits.Memory; {
	case m > 0:
		return m
	case m < 0:
		return 0
	}
	all := machineMemory()
	return all / 100 * int64(c.Limits.MemoryPercent)
}

// MemoryLimit is what the messages held may cost in memory, in bytes; 0 is no limit.
func (s *Server) MemoryLimit() int64 { return s.broker.MemoryLimit() }

// Start opens the listeners and serves them in the background. When it returns clients can
// connect. An error is a *ListenError.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return ErrStopped
	case s.started:
		return errors.New("stompserver: the server was started before")
	}
	doors, err := s.listenHTTP(ctx)
	if err != nil {
		return err
	}
	answers, err := s.listenACME(ctx)
	var listeners []port
	var main int
	if err == nil {
		listeners, main, err = s.listenAllPorts(ctx, webHint(doors))
	}
	if err != nil {
		for _, l := range append(doors, answers...) {
			_ = l.Close()
		}
		return err
	}
	s.started, s.listeners, s.main = true, listeners, main
	s.openDoor(doors)
	s.answerACME(answers)
	s.watch()
	for _, l := range listeners {
		s.accepting.Go(func() { // ended by Shutdown, which waits
			if err := s.sessions.Serve(l, l.Port); err != nil && !errors.Is(err, session.ErrServerClosed) {
				s.cfg.Log.Error("listener failed", "addr", l.Addr().String(), "err", err)
			}
		})
	}
	if !s.cfg.NoMonitor {
		s.monitor = monitor.Start(s.brokers, monitor.Interval)
	}
	return nil
}

// ListenAndServe starts the server and serves until ctx ends; then it shuts down, for at
// most ten seconds.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if err := s.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.Shutdown(last)
}

// Failed yields the error with which the store failed for good, once, if that happens: a
// disk that does not keep what it was given. Nothing is confirmed any more then, and the
// process should call Shutdown and end.
func (s *Server) Failed() <-chan error { return s.failed }

// Addrs are the addresses of Host and Port, with the port that was picked; empty before Start.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return addrs(s.listeners[:s.main])
}

// MoreAddrs are those of Listeners, in their order.
func (s *Server) MoreAddrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return addrs(s.listeners[s.main:])
}

func addrs(ports []port) []net.Addr {
	var all []net.Addr
	for _, p := range ports {
		all = append(all, p.Addr())
	}
	return all
}

// Stats are the figures of a server.
type Stats struct {
	Connections int // clients
	Ready       int // messages of queues that wait
	Unacked     int // messages of queues that were delivered and not acknowledged
	Queues      int // queues that hold messages
}

// Stats returns the figures as they are now.
func (s *Server) Stats() Stats {
	st := Stats{Connections: s.sessions.Connections()}
	for _, b := range s.brokers() {
		for _, q := range b.Queues() {
			st.Ready += q.Ready
			st.Unacked += q.Unacked
			if q.Ready+q.Unacked > 0 {
				st.Queues++
			}
		}
	}
	return st
}

// Reload takes the heart-beats, headers, Debug, SlowConsumer, UnknownPrefix, DefaultVolatile and copies of cfg
// for the connections that are made from now on, the limits of what clients send, the memory limit, users, rights and virtual hosts for
// all, and reads the password file and the certificates again, of other files too if there was TLS at New, and has the
// directory asked about who is connected. Clients whose user is gone, who may not be in their virtual host any more, or who are subscribed to
// what they may not read any more, are told and disconnected. Everything else of cfg, Auth among it, stays as it was at New. When a file
// cannot be read its error is returned and what it said before stays; the rest is taken nevertheless.
func (s *Server) Reload(cfg Config) error {
	cfg = cfg.withDefaults()
	s.shows.read(false) // until it is
	if err := oneOf(cfg.Destinations.SlowConsumer, slowPolicies...); err != nil {
		return fmt.Errorf("stompserver: slow consumer: %w", err)
	}
	if err := oneOf(cfg.Destinations.UnknownPrefix, UnknownTopic, UnknownQueue, UnknownError); err != nil {
		return fmt.Errorf("stompserver: unknown prefix: %w", err)
	}
	if _, err := cfg.policy(); err != nil {
		return fmt.Errorf("stompserver: rights: %w", err)
	}
	cfg.VHosts.Enabled, cfg.Destinations.Separator = s.cfg.VHosts.Enabled, s.cfg.Destinations.Separator
	if _, err := cfg.VHosts.check(&cfg); err != nil {
		return fmt.Errorf("stompserver: vhosts: %w", err)
	}
	cfg.Log = s.cfg.Log
	s.broker.SetMemoryLimit(cfg.memoryLimit())
	s.shows.show(cfg.Metrics)
	var errs []error
	if cfg.VHosts.Enabled {
		errs = append(errs, s.addVHosts(&cfg))
	}
	s.setRules(&cfg)
	errs = append(errs, s.reloadTLS(cfg.TLS))
	if s.passwd != nil {
		s.passwd.SetUsers(cfg.logins())
		errs = append(errs, s.passwd.Reload())
	}
	if s.tokens != nil {
		errs = append(errs, s.tokens.Reload())
	}
	if s.directory != nil {
		select {
		case s.lookUp <- struct{}{}:
		default: // it is to be done already
		}
	}
	s.sessions.SetConfig(s.sessionConfig(cfg)) // after the users: those who are gone have to leave
	if err := errors.Join(errs...); err != nil {
		s.shows.read(false)
		return fmt.Errorf("stompserver: %w", err)
	}
	s.shows.read(true)
	return nil
}

// Shutdown stops accepting, tells every client, waits for them to be served out, and
// closes the store. When ctx ends first the clients that are left are cut off, and ctx's
// error is returned; the store is closed in any case. If ctx is cancelled, or another process of this
// program is to go on, the store leaves undone what only other programs need: that of type file makes
// no files.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrStopped
	}
	s.stopped = true
	mon := s.monitor
	if s.unwatch != nil {
		s.unwatch()
	}
	s.mu.Unlock()

	if s.answers != nil {
		_ = s.answers.Close()
	}
	if l, ok := s.store.(store.Leaver); ok {
		if s.succeeded {
			l.Leave()
		}
		defer context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.Canceled) {
				l.Leave()
			}
		})()
	}
	shut := s.shutDoor(ctx)
	err := errors.Join(s.sessions.Shutdown(ctx), <-shut)
	s.accepting.Wait()
	if mon != nil {
		mon.Stop()
	}
	for _, b := range s.brokers() {
		b.Close()
	}
	if s.tokens != nil {
		s.tokens.Close()
	}
	if s.directory != nil {
		s.directory.Close()
	}
	return errors.Join(err, s.store.Close())
}
