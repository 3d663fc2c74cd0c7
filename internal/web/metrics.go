package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/client"
	"stompserver/internal/session"
)

// metrics answers /metrics.
func (d *Door) metrics(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD")
		return
	}
	if d.cfg.MetricsLogin {
		if err := d.mayRead(r, broker.StatsTopic); err != nil {
			d.refuse(w, err, "Error reading metrics")
			return
		}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime))
	d.cfg.Metrics.ServeHTTP(w, r)
}

// mayRead is the error of who may not subscribe to dest in the default virtual host: who may read
// of the broker there may read of all of it here.
func (d *Door) mayRead(r *http.Request, dest string) error {
	ctx, cancel := context.WithTimeout(r.Context(), settleTime)
	defer cancel()
	defer context.AfterFunc(d.stopped, cancel)()
	r = r.Clone(ctx)
	r.Header.Set("X-Stomp-Host", session.DefaultHost)
	c, err := d.session(ctx, r.Context().Value(visitorKey{}).(*visitor), r)
	if err != nil {
		return err
	}
	sub, err := c.Subscribe(ctx, dest, client.SubscribeOptions{Confirm: true})
	if err == nil {
		err = sub.Unsubscribe(ctx)
	}
	if err != nil {
		_ = c.Close()
	}
	return err
}

// requests counts those that were answered, by route and status.
type requests struct {
	mu sync.Mutex
	n  map[[2]string]uint64
}

// serve answers a request and counts it.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	seen := &observed{ResponseWriter: w}
	defer func() { // also if the handler gave up
		if seen.status == 0 {
			seen.status = http.StatusSwitchingProtocols // the connection was taken over
		}
		key := [2]string{route(r), strconv.Itoa(seen.status)}
		d.requests.mu.Lock()
		defer d.requests.mu.Unlock()
		if d.requests.n == nil {
			d.requests.n = make(map[[2]string]uint64)
		}
		d.requests.n[key]++
	}()
	d.ServeHTTP(seen, r)
}

// An observed answer knows its status.
type observed struct {
	http.ResponseWriter
	status int
}

func (w *observed) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *observed) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *observed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// route is what a request is for, of which there are few.
func route(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == "/healthz", path == "/livez", path == "/readyz", path == "/metrics", path == "/ws":
		return path
	case reserved(path):
		return "other"
	case r.Method == http.MethodPut, r.Method == http.MethodPost:
		return "send"
	case r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "browse="):
		return "browse"
	case r.Method == http.MethodGet:
		return "take"
	}
	return "other"
}

// Requests returns how many requests were answered, by what they were for and by status.
func (d *Door) Requests() map[[2]string]uint64 {
	d.requests.mu.Lock()
	defer d.requests.mu.Unlock()
	all := make(map[[2]string]uint64, len(d.requests.n))
	for k, n := range d.requests.n {
		all[k] = n
	}
	return all
}
