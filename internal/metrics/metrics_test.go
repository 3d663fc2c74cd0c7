package metrics

import (
	"context"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"stompserver/internal/broker"
	"stompserver/internal/client"
	"stompserver/internal/session"
	"stompserver/internal/store/spool"
)

// A house is a broker with sessions, and where its figures are told.
type house struct {
	t        *testing.T
	cfg      Config
	sessions *session.Server
	most     int
}

func open(t *testing.T) *house {
	t.Helper()
	st := spool.New()
	b, err := broker.New(broker.Config{Store: st, DeadLetterExpired: true})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, sessions: session.NewServer(b, session.Config{Limits: session.Limits{Transactions: 1}}), most: 1000}
	h.cfg = Config{
		Brokers: func() map[string]*broker.Broker { return map[string]*broker.Broker{"default": b} }, Sessions: h.sessions, Version: "1.2.3", Revision: "abc", Started: time.UnixMilli(1500),
		Destinations: func() int { return h.most },
		Listeners:    func() []string { return []string{"127.0.0.1:61613"} },
		Certificates: func() map[string]time.Time { return map[string]time.Time{"server\xff.pem": time.Unix(99, 0)} },
		Requests:     func() map[[2]string]uint64 { return map[[2]string]uint64{{"send", "200"}: 3} },
		Ready:        func() map[string]bool { return map[string]bool{"memory": true, "storage": false} },
		StorageFree:  func() (uint64, bool) { return 1 << 20, true },
		Reloaded:     func() (time.Time, bool) { return time.Unix(7, 0), true },
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.sessions.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) connect() *client.Conn {
	h.t.Helper()
	near, far := net.Pipe()
	h.sessions.ServeConn(far, &session.Port{})
	c, err := client.Connect(h.t.Context(), near, client.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (h *house) send(c *client.Conn, dest, body string) {
	h.t.Helper()
	if err := c.SendConfirmed(h.t.Context(), dest, nil, []byte(body)); err != nil {
		h.t.Fatal(err)
	}
}

// text is what Prometheus is told.
func (h *house) text() string {
	h.t.Helper()
	w := httptest.NewRecorder()
	Handler(h.cfg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		h.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// want waits until all lines are told: some figures are added up when a burst is over.
func (h *house) want(lines ...string) {
	h.t.Helper()
	var missing []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		told := strings.Split(h.text(), "\n")
		missing = nil
		for _, l := range lines {
			if !slices.Contains(told, l) {
				missing = append(missing, l)
			}
		}
		if missing == nil {
			return
		}
	}
	h.t.Errorf("not told:\n%s\nbut\n%s", strings.Join(missing, "\n"), h.text())
}

// TestEachIsTold: there is no metric that is listed and not told, none that is told and not
// listed, and they are named as Prometheus wants it.
func TestEachIsTold(t *testing.T) {
	h := open(t)
	h.send(h.connect(), "/queue/a", "hello")
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&collector{h.cfg})
	got, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, f := range got {
		told[f.GetName()] = true
	}
	for _, m := range All() {
		if !told[m.Name] {
			t.Errorf("%s is not told", m.Name)
		}
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFigures: what happened is told.
func TestFigures(t *testing.T) {
	h := open(t)
	c := h.connect()
	h.want(`stompserver_connections{transport="tcp",version="1.2"} 1`, `stompserver_connections_opened_total{transport="tcp",version="1.2"} 1`)
	for range 3 {
		h.send(c, "/queue/a", "hello")
	}
	h.send(c, "/topic/nobody", "hello")
	h.want(
		`stompserver_frames_received_total{command="SEND"} 4`, `stompserver_frames_sent_total{command="RECEIPT"} 4`,
		`stompserver_messages_in_total{kind="queue"} 3`, `stompserver_messages_in_total{kind="topic"} 1`,
		`stompserver_messages_dropped_total{kind="topic",reason="unwanted"} 1`,
		`stompserver_queue_messages_ready{destination="/queue/a",vhost="default"} 3`, `stompserver_queue_in_total{destination="/queue/a",vhost="default"} 3`,
		`stompserver_queue_consumers{destination="/queue/a",vhost="default"} 0`,
	)
	sub, err := c.Subscribe(t.Context(), "/queue/a", client.SubscribeOptions{Ack: "client", Confirm: true})
	if err != nil {
		t.Fatal(err)
	}
	var m *client.Message
	for range 3 {
		if m, err = sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.want(`stompserver_queue_messages_unacked{destination="/queue/a",vhost="default"} 3`, `stompserver_messages_out_total{kind="queue"} 3`, `stompserver_subscriptions{kind="queue"} 1`)
	if err := c.AckConfirmed(t.Context(), m); err != nil { // and with it the others
		t.Fatal(err)
	}
	h.want(`stompserver_messages_acked_total{kind="queue"} 3`, `stompserver_queue_out_total{destination="/queue/a",vhost="default"} 3`)

	auto, err := c.Subscribe(t.Context(), "/queue/auto", client.SubscribeOptions{Confirm: true})
	if err != nil {
		t.Fatal(err)
	}
	h.send(c, "/queue/auto", "hello")
	if _, err := auto.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want(`stompserver_messages_acked_total{kind="queue"} 4`)

	for range 2 {
		_ = c.Send("/queue/b", nil, nil)
	}
	other := h.connect()
	_ = other.Close()
	h.want(`stompserver_connections_closed_total{reason="client"} 1`, `stompserver_connections{transport="tcp",version="1.2"} 1`)
}

// TestLimitsAndErrors: each limit that is reached is counted, and each ERROR.
func TestLimitsAndErrors(t *testing.T) {
	h := open(t)
	near, far := net.Pipe()
	h.sessions.ServeConn(far, &session.Port{})
	go func() {
		_, _ = near.Write([]byte("CONNECT\naccept-version:1.1\nhost:h\n\n\x00BEGIN\ntransaction:1\n\n\x00BEGIN\ntransaction:2\n\n\x00"))
	}()
	_ = near.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 4096)
	for {
		if _, err := near.Read(buf); err != nil {
			break
		}
	}
	h.want(
		`stompserver_limit_reached_total{limit="transactions"} 1`, `stompserver_errors_sent_total{code="limit-reached"} 1`,
		`stompserver_connections_closed_total{reason="error"} 1`, `stompserver_transactions_open 0`, `stompserver_frames_sent_total{command="ERROR"} 1`,
	)
}

// TestOthers: queues past the bound, names that are no text and temporary queues are told
// together, so that clients cannot make figures without end.
func TestOthers(t *testing.T) {
	h := open(t)
	h.most = 2
	c := h.connect()
	for _, dest := range []string{"/queue/a", "/queue/b", "/queue/c", "/queue/d", "/queue/\xff", "/queue/\xfe"} {
		h.send(c, dest, "hello")
	}
	h.want(
		`stompserver_queue_messages_ready{destination="/queue/a",vhost="default"} 1`, `stompserver_queue_messages_ready{destination="/queue/b",vhost="default"} 1`,
		`stompserver_queue_messages_ready{destination="_other",vhost="default"} 4`, `stompserver_queue_in_total{destination="_other",vhost="default"} 4`,
	)
	h.most = 0
	h.want(`stompserver_queue_messages_ready{destination="_other",vhost="default"} 6`)
	if strings.Contains(h.text(), `"/queue/a"`) {
		t.Error("a queue has figures of its own that is to have none")
	}
}
