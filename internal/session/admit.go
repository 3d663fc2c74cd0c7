package session

import (
	"net"
	"net/netip"
	"time"
)

// An admission counts the connections of each address, user and virtual host. The server's mu guards it.
type admission struct {
	addresses map[netip.Addr]int
	users     map[string]*userCount
	hosts     map[string]int
	tokens    float64 // of limits.connect_rate: connections that may be made at once
	filled    time.Time
}

// A userCount is what the connections of a user have in common.
type userCount struct {
	n    int
	pace pace
}

// atRate reports whether one more connection is within perSecond; a second's worth may come at
// once.
func (a *admission) atRate(perSecond int, now time.Time) bool {
	if perSecond == none {
		return true
	}
	if a.filled.IsZero() {
		a.tokens = float64(perSecond)
	} else {
		a.tokens = min(float64(perSecond), a.tokens+now.Sub(a.filled).Seconds()*float64(perSecond))
	}
	a.filled = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// hostOf is the address without the port; ok is false for what has none, such as a socket in the
// file system.
func hostOf(a net.Addr) (ip netip.Addr, ok bool) {
	at, err := netip.ParseAddrPort(a.String())
	return at.Addr().Unmap().WithZone(""), err == nil
}

// address is the client's without the port, as failed logins are counted for it.
func (s *session) address() string {
	if ip, ok := hostOf(s.peer()); ok {
		return ip.String()
	}
	return ""
}

// admitAddress counts the session for its client's address. Called by the reader, once.
func (s *session) admitAddress() error {
	ip, ok := hostOf(s.peer())
	if !ok {
		return nil
	}
	most := s.cfg.Limits.ConnectionsPerAddress
	a := &s.srv.admitted
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if a.addresses[ip] >= most {
		s.log().Warn("connection refused", "reason", "limits.connections_per_address", "limit", most)
		return errLimit("limits.connections_per_address", most, "Too many clients are connected from this address.")
	}
	if a.addresses == nil {
		a.addresses = make(map[netip.Addr]int)
	}
	a.addresses[ip]++
	s.from = ip
	return nil
}

// admitUser counts the session for its user, who logged in.
func (s *session) admitUser(name string) error {
	if s.counted == name {
		return nil
	}
	most := s.lim.ConnectionsPerUser
	a := &s.srv.admitted
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	u := a.users[name]
	if u != nil && u.n >= most {
		s.log().Warn("connection refused", "reason", "limits.connections_per_user", "limit", most, "user", name)
		return errLimit("limits.connections_per_user", most, "Too many clients are connected as this user.")
	}
	if a.users == nil {
		a.users = make(map[string]*userCount)
	}
	if s.counted != "" {
		a.dropUser(s.counted)
	}
	if u == nil {
		u = new(userCount)
		a.users[name] = u
	}
	u.n++
	s.counted = name
	if s.lim.paced() {
		s.pace = &u.pace
	}
	return nil
}

func (a *admission) dropUser(name string) {
	if u := a.users[name]; u.n > 1 {
		u.n--
	} else {
		delete(a.users, name)
	}
}

// leave takes a session off the counts.
func (a *admission) leave(s *session) {
	if s.from.IsValid() {
		if a.addresses[s.from]--; a.addresses[s.from] == 0 {
			delete(a.addresses, s.from)
		}
	}
	if s.counted != "" {
		a.dropUser(s.counted)
	}
	if s.lodging.counted != "" {
		if a.hosts[s.lodging.counted]--; a.hosts[s.lodging.counted] == 0 {
			delete(a.hosts, s.lodging.counted)
		}
	}
}

// keepPace holds the client back if it sends more than it may; n bytes came.
func (s *session) keepPace(n int) error {
	frames := s.handled
	s.handled = 0
	wait, limit := s.pace.spend(frames, n, s.lim, time.Now())
	if wait > 0 {
		s.srv.LimitReached(limit)
		if !s.slowed {
			s.slowed = true // once is enough for the log
			s.log().Warn("client is held back", "reason", "limits."+limit, "user", s.user.Name)
		}
	}
	for wait > 0 {
		changed := false
		err := s.holdBack(wait, func() bool {
			changed = s.changed()
			return changed
		})
		if err != nil || !changed {
			return err
		}
		s.adopt()
		wait, _ = s.pace.spend(0, 0, s.lim, time.Now())
	}
	return nil
}

// changed reports whether the limits are others than those in force.
func (s *session) changed() bool { return &s.srv.cfg.Load().Limits != s.lim }

// adopt puts the limits of what the client sends in force, as they are now.
func (s *session) adopt() {
	s.lim = &s.srv.cfg.Load().Limits
	s.dec.SetLimits(s.lim.frameLimits(s.state == connected))
	if s.pace != nil || s.state != connected || !s.lim.paced() {
		return
	}
	s.handled = 0 // what it sent before costs nothing
	if s.counted == "" {
		s.pace = new(pace)
		return
	}
	s.srv.mu.Lock()
	s.pace = &s.srv.admitted.users[s.counted].pace
	s.srv.mu.Unlock()
}

// holdBack waits for d, with the client's socket unread, or until it is nudged and over says so.
func (s *session) holdBack(d time.Duration, over func() bool) error {
	if d <= 0 {
		return nil
	}
	return s.pause(func() error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		ch := make(chan struct{}, 1)
		s.waiting.Store(&ch)
		defer s.waiting.Store(nil)
		for {
			if f := s.failure.Load(); f != nil {
				return f
			}
			select {
			case <-timer.C:
				return nil
			case <-ch:
				if over != nil && over() {
					return nil
				}
			case <-s.srv.quit:
				return s.srv.errShuttingDown()
			}
		}
	})
}
