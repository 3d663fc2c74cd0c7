// Package metrics tells the figures of a server to Prometheus. They are those that sessions and
// broker keep in any case, and are read when they are asked for: nothing is counted here.
package metrics

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stompserver/internal/broker"
	"stompserver/internal/session"
)

// Config is where figures come from. What is nil has none.
type Config struct {
	Brokers  func() map[string]*broker.Broker // by virtual host
	Sessions *session.Server

	Version, Revision string
	Started           time.Time

	// Destinations is for how many queues there are figures of their own.
	Destinations func() int

	Listeners    func() []string                // addresses that are listened on
	Certificates func() map[string]time.Time    // when they end, by their files
	Requests     func() map[[2]string]uint64    // of HTTP, by route and status
	Ready        func() map[string]bool         // what the server needs to serve
	StorageFree  func() (bytes uint64, ok bool) // ok is false if that is not known
	Reloaded     func() (at time.Time, ok bool) // when the configuration was read, and whether it could be the last time
}

// A Metric is one of those that are told.
type Metric struct {
	Name   string // with the prefix
	Type   string // counter or gauge
	Help   string
	Labels []string

	desc *prometheus.Desc
	kind prometheus.ValueType
}

const prefix = "stompserver_"

var all []*Metric

// All are the metrics of the server's own, in the order of the documentation. Those of Go and of
// the process, go_ and process_, come beside them.
func All() []*Metric { return all }

func counter(name, help string, labels ...string) *Metric {
	return define("counter", prometheus.CounterValue, name, help, labels)
}

func gauge(name, help string, labels ...string) *Metric {
	return define("gauge", prometheus.GaugeValue, name, help, labels)
}

func define(kind string, v prometheus.ValueType, name, help string, labels []string) *Metric {
	name = prefix + name
	m := &Metric{name, kind, help, labels, prometheus.NewDesc(name, help, labels, nil), v}
	all = append(all, m)
	return m
}

