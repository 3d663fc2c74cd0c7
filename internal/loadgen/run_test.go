package loadgen_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/internal/loadgen"
)

// A broker is a toy: queues in turn, topics to all, with faults on demand.
type broker struct {
	fault func(n int) string // of the n-th message: "", lose, twice, late, die
	quiet bool               // no receipt for SUBSCRIBE

	mu   sync.Mutex
	n    int
	turn int
	subs []sub
	held [][]byte // late ones
	acks int
}

type sub struct {
	conn     net.Conn
	id, dest string
}

func (b *broker) start(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "stomp://" + l.Addr().String()
}

func (b *broker) serve(c net.Conn) {
	defer c.Close()
	var d frame.Decoder
	d.Init(frame.Limits{})
	for {
		var f frame.Frame
		err := d.Decode(&f)
		if err == frame.ErrMore {
			n, err := c.Read(d.Space())
			if err != nil {
				return
			}
			d.Filled(n)
			continue
		}
		if err != nil || !b.handle(c, &f) {
			return
		}
	}
}

func (b *broker) handle(c net.Conn, f *frame.Frame) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch f.Command {
	case frame.Connect:
		if f.Header.Value("login") == "wrong" {
			_, _ = c.Write([]byte("ERROR\nmessage:Login failed\n\n\x00"))
			return false
		}
		_, _ = c.Write([]byte("CONNECTED\nversion:1.2\n\n\x00\n"))
	case frame.Subscribe:
		b.subs = append(b.subs, sub{c, f.Header.Value("id"), f.Header.Value("destination")})
		if b.quiet {
			return true
		}
	case frame.Ack:
		b.acks++
	case frame.Send:
		b.send(f)
	}
	if id, ok := f.Header.Get("receipt"); ok {
		_, _ = c.Write([]byte("RECEIPT\nreceipt-id:" + string(id) + "\n\n\x00\n"))
	}
	return f.Command != frame.Disconnect
}

func (b *broker) send(f *frame.Frame) {
	dest := f.Header.Value("destination")
	var to []sub
	for _, s := range b.subs {
		if s.dest == dest {
			to = append(to, s)
		}
	}
	if !strings.HasPrefix(dest, "/topic") && len(to) > 0 {
		b.turn++
		to = to[b.turn%len(to):][:1]
	}
	b.n++
	fault := ""
	if b.fault != nil {
		fault = b.fault(b.n)
	}
	for _, s := range to {
		m := frame.Frame{Command: frame.Message, Body: f.Body}
		m.Header.Add("subscription", s.id)
		m.Header.Add("destination", dest)
		m.Header.Add("ack", "a")
		wire := frame.Append(nil, frame.V12, &m)
		switch fault {
		case "lose":
			continue
		case "twice":
			_, _ = s.conn.Write(wire)
		case "late":
			b.held = append(b.held, wire)
			continue
		case "die":
			_, _ = s.conn.Write([]byte("ERROR\nmessage:I am ill\n\n\x00"))
			continue
		}
		_, _ = s.conn.Write(wire)
		for _, late := range b.held {
			_, _ = s.conn.Write(late)
		}
		b.held = nil
	}
}

