// Package session is one client's STOMP conversation over any net.Conn: negotiation,
// commands, ack ids, transactions by name, receipts in order, heart-beats, ERROR and close.
// Who gets a message is the broker's to say.
//
// A session is a small machine: it starts, is connected by CONNECT, and leaves by
// DISCONNECT, by an ERROR or with its connection. One goroutine, the reader, owns
// everything that the client's frames change. What goes out is gathered in the outbox by
// whoever has it, and written by whoever flushes: usually the goroutine that brought the
// news, in one non-blocking write; a goroutine of its own only while the socket is full.
package session

import (
	"log/slog"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/rights"
)

// Config is what sessions need to know. The zero value works; each field says its default.
type Config struct {
	Auth         auth.Authenticator // nil: any login will do
	Rights       *rights.Policy     // where there is Auth; nil: everybody may do everything
	Hosts        *Hosts             // virtual hosts; nil: there are none, and the header host says nothing
	LoginGrace   time.Duration      // how long a client whose login expired has for another; default 10 s
	Limits       Limits
	Heartbeat    Heartbeat
	ServerHeader string // of CONNECTED; default "stompserver/dev"

	AckTimeout    time.Duration   // for which a delivery may stay unsettled, where SUBSCRIBE does not say; 0: any time
	Slow          broker.Slowness // what becomes of messages for the slow subscriber of a topic
	Copies        Copies          // what goes elsewhere as well
	UnknownPrefix string          // what a destination without a known prefix is: "topic" (default), "queue" or "error"
	Volatile      bool            // a SEND that does not say persistent is not stored

	// Headers that the server adds to messages; empty: none.
	UserHeader      string // its sender's login
	TimestampHeader string // when it came, in milliseconds since 1970
	AgainHeader     string // how often it was delivered before, if it was

	NoAutoCreate bool // queues are made by use only if a rule is for them
	NoTrailingLF bool // a frame ends in NUL, and no LF follows
	SoftErrors   bool // an ERROR about one frame, which changed nothing, leaves the connection open

	marks bool // UserHeader or TimestampHeader is there

	Log   *slog.Logger // default: none
	Debug bool         // log every frame, without bodies and passcodes
}

// Limits bound what one client, or all together, may use. 0 is the default, a negative
// number no limit (where there may be none).
type Limits struct {
	Connections   int // at once; default 100,000
	Subscriptions int // a session; default 10,000

	ConnectionsPerAddress int // at once; default 50,000
	ConnectionsPerUser    int // at once, of those who log in; default 50,000
	ConnectRate           int // new connections a second; default no limit
	FrameRate             int // frames a second of a user, or of a connection where nobody logs in; default no limit
	ByteRate              int // and bytes

	Command          int // bytes of a command line; default 64
	HeaderLine       int // bytes of a header line; default 64 KiB
	Headers          int // header lines of a frame; default 1000
	Body             int // bytes; default 64 MiB
	FrameBeforeLogin int // bytes of a frame before CONNECTED; default 16 KiB

	Transactions      int // open in a session; default 64
	TransactionFrames int // of one transaction; default 10,000
	TransactionBytes  int // of a session's open transactions; default 64 MiB

	Uncommitted int // bytes of a session that the store was given and has not confirmed; default 16 MiB
	Outbox      int // bytes waiting for a client that does not read; default 16 MiB

	LoginTimeout time.Duration // until CONNECT was understood; default 30 s
	IdleTimeout  time.Duration // without a byte, for clients without heart-beat; default none
	MemoryWait   time.Duration // how long a SEND waits for memory before its ERROR; default 30 s

	Prefetch int // of a subscription that does not ask; default 100
}

// Heartbeat is the server's side of the heart-beat negotiation.
type Heartbeat struct {
	Send    time.Duration // the server can send one each; default 10 s, negative: never
	Receive time.Duration // the server wants one each; default 10 s, negative: none

	// A client is given up after Tolerance times the agreed interval plus Grace without
	// a byte; default 2 and 3 s. A negative Grace is none.
	Tolerance float64
	Grace     time.Duration
}

const none = int(^uint(0) >> 1)

// limit returns n, or def for 0, or no limit for a negative number.
func limit(n *int, def int) {
	if *n == 0 {
		*n = def
	} else if *n < 0 {
		*n = none
	}
}

func span(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	} else if *d < 0 {
		*d = 0
	}
}

func (c Config) withDefaults() *Config {
	l := &c.Limits
	limit(&l.Connections, 100_000)
	limit(&l.Subscriptions, 10_000)
	limit(&l.ConnectionsPerAddress, 50_000)
	limit(&l.ConnectionsPerUser, 50_000)
	limit(&l.ConnectRate, none)
	limit(&l.FrameRate, none)
	limit(&l.ByteRate, none)
	limit(&l.Command, 64)
	limit(&l.HeaderLine, 64<<10)
	limit(&l.Headers, 1000)
	limit(&l.Body, 64<<20)
	limit(&l.FrameBeforeLogin, 16<<10)
	limit(&l.Transactions, 64)
	limit(&l.TransactionFrames, 10_000)
	limit(&l.TransactionBytes, 64<<20)
	limit(&l.Uncommitted, 16<<20)
	limit(&l.Outbox, 16<<20)
	limit(&l.Prefetch, 100)
	span(&l.LoginTimeout, 30*time.Second)
	span(&l.IdleTimeout, 0)
	span(&l.MemoryWait, 30*time.Second)
	span(&c.LoginGrace, 10*time.Second)
	span(&c.Heartbeat.Send, 10*time.Second)
	span(&c.Heartbeat.Receive, 10*time.Second)
	span(&c.Heartbeat.Grace, 3*time.Second)
	if c.Heartbeat.Tolerance <= 0 {
		c.Heartbeat.Tolerance = 2
	}
	c.marks = c.UserHeader != "" || c.TimestampHeader != ""
	if c.ServerHeader == "" {
		c.ServerHeader = "stompserver/dev"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &c
}

// frameLimits are the decoder's bounds, before the login and after it.
func (l *Limits) frameLimits(loggedIn bool) frame.Limits {
	f := frame.Limits{Command: l.Command, HeaderLine: l.HeaderLine, Headers: l.Headers, Body: l.Body}
	if !loggedIn {
		f.Frame = l.FrameBeforeLogin
	}
	return f
}
