package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/client"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/session"
)

const (
	// A message that waits but is not at hand, because the disk has it or another consumer is
	// being asked first, is looked for this often and this long, by a GET that is not to wait.
	lookEvery = 5 * time.Millisecond
	lookFor   = 2 * time.Second

	settleTime = 30 * time.Second // for what follows an answer
)

// get answers GET: it takes one message, and acknowledges it when it was written to the client.
func (d *Door) get(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuestion(r.URL.RawQuery)
	if err != nil {
		say(w, http.StatusBadRequest, sentence(err))
		return
	}
	dest := destinationOf(r)
	names, err := destination.Parse(dest, destination.None)
	switch {
	case err != nil: // told by the session
	case own(names):
		say(w, http.StatusBadRequest, "A temporary destination belongs to a STOMP connection.")
		return
	case several(d.sessions.Broker(d.host(r)), names):
		say(w, http.StatusBadRequest, "A GET takes one message of one queue; "+dest+" stands for several.")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.stopped, cancel)()
	v := r.Context().Value(visitorKey{}).(*visitor)
	c, err := d.session(ctx, v, r)
	if err != nil {
		d.refuse(w, err, notDequeued)
		return
	}
	var m *client.Message
	if q.browse {
		m, err = d.look(ctx, c, dest)
	} else {
		m, err = d.take(ctx, c, r, dest, names, q.wait)
	}
	switch {
	case err != nil:
		_ = c.Close() // which gives back what it may have been handed
		d.refuse(w, err, notDequeued)
		return
	case m == nil:
		say(w, http.StatusNotFound, noMessages)
		return
	}
	// Once the answer is out its reader may well have left, content. Who left before will not
	// read it, although the system takes it.
	if r.Context().Err() != nil || session.Gone(v.sock) || !write(w, m) {
		_ = c.Close()
		return
	}
	if q.browse {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := c.AckConfirmed(last, m); err != nil {
		_ = c.Close()
		d.cfg.Log.Warn("a message that was fetched may be delivered again", "addr", r.RemoteAddr, "destination", dest, "message_id", m.ID(), "err", err)
	}
}

// own reports whether one of the names is of one connection alone.
func own(names []destination.Name) bool {
	for _, n := range names {
		if n.Kind == destination.TempQueue || n.Kind == destination.TempTopic {
			return true
		}
	}
	return false
}

// several reports whether names are queues of which more than one could have a message to give: the
// others would be handed out in vain.
func several(b *broker.Broker, names []destination.Name) bool {
	for _, n := range names {
		queue := n.Kind != destination.Topic && n.Kind != destination.Headers
		if queue && (len(names) > 1 || b.IsPattern(n.Text)) {
			return true
		}
	}
	return false
}

// take takes one message, or none if there is none within wait.
func (d *Door) take(ctx context.Context, c *client.Conn, r *http.Request, dest string, names []destination.Name, wait time.Duration) (*client.Message, error) {
	var h frame.Header
	h.Add("prefetch-count", "1")
	sub, err := c.Subscribe(ctx, dest, client.SubscribeOptions{Ack: "client-individual", Header: h, Confirm: true})
	if err != nil {
		return nil, err
	}
	var m *client.Message
	if wait > 0 {
		m, err = next(ctx, sub, wait)
	} else {
		m, err = d.nextAtHand(ctx, sub, d.sessions.Broker(d.host(r)), names)
	}
	if err != nil {
		return nil, err
	}
	// Before the ACK, which would bring another message.
	if err := sub.Unsubscribe(ctx); err != nil {
		return nil, err
	}
	if m == nil { // one may have come meanwhile
		m, _ = next(ctx, sub, 0)
	}
	return m, nil
}

// nextAtHand is the next message if one waits now.
func (d *Door) nextAtHand(ctx context.Context, sub *client.Subscription, b *broker.Broker, names []destination.Name) (*client.Message, error) {
	for begin := time.Now(); ; {
		waiting := 0
		for _, n := range names {
			waiting += b.Waiting(n.Text)
		}
		// Asked first, looked for second: what was handed out between the two is seen.
		pause := lookEvery
		if waiting == 0 {
			pause = 0
		}
		m, err := next(ctx, sub, pause)
		if m != nil || err != nil || waiting == 0 || time.Since(begin) > lookFor {
			return m, err
		}
	}
}

// next is the next message of sub, or none if there is none within wait.
func next(ctx context.Context, sub *client.Subscription, wait time.Duration) (*client.Message, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := sub.Next(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return m, err
}

// look returns the first message of a queue and leaves it there; none if there is none.
func (d *Door) look(ctx context.Context, c *client.Conn, dest string) (*client.Message, error) {
	var h frame.Header
	h.Add("browser", "true")
	h.Add("limit", "1")
	sub, err := c.Subscribe(ctx, dest, client.SubscribeOptions{Header: h, Confirm: true})
	if err != nil {
		return nil, err
	}
	m, err := sub.Next(ctx)
	if err != nil {
		return nil, err
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		return nil, err
	}
	if _, end := m.Header.Get(broker.EndOfBrowse); end {
		m = nil
	}
	return m, nil
}

// write answers with a message, and reports whether all of it went out.
func write(w http.ResponseWriter, m *client.Message) bool {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	for i := len(m.Header) - 1; i >= 0; i-- { // the first of equal names counts
		name, value := string(m.Header[i].Name), string(m.Header[i].Value)
		switch name {
		case "content-length", "subscription", "ack":
		case "content-type":
			h.Set("Content-Type", value)
		case "message-id":
			h["message-id"] = []string{value}
		default:
			if token(name) {
				h[prefix+name] = []string{value}
			}
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox") // a message is no page of this server
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(m.Body)))
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	const piece = 256 << 10
	for rest := m.Body; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		_ = out.SetWriteDeadline(time.Now().Add(bodyTime))
		if _, err := w.Write(rest[:min(piece, len(rest))]); err != nil {
			return false
		}
	}
	_ = out.SetWriteDeadline(time.Now().Add(bodyTime))
	err := out.Flush()
	_ = out.SetWriteDeadline(time.Time{})
	return err == nil
}

// token reports whether a name can be that of a header in HTTP.
func token(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return name != ""
}