var (
	buildInfo    = gauge("build_info", "What the server was made of; always 1.", "version", "revision", "go")
	startTime    = gauge("start_time_seconds", "When the server started, in seconds since 1970.")
	upListeners  = gauge("up_listeners", "Addresses that are listened on; always 1.", "listener")
	ready        = gauge("ready", "Whether the server has what it needs to serve, as /readyz tells it: 1 or 0.", "check")
	reloadOK     = gauge("config_reload_success", "Whether the configuration could be read the last time: 1 or 0.")
	reloadTime   = gauge("config_reload_time_seconds", "When the configuration was last read and taken, in seconds since 1970.")
	certExpiry   = gauge("cert_expiry_time_seconds", "When a certificate ends, in seconds since 1970.", "certificate")
	httpRequests = counter("http_requests_total", "Requests of HTTP that were answered.", "route", "code")

	connections       = gauge("connections", "Connections that are open; before CONNECT the version is none.", "transport", "version")
	connectionsOpened = counter("connections_opened_total", "Connections that CONNECT opened, or that ended without one (version none).", "transport", "version")
	connectionsClosed = counter("connections_closed_total", "Connections that ended, by who or what ended them.", "reason")
	authAttempts      = counter("auth_attempts_total", "Logins that were checked: success, failure, or error if they could not be.", "result")
	permissionDenied  = counter("permission_denied_total", "What users wanted to do and had no right to.", "action")
	limitReached      = counter("limit_reached_total", "How often a client reached a limit: it got an ERROR, was not let in, or had to wait.", "limit")
	errorsSent        = counter("errors_sent_total", "ERROR frames.", "code")

	framesReceived = counter("frames_received_total", "Frames of clients.", "command")
	framesSent     = counter("frames_sent_total", "Frames to clients.", "command")
	bytesReceived  = counter("bytes_received_total", "Bytes of STOMP from clients, without what it was wrapped in.", "transport")
	bytesSent      = counter("bytes_sent_total", "Bytes of STOMP to clients, with the frames of WebSocket.", "transport")

	messagesIn          = counter("messages_in_total", "Messages that clients sent.", "kind")
	messagesOut         = counter("messages_out_total", "Messages that were sent to clients, each time.", "kind")
	messagesAcked       = counter("messages_acked_total", "Deliveries that were acknowledged, in mode auto by the socket.", "kind")
	messagesRedelivered = counter("messages_redelivered_total", "Deliveries of queues that were not the first.")
	messagesDropped     = counter("messages_dropped_total", "Messages that nobody gets: the subscriber of a topic is slow, it has none, a queue is full.", "kind", "reason")
	messagesDead        = counter("messages_dead_total", "Messages that became dead letters.", "reason")
	messagesExpired     = counter("messages_expired_total", "Messages whose time was over.", "kind")
	messagesTimedOut    = counter("messages_timed_out_total", "Deliveries that were given back because they were not acknowledged in time.")

	queues            = gauge("queues", "Queues that are in use.")
	topics            = gauge("topics", "Topics that are subscribed to.")
	subscriptions     = gauge("subscriptions", "Subscriptions.", "kind")
	durables          = gauge("durable_subscriptions", "Durable subscriptions, with and without a subscriber.", "state")
	durableBacklog    = gauge("durable_subscription_backlog_messages", "Messages that wait in durable subscriptions.")
	scheduledMessages = gauge("scheduled_messages", "Messages that wait for the time they are to be sent at.")
	transactionsOpen  = gauge("transactions_open", "Transactions that are open.")
	memoryLimit       = gauge("memory_limit_bytes", "What the messages held may cost in memory; 0 is no limit.")
	memoryUsed        = gauge("memory_used_bytes", "What the messages held cost in memory.")
	storageFree       = gauge("storage_free_bytes", "What is free for the server on the disk of the storage directory, where there is one.")

	queueReady     = gauge("queue_messages_ready", "Messages that wait in a queue.", "vhost", "destination")
	queueUnacked   = gauge("queue_messages_unacked", "Messages of a queue that were delivered and not acknowledged.", "vhost", "destination")
	queueBytes     = gauge("queue_bytes", "What the messages of a queue cost in memory if they are all held there.", "vhost", "destination")
	queueConsumers = gauge("queue_consumers", "Subscriptions to a queue.", "vhost", "destination")
	queueOldest    = gauge("queue_oldest_message_age_seconds", "The age of the oldest message of a queue; 0 if it is empty.", "vhost", "destination")
	queueIn        = counter("queue_in_total", "Messages that came into a queue.", "vhost", "destination")
	queueOut       = counter("queue_out_total", "Messages that left a queue, whichever way.", "vhost", "destination")
)

// Handler answers /metrics.
func Handler(cfg Config) http.Handler {
	return promhttp.HandlerFor(registry(cfg), promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4, // each goes through all queues
	})
}

func registry(cfg Config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{cfg}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// A collector reads the figures when they are asked for.
type collector struct{ cfg Config }

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all {
		ch <- m.desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	o := out{ch}
	o.put(buildInfo, 1, c.cfg.Version, c.cfg.Revision, runtime.Version())
	o.put(startTime, seconds(c.cfg.Started))
	o.server(&c.cfg)
	if c.cfg.Sessions != nil {
		o.sessions(c.cfg.Sessions.Figures())
	}
	if c.cfg.Brokers == nil {
		return
	}
	most := 0
	if c.cfg.Destinations != nil {
		most = c.cfg.Destinations()
	}
	all := c.cfg.Brokers()
	o.brokers(all)
	for _, host := range slices.Sorted(maps.Keys(all)) {
		most -= o.queues(host, all[host], most)
	}
}

// An out is where figures go.
type out struct{ ch chan<- prometheus.Metric }

func (o out) put(m *Metric, v float64, labels ...string) {
	o.ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}
