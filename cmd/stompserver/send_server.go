package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stompserver/internal/client"
)

// serverFlags say which broker a command talks to, and as whom. The fallbacks are the
// environment: our own names, then those that other STOMP tools read.
type serverFlags struct {
	url          string
	login        string
	passcodeFile string
	ca           string
	insecure     bool
	getenv       func(string) string
}

const defaultURL = "stomp://127.0.0.1:61613"

func (s *serverFlags) declare(cmd *cobra.Command) {
	s.getenv = os.Getenv
	f := cmd.Flags()
	f.StringVar(&s.url, "server", "", "the broker: HOST, HOST:PORT or stomp://[user:pass@]HOST:PORT, also stomps:// (TLS), ws:// and wss:// (default $STOMPSERVER_URL, else "+defaultURL+")")
	completeWith(cmd, "server")
	f.StringVar(&s.ca, "ca", "", "`file` of the certificates to trust in TLS, in PEM (default $STOMPSERVER_CA, else the system's)")
	f.BoolVar(&s.insecure, "insecure", false, "trust any certificate: for trials")
	f.StringVar(&s.login, "login", "", "login name (default $STOMPSERVER_LOGIN)")
	f.StringVar(&s.passcodeFile, "passcode-file", "", "file with the passcode (default $STOMPSERVER_PASSCODE)")
}

// resolve yields the broker's URL without user, the login and the passcode.
func (s *serverFlags) resolve() (server, login, passcode string, err error) {
	server = s.url
	if server == "" {
		server = s.getenv("STOMPSERVER_URL")
	}
	if server == "" {
		server = defaultURL
		host, port := s.getenv("STOMP_HOST"), s.getenv("STOMP_PORT")
		if host != "" || port != "" {
			if host == "" {
				host = "127.0.0.1"
			}
			if port == "" {
				port = "61613"
			}
			server = "stomp://" + net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
	}
	server = client.URL(server)
	// bench knows a scheme more, so that only the user is of interest here.
	if u, err := url.Parse(server); err == nil && u.User != nil {
		login = u.User.Username()
		passcode, _ = u.User.Password()
		u.User = nil
		server = u.String()
	}
	if login == "" || s.login != "" {
		login = s.first(s.login, "STOMPSERVER_LOGIN", "STOMP_LOGIN", "STOMP_USER")
		passcode = s.first("", "STOMPSERVER_PASSCODE", "STOMP_PASSCODE", "STOMP_PASSWORD")
	}
	if s.passcodeFile != "" {
		text, err := os.ReadFile(s.passcodeFile)
		if err != nil {
			return "", "", "", ioError("--passcode-file", err)
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		passcode = strings.TrimRight(string(line), "\r")
	}
	return server, login, passcode, nil
}

// trust says whose certificates are believed; nil: those of whom the system trusts.
func (s *serverFlags) trust() (*tls.Config, error) {
	if s.insecure {
		return &tls.Config{InsecureSkipVerify: true}, nil // asked for by name
	}
	file := s.first(s.ca, "STOMPSERVER_CA")
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, ioError("--ca", err)
	}
	t := &tls.Config{RootCAs: x509.NewCertPool()}
	if !t.RootCAs.AppendCertsFromPEM(text) {
		return nil, ioError("--ca", fmt.Errorf("%s: there is no certificate in it", file))
	}
	return t, nil
}

// first is v, or the first of the variables that is set.
func (s *serverFlags) first(v string, names ...string) string {
	for _, n := range names {
		if v == "" {
			v = s.getenv(n)
		}
	}
	return v
}

// ioError is a failure to read or write a file.
func ioError(what string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return &exitError{Code: exitIO, Err: fmt.Errorf("%s: %w", what, err)}
}

// refuseFlag declares a flag with a value that this build does not have, so that whoever
// uses it hears why. It is not shown in the help.
func refuseFlag(cmd *cobra.Command, name, why string) {
	f := cmd.Flags()
	f.String(name, "", "")
	_ = f.MarkHidden(name) // it exists
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if f.Changed(name) {
			return usageError("--%s: %s", name, why)
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

// dial connects to the broker. heartBeat is asked for both ways; 0 is none.
func (s *serverFlags) dial(ctx context.Context, g *globals, heartBeat time.Duration) (*client.Conn, error) {
	server, login, passcode, err := s.resolve()
	if err != nil {
		return nil, err
	}
	trust, err := s.trust()
	if err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, g.Timeout)
	defer cancel()
	c, err := client.Dial(ctx, server, client.Options{Login: login, Passcode: passcode, HeartBeat: heartBeat, TLS: trust})
	var bad *client.AddressError
	switch {
	case errors.As(err, &bad):
		return nil, usageError("--server: %w", err)
	case err != nil:
		return nil, clientError(err)
	}
	return c, nil
}

// withTimeout is ctx with a limit, unless d is 0.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// clientError puts the exit code to an error of the client's.
func clientError(err error) error {
	var (
		have   *exitError
		dial   *client.DialError
		server *client.ServerError
	)
	switch {
	case errors.As(err, &have):
		return err
	case errors.Is(err, context.Canceled):
		return &exitError{Code: exitInterrupted, Err: err}
	case errors.As(err, &server) && (server.Code == "shutting-down" || server.Code == "login-unavailable"):
		return &exitError{Code: exitUnavailable, Err: err}
	case errors.As(err, &server) && (server.Connect || server.Code == "not-allowed"):
		return &exitError{Code: exitRefused, Err: err}
	case errors.As(err, &server):
		return &exitError{Code: exitFailed, Err: err}
	case errors.As(err, &dial):
		return cannotReach(dial)
	case errors.Is(err, client.ErrServerLeft), errors.Is(err, client.ErrBroken), errors.Is(err, client.ErrSilent):
		return &exitError{Code: exitUnavailable, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &exitError{Code: exitUnavailable, Err: fmt.Errorf("%w: the server does not answer. %s", err, "Wait longer with --timeout.")}
	}
	return &exitError{Code: exitFailed, Err: err}
}

// cannotReach adds to err what can be done about it.
func cannotReach(err *client.DialError) error {
	hint := "Name another broker with --server."
	switch {
	case err.Untrusted():
		hint = "Trust it with --ca FILE, or for trials with --insecure."
	case err.NoTLS():
		hint = "Without TLS its address begins with stomp:// or ws://."
	case err.Connected:
		hint = "Is that a STOMP broker? Name another with --server."
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = `Is a broker running there? Start one with "stompserver", or name another with --server.`
	case errors.Is(err, context.DeadlineExceeded):
		hint = "Name another broker with --server, or wait longer with --timeout."
	}
	return &exitError{Code: exitUnavailable, Err: fmt.Errorf("%w%s %s", err, stop(err), hint)}
}

// stop is the full stop behind err, if it has none.
func stop(err error) string {
	if strings.HasSuffix(err.Error(), ".") {
		return ""
	}
	return "."
}

// disconnect takes leave of the broker. An error is that something sent before was not
// taken.
func disconnect(ctx context.Context, g *globals, c *client.Conn) error {
	ctx, cancel := withTimeout(ctx, g.Timeout)
	defer cancel()
	if err := c.Disconnect(ctx); err != nil {
		return clientError(err)
	}
	return nil
}
