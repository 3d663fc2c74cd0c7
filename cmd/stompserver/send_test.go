package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/internal/client"
	"stompserver/internal/loadgen"
)

// broker runs a server in this process and makes it the one that commands talk to.
func broker(t *testing.T, cfg stompserver.Config) {
	t.Helper()
	cfg.Port = stompserver.AnyPort
	s, err := stompserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	clearEnv(t)
	t.Setenv("STOMPSERVER_URL", "stomp://"+s.Addrs()[0].String())
}

func clearEnv(t *testing.T) {
	for _, v := range []string{
		"STOMPSERVER_URL", "STOMPSERVER_LOGIN", "STOMPSERVER_PASSCODE",
		"STOMP_HOST", "STOMP_PORT", "STOMP_USER", "STOMP_LOGIN", "STOMP_PASSCODE", "STOMP_PASSWORD",
	} {
		t.Setenv(v, "")
	}
}

// a step is a command line, what it reads, and how it must end. Outputs are regular
// expressions of the whole.
type step struct {
	args   string // split at |
	in     string
	code   int
	stdout string
	stderr string
}

func (s step) run(t *testing.T) {
	t.Helper()
	var out, errs bytes.Buffer
	g := &globals{Stdin: strings.NewReader(s.in), Stdout: &out, Stderr: &errs}
	if code := run(t.Context(), g, strings.Split(s.args, "|")); code != s.code {
		t.Errorf("%s: code %d, want %d; %s", s.args, code, s.code, errs.String())
	}
	if !regexp.MustCompile("^(?s:" + s.stdout + ")$").MatchString(out.String()) {
		t.Errorf("%s: stdout %q, want %q", s.args, out.String(), s.stdout)
	}
	if !regexp.MustCompile("^(?s:" + s.stderr + ")$").MatchString(errs.String()) {
		t.Errorf("%s: stderr %q, want %q", s.args, errs.String(), s.stderr)
	}
}

func TestSendAndSubscribe(t *testing.T) {
	broker(t, stompserver.Config{})
	dir := t.TempDir()
	file := filepath.Join(dir, "body")
	if err := os.WriteFile(file, []byte("from\x00file"), 0o600); err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(dir, "dump")
	for _, s := range []step{
		{args: `send|/queue/orders|{"id":7}|-H|type:order|-H|content-type:application/json`, stdout: "sent 8 bytes to /queue/orders\n"},
		{
			args:   "subscribe|/queue/orders|--count|1|--headers",
			stdout: `#1 /queue/orders [0-9:.]{12} 8 B application/json  message-id:\S+  type:order.*` + "\n" + `\{"id":7\}` + "\n",
		},
		{args: "subscribe|/queue/orders|--for|50ms", code: 3, stderr: "stompserver: nothing received within 50ms\n"},

		{args: "send|/queue/a|--lines", in: "one\ntwo\r\n\nfour", stdout: "sent 4 messages, 10 bytes to /queue/a\n"},
		{args: "subscribe|/queue/a|--count|2", stdout: "one\ntwo\n"},
		{args: "subscribe|/queue/a|--for|300ms", stdout: "\nfour\n"},

		{args: "send|/queue/in|-", in: "of stdin", stdout: "sent 8 bytes to /queue/in\n"},
		{args: "send|/queue/in|-|--lines", in: "1\n2\n", stdout: "sent 2 messages, 2 bytes to /queue/in\n"},
		{args: "send|/queue/one|--lines", in: "x\n", stdout: "sent 1 byte to /queue/one\n"},
		{args: "send|/queue/one|", stdout: "sent 0 bytes to /queue/one\n"},
		{args: "subscribe|/queue/in|--count|3", stdout: "of stdin\n1\n2\n"},

		{args: "send|/queue/a|--file|" + file + "|--quiet"},
		{args: "send|/queue/a|--json|--count|3", in: "in", stdout: `\{"destination":"/queue/a","messages":3,"bytes":6\}` + "\n"},
		{args: "subscribe|/queue/a|--count|1|--raw", stdout: "from\x00file"},
		{
			args:   "subscribe|/queue/a|--count|1|--json",
			stdout: `\{"id":"\S+","destination":"/queue/a","received":"\S+","size":2,"content_type":"","headers":\{.*\},"body":"in","encoding":"utf-8"\}` + "\n",
		},
		{args: "subscribe|/queue/a|--count|2|--dump|" + dump, stdout: dump + "/000001.body\n" + dump + "/000002.body\n"},

		{args: "send|/queue/x|hi", stdout: "sent 2 bytes to /queue/x\n"},
		{args: "subscribe|/queue/x|--count|1|--exec|exit 4", stderr: "stompserver: message 1 of /queue/x: the message was refused: the command ended with exit status 4\n"},
		{args: "subscribe|/queue/x|--count|1|--exec|cat; echo .$STOMP_HEADER_DESTINATION.$STOMP_HEADER_REDELIVERED", stdout: "hi./queue/x.true\n"},

		{args: "send|/queue/reply|?|--reply|--timeout|50ms", code: 3, stderr: "stompserver: no answer from /queue/reply within 50ms\n"},
	} {
		s.run(t)
	}
	head, err := os.ReadFile(filepath.Join(dump, "000001.headers"))
	if err != nil || !strings.Contains(string(head), "destination:/queue/a\n") {
		t.Errorf("dumped headers: %q, %v", head, err)
	}
	if body, _ := os.ReadFile(filepath.Join(dump, "000002.body")); string(body) != "in" {
		t.Errorf("dumped body: %q", body)
	}
}

