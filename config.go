package stompserver

import (
	"log/slog"
	"net/netip"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/session"
)

// AnyPort as Config.Port lets the system pick a free port.
const AnyPort = -1

// Unlimited, or any other negative number, as a limit or time is none.
const Unlimited = -1

// Config is what a Server needs to know. The zero value works and is what the command
// serves without flags and file, but for HTTP: each field says its default.
//
// In files and flags 0 says "no limit" where a negative number does here, and for the port
// it says AnyPort.
type Config struct {
	// Host is a name, an IPv4 or IPv6 address, or "*" for all addresses. Default
	// localhost, which is both 127.0.0.1 and, where there is IPv6, ::1.
	Host string
	Port int // default 61613; AnyPort picks a free one
	HTTP HTTP

	// TLS is spoken, beside STOMP and WebSocket in the clear, with clients that begin with it.
	TLS TLS

	// Origins are the pages that may open a WebSocket, beside those of this machine and of the
	// host that they were got from: "https://app.example.org", or "*" for all.
	Origins []string

	// BasicAuth has the login and passcode of the request for a WebSocket, by HTTP's Basic
	// authentication, stand in for those of a CONNECT that has none.
	BasicAuth bool

	// TrustedProxies are the networks whose PROXY header (version 1 or 2) is believed.
	TrustedProxies []netip.Prefix

	// Listeners are further places to connect to.
	Listeners []Listener

	// Sockets are those that the process was given; of a supervisor they stand in for Host and
	// Port, and for HTTP.Listen. Default: every listener is opened.
	Sockets *Sockets

	// Queue is the kind of store that keeps queues: "memory", which is the default,
	// "journal", "file", "dbm" or "activerecord".
	Queue   string
	Storage string // directory of a store that keeps messages on a disk; default .stompserver

	// DatabaseYML is the file that says which database queue activerecord has, flat or with
	// a section for each of Rails' environments, of which RailsEnv is chosen, or else
	// development. Without a file it is SQLite, stompserver_development in Storage.
	DatabaseYML string
	RailsEnv    string

	// Checkpoint is how often what such a store has written is made safe from a power
	// cut. Default 0: at once, and every RECEIPT waits for it.
	Checkpoint time.Duration

	// OnDamage is what to do with a journal, file or table that is not what was written: RefuseDamaged,
	// the default, or StartDamaged with what is whole.
	OnDamage string

	// Auth asks every client for a login of the first of PasswdFiles that exists. If
	// there is none nobody can log in.
	Auth        bool
	PasswdFiles []string // default etc/.passwd, .passwd

	// Users are further users, or say what those of the password file may do; Roles are what users
	// have in common, and Anonymous the rules of clients that do not log in. Where all three are
	// empty every user may do everything. They need Auth.
	Users     []User
	Roles     []Role
	Anonymous []string

	// VHosts are the virtual hosts.
	VHosts VHosts

	// JWT are the tokens that clients may log in with in place of a passcode. They need Auth.
	JWT JWT

	// LDAP is the directory whose users log in, beside those of the password file. It needs Auth.
	LDAP LDAP

	// AllowEmptyPasswords lets users in whose passcode is empty, as the Ruby server did.
	AllowEmptyPasswords bool

	Debug     bool // log every frame, without bodies and passcodes
	NoMonitor bool // do not publish the statistics of queues to /queue/monitor

	Heartbeat  Heartbeat
	UserHeader string // a header of each message with the login of its sender; default none

	// TimestampHeader is a header of each message with when the server took it, in milliseconds since 1970, and
	// RedeliveriesHeader one with how often it was delivered before, if it was; default none.
	TimestampHeader, RedeliveriesHeader string

	NoTrailingLF bool   // a frame ends in NUL, and no LF follows
	SoftErrors   bool   // an ERROR about one frame leaves the connection open
	ServerHeader string // the server header of CONNECTED; default "stompserver/dev"
	Limits       Limits
	Destinations Destinations

	Metrics Metrics

	// Version and Revision are what the metrics say of the program.
	Version, Revision string

	Log *slog.Logger // default: nothing is logged
}

// Metrics are the figures that HTTP tells Prometheus.
type Metrics struct {
	NoDestinations  bool // no queue has figures of its own
	MaxDestinations int  // how many queues have, at most; the others are told together; default 1000
}

