package origin

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	tests := []struct {
		name   string
		guard  Guard
		host   string
		header map[string]string
		ok     bool
	}{
		{name: "a program", host: "localhost:61613", ok: true},
		{name: "a page of this machine", host: "localhost:61613", header: map[string]string{"Origin": "http://localhost:3000"}, ok: true},
		{name: "of this machine by another of its names", host: "127.0.0.1:61613", header: map[string]string{"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"}, ok: true},
		{name: "another site", host: "127.0.0.1:61613", header: map[string]string{"Origin": "https://evil.example"}},
		{name: "no site", host: "127.0.0.1:61613", header: map[string]string{"Origin": "null"}},
		{name: "another site without Origin", host: "127.0.0.1:61613", header: map[string]string{"Sec-Fetch-Site": "cross-site"}},
		{name: "a name that is made to lead here", host: "evil.example", header: map[string]string{"Origin": "http://evil.example"}},
		{name: "a name of ours", guard: Guard{Hosts: []string{"Broker.example"}}, host: "broker.example:61613", ok: true},
		{name: "any name behind a login", guard: Guard{Login: true}, host: "broker.example", header: map[string]string{"Origin": "https://broker.example"}, ok: true},
		{name: "any name where some need no login", guard: Guard{Login: true, Open: func() bool { return true }}, host: "broker.example"},
		{name: "this machine where some need no login", guard: Guard{Login: true, Open: func() bool { return true }}, host: "localhost", ok: true},
		{name: "another site behind a login", guard: Guard{Login: true}, host: "broker.example", header: map[string]string{"Origin": "https://evil.example"}},
		{name: "a page that is allowed", guard: Guard{Login: true, Origins: []string{"https://app.example.org/"}}, host: "broker.example", header: map[string]string{"Origin": "https://app.example.org", "Sec-Fetch-Site": "cross-site"}, ok: true},
		{name: "with another scheme", guard: Guard{Login: true, Origins: []string{"https://app.example.org"}}, host: "broker.example", header: map[string]string{"Origin": "http://app.example.org"}},
		{name: "all pages", guard: Guard{Origins: []string{"*"}}, host: "127.0.0.1", header: map[string]string{"Origin": "null"}, ok: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Host: test.host, Header: http.Header{}}
			for k, v := range test.header {
				r.Header.Set(k, v)
			}
			if why := test.guard.Refuse(r); (why == "") != test.ok {
				t.Errorf("refused for %q", why)
			}
		})
	}
}

// FuzzSameSite: no page passes but those of the server's own name and of this machine.
func FuzzSameSite(f *testing.F) {
	for _, s := range []string{"http://localhost:3000", "null", "", "https://evil.example", "http://localhost@evil.example", "http://[::1]", "http://127.0.0.1.evil.example", "http://evil.example#localhost", "//localhost"} {
		f.Add(s, "broker.example:8161")
	}
	f.Fuzz(func(t *testing.T, origin, host string) {
		name := hostName(host)
		if !sameSite(origin, name) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil {
			t.Fatalf("%q passes and is no URL", origin)
		}
		if got := strings.ToLower(u.Hostname()); got == "" || got != name && !loopback(got) {
			t.Errorf("%q of %q passes for %q", origin, got, name)
		}
	})
}