func TestSendReply(t *testing.T) {
	broker(t, stompserver.Config{})
	c, err := client.Dial(t.Context(), os.Getenv("STOMPSERVER_URL"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(t.Context(), "/queue/upper", client.SubscribeOptions{Confirm: true})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		m, err := sub.Next(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		to := m.Header.Value("reply-to")
		if !regexp.MustCompile(`^/queue/reply\.[0-9a-f]{16}$`).MatchString(to) {
			t.Errorf("reply-to %q", to)
		}
		if err := c.Send(to, nil, bytes.ToUpper(m.Body)); err != nil {
			t.Error(err)
		}
	}()
	step{args: "send|/queue/upper|hello|--reply", stdout: "HELLO\n"}.run(t)
	<-served
	_ = c.Close()
}

// What a subscriber did not take stays in the queue, in its order.
func TestSubscribeLeavesTheRest(t *testing.T) {
	broker(t, stompserver.Config{})
	step{args: "send|/queue/a|--lines", in: "1\n2\n3\n4\n5\n", stdout: ".*"}.run(t)
	step{args: "subscribe|/queue/a|--count|2", stdout: "1\n2\n"}.run(t)
	step{args: "subscribe|/queue/a|--count|1|--exec|false", stderr: ".*refused.*"}.run(t)
	step{args: "subscribe|/queue/a|--count|3|--ack|client", stdout: "3\n4\n5\n"}.run(t)
	step{args: "subscribe|/queue/a|--for|50ms", code: 3, stderr: ".*"}.run(t)
}

func TestServerFlags(t *testing.T) {
	passwd := filepath.Join(t.TempDir(), ".passwd")
	secret := filepath.Join(t.TempDir(), "secret")
	for name, text := range map[string]string{passwd: "app:pass word\n", secret: "pass word\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broker(t, stompserver.Config{Auth: true, PasswdFiles: []string{passwd}})
	addr := strings.TrimPrefix(os.Getenv("STOMPSERVER_URL"), "stomp://")
	host, port, _ := strings.Cut(addr, ":")
	const ok, refused = "sent 1 byte to /queue/a\n", "stompserver: the server refused the connection: .*\n"
	const nobody = `stompserver: cannot reach 127.0.0.1:1: connection refused\. Is a broker running there\? ` +
		`Start one with "stompserver", or name another with --server\.` + "\n"
	for _, tt := range []struct {
		name string
		env  map[string]string
		step step
	}{
		{"no login", nil, step{args: "send|/queue/a|x", code: 77, stderr: refused}},
		{"flags", nil, step{args: "send|/queue/a|x|--login|app|--passcode-file|" + secret, stdout: ok}},
		{"in the address", nil, step{args: "send|/queue/a|x|--server|stomp://app:pass%20word@" + addr, stdout: ok}},
		{"without stomp://", nil, step{args: "send|/queue/a|x|--server|app:pass%20word@" + addr, stdout: ok}},
		{"host and port", nil, step{args: "send|/queue/a|x|--login|app|--passcode-file|" + secret + "|--server|" + addr, stdout: ok}},
		{"only the host", nil, step{args: "send|/queue/a|x|--timeout|50ms|--server|nowhere.invalid", code: 69, stderr: "stompserver: cannot reach nowhere.invalid:61613: .*\n"}},
		{"host and port of bench", nil, step{args: "bench|--messages|1|--quiet|--login|app|--passcode-file|" + secret + "|--server|" + addr, stdout: "sent 1 .*"}},
		{"our variables", map[string]string{"STOMPSERVER_LOGIN": "app", "STOMPSERVER_PASSCODE": "pass word"}, step{args: "send|/queue/a|x", stdout: ok}},
		{
			"the others'", map[string]string{"STOMPSERVER_URL": "", "STOMP_HOST": host, "STOMP_PORT": port, "STOMP_USER": "app", "STOMP_PASSWORD": "pass word"},
			step{args: "send|/queue/a|x", stdout: ok},
		},
		{"wrong passcode", map[string]string{"STOMPSERVER_PASSCODE": "x"}, step{args: "send|/queue/a|x|--login|app", code: 77, stderr: refused}},
		{"no such file", nil, step{args: "send|/queue/a|x|--passcode-file|/nowhere", code: 74, stderr: "stompserver: --passcode-file: /nowhere: no such file or directory\n"}},
		{"nobody there", nil, step{args: "send|/queue/a|x|--server|stomp://127.0.0.1:1", code: 69, stderr: nobody}},
		{"bench, no login", nil, step{args: "bench|--messages|1", code: 77, stderr: "stompserver: the broker refused the connection: .*\n"}},
		{"bench, nobody there", nil, step{args: "bench|--server|stomp://127.0.0.1:1", code: 69, stderr: nobody}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			tt.step.run(t)
		})
	}
}

// Whichever way a server ends, who listens to it has lost the connection.
func TestSubscribeLosesTheServer(t *testing.T) {
	clearEnv(t)
	for _, tt := range []struct {
		name   string
		end    func(*net.TCPConn)
		stderr string
	}{
		{"stopped", func(c *net.TCPConn) {
			_, _ = c.Write([]byte("ERROR\nmessage:Shutting down\nerror-code:shutting-down\n\nThe server stops.\x00"))
			c.Close()
		}, "the server said: Shutting down: The server stops."},
		{"closed", func(c *net.TCPConn) { c.Close() }, "the server closed the connection"},
		{"reset", func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }, "the connection to the server broke: connection reset by peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				r := bufio.NewReader(c)
				_, _ = r.ReadString(0) // CONNECT
				_, _ = c.Write([]byte("CONNECTED\nversion:1.2\n\n\x00"))
				_, _ = r.ReadString(0) // SUBSCRIBE
				_, _ = r.ReadString('\n')
				tt.end(c.(*net.TCPConn))
			}()
			step{args: "subscribe|/queue/a|--server|stomp://" + l.Addr().String(), code: 69, stderr: "stompserver: " + regexp.QuoteMeta(tt.stderr) + "\n"}.run(t)
		})
	}
}

