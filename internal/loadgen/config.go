package loadgen

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/client"
)

// A Config says what load to put on which broker. Server is required, and one of
// Messages and Duration.
type Config struct {
	Server   string // as client.ParseAddress reads it, or nats://[user:pass@]host:port
	Login    string // goes before that of Server
	Passcode string
	TLS      *tls.Config   // for a Server that wants it; nil: whom the system trusts
	Version  string        // of STOMP: 1.0, 1.1 or 1.2 (the default)
	Timeout  time.Duration // to connect, and without any progress; 10 s

	Producers   int    // connections that send; 1
	Consumers   int    // connections that receive; 0 sends only
	Queues      int    // destinations; 1
	Topic       bool   // every consumer gets every message
	Destination string // the first part of their names; /queue/bench.RANDOM or /topic/…
	Size        int    // of a body, in bytes; 100
	Persistent  bool   // adds persistent:true to every SEND

	Messages int64         // of all producers together
	Duration time.Duration // of the measured part
	Warmup   time.Duration // before it; what happens then is checked but not measured

	Rate     float64 // messages a second of all producers, at fixed times; 0: as fast as they are taken
	Receipts bool    // every SEND asks for one
	Window   int     // with receipts: SENDs of one producer without theirs; 1000
	Backlog  int     // messages of one destination sent and not yet received; 20000, less for large ones

	Ack      string // auto (the default), client or client-individual
	Prefetch int    // asked for with SUBSCRIBE; 0: the broker's default

	PID         int  // the broker's process, to read its CPU time and memory
	PIDChildren bool // and those of its descendants

	Idle int // instead of all that: open so many connections with one subscription each

	// Progress, if set, is called a few times a second while the run goes on.
	Progress func(Progress)

	at      client.Address
	addr    string
	nats    bool
	vhost   string
	tag     uint64
	sources int // local addresses handed out, for more connections than one has ports
}

// A Progress is where a run stands.
type Progress struct {
	Phase          string // connecting, warm-up, measuring, draining, idle
	Elapsed        time.Duration
	Sent, Received int64
	Done           float64 // 0 to 1
}

// A UsageError says which option makes no sense, and why.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// prepare checks c and fills in the defaults.
func (c *Config) prepare() error {
	if err := c.parseServer(); err != nil {
		return err
	}
	orDefault(&c.Producers, 1)
	orDefault(&c.Queues, 1)
	orDefault(&c.Size, 100)
	orDefault(&c.Window, 1000)
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Ack == "" {
		c.Ack = "auto"
	}
	if c.Version == "" {
		c.Version = "1.2"
	}
	switch {
	case c.Producers < 0 || c.Consumers < 0 || c.Queues < 0 || c.Size < 0 || c.Window < 0 || c.Backlog < 0 ||
		c.Prefetch < 0 || c.Messages < 0 || c.Duration < 0 || c.Warmup < 0 || c.Rate < 0 || c.Idle < 0 || c.PID < 0:
		return usage("no number may be negative")
	case c.Size < stampLen:
		return usage("--size: at least %d bytes: the sequence number and the time of sending travel in the body", stampLen)
	case c.Version != "1.0" && c.Version != "1.1" && c.Version != "1.2":
		return usage("--protocol: 1.0, 1.1 or 1.2, not %q", c.Version)
	case c.Ack != "auto" && c.Ack != "client" && c.Ack != "client-individual":
		return usage("--ack: auto, client or client-individual, not %q", c.Ack)
	case c.nats && c.Receipts:
		return usage("--receipts: core NATS confirms nothing; leave it out with nats://")
	case c.nats && c.Ack != "auto":
		return usage("--ack: core NATS has no acknowledgements; only auto with nats://")
	case c.nats && (c.Persistent || c.Prefetch > 0):
		return usage("--persistent and --prefetch are STOMP's; leave them out with nats://")
	case c.PIDChildren && c.PID == 0:
		return usage("--pid-children: needs --pid")
	}
	if c.Idle > 0 {
		return c.name()
	}
	switch {
	case c.Messages == 0 && c.Duration == 0:
		return usage("say how long: --messages or --duration")
	case c.Messages > 0 && c.Duration > 0:
		return usage("--messages and --duration: one of the two ends the run")
	case c.Messages > 0 && c.Warmup > 0:
		return usage("--warmup: needs --duration; with --messages all of them are measured")
	case c.Consumers == 0 && c.Messages == 0 && !c.Receipts:
		return usage("--consumers 0 with --duration: nothing would bound what piles up; say --messages, or --receipts")
	case c.Producers*c.Queues >= 1<<(6*streamLen):
		return usage("--producers and --queues: more than %d pairs of them", 1<<(6*streamLen))
	}
	if c.Backlog == 0 {
		c.Backlog = max(4, min(20000, (64<<20)/c.Size))
		if c.Topic {
			c.Backlog = max(4, min(c.Backlog, max(256, c.Backlog/max(1, c.Consumers))))
		}
	}
	return c.name()
}

func orDefault(n *int, v int) {
	if *n == 0 {
		*n = v
	}
}

func (c *Config) name() error {
	c.tag = rand.Uint64() & (1<<(6*tagLen) - 1)
	if c.Destination == "" {
		c.Destination = fmt.Sprintf("/queue/bench.%06x", c.tag)
		if c.Topic {
			c.Destination = fmt.Sprintf("/topic/bench.%06x", c.tag)
		}
	}
	if strings.ContainsAny(c.Destination, ":\\\r\n \x00") {
		return usage("--destination: without spaces, colons and backslashes, please")
	}
	return nil
}

// destination is the name of the i-th.
func (c *Config) destination(i int) string {
	if c.Queues == 1 {
		return c.Destination
	}
	return c.Destination + "." + strconv.Itoa(i)
}

func (c *Config) parseServer() error {
	raw := c.Server
	if rest, ok := strings.CutPrefix(raw, "nats://"); ok {
		c.nats, raw = true, "stomp://"+rest
	}
	a, err := client.ParseAddress(raw)
	if err != nil {
		return usage("--server: %v", err)
	}
	if host, port, _ := net.SplitHostPort(a.HostPort); c.nats && !strings.Contains(raw, ":"+port) {
		a.HostPort = net.JoinHostPort(host, "4222")
	}
	c.at, c.addr, c.vhost = a, a.HostPort, a.Host
	if c.Login == "" && c.Passcode == "" {
		c.Login, c.Passcode = a.Login, a.Passcode
	}
	return nil
}

// localAddr spreads connections to this machine over its 127.0.0.0/8: between two
// addresses there are ports for no more than some 28,000.
func (c *Config) localAddr() net.Addr {
	const perAddress = 20000
	host, _, _ := net.SplitHostPort(c.addr)
	ip := net.ParseIP(host).To4()
	c.sources++
	if c.Idle <= perAddress || ip == nil || !ip.IsLoopback() {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+c.sources/perAddress))}
}
