package web

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/frame"
	"stompserver/internal/websocket"
)

// prefix is how headers of messages are spelt in HTTP.
const prefix = "X-Stomp-"

// small is the most that a body may have whose length is not told ahead: it is held here.
const small = 1 << 20

// longest is how long a GET may wait.
const longest = 5 * time.Minute

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz", "/livez", "/readyz":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			notAllowed(w, "GET, HEAD")
			return
		}
		if r.URL.Path == "/readyz" {
			d.ready(w)
			return
		}
		say(w, http.StatusOK, "ok")
		return
	}
	if why := d.guard(r); why != "" {
		d.cfg.Log.Debug("http request refused", "addr", r.RemoteAddr, "reason", why)
		say(w, http.StatusForbidden, why)
		return
	}
	if r.URL.Path == "/ws" && websocket.Wants(r) {
		d.upgrade(w, r)
		return
	}
	if r.URL.Path == "/metrics" && d.cfg.Metrics != nil {
		d.metrics(w, r)
		return
	}
	if reserved(r.URL.Path) {
		say(w, http.StatusNotFound, "PUT or POST /queue/NAME sends a message, GET /queue/NAME takes one.")
		return
	}
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		d.put(w, r)
	case http.MethodGet:
		d.get(w, r)
	default:
		notAllowed(w, "GET, PUT, POST")
	}
}

// destinationOf is the destination that the path of a request is. A comma that is written %2C is part of a name,
// as in STOMP, which reads it once more.
func destinationOf(r *http.Request) string {
	path, err := url.PathUnescape(strings.NewReplacer("%2C", "%252C", "%2c", "%252C").Replace(r.URL.EscapedPath()))
	if err != nil {
		return r.URL.Path
	}
	return path
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	say(w, http.StatusMethodNotAllowed, "Invalid Command")
}

// reserved reports whether a path is no destination here: it is none, or will be a page.
func reserved(path string) bool {
	for _, p := range []string{"/", "/api", "/metrics", "/ws", "/favicon.ico"} {
		if path == p {
			return true
		}
	}
	return strings.HasPrefix(path, "/api/")
}

// login is who sent r, by the header Authorization.
func login(r *http.Request) credentials {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return credentials{"", strings.TrimSpace(token)}
	}
	name, passcode, _ := r.BasicAuth()
	return credentials{name, passcode}
}

// host is the virtual host that r is for: the one that it names in the header X-Stomp-Host, or else
// the one that is called as the server was.
func (d *Door) host(r *http.Request) string {
	if !d.sessions.HasHosts() {
		return "localhost"
	}
	if name := r.Header.Get(prefix + "Host"); name != "" {
		return name
	}
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// headersOf makes the headers of a SEND of those of r. What frames the message is not the
// client's to say here.
func (d *Door) headersOf(r *http.Request) (frame.Header, error) {
	var h frame.Header
	if v := r.Header.Get("Content-Type"); v != "" {
		h.Add("content-type", v)
	}
	for name, values := range r.Header {
		name, ok := strings.CutPrefix(name, prefix)
		if !ok || name == "" {
			continue
		}
		name = strings.ToLower(name)
		switch name {
		case "host":
			if d.sessions.HasHosts() {
				continue // the virtual host
			}
		case "destination", "content-length", "content-type", "receipt", "transaction", "confirm":
			return nil, fmt.Errorf("the header %s%s has no place in a request: the path, Content-Length, Content-Type and the answer say it", prefix, name)
		}
		h.Add(name, values[0])
	}
	return h, nil
}

// A question is what the query of a GET asks for.
type question struct {
	wait   time.Duration
	browse bool
}

func parseQuestion(query string) (q question, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, fmt.Errorf("the query cannot be read")
	}
	for name, all := range values {
		switch v := all[0]; {
		case len(all) > 1:
			return q, fmt.Errorf("%s is there twice", quoted(name))
		case name == "wait":
			if q.wait, err = parseWait(v); err != nil {
				return q, err
			}
		case name == "browse" && (v == "1" || v == "true"):
			q.browse = true
		case name == "browse" && (v == "0" || v == "false"):
		case name == "browse":
			return q, fmt.Errorf("browse is 1 or 0, not %s", quoted(v))
		default:
			return q, fmt.Errorf("%s is not known: a GET takes wait and browse", quoted(name))
		}
	}
	if q.browse && q.wait > 0 {
		return q, fmt.Errorf("browse looks at what is there, and cannot wait")
	}
	return q, nil
}

// parseWait reads a time with its unit, or of seconds without.
func parseWait(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil {
		var n uint64
		n, err = strconv.ParseUint(v, 10, 16)
		d = time.Duration(n) * time.Second
	}
	if err != nil || d < 0 || d > longest {
		return 0, fmt.Errorf("wait is a time like 30s, at most %s, not %s", "5m", quoted(v))
	}
	return d, nil
}

// A patient reader gives each read of a body its own time.
type patient struct {
	io.Reader
	c *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(bodyTime))
	return p.Reader.Read(b)
}

// done lets the connection be quiet again.
func (p *patient) done() { _ = p.c.SetReadDeadline(time.Time{}) }
