package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/internal/client"
	"stompserver/internal/frame"
)

// A place is a server and where it keeps what it has.
type place struct {
	*stompserver.Server
	t    *testing.T
	cfg  stompserver.Config
	base string // http://host:port
}

func open(t *testing.T, cfg stompserver.Config) *place {
	t.Helper()
	cfg.Host, cfg.Port = "127.0.0.1", stompserver.AnyPort
	if cfg.HTTP.Listen == "" {
		cfg.HTTP.Listen = "127.0.0.1:0"
	}
	if cfg.Storage == "" {
		cfg.Storage = t.TempDir()
	}
	p := &place{t: t, cfg: cfg}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *place) start() {
	p.t.Helper()
	s, err := stompserver.New(p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	p.Server, p.base = s, fmt.Sprintf("http://127.0.0.1:%d", s.HTTPAddrs()[0].(*net.TCPAddr).Port)
}

func (p *place) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil && !errors.Is(err, stompserver.ErrStopped) {
		p.t.Error("shutdown:", err)
	}
}

func (p *place) restart() {
	p.stop()
	p.start()
}

// An answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
}

// do sends a request with headers in pairs.
func (p *place) do(method, path, body string, header ...string) answer {
	p.t.Helper()
	a, err := p.try(context.Background(), method, path, strings.NewReader(body), header...)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (p *place) try(ctx context.Context, method, path string, body io.Reader, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header}, err
}

func (p *place) want(a answer, status int, body string) {
	p.t.Helper()
	if a.status != status || a.body != body {
		p.t.Errorf("answer %d %q, want %d %q", a.status, a.body, status, body)
	}
}

