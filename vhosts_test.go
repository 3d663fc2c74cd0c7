package stompserver

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseVHosts(t *testing.T) {
	list, err := parseVHosts(`[shop, {name: prod/eu, aliases: [eu.example.org], users: [app], roles: [admin], connections: 10},
		{name: old, stopped: true, redirect: "stomp://new.example.org:61613"}, {name: default, aliases: [localhost, "/"]}]`)
	if err != nil || len(list) != 4 || list[0].Name != "shop" || list[1].Connections != 10 || list[2].Redirect == "" || !slices.Equal(list[3].Aliases, []string{"localhost", "/"}) {
		t.Fatalf("got %+v, %v", list, err)
	}
	again, err := parseVHosts(formatVHosts(list))
	if err != nil || formatVHosts(again) != formatVHosts(list) {
		t.Errorf("got %+v, %v", again, err)
	}
	for text, want := range map[string]string{
		"shop":                                            "not a list",
		"[{nam: shop}]":                                   "virtual host 1: it is not like",
		"[[shop]]":                                        "virtual host 1: it is not like",
		"[{name: \"\"}]":                                  "it is empty",
		"[{name: \"a b\"}]":                               "blank",
		"[{name: \"a\\nb\"}]":                             "blank",
		"[shop, shop]":                                    `"shop" is a name of the virtual host shop already`,
		"[/]":                                             `"/" is a name of the virtual host default already`,
		"[{name: a, aliases: [default]}]":                 `"default" is a name of the virtual host default already`,
		"[{name: a, aliases: [/]}]":                       `"/" is a name of the virtual host default already`,
		"[{name: a, aliases: [b]}, b]":                    `"b" is a name of the virtual host b already`,
		"[{name: a, aliases: [a]}]":                       `"a" is a name of the virtual host a already`,
		"[{name: a, aliases: [\"\"]}]":                    "it is empty",
		"[" + strings.Repeat("x", 65) + "]":               "longer than 64",
		"[" + strings.Repeat("x/", 20) + "]":              "count as three",
		"[{name: a, connections: -1}]":                    "below 0",
		"[{name: a, redirect: \"stomp://b\"}]":            "stopped: true",
		"[{name: a, stopped: true, redirect: elsewhere}]": "is not an address",
	} {
		if _, err := parseVHosts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestVHostsAndAccess says what only all settings together say.
func TestVHostsAndAccess(t *testing.T) {
	for _, test := range []struct {
		name, file, want string
	}{
		{"users without auth", "vhosts: {enabled: true, list: [{name: a, users: [b]}]}", "auth is off"},
		{"a role that is not there", "auth: true\nvhosts: {enabled: true, list: [{name: a, roles: [b]}]}", "there is no role b"},
		{"a rule for one that is not there", "auth: true\nusers: [{name: u, allow: [\"read > in b\"]}]\nvhosts: {enabled: true, list: [a]}", `"in b", which is no name`},
		{"a rule for an alias", "auth: true\nusers: [{name: u, allow: [\"read > in b\"]}]\nvhosts: {enabled: true, list: [{name: a, aliases: [b]}]}", `"in b", which is no name`},
		{"a rule without any", "auth: true\nusers: [{name: u, allow: [\"read > in b\"]}]", "vhosts.enabled is not set"},
		{"a rule of queues for one that is not there", "destinations: {rules: [{match: /queue/a, ttl: 1s, vhost: b}]}\nvhosts: {enabled: true, list: [a]}", "virtual host b, which is no name"},
		{"a rule of queues without any", "destinations: {rules: [{match: /queue/a, ttl: 1s, vhost: b}]}", "vhosts.enabled is not set"},
		{"all of it", "auth: true\nusers: [{name: u, allow: [\"read > in a\", \"write > in default\"]}]\nroles: [{name: r}]\n" +
			"destinations: {rules: [{match: /queue/a, ttl: 1s, vhost: a}]}\nvhosts: {enabled: true, strict: true, list: [{name: a, roles: [admin, r], users: [u]}]}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadText(t, test.file)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestMayInVHost(t *testing.T) {
	s, err := loadText(t, "auth: true\nusers: [{name: u, allow: [\"deny read /queue/b in a\", \"read /queue/>\", \"write /queue/{vhost}.x\"]}]\nvhosts: {enabled: true, list: [{name: a, aliases: [aa]}, b.example.org]}")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host, action, dest string
		want               bool
	}{
		{"", "read", "/queue/b", true}, {"a", "read", "/queue/b", false}, {"b.example.org", "read", "/queue/b", true},
		{"", "write", "/queue/default.x", true}, {"a", "write", "/queue/a.x", true}, {"a", "write", "/queue/default.x", false},
		{"b.example.org", "write", "/queue/b.example.org.x", true},
	} {
		v, err := s.Config.May(Asked{User: "u", VHost: test.host}, test.action, test.dest)
		if err != nil || v.Allowed != test.want {
			t.Errorf("%+v: got %+v, %v", test, v, err)
		}
	}
	if name, ok := s.Config.VHosts.Named("aa"); name != "a" || !ok {
		t.Errorf("got %q, %v", name, ok)
	}
	if _, ok := s.Config.VHosts.Named("c"); ok {
		t.Error("c is there")
	}
}

// FuzzParseVHosts checks that a list which is taken is taken again as it is shown, and that no two
// of its virtual hosts share a name.
func FuzzParseVHosts(f *testing.F) {
	f.Add("[shop, {name: prod/eu, aliases: [eu.example.org], users: [app], roles: [admin], connections: 10}]")
	f.Add(`[{name: "100%", stopped: true, redirect: "stomp://a"}, {name: default, aliases: ["/"]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseVHosts(text)
		if err != nil {
			return
		}
		shown := formatVHosts(list)
		again, err := parseVHosts(shown)
		if err != nil || formatVHosts(again) != shown {
			t.Fatalf("%q is shown as %q: %v", text, shown, err)
		}
		of := map[string]string{}
		for _, v := range list {
			for _, name := range append([]string{v.Name}, v.Aliases...) {
				if other, ok := of[name]; ok && other != v.Name {
					t.Fatalf("%q is of %q and %q", name, v.Name, other)
				}
				of[name] = v.Name
			}
		}
	})
}

func loadText(t *testing.T, text string) (*Settings, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(LoadOptions{Dir: dir})
}
