package stompserver_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver"
)

// load reads a file with that text, as in a directory of its own.
func load(t testing.TB, text string, env []string, flags ...stompserver.FlagValue) (*stompserver.Settings, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stompserver.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return stompserver.Load(stompserver.LoadOptions{Dir: dir, Env: env, Flags: flags, Version: "1.2.3"})
}

func setting(t testing.TB, key string) *stompserver.Setting {
	t.Helper()
	for _, s := range stompserver.All() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("there is no setting %q", key)
	return nil
}

func TestFileValues(t *testing.T) {
	for _, tt := range []struct {
		name, file, key, want string
	}{
		{"empty file", "", "port", "61613"},
		{"only a comment", "# nothing\n", "port", "61613"},
		{"only a document mark", "---\n", "port", "61613"},
		{"plain key", "port: 61614\n", "port", "61614"},
		{"Ruby symbol", ":port: 61614\n", "port", "61614"},
		{"mixed", ":host: a.example\nport: 61614\n:auth: yes\n", "port", "61614"},
		{"symbol as value", ":queue: :memory\n", "queue", "memory"},
		{"quoted", "port: \"61614\"\n", "port", "61614"},
		{"IPv6 loopback is no symbol", "host: ::1\n", "host", "::1"},
		{"no value is not set", ":group:\n:port:\n", "port", "61613"},
		{"tilde is not set", "port: ~\n", "port", "61613"},
		{"empty text is not set", "port: \"\"\n", "port", "61613"},
		{"free port", "port: 0\n", "port", "0"},
		{"underscore", "port: 61_614\n", "port", "61614"},
		{"hexadecimal", "port: 0xF0AE\n", "port", "61614"},
		{"octal as in Ruby", "port: 0170256\n", "port", "61614"},
		{"alias", "port: &p 61614\ncheckpoint: *p\n", "checkpoint", "61614"},
		{"DOS line ends", ":port: 61614\r\n:auth: true\r\n", "port", "61614"},
		{"yes", "auth: yes\n", "auth", "true"},
		{"On", "auth: On\n", "auth", "true"},
		{"false", "auth: false\n", "auth", "false"},
		{"monitor off", "monitor: no\n", "monitor", "false"},
		{"section", "limits: {body: 1MiB}\n", "limits.body", "1MiB"},
		{"section with symbols", ":limits:\n  :body: 1kB\n", "limits.body", "1000B"},
		{"section within section", "log: {rotate: {size: 1GiB}}\n", "log.rotate.size", "1GiB"},
		{"empty section", "limits:\n", "limits.body", "64MiB"},
		{"old name of a section's key", "log_level: warn\n", "log.level", "warn"},
		{"debug sets the level", "debug: true\nlog_level: error\n", "log.level", "debug"},
		{"no limit", "limits: {body: 0}\n", "limits.body", "0"},
		{"no limit of time", "limits: {login_timeout: 0}\n", "limits.login_timeout", "0"},
		{"time", "limits: {idle_timeout: 90s}\n", "limits.idle_timeout", "1m30s"},
		{"days", "destinations: {delete_idle_after: 7d}\n", "destinations.delete_idle_after", "7d"},
		{"share of memory", "limits: {memory: 25%}\n", "limits.memory", "25%"},
		{"size of memory", "limits: {memory: 1.5 GiB}\n", "limits.memory", "1536MiB"},
		{"server header", "server_header: \"RabbitMQ/${version}\"\n", "server_header", "RabbitMQ/1.2.3"},
		{"slow consumer", "destinations: {slow_consumer: disconnect}\n", "destinations.slow_consumer", "disconnect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.file, nil)
			if err != nil {
				t.Fatalf("%q: %v", tt.file, err)
			}
			if got := setting(t, tt.key).Value(s); got != tt.want {
				t.Errorf("%q: %s = %q, want %q", tt.file, tt.key, got, tt.want)
			}
		})
	}
}

