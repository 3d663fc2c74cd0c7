package web_test

import (
	"net/http"
	"testing"

	"stompserver"
)

// TestVirtualHosts has one connection of HTTP go from virtual host to virtual host.
func TestVirtualHosts(t *testing.T) {
	p := open(t, stompserver.Config{VHosts: stompserver.VHosts{Enabled: true, List: []stompserver.VHost{
		{Name: "shop", Aliases: []string{"shop.example.org"}}, {Name: "lab"}, {Name: "old", Stopped: true},
	}}})
	want := func(a answer, status int, body string) {
		t.Helper()
		if a.status != status || body != "" && a.body != body {
			t.Fatalf("got %d %q, want %d %q", a.status, a.body, status, body)
		}
	}
	want(p.do("PUT", "/queue/a", "of default"), 200, "")
	want(p.do("PUT", "/queue/a", "of shop", "X-Stomp-Host", "shop"), 200, "")
	want(p.do("PUT", "/queue/a", "of lab", "X-Stomp-Host", "lab"), 200, "")
	want(p.do("GET", "/queue/a?browse=1", "", "X-Stomp-Host", "lab"), 200, "of lab")
	a := p.do("GET", "/queue/a", "", "Host", "shop.example.org:8161")
	want(a, 200, "of shop")
	if v, there := a.header[http.CanonicalHeaderKey("X-Stomp-Host")]; there {
		t.Errorf("the message has a header host: %q", v)
	}
	want(p.do("GET", "/queue/a", "", "X-Stomp-Host", "shop"), 404, "")
	want(p.do("GET", "/queue/a", "", "X-Stomp-Host", "unknown"), 200, "of default")
	want(p.do("GET", "/queue/a", ""), 404, "")
	want(p.do("GET", "/queue/a", "", "X-Stomp-Host", "lab"), 200, "of lab")
	want(p.do("GET", "/queue/a", "", "X-Stomp-Host", "old"), 503, "")
	// By no path is there a way into another.
	want(p.do("PUT", "/queue/b", "secret", "X-Stomp-Host", "lab"), 200, "")
	for _, path := range []string{"/queue/$vhost/lab/queue/b", "/queue/%24vhost/lab/queue/b", "/queue%2F$vhost%2Flab%2Fqueue%2Fb", "/queue/$vhost%252Flab/queue/b"} {
		if a := p.do("GET", path, ""); a.status == 200 {
			t.Errorf("GET %s: got %d %q", path, a.status, a.body)
		}
	}
	want(p.do("GET", "/queue/b", "", "X-Stomp-Host", "lab"), 200, "secret")
}

// TestStrictVirtualHosts refuses who names none that is known, and does not hand out sessions of
// one to another.
func TestStrictVirtualHosts(t *testing.T) {
	p := open(t, stompserver.Config{VHosts: stompserver.VHosts{Enabled: true, Strict: true, List: []stompserver.VHost{{Name: "shop"}}}})
	for _, header := range [][]string{nil, {"X-Stomp-Host", "nowhere"}} {
		if a := p.do("PUT", "/queue/a", "1", header...); a.status != 403 {
			t.Errorf("%q: got %d %q", header, a.status, a.body)
		}
	}
	if a := p.do("PUT", "/queue/a", "1", "X-Stomp-Host", "shop"); a.status != 200 {
		t.Errorf("got %d %q", a.status, a.body)
	}
	if a := p.do("PUT", "/queue/a", "1", "X-Stomp-Host", "/"); a.status != 200 {
		t.Errorf("got %d %q", a.status, a.body)
	}
}

// TestHeaderHostWithout has it be a header like any where there are no virtual hosts.
func TestHeaderHostWithout(t *testing.T) {
	p := open(t, stompserver.Config{})
	p.do("PUT", "/queue/a", "1", "X-Stomp-Host", "shop")
	if a := p.do("GET", "/queue/a", ""); a.status != 200 || a.header.Get("X-Stomp-Host") != "shop" {
		t.Errorf("got %d %q", a.status, a.header)
	}
}
