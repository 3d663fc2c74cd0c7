package web_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver"
)

func TestLogin(t *testing.T) {
	passwd := filepath.Join(t.TempDir(), ".passwd")
	if err := os.WriteFile(passwd, []byte("app:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, stompserver.Config{Auth: true, PasswdFiles: []string{passwd}})
	none := p.do("PUT", "/queue/a", "x")
	p.want(none, 401, `This server wants a login: CONNECT needs the headers "login" and "passcode".`)
	if got := none.header.Get("WWW-Authenticate"); got != `Basic realm="stompserver", charset="UTF-8"` {
		t.Errorf("WWW-Authenticate: %q", got)
	}
	const wrong, right = "Basic YXBwOndyb25n", "Basic YXBwOnNlY3JldA=="
	p.want(p.do("PUT", "/queue/a", "x", "Authorization", wrong), 401, "The login or the passcode is wrong.")
	p.want(p.do("PUT", "/queue/a", "x", "Authorization", right), 200, "Message Enqueued")
	p.want(p.do("GET", "/queue/a", "", "Authorization", wrong), 401, "The login or the passcode is wrong.")
	p.want(p.do("GET", "/queue/a", ""), 401, none.body)
	p.want(p.do("GET", "/queue/a", "", "Authorization", right, "Host", "broker.example.org"), 200, "x")
	p.want(p.do("GET", "/healthz", ""), 200, "ok")
}

func TestGuard(t *testing.T) {
	p := open(t, stompserver.Config{})
	const other = "A page of another site asked for this."
	for _, tt := range []struct {
		name   string
		header []string
		status int
		body   string
	}{
		{"no page", nil, 200, "Message Enqueued"},
		{"a page of this machine", []string{"Origin", "http://localhost:3000"}, 200, "Message Enqueued"},
		{"a page of this server", []string{"Origin", "http://192.0.2.1", "Host", "192.0.2.1:8161"}, 200, "Message Enqueued"},
		{"another page", []string{"Origin", "https://evil.example"}, 403, other},
		{"a page of nobody", []string{"Origin", "null"}, 403, other},
		{"an empty origin", []string{"Origin", ""}, 403, other},
		{"an image of another page", []string{"Sec-Fetch-Site", "cross-site"}, 403, other},
		{"typed by hand", []string{"Sec-Fetch-Site", "none"}, 200, "Message Enqueued"},
		{"ahead of time", []string{"Sec-Purpose", "prefetch"}, 403, "A browser wanted this ahead of time; it would take a message."},
		{"a name that an attacker gave", []string{"Host", "evil.example:8161"}, 403, `The server is not known by the name "evil.example". Without logins it answers to its addresses and to localhost.`},
		{"an address of IPv6", []string{"Host", "[::1]:8161"}, 200, "Message Enqueued"},
		{"a name below localhost", []string{"Host", "Broker.localhost"}, 200, "Message Enqueued"},
		{"a name that ends like it", []string{"Host", "evillocalhost"}, 403, `The server is not known by the name "evillocalhost". Without logins it answers to its addresses and to localhost.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := *p
			p.t = t
			p.want(p.do("PUT", "/queue/a", "x", tt.header...), tt.status, tt.body)
		})
	}
}

func TestRefusals(t *testing.T) {
	p := open(t, stompserver.Config{Limits: stompserver.Limits{Body: 1000, Header: 200}})
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{"delete", "DELETE", "/queue/a", "", nil, 405, "Invalid Command"},
		{"no destination", "GET", "/", "", nil, 404, "PUT or POST /queue/NAME sends a message, GET /queue/NAME takes one."},
		{"a page to be", "GET", "/api/v1/queues", "", nil, 404, "PUT or POST /queue/NAME sends a message, GET /queue/NAME takes one."},
		{"too long", "PUT", "/queue/a", strings.Repeat("x", 1001), nil, 413, "The frame goes past limits.body, which is 1000 here. The server's configuration can raise it."},
		{"a long header", "PUT", "/queue/a", "x", []string{"X-Stomp-Note", strings.Repeat("x", 300)}, 413, "The frame goes past limits.header, which is 200 here. The server's configuration can raise it."},
		{"a bad header", "PUT", "/queue/a", "x", []string{"X-Stomp-Priority", "high"}, 400, `SEND has the header "priority" with the value "high"; a whole number, not below 0 is expected.`},
		{"a header of the frame", "PUT", "/queue/a", "x", []string{"X-Stomp-Receipt", "1"}, 400, "The header X-Stomp-receipt has no place in a request: the path, Content-Length, Content-Type and the answer say it."},
		{"a pattern", "PUT", "/topic/*", "x", nil, 400, "A pattern of names can be subscribed to, not sent to. Send to several destinations with commas between them."},
		{"the server's own", "PUT", "/queue/$dsub", "x", nil, 400, "Names that begin with /queue/$ and /topic/$ are the server's own."},
		{"the monitor", "PUT", "/queue/monitor", "x", nil, 400, "The server reports its statistics there; it can be subscribed to, not sent to."},
		{"a control character", "PUT", "/queue/a%0Ab", "x", nil, 400, `The destination "/queue/a\nb" holds a control character.`},
		{"a queue that is not there", "PUT", "/amq/queue/none", "x", nil, 404, "There is no queue \"/queue/none\"."},
		{"nobody gets it", "PUT", "/topic/a", "x", []string{"X-Stomp-Mandatory", "true"}, 404, `Nobody would get a message to "/topic/a" now, and SEND has the header mandatory:true.`},
		{"query of a PUT", "PUT", "/queue/a?wait=1s", "x", nil, 400, "A query belongs to GET; a message has headers, X-Stomp-NAME."},
		{"unknown query", "GET", "/queue/a?wiat=1s", "", nil, 400, `"wiat" is not known: a GET takes wait and browse.`},
		{"a wait that is none", "GET", "/queue/a?wait=long", "", nil, 400, `Wait is a time like 30s, at most 5m, not "long".`},
		{"a wait without end", "GET", "/queue/a?wait=1h", "", nil, 400, `Wait is a time like 30s, at most 5m, not "1h".`},
		{"looking at what comes", "GET", "/queue/a?wait=1s&browse=1", "", nil, 400, "Browse looks at what is there, and cannot wait."},
		{"looking at a topic", "GET", "/topic/a?browse=1", "", nil, 400, `SUBSCRIBE has the header browser:true, but "/topic/a" is a topic that keeps nothing which could be browsed.`},
		{"a name of one connection", "GET", "/temp-queue/a", "", nil, 400, "A temporary destination belongs to a STOMP connection."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := *p
			p.t = t
			p.want(p.do(tt.method, tt.path, tt.body, tt.header...), tt.status, tt.want)
			// The same HTTP connection goes on.
			p.want(p.do("PUT", "/queue/after", "x"), 200, "Message Enqueued")
		})
	}
}

func TestUnknownLength(t *testing.T) {
	p := open(t, stompserver.Config{})
	for _, tt := range []struct {
		size, status int
		want         string
	}{
		{1 << 20, 200, "Message Enqueued"},
		{1<<20 + 1, 411, "A message of more than 1 MiB needs the header Content-Length."},
	} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("c", tt.size))) // of which net/http knows no length
		a, err := p.try(t.Context(), "PUT", "/queue/a", body)
		if err != nil {
			t.Fatal(err)
		}
		p.want(a, tt.status, tt.want)
	}
	if a := p.do("GET", "/queue/a", ""); len(a.body) != 1<<20 {
		t.Errorf("%d bytes came back", len(a.body))
	}
}

func TestHalfAMessage(t *testing.T) {
	p := open(t, stompserver.Config{})
	c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "PUT /queue/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 400 ") {
		t.Errorf("answer %q, %v", all, err)
	}
	p.want(p.do("GET", "/queue/a", ""), 404, "No messages in queue")
}

func TestTooManyConnections(t *testing.T) {
	p := open(t, stompserver.Config{Limits: stompserver.Limits{Connections: 1}})
	one, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if _, err := io.WriteString(one, "GET /queue/a HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	two, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if all, _ := io.ReadAll(two); !strings.HasPrefix(string(all), "HTTP/1.1 503 ") || !strings.HasSuffix(string(all), "Too many clients are connected.") {
		t.Errorf("answer %q", all)
	}
}
