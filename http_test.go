package stompserver_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"stompserver"
)

func TestAddressOfHTTP(t *testing.T) {
	flag := func(key, value string) []stompserver.FlagValue {
		return []stompserver.FlagValue{{Key: key, Name: "-x", Value: value}}
	}
	for _, tt := range []struct {
		name, file string
		env        []string
		flags      []stompserver.FlagValue
		listen     string
		ifFree     bool
	}{
		{name: "default", listen: "localhost:8161", ifFree: true},
		{name: "follows the host", flags: flag("host", "192.0.2.1"), listen: "192.0.2.1:8161", ifFree: true},
		{name: "follows an IPv6 host", flags: flag("host", "::1"), listen: "[::1]:8161", ifFree: true},
		{name: "all addresses", file: "host: '*'\n", listen: "*:8161", ifFree: true},
		{name: "a free port with port 0", flags: flag("port", "0"), listen: "localhost:0", ifFree: true},
		{name: "asked for", flags: flag("http.listen", ":80"), listen: ":80"},
		{name: "in the environment", env: []string{"STOMPSERVER_HTTP_LISTEN=127.0.0.1:81"}, listen: "127.0.0.1:81"},
		{name: "in the file", file: "port: 0\nhttp:\n  listen: 127.0.0.1:82\n", listen: "127.0.0.1:82"},
		{name: "off", file: "http:\n  listen: off\n"},
		{name: "off by flag", file: "http:\n  listen: :80\n", flags: flag("http.listen", "OFF")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.file, tt.env, tt.flags...)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := s.Config.HTTP, (stompserver.HTTP{Listen: tt.listen, IfFree: tt.ifFree}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for value, want := range map[string]string{
		"8161":    `-x: "8161" is no address for HTTP: it is not like HOST:PORT`,
		"a:b":     `-x: "a:b" is no address for HTTP: "b" is not a port: they go from 1 to 65535, and 0 picks a free one`,
		":70000":  `-x: ":70000" is no address for HTTP: "70000" is not a port: they go from 1 to 65535, and 0 picks a free one`,
		"::1:801": `-x: "::1:801" is no address for HTTP: it is not like HOST:PORT`,
	} {
		if _, err := load(t, "", nil, flag("http.listen", value)...); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", value, err, want)
		}
	}
}

func TestPortOfHTTPIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	s, err := stompserver.New(stompserver.Config{Host: "127.0.0.1", Port: stompserver.AnyPort, HTTP: stompserver.HTTP{Listen: addr}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(t.Context())
	var failed *stompserver.ListenError
	if !errors.As(err, &failed) || !failed.HTTP || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("asked for: error %v, want that the address is in use", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	var log bytes.Buffer
	s = start(t, stompserver.Config{HTTP: stompserver.HTTP{Listen: addr, IfFree: true}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := s.HTTPAddrs(); len(got) != 0 {
		t.Errorf("not asked for: it listens on %v", got)
	}
	if !strings.Contains(log.String(), "there is no HTTP") || !strings.Contains(log.String(), addr) {
		t.Errorf("not asked for: the log is %q", log.String())
	}
	if got := exchange(t, s.Addrs()[0].String(), connect); !strings.HasPrefix(got, "CONNECTED\n") {
		t.Errorf("STOMP answers %q", got)
	}
}

// HTTP is a listener of the server: it is there from start to stop, on each address of its host.
func TestHTTPComesAndGoes(t *testing.T) {
	s := start(t, stompserver.Config{HTTP: stompserver.HTTP{Listen: "localhost:0"}})
	addrs := s.HTTPAddrs()
	if len(addrs) == 0 {
		t.Fatal("it does not listen")
	}
	client := http.Client{Timeout: time.Minute}
	for _, a := range addrs {
		resp, err := client.Get("http://" + a.String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != "ok" {
			t.Errorf("%v: health is %d %q", a, resp.StatusCode, body)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if c, err := net.Dial("tcp", a.String()); err == nil {
			c.Close()
			t.Errorf("%v: it still listens", a)
		}
	}
}
