package model_test

import (
	"net"
	"strings"
	"sync"

	"stompserver/internal/frame"
)

// A reply is a frame from the server.
type reply struct {
	command frame.Command
	header  map[string]string
	body    string
}

// A client is one connection. What comes is gathered until somebody looks at it.
type client struct {
	name string
	conn net.Conn
	out  chan string   // written by a goroutine: a pipe has no room
	news chan struct{} // has a value when something came

	mu   sync.Mutex
	came []reply
	err  error
	wg   sync.WaitGroup

	// What the model knows of it.
	connected bool
	given     []reply         // MESSAGEs that were not looked at yet
	subs      []*subscription // not unsubscribed
	follows   []*follower
	tx        *transaction // open; nil: none
	waits     bool         // for room: what it sends is not read
	doomed    string       // the ERROR that it is to get
	refused   bool         // it got it
}

func newClient(name string, conn net.Conn) *client {
	c := &client{name: name, conn: conn, out: make(chan string, 1000), news: make(chan struct{}, 1)}
	c.wg.Go(func() { // ended by close
		for text := range c.out {
			if _, err := conn.Write([]byte(text)); err != nil {
				return
			}
		}
	})
	c.wg.Go(c.read) // ended by close
	c.send("CONNECT", "", "accept-version", "1.2", "heart-beat", "0,0")
	return c
}

// send writes a frame; an empty value is no header.
func (c *client) send(command, body string, header ...string) {
	var b strings.Builder
	b.WriteString(command)
	for i := 0; i < len(header); i += 2 {
		if header[i+1] != "" {
			b.WriteString("\n" + header[i] + ":" + header[i+1])
		}
	}
	c.out <- b.String() + "\n\n" + body + "\x00"
}

func (c *client) read() {
	var d frame.Decoder
	d.Init(frame.Limits{})
	d.SetVersion(frame.V12)
	for {
		n, err := c.conn.Read(d.Space())
		d.Filled(n)
		for err == nil {
			var f frame.Frame
			if e := d.Decode(&f); e == frame.ErrMore {
				break
			} else if e != nil {
				err = e
				break
			}
			r := reply{command: f.Command, body: string(f.Body), header: make(map[string]string)}
			for i := len(f.Header) - 1; i >= 0; i-- {
				r.header[string(f.Header[i].Name)] = string(f.Header[i].Value)
			}
			c.mu.Lock()
			c.came = append(c.came, r)
			c.mu.Unlock()
			c.tell()
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			c.tell()
			return
		}
	}
}

// tell says that there is news.
func (c *client) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// take returns what came since the last call.
func (c *client) take() []reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	came := c.came
	c.came = nil
	return came
}

// lost tells why the connection has ended.
func (c *client) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close breaks the connection off.
func (c *client) close() {
	_ = c.conn.Close()
	close(c.out)
	c.wg.Wait()
}
