package stompserver

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/session"
	"stompserver/internal/vhost"
)

// VHosts are the virtual hosts, which the header host of a client's CONNECT chooses from: each has
// queues, topics and all else that has a name of its own.
type VHosts struct {
	Enabled bool // default: the header says nothing, and all clients have everything in common

	// Strict refuses clients that name none of List; else they are in the default virtual host, as
	// those are who name none at all.
	Strict bool
	List   []VHost
}

// A VHost is a virtual host. That of the name DefaultVHost is there in any case, and needs to be
// named only for what is said of it.
type VHost struct {
	Name    string
	Aliases []string // other names of it

	// Users and Roles say who may enter, which needs Auth. Without both everybody may.
	Users, Roles []string

	Connections int // at once; 0 is no limit

	// Stopped has it take no clients. They are told to connect to Redirect, if that is set.
	Stopped  bool
	Redirect string // a URL
}

// DefaultVHost is the name of the default virtual host.
const DefaultVHost = session.DefaultHost

// vhostSettings are the settings of virtual hosts.
var vhostSettings = []*Setting{
	Setting{Key: "vhosts.enabled", Restart: true, Doc: "give the header host of CONNECT a meaning: each virtual host has destinations of its own"}.flag(func(s *Settings) *bool { return &s.Config.VHosts.Enabled }),
	Setting{Key: "vhosts.strict", Doc: "refuse clients that name a virtual host which is not in the list; else they are in the default one"}.flag(func(s *Settings) *bool { return &s.Config.VHosts.Strict }),
	Setting{Key: "vhosts.list", Doc: "virtual hosts: {name: NAME, aliases: [NAME], users: [USER], roles: [ROLE], connections: N, stopped: true, redirect: URL}, or NAME alone"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.VHosts.List, err = parseVHosts(v); return err },
		func(s *Settings) string { return formatVHosts(s.Config.VHosts.List) }),
}

func parseVHosts(text string) ([]VHost, error) {
	var list []yaml.Node
	if err := yaml.Load([]byte(text), &list); err != nil {
		return nil, errors.New("it is not a list of virtual hosts such as {name: shop, aliases: [shop.example.org]}")
	}
	var all []VHost
	for i, n := range list {
		var one VHost
		if n.Kind == yaml.ScalarNode {
			one.Name = n.Value
		} else {
			part, err := yaml.Marshal(&n)
			if err == nil {
				err = yaml.Load(part, &one, yaml.WithKnownFields())
			}
			if err != nil {
				return nil, &itemError{"virtual host", i + 1, errors.New("it is not like {name: shop, aliases: [shop.example.org]}; known are name, aliases, users, roles, connections, stopped and redirect")}
			}
		}
		all = append(all, one)
	}
	if err := checkVHosts(all); err != nil {
		return nil, err
	}
	return all, nil
}

// maxVHost is how long a name may be, in bytes, as stores write it.
const maxVHost = 64

// checkVHosts says what is wrong with a list. The error is for people.
func checkVHosts(list []VHost) error {
	seen := map[string]string{"/": DefaultVHost}
	name := func(host, name string) error {
		switch {
		case name == "":
			return errors.New("it is empty")
		case len(name) > maxVHost:
			return fmt.Errorf("%q is longer than %d bytes", name, maxVHost)
		case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }):
			return fmt.Errorf("%q has a blank or a control character in it, or is no UTF-8", name)
		case name == "/" && host == DefaultVHost: // which it is in any case
			return nil
		case name == DefaultVHost && host != DefaultVHost, seen[name] != "":
			of := seen[name]
			if of == "" {
				of = DefaultVHost
			}
			return fmt.Errorf("%q is a name of the virtual host %s already", name, of)
		}
		seen[name] = host
		return nil
	}
	for i, one := range list {
		if err := name(one.Name, one.Name); err != nil {
			return &itemError{"virtual host", i + 1, fmt.Errorf("name: %w", err)}
		}
		if len(destination.HostedPrefix(one.Name)) > len(destination.HostedPrefix("x"))-1+maxVHost {
			return &itemError{"virtual host", i + 1, fmt.Errorf("name: %q is longer than %d bytes, where / and %% count as three", one.Name, maxVHost)}
		}
	}
	for _, one := range list {
		for _, alias := range one.Aliases {
			if err := name(one.Name, alias); err != nil {
				return fmt.Errorf("virtual host %s: aliases: %w", one.Name, err)
			}
		}
		if one.Connections < 0 {
			return fmt.Errorf("virtual host %s: connections: %d is below 0, which is no limit", one.Name, one.Connections)
		}
		if one.Redirect == "" {
			continue
		}
		if !one.Stopped {
			return fmt.Errorf("virtual host %s: redirect is for one that is stopped: set stopped: true as well", one.Name)
		}
		if u, err := url.Parse(one.Redirect); err != nil || u.Scheme == "" || u.Host == "" || strings.ContainsFunc(one.Redirect, unicode.IsControl) {
			return fmt.Errorf("virtual host %s: redirect: %q is not an address such as stomp://other.example.org:61613", one.Name, one.Redirect)
		}
	}
	return nil
}

