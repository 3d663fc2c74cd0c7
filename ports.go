package stompserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"stompserver/internal/origin"
	"stompserver/internal/session"
	"stompserver/internal/transport"
)

// TLS is what clients are spoken with that begin with it.
type TLS struct {
	// Cert and Key are files of PEM: the server's certificate, with those it is signed by, and
	// its private key. Default: there is no TLS.
	Cert, Key string

	// More are further pairs, for clients that ask for another name (SNI).
	More []KeyPair

	// ClientCA is a file of the certificates that sign those of clients. ClientAuth says whether
	// clients show one: none, which is the default, want or need.
	ClientCA, ClientAuth string

	// ACME are certificates of an authority, beside those of files or instead of them.
	ACME ACME

	// LoginFromCert says what of its certificate is the login of a client that names none: cn,
	// dn or san. Default: nothing.
	LoginFromCert string
}

// A KeyPair is a certificate and its key, in files of PEM.
type KeyPair struct{ Cert, Key string }

// A Listener is a further place to connect to.
type Listener struct {
	// Address is HOST:PORT, with hosts as Config.Host has them, or unix:FILE.
	Address string

	// Protocols are what may be spoken there: stomp, stomp+tls, ws and wss. Default: all.
	Protocols []string

	// TrustedProxies are as those of Config, which they stand in for; nil is those.
	TrustedProxies []netip.Prefix
}

// speeches are the protocols by their names.
var speeches = map[string]session.Speech{
	"stomp": session.Plain, "stomp+tls": session.Secure, "ws": session.Web, "wss": session.WebOver,
}

// A port is a listener and what may be spoken there.
type port struct {
	net.Listener
	*session.Port
}

// on reports whether there is to be TLS.
func (t *TLS) on() bool {
	return t.Cert != "" || t.Key != "" || len(t.More) > 0 || len(t.ACME.Hosts) > 0
}

// checkTLS says what is wrong with TLS, as far as that can be told without its files; key is the
// setting that it is about.
func (c *Config) checkTLS() (key string, err error) {
	t := &c.TLS
	asked := t.ClientAuth != "" && t.ClientAuth != "none"
	if !t.on() {
		none := errors.New("there is no TLS: certificates of clients want tls.cert and tls.key")
		switch {
		case t.ClientCA != "":
			return "tls.client_ca", none
		case asked:
			return "tls.client_auth", none
		case t.LoginFromCert != "":
			return "tls.login_from_cert", none
		}
		for _, l := range c.Listeners {
			if len(l.Protocols) > 0 && !slices.ContainsFunc(l.Protocols, func(p string) bool { return p == "stomp" || p == "ws" }) {
				return "listeners", fmt.Errorf("the listener %s speaks TLS only, and there is no tls.cert", l.Address)
			}
		}
		return "", nil
	}
	switch half := errors.New("tls.cert and tls.key belong together, and one is missing"); {
	case t.Cert == "" && t.Key != "":
		return "tls.key", half
	case t.Cert != "" && t.Key == "":
		return "tls.cert", half
	case t.Cert == "" && len(t.ACME.Hosts) == 0:
		return "tls.certificates", errors.New("the first pair is tls.cert and tls.key, which are missing")
	case asked && t.ClientCA == "":
		return "tls.client_auth", errors.New("tls.client_auth wants tls.client_ca: the certificates that sign those of clients")
	}
	if err := transport.CheckACMEHosts(t.ACME.Hosts); err != nil {
		return "tls.acme.hosts", fmt.Errorf("tls.%w", err)
	}
	return "", nil
}

// openTLS reads the certificates, if there are to be any.
func (s *Server) openTLS() error {
	t := s.cfg.TLS
	if _, err := s.cfg.checkTLS(); err != nil || !t.on() {
		return err
	}
	var err error
	if s.acme, err = t.ACME.open(s.cfg.Log); err != nil {
		return err
	}
	cc, err := s.certConfig(t)
	if err != nil {
		return err
	}
	s.certs, err = transport.OpenCerts(cc)
	return err
}

// certConfig is what t says of certificates; those of an authority stay as they were at New.
func (s *Server) certConfig(t TLS) (transport.CertConfig, error) {
	cc := transport.CertConfig{ClientCA: t.ClientCA, ClientAuth: t.ClientAuth, ACME: s.acme, Log: s.cfg.Log}
	if (t.Cert == "") != (t.Key == "") || t.Cert == "" && s.acme == nil {
		return cc, errors.New("tls.cert and tls.key belong together, and one is missing")
	}
	if t.Cert != "" {
		cc.Pairs = append(cc.Pairs, transport.Pair{Cert: t.Cert, Key: t.Key})
	}
	for _, p := range t.More {
		cc.Pairs = append(cc.Pairs, transport.Pair(p))
	}
	return cc, nil
}

