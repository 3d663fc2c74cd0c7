package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEConfig says which certificates are had of an authority by ACME (RFC 8555). Whoever fills it
// in has accepted the authority's terms.
type ACMEConfig struct {
	Hosts     []string // names, at least one, each of which gets a certificate
	Email     string   // for what the authority has to say; "" for nothing
	Directory string   // address of the authority; "" is Let's Encrypt
	CA        string   // file of those who sign the authority's own certificate; "": the system's
	Cache     string   // directory of account and certificates
	Log       *slog.Logger
}

// An ACME has certificates of an authority, and has them renewed before they end. It asks for the
// first ones in Run: a client never waits for one, nor makes one be asked for.
type ACME struct {
	cfg  ACMEConfig
	m    *autocert.Manager
	over atomic.Bool // nothing is sent any more

	mu   sync.Mutex // guards what follows
	have map[string]bool
}

// CheckACMEHosts says whether all of them are names that an authority gives a certificate to here.
func CheckACMEHosts(hosts []string) error {
	for _, host := range hosts {
		if !strings.Contains(strings.Trim(host, "."), ".") || strings.ContainsAny(host, "*:/ ") || net.ParseIP(host) != nil {
			return fmt.Errorf("acme: %q is not the name of a host, such as stomp.example.org", host)
		}
	}
	return nil
}

// OpenACME looks the configuration over. Nobody is asked yet.
func OpenACME(cfg ACMEConfig) (*ACME, error) {
	a := &ACME{cfg: cfg, have: make(map[string]bool)}
	if err := CheckACMEHosts(cfg.Hosts); err != nil {
		return nil, err
	}
	if len(cfg.Hosts) == 0 {
		return nil, errors.New("acme: there is no host to have a certificate for")
	}
	if err := os.MkdirAll(cfg.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("acme: the directory of certificates: %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.IdleConnTimeout = 10 * time.Second
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("acme: ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("acme: ca %s: there is no certificate in it", cfg.CA)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	hc := &http.Client{Timeout: time.Minute, Transport: sender{t, &a.over}}
	a.m = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(cfg.Cache), HostPolicy: autocert.HostWhitelist(cfg.Hosts...), Email: cfg.Email,
		Client: &acme.Client{DirectoryURL: cfg.Directory, HTTPClient: hc, UserAgent: "stompserver"},
	}
	if cfg.Directory == "" {
		a.m.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	return a, nil
}

// Handler answers an authority that looks at port 80 (HTTP-01), and others with a hint.
func (a *ACME) Handler() http.Handler {
	h := a.m.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "There is nothing here but answers to an authority of certificates.", http.StatusNotFound)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err == nil { // of an authority that looks at another port
			r.Host = host
		}
		h.ServeHTTP(w, r)
	})
}

// How long after a failure a host is asked for again. Authorities count failures: Let's Encrypt
// takes five an hour.
var acmePauses = []time.Duration{2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}

// Run gets the first certificate of each host, until ctx ends or there are all. Renewing them is
// seen to from then on.
func (a *ACME) Run(ctx context.Context) {
	// What is under way when ctx ends is left to itself: nothing that it asks for is sent any more.
	context.AfterFunc(ctx, func() { a.over.Store(true) })
	left := slices.Clone(a.cfg.Hosts)
	for try := 0; ; try++ {
		pause := acmePauses[min(try, len(acmePauses)-1)]
		left = slices.DeleteFunc(left, func(host string) bool {
			type answer struct {
				cert *tls.Certificate
				err  error
			}
			answered := make(chan answer, 1)
			go func() { // ends within five minutes
				cert, err := a.m.GetCertificate(modern(host))
				answered <- answer{cert, err}
			}()
			select {
			case <-ctx.Done():
				return false
			case got := <-answered:
				if got.err != nil {
					if ctx.Err() == nil {
						a.cfg.Log.Error("no certificate from the authority", "host", host, "err", got.err, "again_in", pause)
					}
					return false
				}
				a.mu.Lock()
				a.have[host] = true
				a.mu.Unlock()
				a.cfg.Log.Info("certificate of the authority is there", "host", host, "valid_until", got.cert.Leaf.NotAfter)
				return true
			}
		})
		if len(left) == 0 {
			<-ctx.Done()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// A sender sends requests to the authority, until the server is over.
type sender struct {
	http.RoundTripper
	over *atomic.Bool
}

func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.over.Load() {
		return nil, errors.New("the server stops")
	}
	return s.RoundTripper.RoundTrip(r)
}

// modern is what a client of today says: all get one kind of certificate, so that no client has
// another one asked for.
func modern(host string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: host, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// ACMEProto is what an authority negotiates that looks at who is here, and no client does.
const ACMEProto = acme.ALPNProto

// asks reports whether it is the authority that connects, to see who is here (RFC 8737).
func asks(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}

// certificate is that for a client; nil, without an error, if one of a file is to be had for it.
func (a *ACME) certificate(hello *tls.ClientHelloInfo, files bool) (*tls.Certificate, error) {
	if asks(hello) {
		return a.m.GetCertificate(hello)
	}
	host := a.cfg.Hosts[0]
	if i := slices.IndexFunc(a.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, strings.TrimSuffix(hello.ServerName, ".")) }); i >= 0 {
		host = a.cfg.Hosts[i]
	} else if files {
		return nil, nil
	}
	a.mu.Lock()
	have := a.have[host]
	a.mu.Unlock()
	switch {
	case have:
		return a.m.GetCertificate(modern(host))
	case files:
		return nil, nil
	}
	return nil, fmt.Errorf("there is no certificate of the authority for %s yet", host)
}

// leaves are the certificates that are there.
func (a *ACME) leaves() (all []*x509.Certificate) {
	for _, host := range a.cfg.Hosts {
		a.mu.Lock()
		have := a.have[host]
		a.mu.Unlock()
		if !have {
			continue
		}
		if cert, err := a.m.GetCertificate(modern(host)); err == nil && cert.Leaf != nil {
			all = append(all, cert.Leaf)
		}
	}
	return all
}
