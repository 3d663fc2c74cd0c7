package destination_test

import (
	"strings"
	"testing"

	"stompserver/internal/destination"
)

func TestUnhosted(t *testing.T) {
	for _, test := range []struct{ stored, host, name string }{
		{"/queue/a", "", "/queue/a"},
		{"/queue/$vhost/shop/queue/a", "shop", "/queue/a"},
		{"/queue/$vhost/shop/dsub/c.a", "shop", "/dsub/c.a"},
		{"/queue/$vhost/shop/queue/$p9/queue/a", "shop", "/queue/$p9/queue/a"},
		{"/queue/$vhost/a%2Fb/queue/c", "a/b", "/queue/c"},
		{"/queue/$vhost/100%25/queue/c", "100%", "/queue/c"},
		{"/queue/$vhost/100%2525/queue/c", "100%25", "/queue/c"},
		{"/queue/$vhost/a/queue/$vhost/b/queue/c", "a", "/queue/$vhost/b/queue/c"},
		{"/queue/$vhost/a%2fb/queue/c", "", "/queue/$vhost/a%2fb/queue/c"}, // nobody writes it so
		{"/queue/$vhost//queue/c", "", "/queue/$vhost//queue/c"},
		{"/queue/$vhost/a", "", "/queue/$vhost/a"},
		{"/queue/$vhost", "", "/queue/$vhost"},
	} {
		if host, name := destination.Unhosted(test.stored); host != test.host || name != test.name {
			t.Errorf("%s: got %q, %q, want %q, %q", test.stored, host, name, test.host, test.name)
		}
	}
}

// FuzzHosted checks that no two virtual hosts share a stored name, and that each is read back.
func FuzzHosted(f *testing.F) {
	f.Add("shop", "/queue/a", "shop/queue", "/queue/a")
	f.Add("a%2F", "/b", "a/", "/b")
	f.Add("%25", "/queue/$vhost/x/queue/a", "%", "/queue/a")
	f.Fuzz(func(t *testing.T, host, name, host2, name2 string) {
		if !strings.HasPrefix(name, "/") || !strings.HasPrefix(name2, "/") || host == "" || host2 == "" {
			return
		}
		a, b := destination.HostedPrefix(host)+name, destination.HostedPrefix(host2)+name2
		if (a == b) != (host == host2 && name == name2) {
			t.Fatalf("%q %q and %q %q are %q and %q", host, name, host2, name2, a, b)
		}
		if h, n := destination.Unhosted(a); h != host || n != name {
			t.Fatalf("%q: got %q, %q, want %q, %q", a, h, n, host, name)
		}
		if !destination.IsHosted(a) || !(destination.Name{Text: a}).System() {
			t.Fatalf("%q is a name that clients may say", a)
		}
		if strings.HasPrefix(a, destination.HostedPrefix(host2)+"/") && host != host2 {
			t.Fatalf("%q is within %q, too", a, host2)
		}
	})
}
