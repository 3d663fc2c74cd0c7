package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stompserver/test/certificate"
	"stompserver/test/process"
)

func TestMain(m *testing.M) { process.Main(m, race) }

// checks are what every client is to report; doc.go says what each one means.
var checks = []string{
	"connect", "heart-beat", "text", "headers", "binary", "receipts", "order", "ack client",
	"ack client-individual", "nack", "commit", "abort", "clean leave", "unclean leave", "topic", "error",
}

// expected are the checks of one version.
func expected(version string) []string {
	if version == "1.0" {
		return slices.DeleteFunc(slices.Clone(checks), func(c string) bool { return c == "heart-beat" })
	}
	return checks
}

// A library is a program with its checks.
type library struct {
	name         string
	needs        string   // what to install, in words
	interpreters []string // the first that has the library is taken
	probe        []string // arguments with which an interpreter ends well if it has it
	program      string   // in this directory
	versions     []string
	modules      string // a directory that must be there
	url          string // ws or wss: it speaks WebSocket; ssl: TLS
}

var all = []string{"1.0", "1.1", "1.2"}

var libraries = []library{
	{
		name: "stomp.py", needs: "the package python3-stomp",
		interpreters: []string{"/usr/bin/python3", "python3"}, probe: []string{"-c", "import stomp"},
		program: "python/checks.py", versions: all,
	},
	{
		name: "ruby stomp gem", needs: "the package ruby-stomp",
		interpreters: []string{"ruby", "/usr/bin/ruby"}, probe: []string{"-e", "require 'stomp'"},
		program: "ruby/checks.rb", versions: all,
	},
	{
		name: "Net-Stomp", needs: "the package libnet-stomp-perl",
		interpreters: []string{"perl", "/usr/bin/perl"}, probe: []string{"-MNet::Stomp", "-e", "1"},
		program: "perl/checks.pl", versions: all,
	},
	{
		name: "php-stomp", needs: "the packages php-cli and php-stomp",
		interpreters: []string{"php", "/usr/bin/php"}, probe: []string{"-r", "exit(class_exists('Stomp') ? 0 : 1);"},
		program: "php/checks.php", versions: all,
	},
	{
		name: "stomp.py over TLS", needs: "the package python3-stomp",
		interpreters: []string{"/usr/bin/python3", "python3"}, probe: []string{"-c", "import stomp"},
		program: "python/checks.py", versions: []string{"1.2"}, url: "ssl",
	},
	{
		name: "ruby stomp gem over TLS", needs: "the package ruby-stomp",
		interpreters: []string{"ruby", "/usr/bin/ruby"}, probe: []string{"-e", "require 'stomp'"},
		program: "ruby/checks.rb", versions: []string{"1.2"}, url: "ssl",
	},
	{
		name: "Net-Stomp over TLS", needs: "the packages libnet-stomp-perl and libio-socket-ssl-perl",
		interpreters: []string{"perl", "/usr/bin/perl"}, probe: []string{"-MNet::Stomp", "-MIO::Socket::SSL", "-e", "1"},
		program: "perl/checks.pl", versions: []string{"1.2"}, url: "ssl",
	},
	{
		name: "stompjs", needs: "Node.js, and npm ci in test/clients/node",
		interpreters: []string{"node", "nodejs"}, probe: []string{"-e", "0"},
		program: "node/checks.mjs", versions: all, modules: "node/node_modules/@stomp/stompjs",
	},
	{
		name: "stompjs over WebSocket", needs: "Node.js, and npm ci in test/clients/node",
		interpreters: []string{"node", "nodejs"}, probe: []string{"-e", "0"},
		program: "node/checks.mjs", versions: all, modules: "node/node_modules/ws", url: "ws",
	},
	{
		name: "stompjs over WebSocket and TLS", needs: "Node.js, and npm ci in test/clients/node",
		interpreters: []string{"node", "nodejs"}, probe: []string{"-e", "0"},
		program: "node/checks.mjs", versions: []string{"1.2"}, modules: "node/node_modules/ws", url: "wss",
	},
}

func TestLibraries(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			interpreter := lib.find(t)
			for _, version := range lib.versions {
				t.Run(version, func(t *testing.T) {
					t.Parallel()
					report(t, expected(version), lib.run(t, interpreter, version))
				})
			}
		})
	}
}

