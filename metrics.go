package stompserver

import (
	"maps"
	"net"
	"path/filepath"
	"sync"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/metrics"
)

// metricsSettings are those of what HTTP tells Prometheus.
var metricsSettings = []*Setting{
	Setting{Key: "metrics.per_destination", Doc: "figures of each queue on /metrics"}.unset(func(s *Settings) *bool { return &s.Config.Metrics.NoDestinations }),
	Setting{Key: "metrics.max_destinations", Doc: "how many queues have figures of their own there; the others are told together"}.number(1, 1_000_000, func(s *Settings) *int { return &s.Config.Metrics.MaxDestinations }),
}

// begun is when the process began, nearly.
var begun = time.Now()

// shows is what the metrics tell that nobody else keeps.
type shows struct {
	mu           sync.Mutex // guards what follows
	destinations int
	readAt       time.Time // when the configuration was read, and whether it could be the last time
	readOK       bool
}

func (s *shows) show(m Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.destinations = m.MaxDestinations
	if m.NoDestinations {
		s.destinations = 0
	}
}

func (s *shows) read(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readOK = ok; ok {
		s.readAt = time.Now()
	}
}

// NotReloaded has the metrics tell that the configuration is to be read again and cannot be.
func (s *Server) NotReloaded() { s.shows.read(false) }

// metrics says where they come from.
func (s *Server) metrics() metrics.Config {
	cfg := metrics.Config{
		Sessions: s.sessions,
		Brokers: func() map[string]*broker.Broker {
			s.mu.Lock()
			defer s.mu.Unlock()
			all := map[string]*broker.Broker{DefaultVHost: s.broker}
			maps.Copy(all, s.vhosts.brokers)
			return all
		},
		Version: s.cfg.Version, Revision: s.cfg.Revision, Started: begun,
		Destinations: func() int {
			s.shows.mu.Lock()
			defer s.shows.mu.Unlock()
			return s.shows.destinations
		},
		Reloaded: func() (time.Time, bool) {
			s.shows.mu.Lock()
			defer s.shows.mu.Unlock()
			return s.shows.readAt, s.shows.readOK
		},
		Listeners: func() []string {
			var all []string
			for _, a := range append(append(s.Addrs(), s.MoreAddrs()...), s.HTTPAddrs()...) {
				all = append(all, a.String())
			}
			return all
		},
		Ready: func() map[string]bool {
			all := make(map[string]bool)
			for _, c := range s.checks() {
				all[c.Name] = c.OK
			}
			return all
		},
		Requests: func() map[[2]string]uint64 { return s.door.Requests() },
	}
	if s.certs != nil {
		cfg.Certificates = s.certs.Ends
	}
	if s.cfg.inStorage() {
		dir, err := filepath.Abs(s.cfg.Storage) // a daemon may go elsewhere
		if err == nil {
			cfg.StorageFree = func() (uint64, bool) { return diskFree(dir) }
		}
	}
	return cfg
}

// loopbacks reports whether all of ls can be reached from this machine alone.
func loopbacks(ls []net.Listener) bool {
	for _, l := range ls {
		t, ok := l.Addr().(*net.TCPAddr)
		if ok && !t.IP.IsLoopback() {
			return false
		}
	}
	return true
}
