package rights_test

import (
	"strings"
	"testing"

	"stompserver/internal/pattern"
	"stompserver/internal/rights"
)

func rules(t testing.TB, texts ...string) []rights.Rule {
	t.Helper()
	all, err := rights.ParseRules(texts)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func of(t testing.TB, c rights.Client, texts ...string) *rights.Rights {
	t.Helper()
	return (&rights.Policy{Users: map[string]rights.Grant{c.User: {Allow: rules(t, texts...)}}}).For(c)
}

func TestMay(t *testing.T) {
	for _, test := range []struct {
		name   string
		rules  []string
		action rights.Actions
		yes    []string
		no     []string
	}{
		{"nothing without a rule", []string{"read /queue/b"}, rights.Consume, []string{"/queue/b"}, []string{"/queue/a"}},
		{"read is consume", []string{"read /queue/a"}, rights.Consume, []string{"/queue/a"}, nil},
		{"read is browse", []string{"read /queue/a"}, rights.Browse, []string{"/queue/a"}, nil},
		{"read is not write", []string{"read /queue/a"}, rights.Write, nil, []string{"/queue/a"}},
		{"write is not create", []string{"write /queue/a"}, rights.Create, nil, []string{"/queue/a"}},
		{"everything", []string{"* >"}, rights.Destroy, []string{"/queue/a", "/topic/b", "weird"}, []string{"/queue/$sys/stats", "/topic/$sys/connect", "/topic/ActiveMQ.Advisory.Connection"}},
		{"the first counts", []string{"deny read /queue/secret.>", "read /queue/>"}, rights.Consume, []string{"/queue/a"}, []string{"/queue/secret", "/queue/secret.a"}},
		{"the first counts, the other way", []string{"read /queue/secret.mine", "deny read /queue/secret.>"}, rights.Consume, []string{"/queue/secret.mine"}, []string{"/queue/secret.yours"}},
		{"a deny of something else", []string{"deny write /queue/a", "read /queue/a"}, rights.Consume, []string{"/queue/a"}, nil},
		{"a spelling of ActiveMQ", []string{"write queue://a.>"}, rights.Write, []string{"/queue/a.b"}, []string{"/topic/a.b"}},
		{"the exchange of topics", []string{"write /exchange/amq.topic/a.#"}, rights.Write, []string{"/topic/a.b"}, []string{"/queue/a.b"}},
		{"with the dollar sign", []string{"read /topic/$sys/>"}, rights.Consume, []string{"/topic/$sys/connect"}, []string{"/topic/a"}},
		{"the user", []string{"read /queue/{username}.>"}, rights.Consume, []string{"/queue/joe.a"}, []string{"/queue/jane.a", "/queue/{username}.a"}},
		{"the user is in a part", []string{"read /queue/inbox-{username}"}, rights.Consume, []string{"/queue/inbox-joe"}, []string{"/queue/inbox-jane"}},
		{"the client", []string{"read /dsub/{client-id}.>"}, rights.Consume, []string{"/dsub/c1.news"}, []string{"/dsub/c2.news"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := of(t, rights.Client{User: "joe", ID: "c1"}, test.rules...)
			for _, name := range test.yes {
				if ok, by := r.May(test.action, name); !ok {
					t.Errorf("%v %s is refused by %q", test.action, name, by)
				}
			}
			for _, name := range test.no {
				if ok, by := r.May(test.action, name); ok {
					t.Errorf("%v %s is allowed by %q", test.action, name, by)
				}
			}
		})
	}
}

// TestMayAll: a pattern must not cross a right.
func TestMayAll(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules []string
		yes   []string
		no    []string
	}{
		{"within", []string{"read /topic/a.>"}, []string{"/topic/a.>", "/topic/a.*.b", "/topic/a.b"}, []string{"/topic/>", "/topic/*.b", "#"}},
		{"a deny before", []string{"deny read /topic/a.secret", "read /topic/a.>"}, []string{"/topic/a.b.*"}, []string{"/topic/a.>", "/topic/a.*", "/topic/*.secret"}},
		{"a deny behind", []string{"read /topic/a.>", "deny read /topic/>"}, []string{"/topic/a.>"}, []string{"/topic/b.>"}},
		{"a deny behind some of it", []string{"read /topic/a.b.>", "deny read /topic/a.c", "read /topic/a.>"}, []string{"/topic/a.b.*"}, []string{"/topic/a.*"}},
		{"the server's own", []string{"read >"}, []string{"/topic/>", "#"}, []string{"/topic/$sys/>", "/topic/ActiveMQ.Advisory.>"}},
		{"the server's own, allowed", []string{"read /topic/$sys/>"}, []string{"/topic/$sys/>", "/topic/$sys/*"}, []string{"/topic/>"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := of(t, rights.Client{User: "joe"}, test.rules...)
			for i, names := range [][]string{test.no, test.yes} {
				for _, name := range names {
					p, err := pattern.Both.Parse(name)
					if err != nil {
						t.Fatal(err)
					}
					if ok, by := r.MayAll(rights.Consume, p); ok != (i == 1) {
						t.Errorf("%s: %v, by %q", name, ok, by)
					}
				}
			}
		})
	}
}

