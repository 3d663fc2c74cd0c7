package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"stompserver/test/certificate"
)

func TestSniff(t *testing.T) {
	for _, test := range []struct {
		in    string
		proxy bool
		want  Kind
	}{
		{"", false, More},
		{"C", false, More}, // CONNECT of HTTP
		{"CONNECT", false, More},
		{"CONNECT\n", false, Stomp},
		{"CONNECT\r\n", false, Stomp},
		{"CONNECT x:1 HTTP/1.1", false, HTTP},
		{"STOMP\n", false, Stomp},
		{"S", false, Stomp},
		{"\n\nCONNECT\n", false, Stomp},
		{"\r\n", false, Stomp},
		{"\r\n", true, More},
		{"\r\n\r\n\x00\r\nQUIT\n", true, ProxyV2},
		{"\r\n\r\n\x00\r\nQUIT\n", false, Stomp},
		{"\r\n\r\nC", true, Stomp},
		{"\x16\x03", false, TLS},
		{"GE", false, More},
		{"GET /", false, HTTP},
		{"P", false, More},
		{"PROXY TCP4", false, ProxyV1},
		{"PATCH /", true, HTTP},
		{"SEND\n", true, Stomp},
	} {
		if got := Sniff([]byte(test.in), test.proxy); got != test.want {
			t.Errorf("%q, proxy %v: %d, want %d", test.in, test.proxy, got, test.want)
		}
	}
}

// FuzzSniff: what is told once stays told, whatever follows, and twenty bytes are enough.
func FuzzSniff(f *testing.F) {
	for _, s := range []string{"CONNECT\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "\r\n\r\n\x00\r\nQUIT\n!", "PROXY TCP4 ", "\n\n"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, proxy bool) {
		told := More
		for i := range b {
			kind := Sniff(b[:i+1], proxy)
			if told != More && kind != told {
				t.Fatalf("%q is %d, and with one byte less %d", b[:i+1], kind, told)
			}
			told = kind
		}
		if told == More && len(b) >= 20 {
			t.Errorf("%q is not told", b)
		}
	})
}

func TestReadProxy(t *testing.T) {
	v2 := func(h *proxyproto.Header) string {
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	six := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv6,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4711},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 61613}}
	local := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}
	for _, test := range []struct {
		name, in, rest, source string
		bad                    bool
	}{
		{name: "version 1", in: "PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n", rest: "CONNECT", source: "192.0.2.7:4711"},
		{name: "version 1, nobody", in: "PROXY UNKNOWN\r\n", rest: "CONNECT"},
		{name: "version 1 without an end", in: "PROXY " + strings.Repeat("x", 200), bad: true},
		{name: "version 1, no address", in: "PROXY TCP4 x y 1 2\r\n", bad: true},
		{name: "version 2", in: v2(six), rest: "\x16\x03", source: "[2001:db8::7]:4711"},
		{name: "version 2, itself", in: v2(local), rest: "CONNECT"},
		{name: "version 2, too long", in: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", bad: true},
		{name: "version 2, of another kind", in: "\r\n\r\n\x00\r\nQUIT\n\x91\x11\x00\x0c" + strings.Repeat("x", 12), bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := []byte(test.in + test.rest)
			for n := 12; n <= len(all); n++ {
				kind := Sniff(all[:n], true)
				source, size, err := ReadProxy(all[:n], kind, 16<<10)
				switch {
				case test.bad:
					if err != nil {
						return
					}
					if size != 0 {
						t.Fatalf("%d bytes: size %d", n, size)
					}
					continue
				case err != nil:
					t.Fatalf("%d bytes: %v", n, err)
				case n < len(test.in):
					if size != 0 {
						t.Fatalf("%d bytes of %d: size %d", n, len(test.in), size)
					}
					continue
				case size != len(test.in):
					t.Fatalf("%d bytes: size %d, want %d", n, size, len(test.in))
				}
				got := ""
				if source != nil {
					got = source.String()
				}
				if got != test.source {
					t.Fatalf("source %q, want %q", got, test.source)
				}
			}
			if test.bad {
				t.Error("it passes")
			}
		})
	}
}

// FuzzProxy: a header is as long as it says, and what follows it changes nothing.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 61613\r\n"), []byte("CONNECT"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02"), []byte("x"))
	f.Fuzz(func(t *testing.T, b, more []byte) {
		kind := Sniff(b, true)
		if kind != ProxyV1 && kind != ProxyV2 {
			return
		}
		source, size, err := ReadProxy(b, kind, 16<<10)
		if err != nil || size == 0 {
			return
		}
		if size > len(b) {
			t.Fatalf("%d bytes of %d", size, len(b))
		}
		again, n, err := ReadProxy(append(bytes.Clone(b[:size]), more...), kind, 16<<10)
		if n != size || err != nil || (source == nil) != (again == nil) || source != nil && source.String() != again.String() {
			t.Errorf("with more behind it: %v %d %v, without %v %d", again, n, err, source, size)
		}
	})
}

