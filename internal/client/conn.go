package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/frame"
)

// Options are what a client may ask for. The zero value asks for nothing.
type Options struct {
	Login, Passcode string
	Host            string          // the virtual host; of Dial: the address'
	Versions        []frame.Version // offered; all three if nil
	TLS             *tls.Config     // of Dial, for an address that wants it; nil: whom the system trusts

	// HeartBeat is how often this side can send heart-beats and wants the server's; 0 is
	// neither (STOMP 1.2, "Heart-beating").
	HeartBeat time.Duration

	Header  frame.Header // further headers of CONNECT
	MaxBody int          // bytes of the largest body accepted; 1 GiB
}

// A Conn is a connection to a STOMP server.
type Conn struct {
	conn    net.Conn
	version frame.Version
	server  string
	session string

	sendEvery time.Duration // heart-beats agreed on; 0: none
	recvEvery time.Duration

	wmu     sync.Mutex
	out     []byte // frames not yet written, guarded by wmu
	held    bool   // guarded by wmu
	written atomic.Int64
	leaving atomic.Bool // DISCONNECT is on its way

	mu       sync.Mutex
	room     sync.Cond // of mu: a subscription was read from, a receipt is awaited, or the end
	err      error     // why the connection ended, guarded by mu
	receipts map[string]chan answer
	subs     map[string]*Subscription
	nextID   int

	done chan struct{} // closed once err is set
	wg   sync.WaitGroup
}

// Dial connects to the server at address (see ParseAddress). ctx bounds the time until
// CONNECTED. Login, Passcode and Host of o go before those of the address.
func Dial(ctx context.Context, address string, o Options) (*Conn, error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if o.Login == "" && o.Passcode == "" {
		o.Login, o.Passcode = a.Login, a.Passcode
	}
	if o.Host == "" {
		o.Host = a.Host
	}
	conn, err := a.Dial(ctx, new(net.Dialer), o.TLS)
	if err != nil {
		return nil, &DialError{Address: a.HostPort, Err: err}
	}
	c, err := Connect(ctx, conn, o)
	var refused *ServerError
	if err != nil && !errors.As(err, &refused) {
		return nil, &DialError{Address: a.HostPort, Connected: true, Err: err}
	}
	return c, err
}

// Connect speaks STOMP on conn, which then belongs to the Conn; when it fails, conn is
// closed. ctx bounds the time until CONNECTED.
func Connect(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	c := &Conn{
		conn: conn, done: make(chan struct{}),
		receipts: map[string]chan answer{}, subs: map[string]*Subscription{},
	}
	c.room.L = &c.mu
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 30
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	r := newReader(pulse{c}, o.MaxBody)
	err := c.handshake(&o, r)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no CONNECTED: %w", ctx.Err())
		}
		return nil, err
	}
	c.wg.Go(func() { c.read(r) })
	if c.sendEvery > 0 {
		c.wg.Go(c.beat)
	}
	return c, nil
}

func (c *Conn) handshake(o *Options, r *reader) error {
	versions := o.Versions
	if versions == nil {
		versions = []frame.Version{frame.V10, frame.V11, frame.V12}
	}
	var names []string
	newer := false
	for _, v := range versions {
		names = append(names, v.String())
		newer = newer || v > frame.V10
	}
	f := frame.Frame{Command: frame.Connect}
	if newer {
		f.Header.Add("accept-version", strings.Join(names, ","))
		f.Header.Add("host", o.Host)
		ms := strconv.FormatInt(o.HeartBeat.Milliseconds(), 10)
		f.Header.Add("heart-beat", ms+","+ms)
	}
	if o.Login != "" || o.Passcode != "" {
		f.Header.Add("login", o.Login)
		f.Header.Add("passcode", o.Passcode)
	}
	f.Header = append(f.Header, o.Header...)
	if _, err := c.conn.Write(frame.Append(nil, frame.V10, &f)); err != nil {
		return err
	}
	answer, err := r.next()
	if err != nil {
		return err
	}
	switch answer.Command {
	case frame.Connected:
	case frame.Error:
		e := newServerError(answer)
		e.Connect = true
		return e
	default:
		return fmt.Errorf("the server answered CONNECT with %q, which is not STOMP", answer.Name)
	}
	v, ok := frame.V10, false
	name := answer.Header.Value("version")
	for _, offered := range versions {
		if offered.String() == name || (name == "" && offered == frame.V10) {
			v, ok = offered, true
		}
	}
	if !ok {
		return fmt.Errorf("the server chose version %q, which was not offered", name)
	}
	c.version = v
	r.d.SetVersion(v)
	c.server, c.session = answer.Header.Value("server"), answer.Header.Value("session")
	if v > frame.V10 {
		c.sendEvery, c.recvEvery = negotiate(o.HeartBeat, answer.Header.Value("heart-beat"))
	}
	return nil
}

// Version is the version agreed on.
func (c *Conn) Version() frame.Version { return c.version }

// Server is what the server calls itself, "" if it does not.
func (c *Conn) Server() string { return c.server }

// Session is the server's name of this connection, "" if it gave none.
func (c *Conn) Session() string { return c.session }

// Done is closed when the connection has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended; nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the connection without a word. It may be called twice.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	c.wg.Wait()
	return nil
}

// Disconnect takes leave: it sends DISCONNECT, waits for its receipt, which says that the
// server has taken all that was sent before, and closes.
func (c *Conn) Disconnect(ctx context.Context) error {
	c.leaving.Store(true)
	err := c.Request(ctx, &frame.Frame{Command: frame.Disconnect})
	_ = c.Close()
	if errors.Is(err, ErrClosed) {
		return nil // a server that closes without that receipt has read the frame
	}
	return err
}

// end sets why the connection ended, the first time.
func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	_ = c.conn.Close()
	for id, ch := range c.receipts {
		ch <- answer{err: err}
		delete(c.receipts, id)
	}
	for _, s := range c.subs {
		s.wake()
	}
	c.room.Broadcast()
}

// read takes what the server sends until the connection ends.
func (c *Conn) read(r *reader) {
	for {
		f, err := r.next()
		switch {
		case errors.Is(err, io.EOF) && c.leaving.Load():
			err = ErrClosed
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err = ErrServerLeft
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = ErrSilent
		case errors.As(err, new(net.Error)):
			err = fmt.Errorf("%w: %w", ErrBroken, cause(err))
		}
		if err != nil {
			c.end(err)
			return
		}
		switch f.Command {
		case frame.Message:
			c.deliver(f)
		case frame.Receipt:
			c.confirm(f)
		case frame.Error:
			c.end(newServerError(f))
			return
		default:
			c.end(fmt.Errorf("the server sent %q, which no server may", f.Name))
			return
		}
	}
}

// pulse is where the reader reads: it expects a sign of life in time.
type pulse struct{ *Conn }

func (c pulse) Read(b []byte) (int, error) {
	if c.recvEvery > 0 {
		if err := c.conn.SetReadDeadline(time.Now().Add(tolerance(c.recvEvery))); err != nil {
			return 0, err
		}
	}
	return c.conn.Read(b)
}
