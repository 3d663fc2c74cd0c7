package session

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"stompserver/internal/frame"
)

// A Kind is that of a destination.
type Kind uint8

// The kinds.
const (
	Queue Kind = iota
	Topic
	kinds = 2
)

// A Transport is what STOMP comes in.
type Transport uint8

// The transports.
const (
	TCP Transport = iota
	TLS
	WebSocket
	SecureWebSocket
	HTTP // the server's own door
	transports
)

var transportNames = [transports]string{"tcp", "tls", "ws", "wss", "http"}

func (t Transport) String() string { return transportNames[t] }

const (
	commands = int(frame.Error) + 1
	versions = int(frame.V12) + 2 // none, which is before CONNECT, is the first

	// Sessions share these many tallies, so that few of them write to one at a time.
	tallies = 16
)

// A tally counts what the sessions that share it do. They add to it once for what they read or
// write at a time, not for each frame.
type tally struct {
	received, sent    [commands]atomic.Uint64
	bytesIn, bytesOut [transports]atomic.Uint64
	in, out, acked    [kinds]atomic.Uint64
	_                 [64]byte // the next is on another cache line
}

// add adds n, which is mostly 0.
func add(to *atomic.Uint64, n uint32) {
	if n != 0 {
		to.Add(uint64(n))
	}
}

// A census counts sessions and what becomes of them.
type census struct {
	open   [transports][versions]atomic.Int64
	opened [transports][versions]atomic.Uint64

	closed, errors, limits, logins, denied countSet

	transactions atomic.Int64 // open ones
}

// A countSet counts rare things by their names, of which there are few.
type countSet struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (c *countSet) begin(names []string) {
	c.n = make(map[string]uint64, len(names))
	for _, name := range names {
		c.n[name] = 0
	}
}

func (c *countSet) add(name string) {
	c.mu.Lock()
	c.n[name]++
	c.mu.Unlock()
}

func (c *countSet) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

// limitNames are the limits that are counted, by the settings of the section limits; the last two
// have none there.
var limitNames = []string{
	"connections", "connections_per_address", "connections_per_user", "connect_rate", "frame_rate", "byte_rate", "subscriptions",
	"command", "header", "headers", "body", "frame_before_login", "transactions", "transaction_frames", "transaction_bytes",
	"uncommitted", "outbox", "login_timeout", "idle_timeout", "memory", "retained", "vhost_connections",
}

// Why a session ended.
const (
	byClient    = "client"    // it said so, or closed the connection
	byHeartbeat = "heartbeat" // none came
	byError     = "error"     // it was sent an ERROR
	byShutdown  = "shutdown"
	bySlowness  = "slow"    // it did not read what topics brought
	byLoss      = "lost"    // the connection broke
	byRefusal   = "refused" // it was not let in
)

var closeReasons = []string{byClient, byHeartbeat, byError, byShutdown, bySlowness, byLoss, byRefusal}

const (
	loginSucceeded = "success"
	loginRefused   = "failure"
	loginFailed    = "error" // it could not be checked
)

func (c *census) begin() {
	c.closed.begin(closeReasons)
	c.errors.begin(errorCodes)
	c.limits.begin(limitNames)
	c.logins.begin([]string{loginSucceeded, loginRefused, loginFailed})
	denied := make([]string, 0, len(deeds))
	for a := range deeds {
		denied = append(denied, a.String())
	}
	c.denied.begin(denied)
}

// LimitReached counts that a limit was, by its name in the section limits.
func (srv *Server) LimitReached(name string) { srv.census.limits.add(name) }

// reached counts a limit by its whole name.
func (srv *Server) reached(setting string) {
	srv.LimitReached(strings.TrimPrefix(setting, "limits."))
}

// told counts an ERROR.
func (srv *Server) told(e *Error) {
	srv.census.errors.add(e.Code)
	if e.Limit != "" {
		srv.reached(e.Limit)
	}
}

// place notes what the session speaks from now on. Called by the reader.
func (s *session) place(t Transport, version int) {
	c := &s.srv.census
	c.open[s.transport][s.placed].Add(-1)
	c.open[t][version].Add(1)
	if s.transport != t {
		s.out.mu.Lock()
		s.transport = t
		s.out.mu.Unlock()
	}
	s.placed = uint8(version)
}

