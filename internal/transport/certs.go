package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// A Pair is a certificate, with those it is signed by, and its private key, in files of PEM.
type Pair struct{ Cert, Key string }

// CertConfig says what Certs are read from.
type CertConfig struct {
	Pairs      []Pair // at least one; by SNI, the first where the client names none of them
	ClientCA   string // file of the certificates that sign those of clients; "" for none
	ClientAuth string // none, want or need: whether clients show a certificate; "" is none
	Log        *slog.Logger
}

// Certs are the server's certificates, as they are in their files. They may be used from any
// goroutine.
type Certs struct {
	cfg    CertConfig
	now    atomic.Pointer[tls.Config]
	public *tls.Config
}

// OpenCerts reads the files. An error says which of them is wrong.
func OpenCerts(cfg CertConfig) (*Certs, error) {
	c := &Certs{cfg: cfg}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	c.public = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil },
	}
	return c, nil
}

// Config is for servers; connections that are made after a Reload get what that read.
func (c *Certs) Config() *tls.Config { return c.public }

// Reload reads the files again. If they are not all right nothing changes.
func (c *Certs) Reload() error {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1", "stomp", "v12.stomp", "v11.stomp", "v10.stomp"},
	}
	for _, p := range c.cfg.Pairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
		}
		t.Certificates = append(t.Certificates, pair)
	}
	switch c.cfg.ClientAuth {
	case "", "none":
	case "want":
		t.ClientAuth = tls.VerifyClientCertIfGiven
	case "need":
		t.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return fmt.Errorf("client_auth is none, want or need, not %q", c.cfg.ClientAuth)
	}
	if c.cfg.ClientCA != "" {
		text, err := os.ReadFile(c.cfg.ClientCA)
		if err != nil {
			return fmt.Errorf("client_ca: %w", err)
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("client_ca %s: there is no certificate in it", c.cfg.ClientCA)
		}
	} else if t.ClientAuth != tls.NoClientCert {
		return errors.New("client_auth wants client_ca: the certificates that sign those of clients")
	}
	c.now.Store(t)
	return nil
}

// End is when the first of the certificates ends.
func (c *Certs) End() time.Time {
	var end time.Time
	for _, p := range c.now.Load().Certificates {
		if p.Leaf != nil && (end.IsZero() || p.Leaf.NotAfter.Before(end)) {
			end = p.Leaf.NotAfter
		}
	}
	return end
}

// Ends are when they end, by their files.
func (c *Certs) Ends() map[string]time.Time {
	all := make(map[string]time.Time)
	for i, p := range c.now.Load().Certificates {
		if p.Leaf != nil {
			all[c.cfg.Pairs[i].Cert] = p.Leaf.NotAfter
		}
	}
	return all
}

// Watch reloads the files when they change, until ctx ends. A pair that cannot be used is said in
// the log, and the one before stays.
func (c *Certs) Watch(ctx context.Context) error {
	return WatchFiles(ctx, c.files(), func() {
		if !c.changed() {
			return
		}
		if err := c.Reload(); err != nil {
			c.cfg.Log.Error("certificates were not reloaded, those before stay", "err", err)
			return
		}
		c.cfg.Log.Info("certificates reloaded", "valid_until", c.End())
	})
}

func (c *Certs) files() []string {
	var all []string
	for _, p := range c.cfg.Pairs {
		all = append(all, p.Cert, p.Key)
	}
	if c.cfg.ClientCA != "" {
		all = append(all, c.cfg.ClientCA)
	}
	return all
}

// changed reports whether a certificate is another than the one in use. A file that cannot be
// read has changed; so has that of clients, which is not compared.
func (c *Certs) changed() bool {
	if c.cfg.ClientCA != "" {
		return true
	}
	now := c.now.Load()
	for i, p := range c.cfg.Pairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil || !slices.EqualFunc(pair.Certificate, now.Certificates[i].Certificate, slices.Equal) {
			return true
		}
	}
	return false
}

// Name is what a certificate calls its owner: cn is the common name, dn the whole of it, san the
// first alternative name, an e-mail address before others. Empty if it has none.
func Name(c *x509.Certificate, by string) string {
	switch by {
	case "cn":
		return c.Subject.CommonName
	case "dn":
		return c.Subject.String()
	case "san":
		switch {
		case len(c.EmailAddresses) > 0:
			return c.EmailAddresses[0]
		case len(c.DNSNames) > 0:
			return c.DNSNames[0]
		case len(c.URIs) > 0:
			return c.URIs[0].String()
		case len(c.IPAddresses) > 0:
			return c.IPAddresses[0].String()
		}
	}
	return ""
}
