package session

import (
	"slices"
	"strconv"
	"strings"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/rights"
)

// DefaultHost is the name of the virtual host of clients that name none that is known. Those of
// RabbitMQ call it by a slash.
const DefaultHost = "default"

// Hosts are the virtual hosts. Each has a broker of its own: what its clients can name is there,
// and nothing else is. It does not change once it is in use.
type Hosts struct {
	Default *Host
	Strict  bool             // refuse the clients of a host that is not known
	Others  map[string]*Host // by name and by alias; aliases of Default too
}

// A Host is a virtual host.
type Host struct {
	Name        string
	Broker      *broker.Broker
	Users       []string // who may enter; none here and in Roles: everybody
	Roles       []string
	Connections int // at once; 0: no limit
	Stopped     bool
	Redirect    string // where its clients are sent while it is Stopped
}

// A lodging is where a session is. The reader alone changes it, with access.mu held once it has
// entered.
type lodging struct {
	host    string // the name of its virtual host; empty: there is none of the name that it said
	spelt   string // what the client called it
	counted string // for which virtual host it is counted
	entered bool   // it is there
}

// find returns the host that a client means by name, nil if it is none and Strict says that this
// is an error. For nil Hosts everybody is in one.
func (h *Hosts) find(name string) *Host {
	if name == "" || name == "/" || name == DefaultHost {
		return h.Default
	}
	if one := h.Others[name]; one != nil {
		return one
	}
	if h.Strict {
		return nil
	}
	return h.Default
}

// admits reports whether a client may enter.
func (h *Host) admits(c rights.Client, p *rights.Policy) bool {
	if len(h.Users)+len(h.Roles) == 0 {
		return true
	}
	return !c.Anonymous && slices.Contains(h.Users, c.User) || p.Has(c, h.Roles)
}

// chooseHost reads which virtual host f, a CONNECT, is for, before it is known who sent it. A
// connection stays in that of its first CONNECT.
func (s *session) chooseHost(f *frame.Frame) error {
	hosts := s.srv.cfg.Load().Hosts
	if hosts == nil {
		if s.state == starting {
			s.lodging.host = DefaultHost
		}
		return nil
	}
	name, named := f.Header.Get("host")
	asked := string(name)
	if s.state != starting {
		if one := hosts.find(asked); named && (one == nil || one.Name != s.lodging.host) {
			return errf(codeNotAllowed, "Bad CONNECT", "This connection is for another virtual host; it takes a connection of its own to be in %s.", quotedHost(asked))
		}
		return nil
	}
	one := hosts.find(asked)
	if one == nil {
		s.lodging.spelt = asked // it is refused once it is known who asks
		return nil
	}
	s.lodging.host, s.lodging.spelt = one.Name, asked
	if !named {
		s.lodging.spelt = one.Name
	}
	return nil
}

// enter lets the client, who has logged in, into its virtual host.
func (s *session) enter() error {
	a := &s.access
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := s.srv.cfg.Load()
	if cfg.Hosts == nil {
		return nil
	}
	if s.lodging.host == "" {
		s.log().Info("connection refused: there is no such virtual host", "vhost", s.lodging.spelt, "user", a.client.User)
		return errHost(s.lodging.spelt)
	}
	if s.cfg.Auth == nil {
		a.client = rights.Client{User: s.user.Name, ID: s.client, Host: s.lodging.host}
	}
	host, err := s.mayBeIn(cfg)
	if err != nil {
		return err
	}
	if s.state != starting {
		return nil
	}
	if err := s.admitHost(host); err != nil {
		return err
	}
	s.lodging.entered = true
	s.b = host.Broker
	return nil
}

// mayBeIn returns the client's virtual host, or the error of who may not, or no longer, be there.
// Called with access.mu held.
func (s *session) mayBeIn(cfg *Config) (*Host, *Error) {
	a := &s.access
	host := cfg.Hosts.named(s.lodging.host)
	switch {
	case host == nil, s.cfg.Auth != nil && !host.admits(a.client, cfg.Rights):
		s.log().Info("connection refused: its user may not be in the virtual host, or there is none", "vhost", s.lodging.host, "user", a.client.User)
		return nil, errHost(s.lodging.spelt)
	case host.Stopped:
		e := errf(codeHostStopped, "Virtual host stopped", "The virtual host %s does not take clients now.", quotedHost(s.lodging.spelt))
		if host.Redirect != "" {
			e.Redirect = host.Redirect
			e.Detail += " Connect to " + host.Redirect + " instead."
		}
		return nil, e
	}
	return host, nil
}

// named returns the host of a name that is no alias.
func (h *Hosts) named(name string) *Host {
	if name == h.Default.Name {
		return h.Default
	}
	if one := h.Others[name]; one != nil && one.Name == name {
		return one
	}
	return nil
}

// errHost refuses who may not enter a virtual host as RabbitMQ does. Whether there is such a one
// it does not tell.
func errHost(name string) *Error {
	return errf(codeHostRefused, "Bad CONNECT", "Virtual host %s access denied", quotedHost(name))
}

// quotedHost is a client's name of a host for an answer.
func quotedHost(name string) string {
	if name == "" {
		name = DefaultHost
	}
	more := ""
	if len(name) > 80 {
		name, more = name[:80], "..."
	}
	text := strconv.Quote(name)
	return "'" + strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`) + "'" + more
}

// admitHost counts the session for its virtual host.
func (s *session) admitHost(host *Host) error {
	a := &s.srv.admitted
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if host.Connections > 0 && a.hosts[host.Name] >= host.Connections {
		s.log().Warn("connection refused", "reason", "connections of the virtual host", "limit", host.Connections, "vhost", host.Name)
		return errReached("limits.vhost_connections", "Too many clients are connected to the virtual host %s. The limit is its connections: %d.", quotedHost(s.lodging.spelt), host.Connections)
	}
	if a.hosts == nil {
		a.hosts = make(map[string]int)
	}
	a.hosts[host.Name]++
	s.lodging.counted = host.Name
	return nil
}

// longest is how many bytes the name of a destination may have: with what stores put before it, in
// a virtual host, it is no longer than others.
func (s *session) longest() int {
	if s.lodging.counted == "" || s.lodging.counted == DefaultHost {
		return maxDestination
	}
	return maxDestination - len(destination.HostedPrefix(s.lodging.counted))
}

// Broker returns the broker that a client gets who names a virtual host.
func (srv *Server) Broker(host string) *broker.Broker {
	if hosts := srv.cfg.Load().Hosts; hosts != nil {
		if one := hosts.find(host); one != nil {
			return one.Broker
		}
	}
	return srv.b
}

// HasHosts reports whether there are virtual hosts.
func (srv *Server) HasHosts() bool { return srv.cfg.Load().Hosts != nil }
