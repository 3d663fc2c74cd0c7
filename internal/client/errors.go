package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"stompserver/internal/frame"
)

var (
	// ErrClosed says that the connection was closed from this side.
	ErrClosed = errors.New("client: closed")
	// ErrServerLeft says that the server closed the connection without an ERROR.
	ErrServerLeft = errors.New("the server closed the connection")
	// ErrBroken says that the connection broke: its cause follows.
	ErrBroken = errors.New("the connection to the server broke")
	// ErrSilent says that the server's heart-beats stayed away.
	ErrSilent = errors.New("the server has gone silent: its heart-beat did not come")
)

// A DialError says that no server could be reached.
type DialError struct {
	Address   string // host:port
	Connected bool   // somebody is there, but gave no welcome
	Err       error
}

func (e *DialError) Error() string { return "cannot reach " + e.Address + ": " + e.reason() }
func (e *DialError) Unwrap() error { return e.Err }

// reason is why, in words of which none are Go's.
func (e *DialError) reason() string {
	var dns *net.DNSError
	late := errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, syscall.ETIMEDOUT)
	switch {
	case errors.As(e.Err, &dns) && dns.IsNotFound:
		return "there is no such host"
	case errors.As(e.Err, &dns):
		return "the name of the host cannot be looked up"
	case late && e.Connected:
		return "it took the connection and did not answer in time"
	case late:
		return "no answer in time"
	case e.Connected && (errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) || errors.Is(e.Err, syscall.ECONNRESET)):
		return "it closed the connection without an answer"
	}
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		ended   x509.CertificateInvalidError
	)
	switch {
	case errors.As(e.Err, &unknown):
		return "its certificate is signed by nobody who is trusted here"
	case errors.As(e.Err, &name) && name.Certificate != nil:
		return "its certificate is not for " + name.Host + ": it is for " + strings.Join(names(name.Certificate), ", ")
	case errors.As(e.Err, &ended) && ended.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case e.NoTLS():
		return "it does not speak TLS there"
	}
	return strings.TrimPrefix(cause(e.Err).Error(), "websocket: ")
}

// names are those that a certificate is for.
func names(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		all = append(all, "no name")
	}
	return all
}

// Untrusted reports whether the server's certificate is of nobody who is trusted.
func (e *DialError) Untrusted() bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(e.Err, &unknown)
}

// NoTLS reports whether the server answered a TLS hello with something else, or with the alert of one
// that speaks no TLS, or no TLS of this client's.
func (e *DialError) NoTLS() bool {
	var other tls.RecordHeaderError
	var op *net.OpError
	return errors.As(e.Err, &other) || // the alert is of a type that crypto/tls keeps to itself
		errors.As(e.Err, &op) && op.Op == "remote error" && op.Err.Error() == "tls: handshake failure"
}

// A ReceiptError says that the server did not confirm a frame before the context of the
// request ended.
type ReceiptError struct {
	Command frame.Command
	Err     error // of the context
}

func (e *ReceiptError) Error() string {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return "no receipt for " + e.Command.String() + " in time"
	}
	return "no receipt for " + e.Command.String() + ": " + e.Err.Error()
}

func (e *ReceiptError) Unwrap() error { return e.Err }

// cause is err without the addresses and the operation that net puts around it.
func cause(err error) error {
	var no syscall.Errno
	var op *net.OpError
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// A ServerError is an ERROR frame.
type ServerError struct {
	Message   string // the message header
	Code      string // the error-code header, of servers that have it
	ReceiptID string // of the frame that caused it, if that asked for one
	Body      string
	Connect   bool // the answer to CONNECT: the login, or no common version
}

func newServerError(f *frame.Frame) *ServerError {
	return &ServerError{
		Message: f.Header.Value("message"), Code: f.Header.Value("error-code"),
		ReceiptID: f.Header.Value("receipt-id"), Body: string(f.Body),
	}
}

// Error makes one line of the frame.
func (e *ServerError) Error() string {
	text := strings.TrimSpace(e.Message)
	if body := strings.Join(strings.Fields(e.Body), " "); body != "" && body != text {
		if len(body) > 300 {
			body = body[:300] + "…"
		}
		if text == "" {
			text = body
		} else {
			text += ": " + body
		}
	}
	if e.Connect {
		return "the server refused the connection: " + text
	}
	return "the server said: " + text
}
