package model_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/test/process"
)

// An outside is the world: the built server is a process of its own, which is killed, and its clients
// speak to it through sockets. When all is quiet cannot be told from here, so it is waited until
// what the model expects has come; what it does not expect is an error whenever it comes. Times
// are so long that nothing becomes due.
type outside struct {
	t        testing.TB
	dir      string
	settings []string      // as of an environment
	patience time.Duration // how long something that is to come may take
	server   *process.Server
	watch    *client // hears of connections that end
	over     map[string]bool
}

// patience is how long something that is to come may take.
const patience = time.Minute

func (o *outside) start(g *game) error {
	if err := os.RemoveAll(filepath.Join(o.dir, "ports.json")); err != nil {
		return err
	}
	conf := filepath.Join(o.dir, "rules.conf")
	if err := os.WriteFile(conf, []byte(rulesText()), 0o600); err != nil {
		return err
	}
	settings := append([]string{
		"STOMPSERVER_CONFIG=" + conf,
		fmt.Sprint("STOMPSERVER_DESTINATIONS_DEDUPE_WINDOW=", time.Duration(g.slowly)*window),
		fmt.Sprint("STOMPSERVER_DESTINATIONS_MAX_DELIVERIES=", maxDeliveries),
		fmt.Sprint("STOMPSERVER_DESTINATIONS_DEAD_LETTER_EXPIRED=", g.buries),
	}, o.settings...)
	return o.watching(func(t testing.TB) {
		o.server = process.StartIn(t, o.dir, settings...)
		o.over = map[string]bool{}
		o.watch = newClient("watch", o.dial())
		o.watch.send("SUBSCRIBE", "", "id", "w", "destination", "/topic/$sys/disconnect", "receipt", "w")
		o.await(o.watch, func(r reply) bool { return r.header["receipt-id"] == "w" })
	})
}

func (o *outside) stop() error {
	if o.server == nil {
		return nil
	}
	o.watch.close()
	server := o.server
	o.server = nil
	return o.watching(server.Stop)
}

// A witness is a test of the game's own, so that what fails can be played again.
type witness struct {
	testing.TB
	said []string
}

func (w *witness) Helper()                      {}
func (w *witness) Cleanup(func())               {} // the game stops its servers
func (w *witness) Failed() bool                 { return len(w.said) > 0 }
func (w *witness) Log(args ...any)              { w.said = append(w.said, fmt.Sprint(args...)) }
func (w *witness) Logf(f string, args ...any)   { w.said = append(w.said, fmt.Sprintf(f, args...)) }
func (w *witness) Error(args ...any)            { w.Log(args...) }
func (w *witness) Errorf(f string, args ...any) { w.Logf(f, args...) }
func (w *witness) Fatal(args ...any)            { w.Log(args...); panic(w) }
func (w *witness) Fatalf(f string, args ...any) { w.Logf(f, args...); panic(w) }

func (o *outside) watching(do func(t testing.TB)) (err error) {
	w := &witness{TB: o.t}
	defer func() {
		if p := recover(); p != nil && p != any(w) {
			panic(p)
		}
		if w.Failed() {
			err = fmt.Errorf("%s", strings.Join(w.said, "\n"))
		}
	}()
	do(w)
	return nil
}

func (o *outside) dial() net.Conn {
	conn, err := net.Dial("tcp", o.server.Addr())
	if err != nil {
		here, _ := net.Pipe()
		_ = here.Close()
		return here // which tells by itself
	}
	return conn
}

func (o *outside) settle(g *game) error {
	for deadline := time.Now().Add(o.patience); ; {
		if err := g.hear(); err != nil {
			return err
		}
		err := g.unanswered()
		if err == nil || g.crashing {
			restore := g.save()
			if err = g.judge(); err == nil {
				g.judged()
				return nil
			}
			restore()
		}
		if time.Now().After(deadline) {
			return err
		}
		g.wait()
	}
}

// wait waits until something comes to one of the clients, or a while.
func (g *game) wait() {
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	var news [4]chan struct{}
	for i, c := range g.clients {
		news[i] = c.news
	}
	select {
	case <-news[0]:
	case <-news[1]:
	case <-news[2]:
	case <-news[3]:
	case <-timer.C:
	}
}

func (o *outside) await(c *client, done func(reply) bool) (came []reply) {
	for deadline := time.Now().Add(o.patience); time.Now().Before(deadline); {
		for _, r := range c.take() {
			came = append(came, r)
			if done(r) {
				return came
			}
		}
		if c.lost() != nil {
			return append(came, c.take()...)
		}
		select {
		case <-c.news:
		case <-time.After(time.Second):
		}
	}
	return came
}

func (o *outside) left(c *client) {
	if !c.connected {
		return
	}
	me := c.conn.LocalAddr().String()
	if !o.over[me] {
		o.await(o.watch, func(r reply) bool {
			for addr := range strings.SplitSeq(r.body, `"`) {
				o.over[addr] = true
			}
			return o.over[me]
		})
	}
	delete(o.over, me)
}

func (o *outside) pass(*game, time.Duration) error { return nil }

// crash kills the server while it is at what one client asks for.
func (o *outside) crash(g *game, s step) error {
	g.logf("KILL")
	c := g.client(s.n[0])
	for i := range s.n[6] % 6 {
		if g.client(s.n[0]) != c {
			break // it is to be one client, whose order is known
		}
		next := s
		next.kind = pick([]string{"send", "send", "commit", "ack", "nack", "retain", "begin"}, s.n[7]+i*(1+s.n[5]))
		for j := range next.n[1:] {
			next.n[1+j] = (s.n[1+j] + i*(7+s.n[(1+j+i)%8])) % 1000
		}
		g.do(next)
	}
	if n := time.Duration(s.n[5]%20) * 100 * time.Microsecond; n > 0 {
		time.Sleep(n) // any moment will do
	}
	server := o.server
	o.server = nil
	if err := o.watching(func(t testing.TB) { server.Kill(t) }); err != nil {
		return err
	}
	o.watch.close()
	for _, c := range g.clients {
		for c.lost() == nil {
			<-c.news
		}
	}
	if err := o.settle(g); err != nil {
		return err
	}
	for _, c := range g.clients {
		c.close()
	}
	g.clients = nil
	return nil
}
