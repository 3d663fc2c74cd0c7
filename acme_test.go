package stompserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/test/certificate"
	"stompserver/test/pebble"
)

// shown is the certificate that a client of c gets at addr.
func shown(addr string, c *tls.Config) (*x509.Certificate, error) {
	c = c.Clone()
	c.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", addr, c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "CONNECT\naccept-version:1.2\n\n\x00DISCONNECT\nreceipt:1\n\n\x00"); err != nil {
		return nil, err
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "CONNECTED\n") {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// TestACME has a certificate of an authority that looks at the port of STOMP, or at HTTP.
func TestACME(t *testing.T) {
	const host = "stomp.example.org"
	for _, row := range []struct {
		name string
		http bool
		need bool // certificates of clients, of which the authority has none
	}{{name: "TLS-ALPN-01"}, {name: "TLS-ALPN-01, with certificates of clients", need: true}, {name: "HTTP-01", http: true}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			port, other := pebble.FreePort(t), pebble.FreePort(t)
			dir := t.TempDir()
			log := new(safeBuffer)
			cfg := stompserver.Config{
				Listeners: []stompserver.Listener{{Address: "127.0.0.1:" + strconv.Itoa(port)}}, // where the authority looks
				Log:       slog.New(slog.NewTextHandler(log, nil)),
				TLS:       stompserver.TLS{ACME: stompserver.ACME{Hosts: []string{host}, AcceptTerms: true, Email: "a@example.org", Cache: filepath.Join(dir, "acme")}},
			}
			client := &tls.Config{ServerName: host}
			if row.need {
				pair := certificate.Make(t, "joe")
				cfg.TLS.ClientCA, _ = certificate.WritePair(t, dir, "client", pair)
				cfg.TLS.ClientAuth = "need"
				client.Certificates = []tls.Certificate{pair}
			}
			var a *pebble.Server
			if row.http {
				a = pebble.Start(t, 1, other)
				cfg.TLS.ACME.HTTP = "127.0.0.1:" + strconv.Itoa(other)
			} else {
				a = pebble.Start(t, port, 1)
			}
			cfg.TLS.ACME.Directory, cfg.TLS.ACME.CA = a.Directory, a.CA
			s := start(t, cfg)
			addr := s.Addrs()[0].String()
			var got *x509.Certificate
			for deadline := time.Now().Add(60 * time.Second); got == nil; time.Sleep(20 * time.Millisecond) {
				var err error
				if got, err = shown(addr, client); err == nil && got == nil {
					t.Fatal("STOMP is not spoken within TLS")
				}
				if err != nil && time.Now().After(deadline) {
					t.Fatalf("%v\n%s", err, log)
				}
			}
			if err := got.VerifyHostname(host); err != nil || !strings.Contains(got.Issuer.CommonName, "Pebble") {
				t.Errorf("%v, of %s", err, got.Issuer)
			}
			client.ServerName = ""
			if again, err := shown(addr, client); err != nil || !again.Equal(got) {
				t.Errorf("who names no host gets another: %v", err)
			}
			if row.http {
				answer, err := http.Get("http://" + cfg.TLS.ACME.HTTP + "/x")
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusNotFound {
					t.Errorf("others are answered %d", answer.StatusCode)
				}
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			// The next process has it at once, whether the authority is there or not.
			cfg.TLS.ACME.Directory = "https://localhost:1/dir"
			s = start(t, cfg)
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				again, err := shown(s.Addrs()[0].String(), client)
				if err == nil && again.Equal(got) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the one that was kept is not there: %v", err)
				}
			}
		})
	}
}

// TestACMEAway: without its authority the server starts, says why there is no certificate, and
// serves who needs none.
func TestACMEAway(t *testing.T) {
	log := new(safeBuffer)
	s := start(t, stompserver.Config{
		Log: slog.New(slog.NewTextHandler(log, nil)),
		TLS: stompserver.TLS{ACME: stompserver.ACME{Hosts: []string{"stomp.example.org"}, AcceptTerms: true, Directory: "https://127.0.0.1:1/dir", Cache: t.TempDir()}},
	})
	addr := s.Addrs()[0].String()
	if _, err := shown(addr, &tls.Config{}); err == nil {
		t.Error("there is a certificate")
	}
	if got := exchange(t, addr, "CONNECT\naccept-version:1.2\n\n\x00DISCONNECT\n\n\x00"); !strings.HasPrefix(got, "CONNECTED\n") {
		t.Errorf("in the clear the answer is %q", got)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "no certificate from the authority"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say why: %s", log)
		}
	}
}