// HTTP is the door for those who send and fetch messages by PUT and GET.
type HTTP struct {
	// Listen is its address, HOST:PORT with hosts as Config.Host has them; port 0 picks a free
	// one. Default "": there is no such door.
	Listen string

	// IfFree says that the server is to start without that door, and a warning, if another
	// program has the port.
	IfFree bool
}

// Heartbeat is the server's side of the heart-beat negotiation.
type Heartbeat struct {
	Send    time.Duration // the server can send one each; default 10 s, negative: never
	Receive time.Duration // the server wants one each; default 10 s, negative: none

	// A client is given up after Tolerance times the agreed interval plus Grace without
	// a byte. Default 2 and 3 s; a negative Grace is none.
	Tolerance float64
	Grace     time.Duration
}

// Limits bound what one client, or all together, may use. A client that passes one gets an
// ERROR that names it, unless it says otherwise.
type Limits struct {
	Connections           int // at once; default 100,000
	ConnectionsPerAddress int // default 50,000
	ConnectionsPerUser    int // of those who log in; default 50,000
	ConnectRate           int // new ones a second; default no limit

	// FrameRate and ByteRate are how much of a user's is read in a second, or of a
	// connection's where nobody logs in; more waits. Default no limit.
	FrameRate, ByteRate int

	Subscriptions int // of a connection; default 10,000

	Command          int // bytes of a command line; default 64
	Header           int // bytes of a header line; default 64 KiB
	Headers          int // header lines of a frame; default 1000
	Body             int // bytes; default 64 MiB
	FrameBeforeLogin int // bytes of a frame before CONNECTED; default 16 KiB

	Transactions      int // open on a connection; default 64
	TransactionFrames int // of one transaction; default 10,000
	TransactionBytes  int // of the open transactions of a connection; default 64 MiB

	// Uncommitted are the bytes of a connection that the store has and has not confirmed:
	// past it the connection is not read. Default 16 MiB.
	Uncommitted int

	// Outbox are the bytes that wait for a client that does not read: past it queues
	// send it no more and topics do as Destinations.SlowConsumer says. Default 16 MiB.
	Outbox int

	LoginTimeout time.Duration // until CONNECT was understood; default 30 s
	IdleTimeout  time.Duration // without a byte, for clients without heart-beat; default none

	// Memory are the bytes of all messages held, past which senders wait. Default is
	// MemoryPercent (default 60) of the machine's or its cgroup's, the smaller.
	Memory        int64
	MemoryPercent int

	Prefetch int // unacknowledged messages of a subscription that does not ask; default 100
}

// Destinations are the rules of queues and topics.
type Destinations struct {
	// MaxDeliveries is how often a message is delivered, its first time included, before
	// it goes to DeadLetter. Default 20 and /queue/deadletter.
	MaxDeliveries int
	DeadLetter    string

	// DeadLetterExpired sends what expired to DeadLetter too.
	DeadLetterExpired bool

	// RedeliveryDelay is how long a message that was given back waits before it is delivered
	// again; each further time it is multiplied by RedeliveryMultiplier, up to
	// RedeliveryMaxDelay (0: no bound), and varied by up to RedeliveryJitter, a share of it.
	// Default 0: at once.
	RedeliveryDelay      time.Duration
	RedeliveryMultiplier float64
	RedeliveryMaxDelay   time.Duration
	RedeliveryJitter     float64

	// DedupeWindow is for how long the dedupe-id of a SEND is remembered: a second SEND of that
	// name is not sent. Default 2 minutes; negative: not at all.
	DedupeWindow time.Duration

	// AckTimeout is how long a delivery may stay without ACK and NACK before it is given back.
	// Default 0: as long as its client is connected.
	AckTimeout time.Duration

	// DeleteIdleAfter is how long an empty queue without consumers is kept, with its
	// counters. Default 5 minutes; negative: for ever.
	DeleteIdleAfter time.Duration

	// SlowConsumer is what happens past Limits.Outbox to messages for the subscriber of a topic: DropOldest
	// (the default), Disconnect, Spill (they wait in the store) or Block (who sends waits). A rule comes before
	// it, and so does what the client says for itself.
	SlowConsumer string

	// MaxPending is how many messages wait for one subscriber with Spill; past that the oldest are
	// dropped. Default 1,000,000.
	MaxPending int

	// UnknownPrefix is what a destination without a known prefix is: a topic, as in the Ruby
	// server (default), a queue, or an error.
	UnknownPrefix string

	// Separator has the characters at which names are split into parts for wildcards: "./" (the default),
	// "." or "/".
	Separator string

	// NoAutoCreate has queues be made by use only if one of the rules is for them.
	NoAutoCreate bool

	// DefaultVolatile has a message that does not say persistent not be stored.
	DefaultVolatile bool

	copies     session.Copies // of SetCopies
	copiesText string

	rules     []queueRule // of SetRules
	rulesText string
}

