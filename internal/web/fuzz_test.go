package web

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzQuestion: what is read of a query is within its bounds, and is read again from what it
// says.
func FuzzQuestion(f *testing.F) {
	for _, s := range []string{"", "wait=30s", "wait=5", "browse=1", "browse=0&wait=1ms", "wait=-1s", "wait=%zz", "wait=1h", "wait=1&wait=2", "a=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseQuestion(query)
		if err != nil {
			return
		}
		if q.wait < 0 || q.wait > longest || q.browse && q.wait > 0 {
			t.Errorf("%q is %+v", query, q)
		}
		again := url.Values{"wait": {q.wait.String()}}
		if q.browse {
			again.Set("browse", "1")
		}
		if r, err := parseQuestion(again.Encode()); err != nil || r != q {
			t.Errorf("%q is %+v, and %q is %+v, %v", query, q, again.Encode(), r, err)
		}
	})
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