// peers are what TestPeers has every client report; doc.go says what each one means.
var peers = []string{"ActiveMQ", "Apollo", "Artemis", "RabbitMQ", "topics", "replies", "replay", "figures"}

// TestPeers has programs use what other brokers have, with the headers of each.
func TestPeers(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			interpreter := lib.find(t)
			for _, version := range lib.versions {
				if version == "1.0" { // it has no ids of subscriptions, which these programs go by
					continue
				}
				t.Run(version, func(t *testing.T) {
					t.Parallel()
					report(t, peers, lib.run(t, interpreter, version, "STOMP_CHECKS=peers"))
				})
			}
		})
	}
}

func (lib *library) find(t *testing.T) string {
	t.Helper()
	if lib.modules != "" {
		if _, err := os.Stat(filepath.FromSlash(lib.modules)); err != nil {
			missing(t, lib.name, lib.needs)
		}
	}
	for _, name := range lib.interpreters {
		if exec.Command(name, lib.probe...).Run() == nil {
			return name
		}
	}
	missing(t, lib.name, lib.needs)
	return ""
}

// missing skips what cannot be tested here, or fails where nothing may be left out.
func missing(t *testing.T, name, needs string) {
	t.Helper()
	if os.Getenv("TEST_REQUIRE_ALL") == "1" {
		t.Fatalf("%s is not installed: it needs %s", name, needs)
	}
	t.Skipf("%s is not installed: it needs %s", name, needs)
}

// start runs a server whose heart-beats are short enough to be seen by a test, and slow
// enough for a busy machine.
func start(t *testing.T, more ...string) *process.Server {
	return process.Start(t, append(more,
		"STOMPSERVER_HEARTBEAT_SEND=500ms", "STOMPSERVER_HEARTBEAT_RECEIVE=500ms", "STOMPSERVER_HEARTBEAT_GRACE=1s")...)
}

func (lib *library) start(t *testing.T) *process.Server {
	if lib.url != "wss" && lib.url != "ssl" {
		return start(t)
	}
	cert, key := certificate.Write(t, t.TempDir(), "a", "localhost")
	return start(t, "STOMPSERVER_TLS_CERT="+cert, "STOMPSERVER_TLS_KEY="+key)
}

func (lib *library) run(t *testing.T, interpreter, version string, env ...string) []byte {
	t.Helper()
	s := lib.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // which a busy machine may need
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, filepath.FromSlash(lib.program))
	cmd.Env = append(os.Environ(),
		"STOMP_HOST="+s.Host, fmt.Sprintf("STOMP_PORT=%d", s.Port), "STOMP_VERSION="+version,
		"STOMP_PREFIX=/queue/clients.", "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, env...)
	if lib.url != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("STOMP_URL=%s://%s:%d/ws", lib.url, s.Host, s.Port))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s %s: %v", interpreter, lib.program, err)
	}
	if stderr.Len() > 0 {
		t.Logf("it said:\n%s", stderr.Bytes())
	}
	return stdout.Bytes()
}

var line = regexp.MustCompile(`^(not )?ok \d+ - (.*)$`)

// report makes a subtest of each line that a program printed. A check that is not there,
// since the program broke off or forgot it, is a failure.
func report(t *testing.T, want []string, out []byte) {
	t.Helper()
	var got []string
	planned := -1
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	var why []string // what the line before was about
	type check struct {
		name   string
		failed bool
		why    []string
	}
	var done []check
	for lines.Scan() {
		text := lines.Text()
		if m := line.FindStringSubmatch(text); m != nil {
			done = append(done, check{name: m[2], failed: m[1] != ""})
		} else if n, _ := fmt.Sscanf(text, "1..%d", &planned); n == 1 {
			continue
		} else if len(done) > 0 {
			done[len(done)-1].why = append(done[len(done)-1].why, strings.TrimPrefix(text, "# "))
		} else {
			why = append(why, strings.TrimPrefix(text, "# "))
		}
	}
	if len(why) > 0 {
		t.Log(strings.Join(why, "\n"))
	}
	for _, c := range done {
		got = append(got, c.name)
		t.Run(c.name, func(t *testing.T) {
			if c.failed {
				t.Error(strings.Join(c.why, "\n"))
			}
		})
	}
	if planned != len(done) {
		t.Errorf("%d checks done of %d planned: the program broke off", len(done), planned)
	}
	slices.Sort(got)
	if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(got, sorted) {
		t.Errorf("checks reported: %q\nwant: %q", got, sorted)
	}
}
