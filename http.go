package stompserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/metrics"
	"stompserver/internal/web"
)

// HTTPPort is the port of HTTP where none is named.
const HTTPPort = 8161

// listenHTTP opens the listeners of HTTP: none, if there are to be none.
func (s *Server) listenHTTP(ctx context.Context) ([]net.Listener, error) {
	if s.cfg.HTTP.Listen == "" {
		return nil, nil
	}
	host, port, err := splitAddress(s.cfg.HTTP.Listen)
	if err != nil {
		return nil, &ListenError{Addr: s.cfg.HTTP.Listen, Err: err, HTTP: true}
	}
	all, err := s.opener.activated("http")
	if err != nil {
		return nil, &ListenError{Addr: s.cfg.HTTP.Listen, Err: err, HTTP: true}
	}
	if all == nil {
		all, err = s.opener.listenOn(ctx, "http", host, port)
	}
	if err != nil && s.cfg.HTTP.IfFree {
		s.cfg.Log.Warn("there is no HTTP: choose an address with --http, or none with --http=off", "err", err)
		return nil, nil
	}
	var failed *ListenError
	if errors.As(err, &failed) {
		failed.HTTP = true
	}
	return all, err
}

// splitAddress reads HOST:PORT; without a host it is every address.
func splitAddress(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, errors.New("it is not like HOST:PORT")
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, errors.New(strconv.Quote(p) + " is not a port: they go from 1 to 65535, and 0 picks a free one")
	}
	if host == "" {
		host = "*"
	}
	return host, port, nil
}

// openDoor serves HTTP on all of ls. Called with mu held.
func (s *Server) openDoor(ls []net.Listener) {
	if len(ls) == 0 {
		return
	}
	_, most := s.maxConnections(s.cfg)
	s.doors = ls
	s.door = web.New(s.sessions, web.Config{
		Guard: s.guard(), BasicAuth: s.cfg.BasicAuth, Connections: most, Checks: s.checks, Log: s.cfg.Log,
		Metrics: metrics.Handler(s.metrics()), MetricsLogin: s.cfg.Auth && !loopbacks(ls),
	})
	for _, l := range ls {
		s.accepting.Go(func() { // ended by Shutdown, which waits
			if err := s.door.Serve(l); err != nil && !errors.Is(err, web.ErrClosed) {
				s.cfg.Log.Error("listener failed", "addr", l.Addr().String(), "err", err)
			}
		})
	}
}

// doorTime is how long requests of HTTP have to come to their end before the sessions behind
// them are told to leave.
const doorTime = time.Second

// shutDoor closes HTTP and returns when its requests have ended, or soon. The channel has the
// result in the end.
func (s *Server) shutDoor(ctx context.Context) <-chan error {
	shut := make(chan error, 1)
	if s.door == nil {
		shut <- nil
		return shut
	}
	gone := make(chan struct{})
	go func() { // ends with ctx at the latest; Shutdown waits
		shut <- s.door.Shutdown(ctx)
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(doorTime):
	}
	return shut
}

// HTTPAddrs are the addresses of HTTP, with the ports that were picked; empty before Start and
// if there is none.
func (s *Server) HTTPAddrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []net.Addr
	for _, l := range s.doors {
		all = append(all, l.Addr())
	}
	return all
}

func setHTTP(s *Settings, v string) error {
	v = strings.TrimSpace(v)
	if v == "" || strings.EqualFold(v, "off") {
		s.Config.HTTP.Listen = ""
		return nil
	}
	if _, _, err := splitAddress(v); err != nil {
		return fmt.Errorf("%q is no address for HTTP: %w", v, err)
	}
	s.Config.HTTP.Listen = v
	return nil
}

func getHTTP(s *Settings) string {
	if s.Config.HTTP.Listen == "" {
		return "off"
	}
	return s.Config.HTTP.Listen
}
