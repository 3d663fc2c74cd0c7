package vhost_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"stompserver/internal/destination"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
	"stompserver/internal/vhost"
)

// put puts a message into a queue of s.
func put(t *testing.T, s store.Store, queue, body string) {
	t.Helper()
	q, err := s.Queue(queue, func() {})
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	done := make(chan error, 1)
	b.Done = func(_ *store.Batch, err error) { done <- err }
	b.Put(q, message.Text(queue, body, 1))
	s.Commit(&b)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func names(s store.Store) []string { return slices.Sorted(maps.Keys(maps.Collect(s.Queues()))) }

func TestParts(t *testing.T) {
	all := spool.New()
	def, shop, deep := vhost.Part(all, ""), vhost.Part(all, "shop"), vhost.Part(all, "shop/queue")
	put(t, def, "/queue/a", "1")
	put(t, shop, "/queue/a", "2")
	put(t, shop, "/queue/queue/a", "3")
	put(t, shop, "/dsub/x", "4")
	put(t, shop, "/queue/$vhost/lab/queue/a", "5") // no name of another part, whatever it looks like
	put(t, deep, "/a", "6")
	for _, test := range []struct {
		name string
		of   store.Store
		want []string
	}{
		{"default", def, []string{"/queue/a"}},
		{"shop", shop, []string{"/dsub/x", "/queue/$vhost/lab/queue/a", "/queue/a", "/queue/queue/a"}},
		{"deep", deep, []string{"/a"}},
		{"lab", vhost.Part(all, "lab"), nil},
		{"sho", vhost.Part(all, "sho"), nil},
		{"shop/", vhost.Part(all, "shop/"), nil},
	} {
		if got := names(test.of); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if got := vhost.Waiting(all); !maps.Equal(got, map[string]int{"shop": 4, "shop/queue": 1}) {
		t.Errorf("got %v", got)
	}
	if err := shop.Close(); err != nil {
		t.Error(err)
	}
	put(t, def, "/queue/b", "it is open")
}

// TestNamesOfOthers has the default part refuse the names of others, and all parts what cannot be
// told from the name of one.
func TestNamesOfOthers(t *testing.T) {
	all := spool.New()
	for _, test := range []struct{ host, name string }{
		{"", "/queue/$vhost/shop/queue/a"}, {"", "/queue/$vhost/"}, {"", "/queue/$vhost/shop"},
		{"shop", ""}, {"shop", "queue/a"}, {"shop", "2/queue/a"},
	} {
		if _, err := vhost.Part(all, test.host).Queue(test.name, func() {}); !errors.Is(err, vhost.ErrName) {
			t.Errorf("%q: %s: got %v", test.host, test.name, err)
		}
	}
	if got := names(all); len(got) > 0 {
		t.Errorf("there are %q", got)
	}
}

// FuzzPart checks that no name reaches another part, and that what is put comes back by its name.
func FuzzPart(f *testing.F) {
	f.Add("", "/queue/$vhost/b/queue/a", "b")
	f.Add("a", "/queue/x", "a/queue")
	f.Fuzz(func(t *testing.T, host, name, other string) {
		if host == other {
			return
		}
		all := spool.New()
		defer all.Close()
		if _, err := vhost.Part(all, host).Queue(name, func() {}); err != nil {
			return
		}
		if got := names(vhost.Part(all, other)); len(got) > 0 {
			t.Fatalf("%q of %q is %q of %q", name, host, got, other)
		}
		if got := names(vhost.Part(all, host)); len(got) != 1 || got[0] != name {
			t.Fatalf("%q of %q is %q", name, host, got)
		}
		for stored := range all.Queues() {
			if h, n := destination.Unhosted(stored); host != "" && (h != host || n != name) {
				t.Fatalf("%q: got %q, %q, want %q, %q", stored, h, n, host, name)
			}
		}
	})
}