func TestFileProblems(t *testing.T) {
	const tab2 = "stompserver.conf:2: this is not YAML: the line is indented with a tab; indent it with spaces"
	for _, tt := range []struct {
		name, file, want string
	}{
		{"unknown key", "prot: 1", `stompserver.conf:1: unknown key "prot"; did you mean "port"?`},
		{"unknown key like nothing", "xyzzy: 1", `stompserver.conf:1: unknown key "xyzzy"`},
		{"unknown key of a section", "limits:\n  boddy: 1", `stompserver.conf:2: unknown key "limits.boddy"; did you mean "limits.body"?`},
		{"section forgotten", "body: 1", `stompserver.conf:1: unknown key "body"; did you mean "limits.body"?`},
		{"all at once", "prot: 1\nport: x\nauth: maybe\n", `stompserver.conf:1: unknown key "prot"; did you mean "port"?
stompserver.conf:2: port: "x" is not a whole number
stompserver.conf:3: auth: "maybe" is neither true nor false`},
		{"line by line", "limits: {body: big}\nport: x\nprot: 1\n:queue: jetstream\ncluster: {a: b}\nserver_header: \"a\\nb\"\nauth: maybe\n", `stompserver.conf:1: limits.body: "big" is not a size: write a number and B, kB, KiB, MiB or GiB
stompserver.conf:2: port: "x" is not a whole number
stompserver.conf:3: unknown key "prot"; did you mean "port"?
stompserver.conf:4: queue: jetstream is not in this build yet: it has memory, journal, file, dbm, activerecord
stompserver.conf:5: cluster is not in this build yet
stompserver.conf:6: server_header: control characters cannot be in a header
stompserver.conf:7: auth: "maybe" is neither true nor false`},
		{"unknown twice", "prot: 1\nprot: 2\n", `stompserver.conf:1: unknown key "prot"; did you mean "port"?
stompserver.conf:2: unknown key "prot"; did you mean "port"?`},
		{"section twice", "log: {level: info}\nlog: {format: text}\n", "stompserver.conf:2: log is set a second time, first in line 1"},
		{"twice", "port: 1\nhost: a\n:port: 2", "stompserver.conf:3: port is set a second time, first in line 1"},
		{"twice by two names", "logfile: a\nlog: {file: b}", "stompserver.conf:2: log.file is set a second time, first in line 1"},
		{"section as value", "log: debug", "stompserver.conf:1: log is a section: write its settings below it, indented"},
		{"value as section", "port: {a: 1}", "stompserver.conf:1: port takes one value"},
		{"list", "port: [1, 2]", "stompserver.conf:1: port takes one value"},
		{"not YAML", "port: 1\nhost: a: b", "stompserver.conf:2: this is not YAML: mapping values are not allowed in this context"},
		{"tab", "limits:\n\tbody: 1", tab2},
		{"tab behind spaces", "limits:\n  \tbody: 1", tab2},
		{"tab at the top", "port: 1\n\thost: a", tab2},
		{"tab among settings", "limits:\n  body: 1\n\theader: 1\nport: 2\n", "stompserver.conf:3: this is not YAML: the line is indented with a tab; indent it with spaces"},
		{"tab first", "\tport: 1\n", "stompserver.conf:1: this is not YAML: the line is indented with a tab; indent it with spaces"},
		{"tab elsewhere", "# a\n\t\nport: @\n", "stompserver.conf:3: this is not YAML: found character that cannot start any token"},
		{"no mapping", "- a\n", "stompserver.conf:1: this is not a list of settings: write KEY: VALUE lines"},
		{"second document", "port: 1\n---\nport: 2\n", "stompserver.conf:2: this is not YAML: there is a second document"},
		{"key is a list", "? [a]\n: b", "stompserver.conf:1: a key is not a word"},
		{"port too high", "port: 65536", "stompserver.conf:1: port: 65536 is not a port: they go from 1 to 65535, and 0 picks a free one"},
		{"negative port", "port: -1", "stompserver.conf:1: port: -1 is not a port: they go from 1 to 65535, and 0 picks a free one"},
		{"size", "limits: {body: big}", `stompserver.conf:1: limits.body: "big" is not a size: write a number and B, kB, KiB, MiB or GiB`},
		{"body too large", "limits: {body: 3GiB}", `stompserver.conf:1: limits.body: "3GiB" is more than 2GiB`},
		{"time without unit", "limits: {idle_timeout: 10}", `stompserver.conf:1: limits.idle_timeout: "10" has no unit: write 10ms, 10s, 10m or 10h`},
		{"no time", "limits: {idle_timeout: soon}", `stompserver.conf:1: limits.idle_timeout: "soon" is not a time: write a number and ms, s, m, h or d`},
		{"negative time", "limits: {idle_timeout: -1s}", `stompserver.conf:1: limits.idle_timeout: "-1s" is less than nothing`},
		{"share", "limits: {memory: 120%}", `stompserver.conf:1: limits.memory: "120%" is not a share: write 1% to 100%`},
		{"word", "log_level: warm", `stompserver.conf:1: log.level: "warm" is not one of debug, info, warn, error; did you mean "warn"?`},
		{"tolerance", "heartbeat: {tolerance: 0}", `stompserver.conf:1: heartbeat.tolerance: "0" is not a number from 1 to 1000`},
		{"dead letters to a topic", "destinations: {dead_letter: /topic/x}", `stompserver.conf:1: destinations.dead_letter: "/topic/x" is not a queue: its name starts with /queue, and not with /queue/$`},
		{"deliveries", "destinations: {max_deliveries: 0}", "stompserver.conf:1: destinations.max_deliveries: 0 is not between 1 and 2147483647"},
		{"header injection", `server_header: "a\nb"`, "stompserver.conf:1: server_header: control characters cannot be in a header"},
		{"queue to come", "queue: jetstream", "stompserver.conf:1: queue: jetstream is not in this build yet: it has memory, journal, file, dbm, activerecord"},
		{"queue to come, Ruby", ":queue: :jetstream", "stompserver.conf:1: queue: jetstream is not in this build yet: it has memory, journal, file, dbm, activerecord"},
		{"no queue", "queue: memroy", `stompserver.conf:1: queue: "memroy" is not a queue type: they are memory, journal, file, dbm, activerecord (or sql); did you mean "memory"?`},
		{"cluster", "cluster: {a: b}", "stompserver.conf:1: cluster is not in this build yet"},
		{"cluster, Ruby", ":cluster: true", "stompserver.conf:1: cluster is not in this build yet"},
		{"cluster", "cluster: []", "stompserver.conf:1: cluster is not in this build yet"},
		{"users without logins", "users:\n  - {name: app}", "stompserver.conf:1: users is set, but auth is off: nobody would be asked for a login, and everybody could do everything; set auth: true"},
		{"anonymous without logins", "anonymous: {allow: [read /topic/a]}", "stompserver.conf:1: anonymous.allow is set, but auth is off: nobody would be asked for a login, and everybody could do everything; set auth: true"},
		{"user without a name", "auth: true\nusers: [{allow: []}]", "stompserver.conf:2: users: user 1: name: a login must not be empty"},
		{"user twice", "auth: true\nusers: [{name: a}, {name: a}]", "stompserver.conf:2: users: user 2: a is there already"},
		{"plain passcode", "auth: true\nusers: [{name: a, passcode: geheim}]", "stompserver.conf:2: users: user 1: a: passcode is no hash; make one with: stompserver passwd hash"},
		{"cut hash", "auth: true\nusers: [{name: a, passcode: $argon2id$x}]", "stompserver.conf:2: users: user 1: a: passcode: not a whole argon2id hash"},
		{"no rule", "auth: true\nusers: [{name: a, allow: [sing /queue/a]}]", `stompserver.conf:2: users: user 1: a: allow: "sing /queue/a": "sing" is nothing that can be done with a destination: there are read, write, consume, browse, create, destroy, *`},
		{"no role", "auth: true\nusers: [{name: a, roles: [smith]}]", "stompserver.conf:2: user a: there is no role smith; there are admin, default, monitor, operator"},
		{"role built in", "auth: true\nroles: [{name: admin}]", "stompserver.conf:2: the role admin is built in; give yours another name"},
		{"all that is wrong in a list, each with its line", `auth: true
users:
  - {name: a, passcode: geheim}
  - {name: b}
  - name: c
    allow: [sing /queue/a]
  - foo
roles:
  - {name: d, alow: []}
  - {name: e}
`, `stompserver.conf:3: users: user 1: a: passcode is no hash; make one with: stompserver passwd hash
stompserver.conf:5: users: user 3: c: allow: "sing /queue/a": "sing" is nothing that can be done with a destination: there are read, write, consume, browse, create, destroy, *
stompserver.conf:7: users: it is not a list of users such as {name: app, allow: ["write /queue/jobs.*"]}; known are name, passcode, passcode_file, allow and roles
stompserver.conf:9: roles: it is not a list of roles such as {name: shop, allow: ["write /queue/jobs.*"]}`},
		{"what follows from what is wrong is not told", `auth: maybe
roles:
  - {name: a, alow: []}
users:
  - {name: b, roles: [a]}
anonymous: {allow: [sing it]}
ldap: {url: "ftp://x", base: dc=x}
`, `stompserver.conf:1: auth: "maybe" is neither true nor false
stompserver.conf:3: roles: it is not a list of roles such as {name: shop, allow: ["write /queue/jobs.*"]}
stompserver.conf:6: anonymous.allow: "sing it": "sing" is nothing that can be done with a destination: there are read, write, consume, browse, create, destroy, *
stompserver.conf:7: ldap.url: "ftp://x" is not the address of a directory, such as ldaps://ldap.example.org`},
		{"what is wrong in a list beside the others", "auth: true\nusers:\n  - {name: a}\n  - {name: b}\n  - {name: a}\n", "stompserver.conf:5: users: user 3: a is there already"},
		{"rules", "destinations:\n  rules:\n    - {match: /queue/a, ttl: 5s}\n    - {match: /queue/b, ttl: soon}\n    - {match: /queue/c, when_full: explode}\n", `stompserver.conf:4: destinations.rules: rule 2: ttl: "soon" is not a time: write a number and ms, s, m, h or d
stompserver.conf:5: destinations.rules: rule 3: when_full: "explode" is not reject, drop_new, drop_head, dead_letter or block`},
		{"listeners", "listeners:\n  - {address: \":1\"}\n  - {address: here}\n  - {addres: \":2\"}\n", `stompserver.conf:3: listeners: listener 2: address: "here" is neither HOST:PORT nor unix:FILE: it is not like HOST:PORT
stompserver.conf:4: listeners: listener 3: addres is not known; known are address, protocols and trusted_proxies`},
		{"virtual hosts", "vhosts:\n  enabled: true\n  list:\n    - a\n    - {nam: b}\n    - c d\n    - a\n", `stompserver.conf:5: vhosts.list: virtual host 2: it is not like {name: shop, aliases: [shop.example.org]}; known are name, aliases, users, roles, connections, stopped and redirect
stompserver.conf:6: vhosts.list: virtual host 3: name: "c d" has a blank or a control character in it, or is no UTF-8`},
		{"list as a section", "auth: true\nusers: {name: a}", `stompserver.conf:2: users is a list: each entry of it begins with "- "`},
		{"roles' keys", "auth: true\nroles: [{nam: x}]", `stompserver.conf:2: roles: it is not a list of roles such as {name: shop, allow: ["write /queue/jobs.*"]}`},
		{"certificate without a key", "tls: {cert: a.pem}", "stompserver.conf:1: tls.cert and tls.key belong together, and one is missing"},
		{"key without a certificate", "port: 1\ntls: {key: a.key}", "stompserver.conf:2: tls.cert and tls.key belong together, and one is missing"},
		{"further certificates only", "tls: {certificates: [{cert: a.pem, key: a.key}]}", "stompserver.conf:1: the first pair is tls.cert and tls.key, which are missing"},
		{"clients show what nobody checks", "tls:\n  cert: a.pem\n  key: a.key\n  client_auth: need", "stompserver.conf:4: tls.client_auth wants tls.client_ca: the certificates that sign those of clients"},
		{"certificates of clients without TLS", "tls: {client_ca: ca.pem, client_auth: want}", "stompserver.conf:1: there is no TLS: certificates of clients want tls.cert and tls.key"},
		{"port of TLS without TLS", "listeners: [{address: \":1\", protocols: [wss, stomp+tls]}]", "stompserver.conf:1: the listener :1 speaks TLS only, and there is no tls.cert"},
		{"certificate by ACME for all names", "tls: {acme: {hosts: [\"*.example.org\"], accept_terms: true}}", `stompserver.conf:1: tls.acme: "*.example.org" is not the name of a host, such as stomp.example.org`},
		{"certificate by ACME for an address", "tls: {acme: {hosts: [192.0.2.1], accept_terms: true}}", `stompserver.conf:1: tls.acme: "192.0.2.1" is not the name of a host, such as stomp.example.org`},
		{"virtual host twice", "vhosts: {enabled: true, list: [a, a]}", `stompserver.conf:1: vhosts.list: virtual host 2: name: "a" is a name of the virtual host a already`},
		{"right in a virtual host without any", "auth: true\nroles: [{name: a, allow: [read /queue/a in b]}]", `stompserver.conf:2: a rule is for clients "in b", but vhosts.enabled is not set`},
		{"rule of a virtual host that is not there", "vhosts: {enabled: true}\ndestinations:\n  rules: [{match: /queue/a, vhost: b}]", "stompserver.conf:3: a rule of destinations.rules is for the virtual host b, which is no name in vhosts.list"},
		{"disk", "limits: {disk_free: 1GiB}", "stompserver.conf:1: limits.disk_free is not in this build yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, nil)
			var bad *stompserver.ConfigError
			if !errors.As(err, &bad) {
				t.Fatalf("%q: error %v, want a ConfigError", tt.file, err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("%q: (-want +got)\n%s", tt.file, diff)
			}
		})
	}
}

