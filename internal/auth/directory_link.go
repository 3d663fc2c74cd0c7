package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxAnswer is how much a directory may say to one login, in bytes.
const maxAnswer = 4 << 20

// Of a length that a directory only claims no memory is to be had either.
func init() { ber.MaxPacketLengthBytes = maxAnswer }

// Whom a connection speaks for.
type standing int

const (
	asNobody  standing = iota
	asService          // BindDN
	asUser             // somebody, rightly or wrongly
)

// A link is a connection to one server of the directory.
type link struct {
	c     *ldap.Conn
	raw   *meter
	of    int // the number of its server
	as    standing
	since time.Time
}

func (l *link) close() {
	_ = l.raw.Close() // or Close would wait for a server that does not read
	_ = l.c.Close()
}

// A meter is a connection that ends when too much has come.
type meter struct {
	net.Conn
	left atomic.Int64
}

var errTooMuch = errors.New("the directory says too much")

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if m.left.Add(-int64(n)) < 0 {
		_ = m.Close()
		return 0, errTooMuch
	}
	return n, err
}

// with calls f with a connection: one that is there, or else of the first server that can be
// reached. When a server fails in the middle of it the next is asked from the start. The error is
// that of f, or ErrAway.
func (d *Directory) with(ctx context.Context, f func(*link) error) error {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var why error
	for old := true; ; {
		var l *link
		var err error
		l, old, err = d.link(ctx, old)
		if err != nil {
			why = errors.Join(why, err)
			break
		}
		err = d.timed(ctx, l, f)
		if err == nil || errors.Is(err, ErrDenied) {
			d.put(l)
			return err
		}
		l.close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		why = errors.Join(why, fmt.Errorf("%s: %w", d.urls[l.of].Redacted(), said(err)))
		if old { // the connection may be to blame, rather than the server
			old = false
			continue
		}
		d.fail(l.of)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrAway, why)
}

// said is err without what the directory has to say about it.
func said(err error) error {
	var e *ldap.Error
	if errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork {
		return errors.New(codeOf(err))
	}
	return err
}

// timed calls f, within the time that it has.
func (d *Directory) timed(ctx context.Context, l *link, f func(*link) error) error {
	// Of up to four steps: to become the service, to search, to bind, to search for groups.
	_ = l.raw.SetDeadline(time.Now().Add(2 * d.cfg.Timeout))
	l.c.SetTimeout(d.cfg.Timeout)
	l.raw.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	err := f(l)
	if !stop() && err == nil {
		return ctx.Err() // it is closed
	}
	_ = l.raw.SetDeadline(time.Time{})
	return err
}

// beService has a connection speak for who searches.
func (d *Directory) beService(l *link) error {
	if d.cfg.BindDN == "" {
		if l.as == asNobody || d.cfg.UserDN != "" {
			return nil
		}
		if err := l.c.UnauthenticatedBind(""); err != nil {
			return fmt.Errorf("bind as nobody: %w", err)
		}
		l.as = asNobody
		return nil
	}
	if l.as == asService {
		return nil
	}
	text, err := readFile(d.cfg.BindFile)
	passcode := strings.Trim(string(text), blanks+"\n")
	if err == nil && passcode == "" {
		err = errors.New("the file of bind_passcode_file is empty")
	}
	if err == nil {
		err = l.c.Bind(d.cfg.BindDN, passcode)
	}
	if err != nil {
		return fmt.Errorf("bind as %s: %w", d.cfg.BindDN, err)
	}
	l.as = asService
	return nil
}

