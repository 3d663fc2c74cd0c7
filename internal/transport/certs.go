package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// A Pair is a certificate, with those it is signed by, and its private key, in files of PEM.
type Pair struct{ Cert, Key string }

// CertConfig says what Certs are read from.
type CertConfig struct {
	Pairs      []Pair // by SNI, the first where the client names none of them
	ACME       *ACME  // further ones of an authority, or instead of them; nil: none
	ClientCA   string // file of the certificates that sign those of clients; "" for none
	ClientAuth string // none, want or need: whether clients show a certificate; "" is none
	Log        *slog.Logger
}

// Certs are the server's certificates, as they are in their files. They may be used from any
// goroutine.
type Certs struct {
	now     atomic.Pointer[reading]
	public  *tls.Config
	another chan struct{} // tells Watch that the files are others
	reload  sync.Mutex    // held by what changes now
}

// A reading is what the files said.
type reading struct {
	cfg   CertConfig
	tls   *tls.Config
	plain *tls.Config // for clients that do not come from a browser or the like
	ca    []byte      // the text of ClientCA
	asked *tls.Config // for an authority that asks, which shows no certificate; nil: there is none
}

// OpenCerts reads the files. An error says which of them is wrong.
func OpenCerts(cfg CertConfig) (*Certs, error) {
	c := &Certs{another: make(chan struct{}, 1)}
	if err := c.SetConfig(cfg); err != nil {
		return nil, err
	}
	c.public = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now := c.now.Load()
			switch {
			case now.asked != nil && asks(hello):
				return now.asked, nil
			case len(hello.SupportedProtos) == 0:
				return now.plain, nil
			}
			return now.tls, nil
		},
	}
	return c, nil
}

// Config is for servers; connections that are made after a Reload get what that read.
func (c *Certs) Config() *tls.Config { return c.public }

// Reload reads the files again. If they are not all right nothing changes.
func (c *Certs) Reload() error {
	c.reload.Lock()
	defer c.reload.Unlock()
	return c.set(c.now.Load().cfg)
}

// SetConfig has other files be read from now on. If they are not all right nothing changes.
func (c *Certs) SetConfig(cfg CertConfig) error {
	c.reload.Lock()
	defer c.reload.Unlock()
	if err := c.set(cfg); err != nil {
		return err
	}
	select {
	case c.another <- struct{}{}:
	default:
	}
	return nil
}

// set reads the files of cfg. Called with reload held.
func (c *Certs) set(cfg CertConfig) error {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1", "stomp", "v12.stomp", "v11.stomp", "v10.stomp"},
	}
	if len(cfg.Pairs) == 0 && cfg.ACME == nil {
		return errors.New("there is no certificate")
	}
	for _, p := range cfg.Pairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
		}
		t.Certificates = append(t.Certificates, pair)
	}
	switch cfg.ClientAuth {
	case "", "none":
	case "want":
		t.ClientAuth = tls.VerifyClientCertIfGiven
	case "need":
		t.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return fmt.Errorf("client_auth is none, want or need, not %q", cfg.ClientAuth)
	}
	var text []byte
	if cfg.ClientCA != "" {
		var err error
		if text, err = os.ReadFile(cfg.ClientCA); err != nil {
			return fmt.Errorf("client_ca: %w", err)
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("client_ca %s: there is no certificate in it", cfg.ClientCA)
		}
	} else if t.ClientAuth != tls.NoClientCert {
		return errors.New("client_auth wants client_ca: the certificates that sign those of clients")
	}
	r := &reading{cfg: cfg, tls: t, ca: text}
	if cfg.ACME != nil {
		files := len(cfg.Pairs) > 0
		t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return cfg.ACME.certificate(hello, files) }
		r.asked = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}, GetCertificate: t.GetCertificate}
	}
	// In TLS 1.3 the tickets to resume a session with come behind the handshake. A client that reads in one thread while
	// another sends its first frame, as those in Python do, may have that go wrong in its library and wait for ever.
	// Those who would make use of tickets, browsers above all, say which protocols they speak.
	r.plain = t.Clone()
	r.plain.SessionTicketsDisabled = true
	c.now.Store(r)
	return nil
}

// leaves are the certificates in use.
func (c *Certs) leaves() (all []*x509.Certificate) {
	now := c.now.Load()
	for _, p := range now.tls.Certificates {
		if p.Leaf != nil {
			all = append(all, p.Leaf)
		}
	}
	if now.cfg.ACME != nil {
		all = append(all, now.cfg.ACME.leaves()...)
	}
	return all
}

// End is when the first of the certificates ends.
func (c *Certs) End() time.Time {
	var end time.Time
	for _, leaf := range c.leaves() {
		if end.IsZero() || leaf.NotAfter.Before(end) {
			end = leaf.NotAfter
		}
	}
	return end
}

// Ends are when they end, by their files, or the names of those that an authority gave.
func (c *Certs) Ends() map[string]time.Time {
	all := make(map[string]time.Time)
	now := c.now.Load()
	for i, p := range now.tls.Certificates {
		if p.Leaf != nil {
			all[now.cfg.Pairs[i].Cert] = p.Leaf.NotAfter
		}
	}
	if now.cfg.ACME != nil {
		for _, leaf := range now.cfg.ACME.leaves() {
			all[nameOf(leaf)] = leaf.NotAfter
		}
	}
	return all
}

// Watch reloads the files when they change, until ctx ends. A pair that cannot be used is said in
// the log, and the one before stays.
func (c *Certs) Watch(ctx context.Context) error {
	for ctx.Err() == nil {
		here, stop := context.WithCancel(ctx)
		var err error
		var watching sync.WaitGroup
		watching.Go(func() { // ends with here
			if files := c.files(); len(files) > 0 {
				err = WatchFiles(here, files, c.look)
			}
		})
		failed := make(chan struct{})
		go func() { // ends with the one above
			watching.Wait()
			if err != nil {
				close(failed)
			}
		}()
		select {
		case <-c.another:
		case <-failed:
		case <-ctx.Done():
		}
		stop()
		watching.Wait()
		if err != nil {
			return err
		}
	}
	return nil
}

// look reloads the files if they say something else.
func (c *Certs) look() {
	if !c.changed() {
		return
	}
	log := c.now.Load().cfg.Log
	if err := c.Reload(); err != nil {
		log.Error("certificates were not reloaded, those before stay", "err", err)
		return
	}
	log.Info("certificates reloaded", "valid_until", c.End())
}

func (c *Certs) files() []string {
	var all []string
	cfg := c.now.Load().cfg
	for _, p := range cfg.Pairs {
		all = append(all, p.Cert, p.Key)
	}
	if cfg.ClientCA != "" {
		all = append(all, cfg.ClientCA)
	}
	return all
}

// changed reports whether a certificate is another than the one in use. A file that cannot be
// read has changed.
func (c *Certs) changed() bool {
	now := c.now.Load()
	if now.cfg.ClientCA != "" {
		if text, err := os.ReadFile(now.cfg.ClientCA); err != nil || !bytes.Equal(text, now.ca) {
			return true
		}
	}
	for i, p := range now.cfg.Pairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil || !slices.EqualFunc(pair.Certificate, now.tls.Certificates[i].Certificate, slices.Equal) {
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