// stomp connects a client of the other port.
func (p *place) stomp() *client.Conn {
	p.t.Helper()
	c, err := client.Dial(p.t.Context(), p.Addrs()[0].String(), client.Options{Login: "app", Passcode: "secret"})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (p *place) subscribe(c *client.Conn, dest string) *client.Subscription {
	p.t.Helper()
	s, err := c.Subscribe(p.t.Context(), dest, client.SubscribeOptions{Ack: "client-individual", Confirm: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *place) next(s *client.Subscription) *client.Message {
	p.t.Helper()
	m, err := s.Next(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

func onStores(t *testing.T, test func(*testing.T, *place)) {
	for _, queue := range []string{"memory", "journal"} {
		t.Run(queue, func(t *testing.T) { test(t, open(t, stompserver.Config{Queue: queue})) })
	}
}

func TestEnqueueAndDequeue(t *testing.T) {
	onStores(t, func(t *testing.T, p *place) {
		p.want(p.do("GET", "/queue/a", ""), 404, "No messages in queue")
		p.want(p.do("PUT", "/queue/a", "one"), 200, "Message Enqueued")
		p.want(p.do("POST", "/queue/a", "two", "Content-Type", "application/json", "X-Stomp-Type", "order"), 200, "Message Enqueued")
		p.want(p.do("PUT", "/queue/a", ""), 200, "Message Enqueued")

		one := p.do("GET", "/queue/a", "")
		p.want(one, 200, "one")
		if got := one.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("content type of a message without one: %q", got)
		}
		if one.header.Get("message-id") == "" {
			t.Error("no message-id")
		}
		two := p.do("GET", "/queue/a", "")
		p.want(two, 200, "two")
		for name, want := range map[string]string{"Content-Type": "application/json", "X-Stomp-Type": "order", "X-Stomp-Destination": "/queue/a"} {
			if got := two.header.Get(name); got != want {
				t.Errorf("header %s is %q, want %q", name, got, want)
			}
		}
		p.want(p.do("GET", "/queue/a", ""), 200, "")
		p.want(p.do("GET", "/queue/a", ""), 404, "No messages in queue")
	})
}

// TestBacklogComesInOrder has more messages than the window of a queue, and no consumer that
// could have brought them to hand.
func TestBacklogComesInOrder(t *testing.T) {
	p := open(t, stompserver.Config{Queue: "journal"})
	c := p.stomp()
	const n = 300
	for i := range n {
		if err := c.Send("/queue/long", nil, []byte(strings.Repeat("x", 20<<10)+string(rune('A'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SendConfirmed(t.Context(), "/queue/other", nil, nil); err != nil {
		t.Fatal(err)
	}
	p.restart()
	for i := range n {
		if a := p.do("GET", "/queue/long", ""); a.status != 200 || !strings.HasSuffix(a.body, "x"+string(rune('A'+i))) {
			t.Fatalf("message %d: answer %d with %d bytes", i, a.status, len(a.body))
		}
	}
	p.want(p.do("GET", "/queue/long", ""), 404, "No messages in queue")
}

func TestRestartKeeps(t *testing.T) {
	p := open(t, stompserver.Config{Queue: "journal"})
	p.do("PUT", "/queue/a", "one")
	p.do("PUT", "/queue/a", "two")
	p.want(p.do("GET", "/queue/a", ""), 200, "one")
	p.restart()
	p.want(p.do("GET", "/queue/a", ""), 200, "two")
	p.restart()
	p.want(p.do("GET", "/queue/a", ""), 404, "No messages in queue")
}

func TestWithConsumersOfSTOMP(t *testing.T) {
	onStores(t, func(t *testing.T, p *place) {
		c := p.stomp()
		queue, topic := p.subscribe(c, "/queue/a"), p.subscribe(c, "/topic/news")
		p.want(p.do("PUT", "/queue/a", "wakes"), 200, "Message Enqueued")
		p.want(p.do("PUT", "/topic/news", "all"), 200, "Message Enqueued")
		for _, s := range []*client.Subscription{queue, topic} {
			m := p.next(s)
			if want := map[string]string{"/queue/a": "wakes", "/topic/news": "all"}[s.Destination()]; string(m.Body) != want {
				t.Errorf("%s: got %q, want %q", s.Destination(), m.Body, want)
			}
			if err := c.Ack(m); err != nil {
				t.Fatal(err)
			}
		}
		// What one holds nobody else gets; what it gives back everybody may have.
		p.do("PUT", "/queue/a", "held")
		m := p.next(queue)
		p.want(p.do("GET", "/queue/a", ""), 404, "No messages in queue")
		if err := errors.Join(queue.Unsubscribe(t.Context()), c.Nack(m), c.SendConfirmed(t.Context(), "/queue/b", nil, nil)); err != nil {
			t.Fatal(err)
		}
		a := p.do("GET", "/queue/a", "")
		p.want(a, 200, "held")
		if a.header.Get("X-Stomp-Redelivered") != "true" {
			t.Errorf("headers of a message given back: %v", a.header)
		}
	})
}

func TestWait(t *testing.T) {
	onStores(t, func(t *testing.T, p *place) {
		for _, dest := range []string{"/queue/a", "/topic/a"} {
			got := make(chan answer, 1)
			go func() {
				a, _ := p.try(t.Context(), "GET", dest+"?wait=1m", nil)
				got <- a
			}()
			// A topic keeps nothing, and so is sent to until somebody has it.
			for a := (answer{}); a.status == 0; {
				if dest == "/topic/a" {
					p.do("PUT", dest, "came")
				}
				select {
				case a = <-got:
					p.want(a, 200, "came")
				case <-time.After(time.Millisecond):
					if p.Stats().Queues == 0 && dest == "/queue/a" {
						p.do("PUT", dest, "came")
					}
				}
			}
			if a := p.do("GET", dest+"?wait=1ms", ""); dest == "/queue/a" {
				for a.status == 200 { // sent once more before the first was handed out
					a = p.do("GET", dest+"?wait=1ms", "")
				}
				p.want(a, 404, "No messages in queue")
			}
		}
	})
}

// TestGoneWhileWaiting: who leaves while it waits costs no message.
func TestGoneWhileWaiting(t *testing.T) {
	onStores(t, func(t *testing.T, p *place) {
		c := p.stomp()
		for range 20 {
			gone, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(gone, "GET /queue/a?wait=1m HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			for p.Server.Stats().Connections < 2 { // the session of the request
				time.Sleep(time.Millisecond)
			}
			_ = gone.Close()
			p.do("PUT", "/queue/a", "still here")
			s := p.subscribe(c, "/queue/a")
			m := p.next(s)
			if string(m.Body) != "still here" {
				t.Fatalf("got %q", m.Body)
			}
			if err := errors.Join(c.AckConfirmed(t.Context(), m), s.Unsubscribe(t.Context())); err != nil {
				t.Fatal(err)
			}
			http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			for p.Server.Stats().Connections > 1 {
				time.Sleep(time.Millisecond)
			}
		}
	})
}

// TestGoneWhileReading: a message that the client did not take whole goes back.
func TestGoneWhileReading(t *testing.T) {
	p := open(t, stompserver.Config{})
	big := strings.Repeat("b", 32<<20)
	p.do("PUT", "/queue/a", big)
	c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /queue/a HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	a := p.do("GET", "/queue/a?wait=1m", "")
	if a.status != 200 || len(a.body) != len(big) || a.header.Get("X-Stomp-Redelivered") != "true" {
		t.Errorf("answer %d with %d bytes, redelivered %q", a.status, len(a.body), a.header.Get("X-Stomp-Redelivered"))
	}
}

func TestBrowse(t *testing.T) {
	onStores(t, func(t *testing.T, p *place) {
		p.want(p.do("GET", "/queue/a?browse=1", ""), 404, "No messages in queue")
		p.do("PUT", "/queue/a", "first")
		p.do("PUT", "/queue/a", "second")
		for range 3 {
			p.want(p.do("GET", "/queue/a?browse=1", ""), 200, "first")
		}
		a := p.do("GET", "/queue/a", "")
		p.want(a, 200, "first")
		if got := a.header.Get("X-Stomp-Redelivered"); got == "true" {
			t.Errorf("redelivered %q after looking only", got)
		}
	})
}

func TestSeveralDestinations(t *testing.T) {
	p := open(t, stompserver.Config{})
	p.want(p.do("PUT", "/queue/a,/queue/b", "both"), 200, "Message Enqueued")
	p.want(p.do("GET", "/queue/a", ""), 200, "both")
	p.want(p.do("GET", "/queue/b", ""), 200, "both")
	p.want(p.do("PUT", "/queue/a%2Fb", "slash"), 200, "Message Enqueued")
	p.want(p.do("GET", "/queue/a/b", ""), 200, "slash")
	for _, comma := range []string{"/queue/one%2Ctwo", "/queue/one%2ctwo", "/queue/one%252Ctwo"} {
		p.want(p.do("PUT", comma, "comma"), 200, "Message Enqueued")
		p.want(p.do("GET", "/queue/one%2Ctwo", ""), 200, "comma")
	}
}

// Nothing is handed out to a GET that it does not bring to its client.
func TestGetOfSeveral(t *testing.T) {
	p := open(t, stompserver.Config{})
	p.do("PUT", "/queue/a.1,/queue/a.2", "both")
	for _, path := range []string{"/queue/a.1,/queue/a.2", "/queue/a.*", "/topic/t,/queue/a.1", "/queue/a.1,a.2?wait=1s"} {
		if a := p.do("GET", path, ""); a.status != 400 || !strings.Contains(a.body, "of one queue") {
			t.Errorf("GET %s: %d %q", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/queue/a.1", "/queue/a.2"} {
		a := p.do("GET", path, "")
		p.want(a, 200, "both")
		if a.header.Get("X-Stomp-Redelivered") != "false" {
			t.Error(path, "was handed out before")
		}
	}
	p.want(p.do("GET", "/topic/a.*,/topic/b", ""), 404, "No messages in queue")
}

// TestUnknownLength sends a body in chunks.
// TestHalfAMessage: a client that leaves within a body sends nothing.
// TestStopEndsWaits: a stop does not wait for those who wait for messages.
func TestStopEndsWaits(t *testing.T) {
	p := open(t, stompserver.Config{})
	idle, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://")) // has nothing to ask
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	got := make(chan answer, 1)
	go func() {
		a, _ := p.try(context.Background(), "GET", "/queue/a?wait=5m", nil)
		got <- a
	}()
	for p.Stats().Connections == 0 {
		time.Sleep(time.Millisecond)
	}
	p.stop()
	p.want(<-got, 503, "The server is stopping. Try again in a moment.")
}

// TestBinary sends what is no text both ways.
func TestBinary(t *testing.T) {
	p := open(t, stompserver.Config{})
	body := "\x00\xff\r\n\x00"
	p.do("PUT", "/queue/a", body, "Content-Type", "application/octet-stream")
	s := p.subscribe(p.stomp(), "/queue/a")
	if m := p.next(s); string(m.Body) != body {
		t.Errorf("STOMP got %q", m.Body)
	}
	var h frame.Header
	h.Add("note", "a\nb")
	h.Add("key with blanks", "x")
	if err := p.stomp().SendConfirmed(t.Context(), "/queue/b", h, []byte(body)); err != nil {
		t.Fatal(err)
	}
	a := p.do("GET", "/queue/b", "")
	p.want(a, 200, body)
	if got := a.header.Get("X-Stomp-Note"); got != "a b" {
		t.Errorf("a header of two lines came as %q", got)
	}
}

// TestLeavingWithTheAnswer: who has the answer and leaves at once has the message, and nobody
// gets it again.
func TestLeavingWithTheAnswer(t *testing.T) {
	p := open(t, stompserver.Config{})
	const n = 100
	for i := range n {
		p.do("PUT", "/queue/a", strconv.Itoa(i))
	}
	for i := range n {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET /queue/a?wait=1m HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != strconv.Itoa(i) || resp.Header.Get("X-Stomp-Redelivered") == "true" {
			t.Fatalf("message %d is %q, redelivered %q, %v", i, body, resp.Header.Get("X-Stomp-Redelivered"), err)
		}
		_ = c.Close()
	}
	p.want(p.do("GET", "/queue/a?wait=1ms", ""), 404, "No messages in queue")
}