func TestRun(t *testing.T) {
	at := func(what string, when ...int) func(int) string {
		return func(n int) string {
			for _, w := range when {
				if n == w {
					return what
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name                       string
		broker                     *broker
		load                       loadgen.Config
		received                   int64
		lost, duplicated, disorder int64
		problem                    string
	}{
		{"one to one", &broker{}, loadgen.Config{Producers: 1, Consumers: 1}, 1000, 0, 0, 0, ""},
		{"4 to 4 on 4", &broker{}, loadgen.Config{Producers: 4, Consumers: 4, Queues: 4}, 1000, 0, 0, 0, ""},
		{"2 to 3 on 5", &broker{}, loadgen.Config{Producers: 2, Consumers: 3, Queues: 5}, 1000, 0, 0, 0, ""},
		{"3 compete for one queue", &broker{}, loadgen.Config{Producers: 2, Consumers: 3}, 1000, 0, 0, 0, ""},
		{"a small window", &broker{}, loadgen.Config{Producers: 1, Consumers: 1, Backlog: 3}, 1000, 0, 0, 0, ""},
		{"topic", &broker{}, loadgen.Config{Topic: true, Producers: 2, Consumers: 5}, 5000, 0, 0, 0, ""},
		{"receipts", &broker{}, loadgen.Config{Producers: 2, Consumers: 1, Receipts: true, Window: 7}, 1000, 0, 0, 0, ""},
		{"receipts alone", &broker{}, loadgen.Config{Producers: 1, Consumers: 0, Receipts: true}, 0, 0, 0, 0, ""},
		{"individual acks", &broker{}, loadgen.Config{Producers: 1, Consumers: 1, Ack: "client-individual"}, 1000, 0, 0, 0, ""},
		{"bodies larger than the buffer", &broker{}, loadgen.Config{Producers: 1, Consumers: 1, Size: 200_000, Messages: 50}, 50, 0, 0, 0, ""},
		{"open loop", &broker{}, loadgen.Config{Producers: 2, Consumers: 1, Rate: 20_000}, 1000, 0, 0, 0, ""},
		{"no receipt for SUBSCRIBE", &broker{quiet: true}, loadgen.Config{Producers: 1, Consumers: 2}, 1000, 0, 0, 0, ""},
		{"lost", &broker{fault: at("lose", 10, 500, 1000)}, loadgen.Config{Producers: 1, Consumers: 1}, 997, 3, 0, 0, "nothing came any more"},
		{"lost by one of two on a topic", &broker{fault: at("lose", 10)}, loadgen.Config{Topic: true, Producers: 1, Consumers: 2}, 1998, 2, 0, 0, "nothing came any more"},
		{"twice", &broker{fault: at("twice", 10, 500)}, loadgen.Config{Producers: 1, Consumers: 1}, 1002, 0, 2, 0, ""},
		{"out of order", &broker{fault: at("late", 10, 500)}, loadgen.Config{Producers: 1, Consumers: 1}, 1000, 0, 0, 2, ""},
		{"the broker refuses", &broker{fault: at("die", 500)}, loadgen.Config{Producers: 1, Consumers: 1, Backlog: 10}, -1, -1, 0, 0, "the broker said: I am ill"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := tt.load
			c.Server = tt.broker.start(t)
			c.Timeout = 10 * time.Second // after which what has not come is lost
			if c.Messages == 0 {
				c.Messages = 1000
			}
			r, err := loadgen.Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Problem != tt.problem {
				t.Errorf("problem %q, want %q", r.Problem, tt.problem)
			}
			if tt.received < 0 {
				return // how far it came is a matter of chance
			}
			if r.TotalSent != c.Messages || r.TotalReceived != tt.received {
				t.Errorf("sent %d, received %d, want %d and %d", r.TotalSent, r.TotalReceived, c.Messages, tt.received)
			}
			if r.Lost != tt.lost || r.Duplicated != tt.duplicated || r.Disorder != tt.disorder {
				t.Errorf("lost %d, duplicated %d, out of order %d; want %d, %d, %d", r.Lost, r.Duplicated, r.Disorder, tt.lost, tt.duplicated, tt.disorder)
			}
			if ok := tt.lost+tt.duplicated+tt.disorder == 0 && tt.problem == ""; r.OK() != ok {
				t.Errorf("OK() = %v", r.OK())
			}
			if c.Receipts && (r.Unconfirmed != 0 || r.Receipt == nil || r.Receipt.Count != c.Messages) {
				t.Errorf("unconfirmed %d, receipt latencies %+v", r.Unconfirmed, r.Receipt)
			}
			tt.broker.mu.Lock()
			defer tt.broker.mu.Unlock()
			if c.Ack == "client-individual" && tt.broker.acks != 1000 {
				t.Errorf("%d ACKs", tt.broker.acks)
			}
		})
	}
}

func TestRunMeasuresAfterTheWarmUp(t *testing.T) {
	t.Parallel()
	for tries := 1; ; tries++ {
		r, err := loadgen.Run(t.Context(), loadgen.Config{
			Server: (&broker{}).start(t), Producers: 1, Consumers: 1, Rate: 1000,
			Warmup: 300 * time.Millisecond, Duration: 300 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() {
			t.Errorf("not OK: %+v", r)
		}
		// A machine under load sends fewer, never more, and may have the warm-up send hardly anything.
		fewer := r.TotalSent < 400
		if r.TotalSent > 601 || r.Latency.Count > 301 || !fewer && r.Sent > r.TotalSent-99 || fewer && tries == 50 {
			t.Errorf("sent %d of %d in the measured half, latencies of %d; want about 300 of 600", r.Sent, r.TotalSent, r.Latency.Count)
		}
		if !fewer || tries == 50 {
			return
		}
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	url := (&broker{}).start(t)
	ctx := t.Context()
	load := loadgen.Config{Server: url, Consumers: 1, Messages: 1, Timeout: time.Minute}

	wrong := load
	wrong.Login = "wrong"
	var login *loadgen.LoginError
	if _, err := loadgen.Run(ctx, wrong); !errors.As(err, &login) || login.Text != "Login failed" {
		t.Errorf("wrong login: %v", err)
	}
	closed := load
	closed.Server = "stomp://127.0.0.1:1"
	var dial *client.DialError
	if _, err := loadgen.Run(ctx, closed); !errors.As(err, &dial) {
		t.Errorf("nobody there: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := loadgen.Run(cancelled, load); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	pid := os.Getpid()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		pid = 0
	}
	for _, tt := range []struct {
		b   *broker
		pid int
	}{{&broker{}, pid}, {&broker{quiet: true}, 0}} {
		b, pid := tt.b, tt.pid
		r, err := loadgen.Run(t.Context(), loadgen.Config{Server: b.start(t), Idle: 30, PID: pid})
		if err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		n := len(b.subs)
		b.mu.Unlock()
		if n != 30 || r.Idle.Connections != 30 || (pid != 0) != (r.Idle.RSSAfter > 0) {
			t.Errorf("%d subscriptions, %+v", n, r.Idle)
		}
	}
}

// An interrupt ends the sending; what is under way then is waited for and not called lost.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		load loadgen.Config
	}{
		{"for a time", loadgen.Config{Duration: time.Minute}},
		{"so many messages, with receipts", loadgen.Config{Messages: 1 << 40, Receipts: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			c := tt.load
			c.Server, c.Consumers, c.Timeout = (&broker{}).start(t), 1, time.Minute
			c.Progress = func(p loadgen.Progress) {
				if p.Sent > 0 && p.Received > 0 {
					interrupt()
				}
			}
			r, err := loadgen.Run(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Problem != "interrupted" || r.Lost != 0 || r.Unconfirmed != 0 || r.TotalSent == 0 || r.TotalReceived != r.TotalSent {
				t.Errorf("%+v", r)
			}
		})
	}
}