func formatVHosts(list []VHost) string {
	var words []string
	for _, one := range list {
		w := "{name: " + quotedYAML(one.Name) + listed("aliases", one.Aliases) + listed("users", one.Users) + listed("roles", one.Roles)
		if one.Connections > 0 {
			w += ", connections: " + strconv.Itoa(one.Connections)
		}
		if one.Stopped {
			w += ", stopped: true"
		}
		if one.Redirect != "" {
			w += ", redirect: " + quotedYAML(one.Redirect)
		}
		words = append(words, w+"}")
	}
	return inBrackets(words)
}

// Named returns the name of the virtual host that a client means by a name or an alias.
func (v *VHosts) Named(name string) (string, bool) {
	for _, one := range v.List {
		if one.Name == name || slices.Contains(one.Aliases, name) {
			return one.Name, v.Enabled
		}
	}
	return DefaultVHost, name == "" || name == "/" || name == DefaultVHost
}

// check says what is wrong with virtual hosts when all else of c is known; key is the setting that
// it is about, "" for the rights, which are several.
func (v *VHosts) check(c *Config) (key string, err error) {
	const list, rules = "vhosts.list", "destinations.rules"
	if err := checkVHosts(v.List); err != nil {
		return list, err
	}
	names := []string{DefaultVHost}
	for _, one := range v.List {
		names = append(names, one.Name)
		if len(one.Users)+len(one.Roles) > 0 && !c.Auth {
			return list, fmt.Errorf("virtual host %s: users and roles say who may enter, but auth is off: everybody could; set auth: true", one.Name)
		}
	}
	p, err := c.policy()
	if err != nil {
		return "", nil // which is told of elsewhere
	}
	if p != nil {
		for _, host := range p.Hosts() {
			switch {
			case !v.Enabled:
				return "", fmt.Errorf("a rule is for clients \"in %s\", but vhosts.enabled is not set", host)
			case !slices.Contains(names, host):
				return "", fmt.Errorf("a rule is for clients \"in %s\", which is no name in vhosts.list", host)
			}
		}
	}
	for _, r := range c.Destinations.rules {
		switch {
		case r.host == "":
		case !v.Enabled:
			return rules, fmt.Errorf("a rule of destinations.rules is for the virtual host %s, but vhosts.enabled is not set", r.host)
		case !slices.Contains(names, r.host):
			return rules, fmt.Errorf("a rule of destinations.rules is for the virtual host %s, which is no name in vhosts.list", r.host)
		}
	}
	for _, one := range v.List {
		for _, role := range one.Roles {
			if !p.Known(role) {
				return list, fmt.Errorf("virtual host %s: there is no role %s; there are %s", one.Name, role, strings.Join(p.RoleNames(), ", "))
			}
		}
	}
	return "", nil
}

