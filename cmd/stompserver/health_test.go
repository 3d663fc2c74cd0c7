package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	well := true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !well {
			http.Error(w, `{"ready":false}`, http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok from " + r.URL.Path))
	}))
	defer api.Close()
	for _, test := range []struct {
		name   string
		well   bool
		args   []string
		env    string
		code   int
		stdout string
		stderr string
	}{
		{"well", true, []string{"--api", api.URL}, "", 0, "ok from /healthz\n", ""},
		{"by the environment", true, nil, strings.TrimPrefix(api.URL, "http://"), 0, "ok from /healthz\n", ""},
		{"ready", true, []string{"--api", api.URL + "/", "--ready"}, "", 0, "ok from /readyz\n", ""},
		{"quiet", true, []string{"--api", api.URL, "--quiet"}, "", 0, "", ""},
		{"not ready", false, []string{"--api", api.URL, "--ready"}, "", 1, "", `503 Service Unavailable: {"ready":false}`},
		{"works all the same", false, []string{"--api", api.URL}, "", 0, "ok from /healthz\n", ""},
		{"nobody there", true, []string{"--api", "http://127.0.0.1:1"}, "", 1, "", "stompserver: cannot reach http://127.0.0.1:1: connection refused. Is a server running there, with HTTP? Name another address with --api.\n"},
		{"TLS where there is none", true, []string{"--api", strings.Replace(api.URL, "http:", "https:", 1)}, "", 1, "", ": it does not speak TLS there. Without TLS the address begins with http://.\n"},
		{"no address", true, []string{"--api", "http://[::1"}, "", 2, "", "--api"},
	} {
		t.Run(test.name, func(t *testing.T) {
			well = test.well
			t.Setenv("STOMPSERVER_API", test.env)
			var stdout, stderr bytes.Buffer
			g := &globals{Stdout: &stdout, Stderr: &stderr}
			if code := run(t.Context(), g, append([]string{"health"}, test.args...)); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if stdout.String() != test.stdout || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}
