package stompserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"stompserver/internal/transport"
)

// ACME is an authority that gives certificates to who has a name: Let's Encrypt, or one of one's
// own. Without Hosts there is none.
type ACME struct {
	Hosts       []string // the names, which lead to this server
	AcceptTerms bool     // the authority's, which it asks for
	Email       string
	Directory   string // its address; default Let's Encrypt
	CA          string // file of those who sign its own certificate; default the system's
	Cache       string // directory of account and certificates; default acme

	// HTTP is HOST:PORT, to which port 80 of the hosts leads, for an authority that looks there;
	// default off: it looks at port 443, which is to lead to a port of STOMP.
	HTTP string
}

var acmeSettings = []*Setting{
	Setting{Key: "tls.acme.hosts", Restart: true, Doc: "names of this server for which certificates are had by ACME, of Let's Encrypt unless tls.acme.directory says otherwise"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.TLS.ACME.Hosts, err = parseWords(v); return err },
		func(s *Settings) string { return inBrackets(s.Config.TLS.ACME.Hosts) }),
	Setting{Key: "tls.acme.accept_terms", Restart: true, Doc: "whether the terms of that authority are accepted; without it there is no certificate"}.flag(func(s *Settings) *bool { return &s.Config.TLS.ACME.AcceptTerms }),
	Setting{Key: "tls.acme.email", Restart: true, Doc: "address for what the authority has to say"}.text(func(s *Settings) *string { return &s.Config.TLS.ACME.Email }),
	Setting{Key: "tls.acme.directory", Restart: true, Doc: "address of the authority; empty is Let's Encrypt"}.with(setACMEDirectory, func(s *Settings) string { return s.Config.TLS.ACME.Directory }),
	Setting{Key: "tls.acme.ca", Restart: true, Doc: "file of those who sign the authority's own certificate, in PEM; empty: those of the system"}.text(func(s *Settings) *string { return &s.Config.TLS.ACME.CA }),
	Setting{Key: "tls.acme.cache", Restart: true, Doc: "directory of the account and the certificates; relative to working_dir"}.text(func(s *Settings) *string { return &s.Config.TLS.ACME.Cache }),
	Setting{Key: "tls.acme.http", Restart: true, Doc: "HOST:PORT, to which port 80 of the hosts leads, for an authority that looks there; off: it looks at port 443, which leads to a port with TLS"}.with(
		setACMEHTTP, func(s *Settings) string {
			if s.Config.TLS.ACME.HTTP == "" {
				return "off"
			}
			return s.Config.TLS.ACME.HTTP
		}),
}

func setACMEDirectory(s *Settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		return fmt.Errorf("%q is not the address of an authority, such as https://acme.example.org/directory", v)
	}
	s.Config.TLS.ACME.Directory = v
	return nil
}

func setACMEHTTP(s *Settings, v string) error {
	if v == "off" {
		s.Config.TLS.ACME.HTTP = ""
		return nil
	}
	if _, _, err := splitAddress(v); err != nil {
		return fmt.Errorf("%q is no address: %w", v, err)
	}
	s.Config.TLS.ACME.HTTP = v
	return nil
}

// open is the authority; nil: there is none.
func (a *ACME) open(log *slog.Logger) (*transport.ACME, error) {
	if len(a.Hosts) == 0 {
		return nil, nil
	}
	if !a.AcceptTerms {
		return nil, errors.New("tls.acme: the authority wants its terms to be accepted (those of Let's Encrypt are at https://letsencrypt.org/repository/): set tls.acme.accept_terms: true")
	}
	t, err := transport.OpenACME(transport.ACMEConfig{Hosts: a.Hosts, Email: a.Email, Directory: a.Directory, CA: a.CA, Cache: a.Cache, Log: log})
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	return t, nil
}

// checkACME says what is wrong with it when all settings are known.
func (l *loader) checkACME() {
	a := &l.s.Config.TLS.ACME
	plain := defaultSettings(l.Dir, l.Version)
	for _, t := range acmeSettings {
		if len(a.Hosts) == 0 && t.Key != "tls.acme.cache" && t.Value(l.s) != t.Value(plain) {
			l.problem(l.s.sources[t.Key], "%s is set, but there are no tls.acme.hosts", t.Key)
			return
		}
	}
	if len(a.Hosts) > 0 && !a.AcceptTerms && !l.wrong["tls.acme.accept_terms"] {
		l.problem(l.s.sources["tls.acme.hosts"], "tls.acme.hosts is set, but not that the terms of the authority are accepted: read them, and set tls.acme.accept_terms: true")
	}
}

// listenACME listens where an authority looks at HTTP, if that is wanted.
func (s *Server) listenACME(ctx context.Context) ([]net.Listener, error) {
	if s.acme == nil || s.cfg.TLS.ACME.HTTP == "" {
		return nil, nil
	}
	host, port, err := splitAddress(s.cfg.TLS.ACME.HTTP)
	if err != nil {
		return nil, &ListenError{Addr: s.cfg.TLS.ACME.HTTP, Err: err}
	}
	return s.opener.listenOn(ctx, "acme", host, port)
}

// answerACME answers there. Called with mu held.
func (s *Server) answerACME(ls []net.Listener) {
	if len(ls) == 0 {
		return
	}
	s.answers = &http.Server{
		Handler: s.acme.Handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	for _, l := range ls {
		s.accepting.Go(func() { // ended by Shutdown, which waits
			if err := s.answers.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.cfg.Log.Error("listener failed", "addr", l.Addr().String(), "err", err)
			}
		})
	}
}