func TestSendWithoutReceipt(t *testing.T) {
	clearEnv(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		_, _ = r.ReadString(0)
		_, _ = c.Write([]byte("CONNECTED\nversion:1.2\n\n\x00"))
		_, _ = io.Copy(io.Discard, r)
	}()
	step{
		args: "send|/queue/a|x|--timeout|100ms|--server|stomp://" + l.Addr().String(), code: 69,
		stderr: `stompserver: no receipt for SEND in time: the server does not answer\. Wait longer with --timeout\.` + "\n",
	}.run(t)
}

// What takes a connection is no broker for that.
func TestUnwelcoming(t *testing.T) {
	clearEnv(t)
	for _, tt := range []struct {
		name   string
		answer func(net.Conn)
		stderr string
	}{
		{"silent", func(net.Conn) {}, "it took the connection and did not answer in time"},
		{"gone", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); c.Close() }, "it closed the connection without an answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					tt.answer(c)
				}
			}()
			t.Cleanup(func() { l.Close() })
			at := l.Addr().String()
			want := "stompserver: cannot reach " + at + ": " + tt.stderr + `\. Is that a STOMP broker\? Name another with --server\.` + "\n"
			for _, command := range []string{"send|/queue/a|x", "subscribe|/queue/a"} {
				step{args: command + "|--timeout|100ms|--server|stomp://" + at, code: 69, stderr: want}.run(t)
			}
		})
	}
}