// checkVHosts says what is wrong with virtual hosts when all settings are known.
func (l *loader) checkVHosts() {
	s := l.s
	if key, err := s.Config.VHosts.check(&s.Config); err != nil && !l.wrong["auth"] && !l.wrong["roles"] && !l.wrong["vhosts.enabled"] && !l.wrong["vhosts.list"] {
		src := s.sources[key]
		for _, key := range []string{"roles", "users", "anonymous.allow"} { // the first that may have the rule
			if src.Kind == "" {
				src = s.sources[key]
			}
		}
		l.problem(src, "%v", err)
	}
	if s.Given("vhosts.list") && !s.Config.VHosts.Enabled {
		l.warn("%s: vhosts.list has no effect: vhosts.enabled is not set", s.sources["vhosts.list"])
	}
}

// vhosts are the virtual hosts of a Server.
type vhosts struct {
	config  broker.Config
	brokers map[string]*broker.Broker // by name; the default one's is not among them. Guarded by Server.mu
}

// openBrokers opens the brokers of all virtual hosts, as config says. What the store keeps of others
// is told of.
func (s *Server) openBrokers(cfg *Config, config broker.Config) (err error) {
	s.vhosts = vhosts{config, make(map[string]*broker.Broker)}
	if cfg.VHosts.Enabled { // else the store need not be asked by way of a part
		config.Store = vhost.Part(s.store, "")
	}
	if s.broker, err = broker.New(config); err != nil {
		return err
	}
	if cfg.VHosts.Enabled {
		if err := s.addVHosts(cfg); err != nil {
			for _, b := range s.brokers() {
				b.Close()
			}
			return err
		}
	}
	waiting := vhost.Waiting(s.store)
	for _, name := range slices.Sorted(maps.Keys(waiting)) {
		if s.vhosts.brokers[name] == nil {
			cfg.Log.Warn("messages of a virtual host that is not in vhosts.list are kept, and nobody gets them", "vhost", name, "messages", waiting[name])
		}
	}
	return nil
}

// addVHosts opens the brokers that are not open yet. Those whose virtual hosts are taken off the
// list stay, for the case that these come back.
func (s *Server) addVHosts(cfg *Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range cfg.VHosts.List {
		if one.Name == DefaultVHost || s.vhosts.brokers[one.Name] != nil {
			continue
		}
		bc := s.vhosts.config
		bc.Beside, bc.Host, bc.Store, bc.Log = s.broker, one.Name, vhost.Part(s.store, one.Name), bc.Log.With("vhost", one.Name)
		bc.Rules = cfg.Destinations.rulesOf(one.Name)
		b, err := broker.New(bc)
		if err != nil {
			return fmt.Errorf("virtual host %s: %w", one.Name, err)
		}
		s.vhosts.brokers[one.Name] = b
	}
	return nil
}

// setRules puts the rules of queues in force.
func (s *Server) setRules(cfg *Config) {
	s.mu.Lock()
	named := maps.Clone(s.vhosts.brokers)
	s.mu.Unlock()
	s.broker.SetRules(cfg.Destinations.rulesOf(DefaultVHost))
	for name, b := range named {
		b.SetRules(cfg.Destinations.rulesOf(name))
	}
}

// brokers are those of all virtual hosts, the default one's first.
func (s *Server) brokers() []*broker.Broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []*broker.Broker{s.broker}
	for _, name := range slices.Sorted(maps.Keys(s.vhosts.brokers)) {
		all = append(all, s.vhosts.brokers[name])
	}
	return all
}

// sessionHosts are the virtual hosts for sessions; nil: there are none.
func (s *Server) sessionHosts(cfg *Config) *session.Hosts {
	if !cfg.VHosts.Enabled {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &session.Hosts{Default: &session.Host{Name: DefaultVHost, Broker: s.broker}, Strict: cfg.VHosts.Strict, Others: make(map[string]*session.Host)}
	for _, v := range cfg.VHosts.List {
		one := &session.Host{Name: v.Name, Broker: s.vhosts.brokers[v.Name], Users: v.Users, Roles: v.Roles, Connections: v.Connections, Stopped: v.Stopped, Redirect: v.Redirect}
		if v.Name == DefaultVHost {
			one.Broker = s.broker
			h.Default = one
		} else {
			h.Others[v.Name] = one
		}
		if one.Broker == nil { // it could not be opened, and is not another because of that
			one.Broker, one.Stopped = s.broker, true
		}
		for _, alias := range v.Aliases {
			h.Others[alias] = one
		}
	}
	return h
}
