package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	defaultAPI = "http://127.0.0.1:8161"
	healthTime = 5 * time.Second
)

// newHealthCommand asks a server whether it is well, for containers, which have no curl.
func newHealthCommand(g *globals) *cobra.Command {
	var api string
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server whether it works (exit code 0, else 1)",
		Args:  words(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if api == "" {
				api = os.Getenv("STOMPSERVER_API")
			}
			if api == "" {
				api = defaultAPI
			}
			if !strings.Contains(api, "://") {
				api = "http://" + api
			}
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			return askHealth(cmd.Context(), g, strings.TrimRight(api, "/"), path)
		},
	}
	cmd.Flags().StringVar(&api, "api", "", "the server's HTTP: `URL` (default $STOMPSERVER_API, else "+defaultAPI+")")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether clients may be sent there, too")
	g.timeoutFlag(cmd, healthTime)
	cmd.Flags().BoolVar(&g.Quiet, "quiet", g.Quiet, "print errors only")
	return cmd
}

func askHealth(ctx context.Context, g *globals, api, path string) error {
	ctx, cancel := withTimeout(ctx, g.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, api+path, nil)
	if err != nil {
		return usageError("--api: %w", err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return &exitError{exitFailed, unhealthy(api, err)}
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(a.Body, 64<<10))
	said := strings.TrimSpace(string(text))
	if a.StatusCode != http.StatusOK {
		return &exitError{exitFailed, fmt.Errorf("%s: %s: %s", api+path, a.Status, said)}
	}
	if !g.Quiet {
		fmt.Fprintln(g.Stdout, said)
	}
	return nil
}

// unhealthy is why nobody answered at api, and what can be done about it.
func unhealthy(api string, err error) error {
	const other = "Name another address with --api."
	var unknown x509.UnknownAuthorityError
	why, hint := "", other
	var of *url.Error
	if errors.As(err, &of) {
		why = of.Err.Error()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		why, hint = "connection refused", "Is a server running there, with HTTP? "+other
	case errors.Is(err, context.DeadlineExceeded):
		why, hint = "no answer in time", "Name another address with --api, or wait longer with --timeout."
	case strings.Contains(why, "HTTP response to HTTPS client"): // net/http has no type for it
		why, hint = "it does not speak TLS there", "Without TLS the address begins with http://."
	case errors.As(err, &unknown):
		why = "its certificate is signed by nobody who is trusted here"
	}
	return fmt.Errorf("cannot reach %s: %s. %s", api, why, hint)
}