func TestRefusedOptions(t *testing.T) {
	clearEnv(t)
	for _, s := range []step{
		{args: "send|/queue/a|x|--expires|5m", stderr: "stompserver: --expires: the expiry of messages is not in this build yet\n"},
		{args: "subscribe|/topic/a|--durable|me", stderr: "stompserver: --durable: durable subscriptions are not in this build yet\n"},
		{args: "subscribe|/topic/a|--selector=a=1", stderr: "stompserver: --selector: selectors are not in this build yet\n"},
		{args: "send|/queue/a|x|--server|host:one", stderr: `stompserver: --server: "stomp://host:one" is not like HOST:61613 or stomp://HOST:61613` + "\n"},
		{args: "bench|--server|host:0", stderr: "stompserver: --server: 0 is not a port: they go from 1 to 65535\n"},
		{args: "send|/queue/a|-|--file|y", stderr: "stompserver: send: BODY and --file: one of them\n"},
		{args: "send|", stderr: "stompserver: send: the destination is empty\n"},
		{args: "send|/queue/a|x|--file|y", stderr: "stompserver: send: BODY and --file: one of them\n"},
		{args: "send|/queue/a|x|--count|0", stderr: "stompserver: --count: at least 1, not 0\n"},
		{args: "send|/queue/a|--lines|--count|2", stderr: "stompserver: --lines and --count: one of them\n"},
		{args: "send|/queue/a|x|--reply|--count|2", stderr: "stompserver: --reply: waits .*\n"},
		{args: "send|/queue/a|x|-H|nonsense", stderr: `stompserver: -H "nonsense": is not NAME:VALUE` + "\n"},
		{args: "send|/queue/a|x|-H|receipt:1", stderr: "stompserver: -H receipt: is set by send itself\n"},
		{args: "send|/queue/a|x|--reply|-H|reply-to:/queue/b", stderr: "stompserver: -H reply-to: is set by --reply\n"},
		{args: "subscribe|/queue/a|--ack|none", stderr: `stompserver: --ack: auto, client or client-individual, not "none"` + "\n"},
		{args: "subscribe|/queue/a|--raw|--json", stderr: "stompserver: --raw, --json, --dump and --exec: one of them\n"},
		{args: "subscribe|/queue/a|--raw|--headers", stderr: "stompserver: --headers: not with --raw, --json, --dump or --exec\n"},
		{args: "subscribe|/queue/a|--exec|true|--ack|auto", stderr: "stompserver: --exec: needs --ack client .*\n"},
		{args: "subscribe|/queue/a|--count|-1", stderr: "stompserver: --count and --for: not negative\n"},
		{args: "bench|--csv|--json", stderr: "stompserver: --csv and --json: one of them\n"},
		{args: "bench|--size|5", stderr: "stompserver: --size: at least 23 bytes: .*\n"},
	} {
		s.code = exitUsage
		s.run(t)
	}
}

func TestBench(t *testing.T) {
	broker(t, stompserver.Config{})
	step{
		args: "bench|--messages|2000|--producers|2|--consumers|2|--receipts|--ack|client-individual",
		stdout: `sent 2000  [0-9]+/s  \S+ MB/s   latency p50 \S+ m?s  p99 \S+ m?s  p99.9 \S+ m?s  max \S+ m?s   receipt p50 .* m?s  \(receipts\)` + "\n" +
			`received 2000  [0-9]+/s  in order per producer: yes  lost: 0  duplicated: 0` + "\n",
	}.run(t)

	var out, errs bytes.Buffer
	g := &globals{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	if code := run(t.Context(), g, []string{"bench", "--topic", "--consumers", "3", "--messages", "500", "--json"}); code != 0 {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	var r loadgen.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.TotalSent != 500 || r.TotalReceived != 1500 || !r.OK() {
		t.Errorf("%v: %s", err, out.String())
	}

	out.Reset()
	g = &globals{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	if code := run(t.Context(), g, []string{"bench", "--idle", "20", "--csv"}); code != 0 {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 2 || len(lines[0]) != len(lines[1]) {
		t.Errorf("%v: %q", err, lines)
	}
}

func TestTerminalOutputIsHarmless(t *testing.T) {
	for _, tt := range []struct {
		in     string
		screen bool
		want   string
	}{
		{"plain\ttext\näöü", true, "plain\ttext\näöü"},
		{"\x1b]0;title\a\r\x9b\u009b", true, `\x1b]0;title\x07\x0d\x9b\x9b`},
		{"\x1b[31m", false, "\x1b[31m"},
	} {
		p := &messagePrinter{screen: tt.screen}
		if got := string(p.clean([]byte(tt.in))); got != tt.want {
			t.Errorf("clean(%q) on a screen %v = %q, want %q", tt.in, tt.screen, got, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567"} {
		if got := (&progress{groups: true}).count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
	if got := (&progress{}).count(1234567); got != "1234567" {
		t.Errorf("without groups: %s", got)
	}
}