// link is a connection; old says that it was used before, which it may have been.
func (d *Directory) link(ctx context.Context, may bool) (l *link, old bool, err error) {
	for l == nil && may {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return nil, false, errors.New("it is closed")
		}
		n := len(d.idle)
		if n == 0 {
			d.mu.Unlock()
			break
		}
		l = d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		if l.c.IsClosing() || time.Since(l.since) > linkTime {
			l.close()
			l = nil
		}
	}
	if l != nil {
		return l, true, nil
	}
	var why []error
	for i, u := range d.urls {
		d.mu.Lock()
		wait := time.Now().Before(d.down[i])
		d.mu.Unlock()
		if wait {
			continue
		}
		l, err := d.dial(ctx, u)
		if err == nil {
			l.of, l.since = i, time.Now()
			return l, false, nil
		}
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		why = append(why, fmt.Errorf("%s: %w", u.Redacted(), err))
		d.fail(i)
	}
	if len(why) == 0 {
		return nil, false, errors.New("no server is left to ask")
	}
	return nil, false, errors.Join(why...)
}

// fail has a server left alone for a while.
func (d *Directory) fail(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[i] = time.Now().Add(downTime)
}

// put gives a connection back.
func (d *Directory) put(l *link) {
	d.mu.Lock()
	keep := !d.closed && !l.c.IsClosing()
	if keep {
		d.idle = append(d.idle, l)
	}
	d.mu.Unlock()
	if !keep {
		l.close()
	}
}

// dial connects with one server.
func (d *Directory) dial(ctx context.Context, u *url.URL) (l *link, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	network, address, port := "tcp", "", "389"
	switch u.Scheme {
	case "ldapi":
		network, address = "unix", u.Path
	case "ldaps":
		port = "636"
	}
	if address == "" {
		if p := u.Port(); p != "" {
			port = p
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	raw := &meter{Conn: c}
	raw.left.Store(maxAnswer)
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	_ = raw.SetDeadline(time.Now().Add(d.cfg.Timeout))
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	var secure *tls.Config
	if u.Scheme == "ldaps" || u.Scheme == "ldap" && d.cfg.StartTLS {
		if secure, err = d.trust(u.Hostname()); err != nil {
			return nil, err
		}
	}
	conn := net.Conn(raw)
	if secure != nil {
		if u.Scheme == "ldap" {
			if err := startTLS(raw); err != nil {
				return nil, fmt.Errorf("StartTLS: %w", said(err))
			}
		}
		t := tls.Client(raw, secure)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = t
	}
	l = &link{raw: raw, c: ldap.NewConn(conn, secure != nil)}
	l.c.Start()
	_ = raw.SetDeadline(time.Time{})
	return l, nil
}

// startTLS asks a server to begin with TLS (RFC 4511, section 4.14). It is made here, for the
// library's own waits for ever for a server that answers something else.
func startTLS(c net.Conn) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	p := ber.NewSequence("LDAPMessage")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "messageID"))
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "extendedReq")
	r.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oid, "requestName"))
	p.AppendChild(r)
	if _, err := c.Write(p.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(c)
	if err != nil {
		return err
	}
	if len(answer.Children) < 2 || answer.Children[1].Tag != ldap.ApplicationExtendedResponse {
		return errors.New("the server answers something else")
	}
	return ldap.GetLDAPError(answer)
}

// trust is how the certificate of a server is checked.
func (d *Directory) trust(host string) (*tls.Config, error) {
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if d.cfg.CA != "" {
		text, err := os.ReadFile(d.cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca %s: there is no certificate in it", d.cfg.CA)
		}
	}
	return t, nil
}

// Ping asks whether a server of the directory answers, and lets the service in.
func (d *Directory) Ping(ctx context.Context) error {
	return d.with(ctx, func(l *link) error {
		if d.cfg.BindDN != "" {
			return d.beService(l)
		}
		_, err := l.c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, d.seconds(), false, "(objectClass=*)", []string{"1.1"}, nil))
		if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication) {
			err = nil // it answered
		}
		return err
	})
}

// Close ends the connections; those in use end with what they are used for.
func (d *Directory) Close() {
	d.mu.Lock()
	d.closed = true
	idle := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, l := range idle {
		l.close()
	}
}
