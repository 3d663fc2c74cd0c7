package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// serverFlags say which broker a command talks to, and as whom. The fallbacks are the
// environment: our own names, then those that other STOMP tools read.
type serverFlags struct {
	url          string
	login        string
	passcodeFile string
	getenv       func(string) string
}

const defaultURL = "stomp://127.0.0.1:61613"

func (s *serverFlags) declare(cmd *cobra.Command) {
	s.getenv = os.Getenv
	f := cmd.Flags()
	f.StringVar(&s.url, "server", "", "the broker, stomp://[user:pass@]host:port (default $STOMPSERVER_URL, else "+defaultURL+")")
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
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return "", "", "", usageError("--server: %q is not like %s", redactURL(server), defaultURL)
	}
	if u.User != nil {
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

// first is v, or the first of the variables that is set.
func (s *serverFlags) first(v string, names ...string) string {
	for _, n := range names {
		if v == "" {
			v = s.getenv(n)
		}
	}
	return v
}

// redactURL hides the passcode of what is hardly an URL.
func redactURL(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}

// ioError is a failure to read or write a file.
func ioError(what string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return &exitError{Code: exitIO, Err: fmt.Errorf("%s: %w", what, err)}
}

// refuseFlag declares a flag that this build does not have, so that whoever uses it hears
// why. It is not shown in the help.
func refuseFlag(cmd *cobra.Command, name, why string) {
	f := cmd.Flags()
	f.Var(refused{why}, name, "")
	f.Lookup(name).NoOptDefVal = "true"
	_ = f.MarkHidden(name)
}

// refused is the value of a flag whose use is an error.
type refused struct{ why string }

func (r refused) String() string   { return "" }
func (r refused) Type() string     { return "" }
func (r refused) Set(string) error { return errors.New(r.why) }
