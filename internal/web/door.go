// Package web is the HTTP door of the broker, as the Ruby server had one: PUT or POST of a
// destination's path sends a message there, GET takes one.
//
// It decides nothing about messages. Each HTTP connection has a STOMP session of its own, over a
// pipe inside the process, and speaks with it like any client: so logins, rights, limits,
// spellings of destinations and turns of consumers are the session's, written once.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/origin"
	"stompserver/internal/session"
)

// Config is what a Door needs to know.
type Config struct {
	Guard       origin.Guard   // of pages of other sites
	BasicAuth   bool           // of requests for a WebSocket, where CONNECT has no login
	Connections int            // connections at once
	Checks      func() []Check // what /readyz tells; nil: nothing

	Metrics      http.Handler // of /metrics; nil: there is none
	MetricsLogin bool         // who asks for them has to log in, and have the right to the broker's figures

	Log *slog.Logger
}

// How long a client may be silent: in its head, within a body either way, and between requests.
const (
	headTime = 10 * time.Second
	bodyTime = 30 * time.Second
	idleTime = time.Minute
	headSize = 64 << 10
	beat     = 30 * time.Second
)

// A Door serves HTTP. Its methods may be called from any goroutine.
type Door struct {
	cfg      Config
	sessions *session.Server
	server   *http.Server
	stopped  context.Context // ended by stop: then nobody waits for a message
	stop     context.CancelFunc

	requests requests

	mu      sync.Mutex // guards what follows
	clients map[net.Conn]*visitor
}

// A visitor is one HTTP connection. Its requests come one after the other, each of which owns
// what has no note.
type visitor struct {
	sock  net.Conn
	login credentials
	host  string       // the virtual host that it asked for
	conn  *client.Conn // nil: none yet, or the last one ended
	fresh bool         // no byte of a request came yet; guarded by Door.mu
}

type credentials struct{ name, passcode string }

// New makes a door to the destinations of sessions.
func New(sessions *session.Server, cfg Config) *Door {
	d := &Door{cfg: cfg, sessions: sessions, clients: make(map[net.Conn]*visitor)}
	d.stopped, d.stop = context.WithCancel(context.Background())
	d.server = &http.Server{
		Handler:           http.HandlerFunc(d.serve),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headSize,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnContext:       d.enter,
		ConnState:         d.moved,
	}
	return d
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = http.ErrServerClosed

// Serve answers the clients of l until Shutdown, and closes l.
func (d *Door) Serve(l net.Listener) error { return d.server.Serve(&bounded{l, d}) }

// Shutdown stops accepting, ends the waits for messages and lets the requests under way come
// to their end. When ctx ends first it cuts off those that are left, and returns ctx's error.
func (d *Door) Shutdown(ctx context.Context) error {
	d.stop()
	d.mu.Lock()
	for c, v := range d.clients {
		if v.fresh { // http.Server would wait for its request
			_ = c.Close()
		}
	}
	d.mu.Unlock()
	err := d.server.Shutdown(ctx)
	if err != nil {
		_ = d.server.Close()
	}
	return err
}

// noTime is no deadline.
var noTime time.Time

type visitorKey struct{}

// enter gives each connection its visitor.
func (d *Door) enter(ctx context.Context, c net.Conn) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.clients[c]
	return context.WithValue(ctx, visitorKey{}, v)
}

// moved follows a connection from its first request to its end.
func (d *Door) moved(c net.Conn, to http.ConnState) {
	d.mu.Lock()
	v := d.clients[c]
	if v != nil {
		v.fresh = to == http.StateNew
	}
	gone := to == http.StateClosed || to == http.StateHijacked
	if gone {
		delete(d.clients, c)
	}
	d.mu.Unlock()
	if gone && v != nil && v.conn != nil {
		_ = v.conn.Close()
	}
}

// A bounded listener turns away who comes when there are too many.
type bounded struct {
	net.Listener
	d *Door
}

var full = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=UTF-8\r\n" +
	"Content-Length: 31\r\nConnection: close\r\n\r\nToo many clients are connected.")

func (l *bounded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.d.mu.Lock()
		ok := l.d.cfg.Connections <= 0 || len(l.d.clients) < l.d.cfg.Connections
		if ok {
			l.d.clients[c] = &visitor{sock: c, fresh: true}
		}
		l.d.mu.Unlock()
		if ok {
			return c, nil
		}
		l.d.sessions.LimitReached("connections")
		l.d.cfg.Log.Warn("connection refused", "addr", c.RemoteAddr().String(), "reason", "limits.connections", "limit", l.d.cfg.Connections)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it fits into the socket's buffer
		_, _ = c.Write(full)
		_ = c.Close()
	}
}

// session returns the STOMP session of v, made if need be, for who sent r and the virtual host that
// r is for.
func (d *Door) session(ctx context.Context, v *visitor, r *http.Request) (*client.Conn, error) {
	login, host := login(r), d.host(r)
	if v.conn != nil {
		if v.login == login && v.host == host && v.conn.Err() == nil {
			return v.conn, nil
		}
		_ = v.conn.Close()
		v.conn = nil
	}
	near, far := net.Pipe()
	d.sessions.ServeConn(&inside{far, v.sock.RemoteAddr()}, nil)
	c, err := client.Connect(ctx, near, client.Options{
		Host: host, Login: login.name, Passcode: login.passcode,
		HeartBeat: beat, // or limits.idle_timeout would end those who wait
	})
	if err != nil {
		return nil, err
	}
	v.conn, v.login, v.host = c, login, host
	return c, nil
}

// An inside connection tells the session who is at the other end of the HTTP connection.
type inside struct {
	net.Conn
	addr net.Addr
}

func (c *inside) RemoteAddr() net.Addr { return c.addr }