// TestNamesThatArePatterns: what a client calls itself gives it no more than its name.
func TestNamesThatArePatterns(t *testing.T) {
	for _, name := range []string{"*", "#", ">", "+", "a.b", "a/b", "", "$sys", "a,b", "%2F", "{client-id}", "x y", "a\n"} {
		c := rights.Client{User: name, ID: name}
		r := of(t, c, "deny read /queue/in.{username}.closed", "read /queue/{username}.>", "read /queue/{client-id}.>", "read /queue/in.>")
		for _, dest := range []string{"/queue/jane.a", "/queue/a.b.c", "/queue/" + name + ".a", "/queue/.a", "/queue/in.jane.closed", "/queue/in.a.b.closed"} {
			if ok, by := r.May(rights.Consume, dest); ok {
				t.Errorf("a client called %q may read %s by %s", name, dest, by)
			}
		}
		if ok, _ := r.May(rights.Consume, "/queue/else"); ok || len(r.Void) != 2 {
			t.Errorf("%q: void are %v", name, r.Void)
		}
	}
}

func TestPolicy(t *testing.T) {
	p := &rights.Policy{
		Users: map[string]rights.Grant{
			"root": {Roles: []string{"admin"}}, "ops": {Roles: []string{"operator"}}, "seer": {Roles: []string{"monitor"}},
			"shop": {Allow: rules(t, "deny write /queue/a", "write /queue/shop.>"), Roles: []string{"guest", "writer"}},
			"held": {Allow: rules(t, "deny write /queue/held"), Roles: []string{"admin"}},
		},
		Roles:     map[string][]rights.Rule{"guest": rules(t, "read /topic/news"), "writer": rules(t, "write /queue/>")},
		Anonymous: rules(t, "write /queue/public"),
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		c    rights.Client
		a    rights.Actions
		name string
		want bool
	}{
		{rights.Client{User: "root"}, rights.Write, "/queue/$schedule", true},
		{rights.Client{User: "nobody"}, rights.Write, "/queue/x", true},
		{rights.Client{User: "nobody"}, rights.Write, "/queue/$schedule", true},
		{rights.Client{User: "ops"}, rights.Browse, "/queue/x", true},
		{rights.Client{User: "ops"}, rights.Consume, "/queue/x", false},
		{rights.Client{User: "ops"}, rights.Write, "/queue/$dlq/x", true},
		{rights.Client{User: "seer"}, rights.Consume, "/topic/$sys/connect", true},
		{rights.Client{User: "seer"}, rights.Write, "/queue/$dlq/x", false},
		{rights.Client{User: "shop"}, rights.Write, "/queue/a", false},
		{rights.Client{User: "shop"}, rights.Write, "/queue/b", true},
		{rights.Client{User: "shop"}, rights.Consume, "/topic/news", true},
		{rights.Client{User: "held"}, rights.Write, "/queue/held", false},
		{rights.Client{User: "held"}, rights.Write, "/queue/$schedule", true},
		{rights.Client{Anonymous: true}, rights.Write, "/queue/public", true},
		{rights.Client{Anonymous: true}, rights.Consume, "/queue/public", false},
		{rights.Client{User: "tok", Grant: rights.Grant{Roles: []string{"guest", "unheard"}}}, rights.Consume, "/topic/news", true},
		{rights.Client{User: "tok", Grant: rights.Grant{Roles: []string{"unheard"}}}, rights.Consume, "/topic/news", false},
		{rights.Client{User: "root", Grant: rights.Grant{Roles: []string{"guest"}}}, rights.Write, "/queue/x", false},
	} {
		if ok, by := p.For(test.c).May(test.a, test.name); ok != test.want {
			t.Errorf("%+v %v %s: %v by %q", test.c, test.a, test.name, ok, by)
		}
	}
	if (&rights.Policy{}).For(rights.Client{User: "x"}) != nil {
		t.Error("the default role has rights that cost something")
	}
	p.Roles[rights.DefaultRole] = rules(t, "read /topic/>")
	if ok, _ := p.For(rights.Client{User: "nobody"}).May(rights.Write, "/queue/x"); ok {
		t.Error("the role default was set, and counts for nobody")
	}
}