// SetRules gives properties to queues and topics by their names, as destinations.rules of a configuration
// file does: text is a list such as [{match: /queue/jobs.*, max_messages: 1000}].
func (d *Destinations) SetRules(text string) (err error) {
	d.rules, err = parseRules(text)
	d.rulesText = text
	return err
}

// SetCopies has what is sent to some destinations sent to others too, as destinations.copy of a
// configuration file does: text is a list such as [{from: /topic/events, to: [/queue/audit]}].
func (d *Destinations) SetCopies(text string) (err error) {
	d.copies, err = parseCopies(text)
	d.copiesText = text
	return err
}

// What a destination without a known prefix may be.
const (
	UnknownTopic = "topic"
	UnknownQueue = "queue"
	UnknownError = "error"
)

// What may be done with a damaged journal.
const (
	RefuseDamaged = "refuse"
	StartDamaged  = "start"
)

// What may happen to a slow consumer of a topic.
const (
	DropOldest = "drop_oldest"
	Disconnect = "disconnect"
	Spill      = "spill"
	Block      = "block"
)

// withDefaults fills in what is not set. Limits keep negative numbers for none.
func (c Config) withDefaults() Config {
	if c.TLS.ClientAuth == "" {
		c.TLS.ClientAuth = "none"
	}
	def(&c.Host, "localhost")
	def(&c.Port, 61613)
	def(&c.Queue, "memory")
	def(&c.Storage, ".stompserver")
	def(&c.OnDamage, RefuseDamaged)
	if c.PasswdFiles == nil {
		c.PasswdFiles = []string{"etc/.passwd", ".passwd"}
	}
	def(&c.Heartbeat.Send, 10*time.Second)
	def(&c.Heartbeat.Receive, 10*time.Second)
	def(&c.Heartbeat.Tolerance, 2)
	def(&c.Heartbeat.Grace, 3*time.Second)
	def(&c.ServerHeader, "stompserver/dev")
	def(&c.JWT.User, "sub")
	def(&c.JWT.RolePrefix, "stompserver.")
	def(&c.JWT.Grace, 10*time.Second)
	c.LDAP.withDefaults()
	def(&c.TLS.ACME.Cache, "acme")

	l := &c.Limits
	def(&c.Metrics.MaxDestinations, 1000)

	def(&l.Connections, 100_000)
	def(&l.Subscriptions, 10_000)
	def(&l.ConnectionsPerAddress, 50_000)
	def(&l.ConnectionsPerUser, 50_000)
	def(&l.ConnectRate, Unlimited)
	def(&l.FrameRate, Unlimited)
	def(&l.ByteRate, Unlimited)
	def(&l.Command, 64)
	def(&l.Header, 64<<10)
	def(&l.Headers, 1000)
	def(&l.Body, 64<<20)
	def(&l.FrameBeforeLogin, 16<<10)
	def(&l.Transactions, 64)
	def(&l.TransactionFrames, 10_000)
	def(&l.TransactionBytes, 64<<20)
	def(&l.Uncommitted, 16<<20)
	def(&l.Outbox, 16<<20)
	def(&l.LoginTimeout, 30*time.Second)
	def(&l.IdleTimeout, -1)
	def(&l.MemoryPercent, 60)
	def(&l.Prefetch, 100)

	d := &c.Destinations
	def(&d.MaxDeliveries, 20)
	def(&d.DeadLetter, "/queue/deadletter")
	def(&d.DeleteIdleAfter, 5*time.Minute)
	def(&d.RedeliveryMultiplier, 1)
	def(&d.DedupeWindow, 2*time.Minute)
	def(&d.SlowConsumer, DropOldest)
	def(&d.MaxPending, broker.DefaultPending)
	def(&d.UnknownPrefix, UnknownTopic)
	def(&d.Separator, "./")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

var slowPolicies = []string{DropOldest, Disconnect, Spill, Block}

// slowness is what becomes of messages for the slow subscriber of a topic.
func (d *Destinations) slowness() broker.Slowness {
	policy, _ := broker.ParseSlow(d.SlowConsumer) // New and Reload looked at it
	return broker.Slowness{Policy: policy, Pending: d.MaxPending}
}