func writePair(t *testing.T, dir, file, name string) Pair {
	cert, key := certificate.Write(t, dir, file, name)
	return Pair{cert, key}
}

// shows is the common name of the certificate that a client gets which asks for a name.
func shows(t *testing.T, c *Certs, name string) string {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		s := tls.Server(far, c.Config())
		_ = s.Handshake()
		_ = s.Close()
	}()
	client := tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// tickets counts what a client is given to resume its session with.
type tickets struct{ n int }

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *tickets) Put(string, *tls.ClientSessionState)        { c.n++ }

// A client that names no protocols gets nothing behind the handshake that it has not asked for.
func TestTickets(t *testing.T) {
	c, err := OpenCerts(CertConfig{Pairs: []Pair{writePair(t, t.TempDir(), "a", "a.example")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		protos []string
		want   bool
	}{{"a client of STOMP", nil, false}, {"a browser", []string{"http/1.1"}, true}} {
		t.Run(test.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			go func() {
				s := tls.Server(far, c.Config())
				_, _ = s.Write([]byte{'\n'})
				_ = s.Close()
			}()
			var got tickets
			client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, NextProtos: test.protos, ClientSessionCache: &got})
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if got.n > 0 != test.want {
				t.Errorf("it got %d tickets", got.n)
			}
		})
	}
}

func TestCertificatesByName(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCerts(CertConfig{Pairs: []Pair{writePair(t, dir, "a", "a.example"), writePair(t, dir, "b", "b.example")}})
	if err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{"a.example": "a.example", "b.example": "b.example", "c.example": "a.example", "": "a.example"} {
		if got := shows(t, c, ask); got != want {
			t.Errorf("who asks for %q gets %q, want %q", ask, got, want)
		}
	}
}

// A told is a log that says on a channel which lines it got.
type told struct {
	slog.Handler
	c chan string
}

func (h told) Handle(_ context.Context, r slog.Record) error {
	h.c <- r.Message
	return nil
}

func TestCertificatesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	pair := writePair(t, dir, "a", "first.example")
	log := told{slog.DiscardHandler, make(chan string, 10)}
	log.Handler = slog.NewTextHandler(t.Output(), nil)
	c, err := OpenCerts(CertConfig{Pairs: []Pair{pair}, Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Watch(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	change := func(want string, do func()) {
		t.Helper()
		// The watch may begin after the change: then another makes it look. And it may look
		// between the two halves of a pair, which it tells, as it does of a change before.
		for range 50 {
			do()
			for patience := time.After(5 * settle); patience != nil; {
				select {
				case got := <-log.c:
					if got == want {
						return
					}
				case <-patience:
					patience = nil
				}
			}
		}
		t.Fatalf("the log does not say %q", want)
	}
	change("certificates reloaded", func() { writePair(t, dir, "a", "second.example") })
	if got := shows(t, c, ""); got != "second.example" {
		t.Errorf("after a change: %q", got)
	}
	change("certificates were not reloaded, those before stay", func() {
		if err := os.WriteFile(pair.Key, []byte("no key"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if got := shows(t, c, ""); got != "second.example" {
		t.Errorf("after a broken pair: %q", got)
	}
	change("certificates reloaded", func() { // as it is renamed over the old
		next := writePair(t, dir, "next", "third.example")
		for from, to := range map[string]string{next.Cert: pair.Cert, next.Key: pair.Key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got := shows(t, c, ""); got != "third.example" {
		t.Errorf("after a rename: %q", got)
	}
}

func TestCertificatesThatAreWrong(t *testing.T) {
	dir := t.TempDir()
	pair := writePair(t, dir, "a", "a.example")
	other := writePair(t, dir, "b", "b.example")
	for _, test := range []struct {
		name string
		cfg  CertConfig
		want string
	}{
		{"no file", CertConfig{Pairs: []Pair{{"none.pem", pair.Key}}}, "none.pem"},
		{"another's key", CertConfig{Pairs: []Pair{{pair.Cert, other.Key}}}, "private key does not match"},
		{"client_auth", CertConfig{Pairs: []Pair{pair}, ClientAuth: "maybe"}, "none, want or need"},
		{"no client_ca", CertConfig{Pairs: []Pair{pair}, ClientAuth: "need"}, "client_ca"},
		{"an empty client_ca", CertConfig{Pairs: []Pair{pair}, ClientAuth: "need", ClientCA: pair.Key}, "no certificate"},
	} {
		if _, err := OpenCerts(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestNameOfCertificate(t *testing.T) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "app", Organization: []string{"Org"}}, DNSNames: []string{"app.example"}, EmailAddresses: []string{"app@example"}}
	for by, want := range map[string]string{"cn": "app", "dn": "CN=app,O=Org", "san": "app@example", "": ""} {
		if got := Name(c, by); got != want {
			t.Errorf("%s: %q, want %q", by, got, want)
		}
	}
}