// TestVHosts: a rule for one virtual host is none in another, and the name of one may have parts.
func TestVHosts(t *testing.T) {
	p := &rights.Policy{
		Users: map[string]rights.Grant{
			"app": {Allow: rules(t, "deny write /queue/sealed in shop", "write /queue/> in shop", "read /queue/{vhost}.in", "deny * /queue/{vhost}.out.>")},
			"lab": {Allow: rules(t, "* > in lab"), Roles: []string{"admin"}},
		},
		Anonymous: rules(t, "read /topic/> in default"),
	}
	for _, test := range []struct {
		user, host string
		a          rights.Actions
		name       string
		want       bool
	}{
		{"app", "shop", rights.Write, "/queue/a", true},
		{"app", "shop", rights.Write, "/queue/sealed", false},
		{"app", "lab", rights.Write, "/queue/a", false},
		{"app", "shop/", rights.Write, "/queue/a", false},
		{"app", "", rights.Write, "/queue/a", false},
		{"app", "lab", rights.Consume, "/queue/lab.in", true},
		{"app", "lab", rights.Consume, "/queue/shop.in", false},
		{"app", "lab.example.org", rights.Consume, "/queue/lab.example.org.in", true},
		{"app", "prod/eu", rights.Consume, "/queue/prod/eu.in", true},
		{"app", "*", rights.Consume, "/queue/a.in", false},
		{"app", "", rights.Consume, "/queue/.in", false},
		{"lab", "shop", rights.Write, "/queue/$schedule", true},
		{"", "default", rights.Consume, "/topic/a", true},
		{"", "shop", rights.Consume, "/topic/a", false},
	} {
		r := p.For(rights.Client{User: test.user, Anonymous: test.user == "", Host: test.host})
		if ok, by := r.May(test.a, test.name); ok != test.want {
			t.Errorf("%+v: %v by %q", test, ok, by)
		}
	}
	if got := p.Hosts(); strings.Join(got, " ") != "default lab shop" {
		t.Errorf("got %q", got)
	}
	for _, test := range []struct {
		c    rights.Client
		role string
		want bool
	}{
		{rights.Client{User: "lab"}, "admin", true},
		{rights.Client{User: "other"}, "admin", false},
		{rights.Client{User: "other"}, rights.DefaultRole, true},
		{rights.Client{User: "lab", Grant: rights.Grant{Roles: []string{"guest"}}}, "admin", false},
		{rights.Client{User: "x", Grant: rights.Grant{Roles: []string{"guest"}}}, "guest", true},
		{rights.Client{Anonymous: true}, rights.DefaultRole, false},
	} {
		if got := p.Has(test.c, []string{"none", test.role}); got != test.want {
			t.Errorf("%+v has %s: %v", test.c, test.role, got)
		}
	}
}

func TestBadPolicies(t *testing.T) {
	for want, p := range map[string]*rights.Policy{
		"no role smith":  {Users: map[string]rights.Grant{"joe": {Roles: []string{"smith"}}}},
		"admin is built": {Roles: map[string][]rights.Rule{"admin": nil}},
	} {
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestBadRules(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "is not a rule",
		"read":                              "is not a rule",
		"read /queue/a b":                   "is not a rule",
		"read /queue/a in":                  "is not a rule",
		"read /queue/a of b":                "is not a rule",
		"read /queue/a in b c":              "is not a rule",
		"deny read":                         "is not a rule",
		"fly /queue/a":                      "there are read, write, consume, browse, create, destroy, *",
		"read /queue/a,/queue/b":            "one destination",
		"read /topic/":                      "missing",
		"read /topic/>.a":                   "> may only be the last part",
		"read /temp-queue/a":                "need no rights",
		"read /queue/{user}":                "placeholders",
		"read /exchange/mine/x":             "no exchange 'mine'",
		"read " + strings.Repeat("a", 2000): "longer than",
	} {
		if _, err := rights.ParseRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// FuzzRule: no rule and no name panics, what is read is written and read alike, and one client's
// name gives it nothing of another's.
func FuzzRule(f *testing.F) {
	f.Add("deny read /queue/{username}.>", "joe", "/queue/joe.a")
	f.Add("* >", "#", "/queue/$dlq/a")
	f.Add("read /queue/{vhost}.> in shop", "shop", "/queue/shop.a")
	f.Add("write jms.{username}.a", "queue", "/queue/a")
	f.Fuzz(func(t *testing.T, text, user, name string) {
		r, err := rights.ParseRule(text)
		if err != nil {
			return
		}
		if again, err := rights.ParseRule(r.String()); err != nil || again != r {
			t.Fatalf("%q is %q, which is %v, %v", text, r, again, err)
		}
		p := &rights.Policy{Users: map[string]rights.Grant{user: {Allow: []rights.Rule{r}}}}
		mine := p.For(rights.Client{User: user})
		ok, _ := mine.May(rights.Write, name)
		if ok && strings.Contains(r.Pattern, "{username}") && !strings.Contains(name, user) {
			t.Errorf("%q gives %q the right to %q", text, user, name)
		}
		if q, err := pattern.Both.Parse(name); err == nil && len(name) < 200 {
			if all, _ := mine.MayAll(rights.Write, q); all && !ok && !q.Wild() {
				t.Errorf("%q: MayAll and May differ on %q", text, name)
			}
		}
	})
}

func BenchmarkMay(b *testing.B) {
	r := of(b, rights.Client{User: "joe"}, "deny write /queue/a.>", "read /topic/>", "write /queue/{username}.>", "write /queue/jobs.*")
	for b.Loop() {
		if ok, _ := r.May(rights.Write, "/queue/jobs.x"); !ok {
			b.Fatal("refused")
		}
	}
}
