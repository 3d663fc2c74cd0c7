package features_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stompserver"
	"stompserver/test/transcript"
)

// stores are the queue types that run without another server.
var stores = []string{"memory", "journal", "file", "dbm", "activerecord"}

// TestFeatures plays testdata/*.stomp on every store, as transcript.Play has them. A line
// "!! restart" stops the server and starts it anew; a script with it has to do with what is
// kept, and is not played on memory. "!! reload key=value" changes a setting while it runs. Lines "#: key=value" at the beginning are settings.
func TestFeatures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.stomp")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		script := string(text)
		t.Run(strings.TrimSuffix(filepath.Base(name), ".stomp"), func(t *testing.T) {
			t.Parallel()
			for _, queue := range stores {
				if queue == "memory" && strings.Contains(script, "\n!! restart\n") {
					continue
				}
				t.Run(queue, func(t *testing.T) {
					t.Parallel()
					s := &server{t: t, env: settingsOf(script, queue)}
					transcript.Play(t, s.start(), script, s.do)
				})
			}
		})
	}
}

func settingsOf(script, queue string) []string {
	env := []string{"STOMPSERVER_QUEUE=" + queue}
	for line := range strings.Lines(script) {
		if set, ok := strings.CutPrefix(strings.TrimSpace(line), "#: "); ok {
			env = append(env, variable(set))
		}
	}
	return env
}

// variable is key=value as the environment has it. HASH in it is that of the passcode pw.
func variable(set string) string {
	key, value, _ := strings.Cut(set, "=")
	value = strings.ReplaceAll(value, "HASH", hash)
	return "STOMPSERVER_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_")) + "=" + value
}

// set changes a setting for what is loaded from now on.
func (s *server) set(text string) {
	v := variable(text)
	name, _, _ := strings.Cut(v, "=")
	s.env = append(slices.DeleteFunc(slices.Clone(s.env), func(old string) bool { return strings.HasPrefix(old, name+"=") }), v)
}

// hash is a cheap one of pw.
const hash = "'$2a$04$egoEz5npgbIrflqaK.DNkO1rOkKzuw3Ykb15jqMQ.lVPIIhP7F.q.'"

// A server is one that a test may stop and start again.
type server struct {
	t   *testing.T
	env []string
	dir string
	s   *stompserver.Server
}

func (s *server) start() (addr string) {
	s.t.Helper()
	if s.dir == "" {
		s.dir = s.t.TempDir()
		s.t.Cleanup(func() { s.stop() })
	}
	set, err := stompserver.Load(stompserver.LoadOptions{Env: s.env, Dir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := set.Config
	cfg.Host, cfg.Port = "127.0.0.1", stompserver.AnyPort
	cfg.Storage = filepath.Join(s.dir, "storage")
	if s.s, err = stompserver.New(cfg); err != nil {
		s.t.Fatal(err)
	}
	if err := s.s.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return s.s.Addrs()[0].String()
}

func (s *server) stop() {
	if s.s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.s.Shutdown(ctx); err != nil {
		s.t.Error(err)
	}
	s.s = nil
}

func (s *server) do(word string) (addr string) {
	s.t.Helper()
	switch word {
	case "restart":
		s.stop()
		return s.start()
	}
	set, ok := strings.CutPrefix(word, "reload ")
	if !ok {
		s.t.Fatalf("%q is not known", word)
	}
	s.set(set)
	loaded, err := stompserver.Load(stompserver.LoadOptions{Env: s.env, Dir: s.dir})
	if err == nil {
		err = s.s.Reload(loaded.Config)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return ""
}