func TestACMESettings(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{"tls: {acme: {hosts: [a.example.org]}}", "tls.acme.accept_terms: true"},
		{"tls: {acme: {email: a@b}}", "there are no tls.acme.hosts"},
		{"tls: {acme: {hosts: [a.example.org], directory: 'http://x/dir', accept_terms: true}}", "not the address of an authority"},
		{"tls: {acme: {hosts: [a.example.org], http: x, accept_terms: true}}", "is no address"},
	} {
		if _, err := stompserver.Load(stompserver.LoadOptions{Dir: writeConfig(t, row.file)}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.file, err, row.want)
		}
	}
	for _, host := range []string{"localhost", "*.example.org", "a.example.org:443"} {
		_, err := stompserver.New(stompserver.Config{TLS: stompserver.TLS{ACME: stompserver.ACME{Hosts: []string{host}, AcceptTerms: true, Cache: t.TempDir()}}})
		if err == nil || !strings.Contains(err.Error(), "not the name of a host") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestTLSOptionsOnReload has the options of certificates change without a restart.
func TestTLSOptionsOnReload(t *testing.T) {
	dir := t.TempDir()
	log := new(safeBuffer)
	cfg := stompserver.Config{Log: slog.New(slog.NewTextHandler(log, nil))}
	cfg.TLS.Cert, cfg.TLS.Key = certificate.Write(t, dir, "a", "a")
	s := start(t, cfg)
	addr := s.Addrs()[0].String()
	name := func(c *tls.Config) string {
		got, err := shown(addr, c)
		if err != nil || got == nil {
			return "refused"
		}
		return got.DNSNames[0]
	}
	reload := func(want string) {
		t.Helper()
		if err := s.Reload(cfg); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%v, want %q", err, want)
		}
	}
	if got := name(&tls.Config{}); got != "a" {
		t.Fatalf("it shows %q", got)
	}
	before, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := before.Handshake(); err != nil {
		t.Fatal(err)
	}

	joe := certificate.Make(t, "joe")
	cfg.TLS.Cert, cfg.TLS.Key = certificate.Write(t, dir, "b", "b")
	cert, key := certificate.Write(t, dir, "c", "c")
	cfg.TLS.More = []stompserver.KeyPair{{Cert: cert, Key: key}}
	cfg.TLS.ClientCA, _ = certificate.WritePair(t, dir, "ca", joe)
	cfg.TLS.ClientAuth = "need"
	reload("")
	with := &tls.Config{Certificates: []tls.Certificate{joe}}
	if got := name(with); got != "b" {
		t.Errorf("it shows %q", got)
	}
	with.ServerName = "c"
	if got := name(with); got != "c" {
		t.Errorf("to who asks for c it shows %q", got)
	}
	if got := name(&tls.Config{}); got != "refused" {
		t.Errorf("who has no certificate is shown %q", got)
	}

	// What cannot be used changes nothing.
	good := cfg.TLS
	for want, change := range map[string]func(*stompserver.TLS){
		"client_auth wants client_ca": func(t *stompserver.TLS) { t.ClientCA = "" },
		"one is missing":              func(t *stompserver.TLS) { t.Key = "" },
		"no such file":                func(t *stompserver.TLS) { t.Cert = filepath.Join(dir, "none") },
		"not switched off":            func(t *stompserver.TLS) { *t = stompserver.TLS{} },
	} {
		cfg.TLS = good
		change(&cfg.TLS)
		reload(want)
		if got := name(with); got != "c" {
			t.Errorf("after %q it shows %q", want, got)
		}
	}
	cfg.TLS = good
	cfg.TLS.ClientAuth = "none"
	reload("")

	// The new files are watched, and who was connected stays.
	pair, _ := certificate.Write(t, t.TempDir(), "d", "d")
	for file, to := range map[string]string{strings.TrimSuffix(pair, ".pem") + ".key": cfg.TLS.Key, pair: cfg.TLS.Cert} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); name(&tls.Config{}) != "d"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it shows %q\n%s", name(&tls.Config{}), log)
		}
	}
	if _, err := io.WriteString(before, "CONNECT\naccept-version:1.2\n\n\x00DISCONNECT\nreceipt:1\n\n\x00"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(before); err != nil || !strings.HasPrefix(string(answer), "CONNECTED\n") {
		t.Errorf("who was connected is answered %q, %v", answer, err)
	}

	plain := start(t, stompserver.Config{})
	if err := plain.Reload(cfg); err == nil || !strings.Contains(err.Error(), "needs a restart") {
		t.Errorf("TLS where there was none: %v", err)
	}
}