// depart counts a session that is over.
func (s *session) depart(why string) {
	c := &s.srv.census
	if s.placed == 0 {
		c.opened[s.transport][0].Add(1)
	}
	c.open[s.transport][s.placed].Add(-1)
	c.closed.add(why)
}

// tallied adds up what the reader has done since the last time, and n bytes of STOMP. Called at the
// end of a burst.
func (s *session) tallied(n int) {
	t := s.tally
	add(&t.bytesIn[s.transport], uint32(n))
	for k := range s.sends {
		add(&t.in[k], s.sends[k])
	}
	s.sends = [kinds]uint32{}
	queues, topics := s.wake.Acked()
	add(&t.acked[Queue], queues)
	add(&t.acked[Topic], topics)
}

// tallied adds up what is about to be written. Called with mu held.
func (o *outbox) tallied(t *tally, to Transport) {
	t.bytesOut[to].Add(uint64(o.size))
	for k, n := range o.unnoted {
		if n != 0 {
			t.out[k].Add(uint64(n))
			t.sent[frame.Message].Add(uint64(n))
		}
	}
	add(&t.sent[frame.Receipt], o.receipted)
	o.unnoted, o.receipted = [kinds]uint32{}, 0
}

// wrote counts messages.
func (t *tally) wrote(queues, topics uint32) {
	add(&t.out[Queue], queues)
	add(&t.out[Topic], topics)
	add(&t.sent[frame.Message], queues+topics)
}

// Figures are what sessions have done since the server began, and which there are.
type Figures struct {
	Received, Sent    map[string]uint64 // frames by command; commands that are not known are "other"
	BytesIn, BytesOut map[string]uint64 // of STOMP, by transport
	In, Out, Acked    [2]uint64         // messages by Kind

	Open   map[[2]string]int64  // sessions by transport and version; that is "none" before CONNECT
	Opened map[[2]string]uint64 // that CONNECT made, or that ended without

	Closed map[string]uint64 // sessions by why they ended
	Errors map[string]uint64 // ERROR frames by error-code
	Limits map[string]uint64 // how often limits were reached, by their settings
	Logins map[string]uint64 // by result
	Denied map[string]uint64 // by action

	Transactions int64 // that are open
}

// Figures returns them. It costs the sessions nothing.
func (srv *Server) Figures() Figures {
	c := &srv.census
	f := Figures{
		Received: make(map[string]uint64), Sent: make(map[string]uint64),
		BytesIn: make(map[string]uint64), BytesOut: make(map[string]uint64),
		Open: make(map[[2]string]int64), Opened: make(map[[2]string]uint64),
		Closed: c.closed.all(), Errors: c.errors.all(), Limits: c.limits.all(), Logins: c.logins.all(), Denied: c.denied.all(),
		Transactions: c.transactions.Load(),
	}
	for i := range srv.tallies {
		t := &srv.tallies[i]
		for cmd := range commands {
			name := frame.Command(cmd).String()
			switch cmd := frame.Command(cmd); {
			case cmd == frame.Unknown:
				f.Received["other"] += t.received[cmd].Load()
			case cmd >= frame.Connected:
				f.Sent[name] += t.sent[cmd].Load()
				f.Received["other"] += t.received[cmd].Load() // which no client has to send
			default:
				f.Received[name] += t.received[cmd].Load()
			}
		}
		for k := range kinds {
			f.In[k] += t.in[k].Load()
			f.Out[k] += t.out[k].Load()
			f.Acked[k] += t.acked[k].Load()
		}
		for tr := range transports {
			f.BytesIn[tr.String()] += t.bytesIn[tr].Load()
			f.BytesOut[tr.String()] += t.bytesOut[tr].Load()
		}
	}
	for tr := range transports {
		for v := range versions {
			name := "none"
			if v > 0 {
				name = frame.Version(v - 1).String()
			}
			key := [2]string{tr.String(), name}
			f.Open[key] = c.open[tr][v].Load()
			f.Opened[key] = c.opened[tr][v].Load()
		}
	}
	return f
}