// reloadTLS reads the certificates of t, which may be others than before.
func (s *Server) reloadTLS(t TLS) error {
	switch {
	case s.certs == nil && t.on():
		return errors.New("there was no TLS at the start: tls.cert needs a restart")
	case s.certs == nil:
		return nil
	case !t.on() && s.acme == nil:
		return errors.New("TLS is not switched off without a restart, the certificates before stay")
	}
	cc, err := s.certConfig(t)
	if err != nil {
		return err
	}
	return s.certs.SetConfig(cc)
}

// hosts are the names by which this machine may be called without a login.
func (s *Server) hosts() []string {
	var all []string
	add := func(addr string) {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			all = append(all, host)
		}
	}
	all = append(all, strings.Trim(s.cfg.Host, "[]"))
	add(s.cfg.HTTP.Listen)
	for _, l := range s.cfg.Listeners {
		add(l.Address)
	}
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	if s.cfg.VHosts.Enabled {
		for _, v := range s.cfg.VHosts.List {
			all = append(append(all, v.Name), v.Aliases...)
		}
	}
	return all
}

func (s *Server) guard() origin.Guard {
	return origin.Guard{Login: s.cfg.Auth, Open: s.sessions.Anonymous, Hosts: s.hosts(), Origins: s.cfg.Origins}
}

// portOf is what may be spoken at a listener.
func (s *Server) portOf(l Listener, hint string) *session.Port {
	p := &session.Port{BasicAuth: s.cfg.BasicAuth, Origins: s.guard(), Trusted: l.TrustedProxies, LoginBy: s.cfg.TLS.LoginFromCert, Hint: hint}
	if p.Trusted == nil {
		p.Trusted = s.cfg.TrustedProxies
	}
	for _, name := range l.Protocols {
		p.Speaks |= speeches[name]
	}
	if s.certs != nil && (p.Speaks == session.AnySpeech || p.Speaks&(session.Secure|session.WebOver) != 0) {
		p.TLS = s.certs.Config()
	}
	return p
}

// listenAllPorts opens every listener for STOMP: those of host and port, which come first, and
// those of listeners.
func (s *Server) listenAllPorts(ctx context.Context, hint string) (all []port, main int, err error) {
	fail := func(err error) ([]port, int, error) {
		for _, p := range all {
			_ = p.Close()
		}
		return nil, 0, err
	}
	ls, err := s.opener.activated("stomp")
	if err != nil {
		return fail(&ListenError{Addr: s.cfg.Host, Err: err})
	}
	if ls == nil {
		ls, err = s.opener.listenOn(ctx, "stomp", s.cfg.Host, s.cfg.Port)
	}
	if err != nil {
		return fail(err)
	}
	how := s.portOf(Listener{}, hint)
	for _, l := range ls {
		all = append(all, port{l, how})
	}
	main = len(all)
	for i, l := range s.cfg.Listeners {
		ls, err := l.listen(ctx, &s.opener, fmt.Sprint("listener-", i))
		if err != nil {
			return fail(err)
		}
		how := s.portOf(l, hint)
		for _, l := range ls {
			all = append(all, port{l, how})
		}
	}
	s.opener.rest()
	return all, main, nil
}

func (l Listener) listen(ctx context.Context, o *opener, part string) ([]net.Listener, error) {
	if file, ok := strings.CutPrefix(l.Address, "unix:"); ok {
		key := part + " unix " + file
		u, err := o.inherited(key)
		if u == nil && err == nil {
			u, err = listenUnix(ctx, file)
		}
		if err != nil {
			return nil, &ListenError{Addr: l.Address, Err: err}
		}
		if l, ok := u.(*net.UnixListener); ok {
			l.SetUnlinkOnClose(true) // also of one that was inherited
		}
		o.note(u, key)
		return []net.Listener{u}, nil
	}
	host, n, err := splitAddress(l.Address)
	if err != nil {
		return nil, &ListenError{Addr: l.Address, Err: err}
	}
	return o.listenOn(ctx, part, host, n)
}

// listenUnix listens on a socket in the file system, which it takes away when it is closed. One
// that nobody listens on any more is replaced.
func listenUnix(ctx context.Context, file string) (net.Listener, error) {
	var lc net.ListenConfig
	u, err := lc.Listen(ctx, "unix", file)
	if err == nil {
		return u, nil
	}
	if info, e := os.Lstat(file); e != nil || info.Mode()&os.ModeSocket == 0 {
		return nil, reason(err)
	}
	var d net.Dialer
	if c, e := d.DialContext(ctx, "unix", file); e == nil {
		_ = c.Close()
		return nil, reason(err)
	}
	if err := os.Remove(file); err != nil {
		return nil, err
	}
	u, err = lc.Listen(ctx, "unix", file)
	if err != nil {
		return nil, reason(err)
	}
	return u, nil
}

// webHint tells programs of HTTP that come to the wrong port where there is HTTP.
func webHint(doors []net.Listener) string {
	if len(doors) == 0 {
		return ""
	}
	t, ok := doors[0].Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := t.IP.String()
	if t.IP.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return "HTTP is at http://" + net.JoinHostPort(host, strconv.Itoa(t.Port)) + "/."
}