func TestAbsentKeysAreRefusedEverywhere(t *testing.T) {
	keys := strings.Fields(`http.console http.base_path http.tls http.trusted_proxies http.login_ttl cluster
		limits.disk_free`)
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			parts := strings.Split(key, ".")
			file := ""
			for i, p := range parts {
				file += strings.Repeat("  ", i) + p + ":\n"
			}
			said := key + " is not in this build yet"
			_, err := load(t, file, nil)
			want := fmt.Sprintf("stompserver.conf:%d: %s", len(parts), said)
			if err == nil || err.Error() != want {
				t.Errorf("file: error %v, want %s", err, want)
			}
			env := "STOMPSERVER_" + strings.ToUpper(strings.Join(parts, "_"))
			_, err = load(t, "", []string{env + "=1"})
			if want := env + ": " + said; err == nil || err.Error() != want {
				t.Errorf("environment: error %v, want %s", err, want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        []string
		flags      []stompserver.FlagValue
		want       string
	}{
		{name: "unknown Ruby key", file: ":prot: 1", want: `stompserver.conf:1: unknown key ":prot" is ignored; did you mean "port"?`},
		{name: "session cache", file: ":session_cache: 5", want: "stompserver.conf:1: session_cache is accepted and has no effect"},
		{name: "database.yml", file: ":dbyml: a.yml", want: "stompserver.conf:1: dbyml has no effect with queue memory"},
		{name: "login by certificates that nobody asks for", file: "tls: {cert: a.pem, key: a.key, login_from_cert: cn}", want: "stompserver.conf:1: tls.login_from_cert has no effect: tls.client_auth is none"},
		{name: "flag wins over file", file: "\n:port: 27613", flags: []stompserver.FlagValue{{Key: "port", Name: "--port", Value: "27999"}},
			want: "stompserver.conf:2: --port 27999 of the command line wins over 27613 of the file"},
		{name: "flag like file", file: ":port: 27613", flags: []stompserver.FlagValue{{Key: "port", Name: "--port", Value: "0x6bdd"}}},
		{name: "environment over file", file: ":port: 27613", env: []string{"STOMPSERVER_PORT=27999"}},
		{name: "unknown variable", env: []string{"STOMPSERVER_PROT=1"}, want: `STOMPSERVER_PROT is not a setting; did you mean "STOMPSERVER_PORT"?`},
		{name: "variables of the clients", env: []string{"STOMPSERVER_URL=x", "STOMPSERVER_LOGIN=x"}},
		{name: "Kubernetes", env: []string{"STOMPSERVER_SERVICE_HOST=10.0.0.1", "STOMPSERVER_SERVICE_PORT=61613", "STOMPSERVER_PORT_61613_TCP_ADDR=10.0.0.1", "STOMPSERVER_PORT=tcp://10.0.0.1:61613"},
			want: "STOMPSERVER_PORT=tcp://10.0.0.1:61613 is of a Kubernetes service and not a port: it is ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.file, tt.env, tt.flags...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.Join(s.Warnings, "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	port := func(v string) stompserver.FlagValue { return stompserver.FlagValue{Key: "port", Name: "-p", Value: v} }
	secret := filepath.Join(t.TempDir(), "port")
	if err := os.WriteFile(secret, []byte("5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file   string
		env          []string
		flags        []stompserver.FlagValue
		want, source string
	}{
		{name: "default", want: "61613", source: "default"},
		{name: "file", file: "# one\nport: 2", want: "2", source: "stompserver.conf:2"},
		{name: "environment", env: []string{"STOMPSERVER_PORT=3"}, want: "3", source: "environment STOMPSERVER_PORT"},
		{name: "environment over file", file: "port: 2", env: []string{"STOMPSERVER_PORT=3"}, want: "3", source: "environment STOMPSERVER_PORT"},
		{name: "file of the environment", file: "port: 2", env: []string{"STOMPSERVER_PORT_FILE=" + secret}, want: "5", source: "environment STOMPSERVER_PORT_FILE"},
		{name: "empty variable", file: "port: 2", env: []string{"STOMPSERVER_PORT="}, want: "2", source: "stompserver.conf:1"},
		{name: "flag over all", file: "port: 2", env: []string{"STOMPSERVER_PORT=3"}, flags: []stompserver.FlagValue{port("4")}, want: "4", source: "flag -p"},
		{name: "last flag", flags: []stompserver.FlagValue{port("4"), port("6")}, want: "6", source: "flag -p"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.file, tt.env, tt.flags...)
			if err != nil {
				t.Fatal(err)
			}
			st := setting(t, "port")
			if got, from := st.Value(s), s.Source(st).String(); got != tt.want || from != tt.source {
				t.Errorf("port is %s from %s, want %s from %s", got, from, tt.want, tt.source)
			}
		})
	}
}

func TestEnvironmentProblems(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"value", []string{"STOMPSERVER_PORT=x"}, `STOMPSERVER_PORT: "x" is not a whole number`},
		{"no file", []string{"STOMPSERVER_PORT_FILE=/nonexistent/a"}, "STOMPSERVER_PORT_FILE: /nonexistent/a cannot be read: no such file or directory"},
		{"both", []string{"STOMPSERVER_LOG_LEVEL=warn", "STOMPSERVER_LOGFILE=a", "STOMPSERVER_LOG_FILE=b"}, "STOMPSERVER_LOG_FILE: log.file is set by STOMPSERVER_LOGFILE as well"},
		{"part of an absent section", []string{"STOMPSERVER_CLUSTER_NAME=a"}, "STOMPSERVER_CLUSTER_NAME: cluster is not in this build yet"},
		{"named file is missing", []string{"STOMPSERVER_CONFIG=missing.conf"}, "missing.conf: there is no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, "", tt.env)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name, file                              string
		storage, etcdir, logdir, log, pid, pass string
	}{
		{name: "defaults", storage: "DIR/.stompserver", etcdir: "DIR/etc", logdir: "DIR/log", log: "", pid: "DIR/log/stompserver.pid", pass: "DIR/etc/.passwd DIR/.passwd"},
		{name: "under working_dir", file: "working_dir: run", storage: "DIR/run/.stompserver", etcdir: "DIR/run/etc", logdir: "DIR/run/log", log: "", pid: "DIR/run/log/stompserver.pid", pass: "DIR/run/etc/.passwd DIR/run/.passwd"},
		{name: "daemon", file: "daemon: true", storage: "DIR/.stompserver", etcdir: "DIR/etc", logdir: "DIR/log", log: "DIR/log/stompserver.log", pid: "DIR/log/stompserver.pid", pass: "DIR/etc/.passwd DIR/.passwd"},
		{name: "packaged", file: ":daemon: true\n:working_dir: /var/lib/stompserver\n:logdir: /var/log/stompserver\n:pidfile: /var/run/stompserver/pid\n:storage: /var/lib/stompserver/storage\n:etcdir: /etc/stompserver\n:queue: memory\n:auth: false\n:debug: false\n:group: stompserver\n:user: stompserver\n:host: 127.0.0.1\n:port: 61613\n",
			storage: "/var/lib/stompserver/storage", etcdir: "/etc/stompserver", logdir: "/var/log/stompserver", log: "/var/log/stompserver/stompserver.log", pid: "/var/run/stompserver/pid", pass: "/etc/stompserver/.passwd /var/lib/stompserver/.passwd"},
		{name: "relative to logdir", file: "logdir: l\nlogfile: a.log\npidfile: p", storage: "DIR/.stompserver", etcdir: "DIR/etc", logdir: "DIR/l", log: "DIR/l/a.log", pid: "DIR/l/p", pass: "DIR/etc/.passwd DIR/.passwd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.file, nil)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Dir(s.File)
			got := strings.ReplaceAll(strings.Join([]string{s.Config.Storage, s.EtcDir, s.LogDir, s.LogFile, s.PIDFile, strings.Join(s.Config.PasswdFiles, " ")}, "\n"), dir, "DIR")
			want := strings.Join([]string{tt.storage, tt.etcdir, tt.logdir, tt.log, tt.pid, tt.pass}, "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What config prints can be put into a file, and says the same there.
func TestYAML(t *testing.T) {
	for _, tt := range []struct {
		flag, value, want string
	}{
		{"host", "localhost", "localhost"},
		{"host", "*", "'*'"},
		{"host", "::1", "::1"},
		{"storage", "/a b", "/a b"},
		{"storage", "/a: b #c", "'/a: b #c'"},
		{"user", "1000", `"1000"`},
		{"user", "no", `"no"`},
		{"user", "@me", "'@me'"},
		{"user", ":me", `":me"`},
		{"user", "a\nb\x00", `"a\nb\0"`},
		{"port", "0", "0"},
		{"auth", "yes", "true"},
		{"limits.memory", "60%", "60%"},
		{"limits.body", "1MiB", "1MiB"},
	} {
		if filepath.Separator != '/' && tt.flag == "storage" {
			continue
		}
		s, err := load(t, "", nil, stompserver.FlagValue{Key: tt.flag, Name: "--x", Value: tt.value})
		if err != nil {
			t.Fatal(err)
		}
		set := setting(t, tt.flag)
		got := set.YAML(s)
		if got != tt.want {
			t.Errorf("%s %q is written %s, want %s", tt.flag, tt.value, got, tt.want)
		}
		path := strings.Split(tt.flag, ".")
		file := ""
		for i, p := range path {
			file += strings.Repeat("  ", i) + p + ": "
			if i < len(path)-1 {
				file += "\n"
			}
		}
		again, err := load(t, file+got+"\n", nil)
		if err != nil {
			t.Errorf("%s cannot be read: %v", got, err)
		} else if a, b := set.Value(s), set.Value(again); a != b {
			t.Errorf("%s: %q becomes %q", tt.flag, a, b)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "stompserver.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := stompserver.Load(stompserver.LoadOptions{Dir: dir})
	if want := "stompserver.conf: cannot be read: is a directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	big := filepath.Join(dir, "big.conf")
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = stompserver.Load(stompserver.LoadOptions{Dir: dir, File: big})
	if want := big + ": cannot be read: it is larger than 1MiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// FuzzFile: whatever can be read can be written out and read again to the same settings.
func FuzzFile(f *testing.F) {
	f.Add([]byte(":port: 61613\nqueue: :memory\n:group:\nauth: yes\n"))
	f.Add([]byte("limits: {memory: 60%, body: 1.5MiB, idle_timeout: 1h30m}\nlog: {rotate: {size: 0}}\n"))
	f.Add([]byte("host: &a '*'\nuser: *a\n# c\nheartbeat: {tolerance: 2.5}\n"))
	f.Add([]byte("auth: true\nusers: [{name: a, allow: [\"deny read /queue/>\"], roles: [b]}]\nroles: [{name: b, allow: [write >]}]\nanonymous: {allow: [read /topic/a]}\n"))
	f.Add([]byte("prot: 1\n- a\n\t"))
	f.Add([]byte("host: ' '\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "a.conf")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		o := stompserver.LoadOptions{Dir: dir, File: path}
		first, err := stompserver.Load(o)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a text")
			}
			return
		}
		var env []string
		for _, st := range stompserver.All() {
			v := st.Value(first)
			if strings.Contains(v, "\x00") || strings.Contains(v, `passcode: "***"`) {
				return // cannot be in an environment, or is not told
			}
			env = append(env, st.Env()+"="+v)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		o.Env = env
		second, err := stompserver.Load(o)
		if err != nil {
			t.Fatalf("%q was read, what it says was not: %v", text, err)
		}
		for _, st := range stompserver.All() {
			if a, b := st.Value(first), st.Value(second); a != b {
				t.Errorf("%s is %s, then %s", st.Key, strconv.Quote(a), strconv.Quote(b))
			}
		}
	})
}

// TestAddUser: add_user names the header of senders, wherever user_header does not, before or behind it.
func TestAddUser(t *testing.T) {
	for file, want := range map[string]string{
		"add_user: true": "JMSXUserID", "add_user: false": "", "add_user: true\nuser_header: from": "from", "add_user_header: from\nadd_user: true": "from",
	} {
		s, err := load(t, file, nil)
		if err != nil || s.Config.UserHeader != want {
			t.Errorf("%q: %q, %v, want %q", file, s.Config.UserHeader, err, want)
		}
	}
}
