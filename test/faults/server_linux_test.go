package faults

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/file"
	"stompserver/internal/store/journal"
	"stompserver/internal/vfs"
	"stompserver/test/process"
)

func TestMain(m *testing.M) { process.Main(m, false) }

var seed = flag.Uint64("faults.seed", 0, "of the games; 0 picks one")

func seedOf(t *testing.T) uint64 {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("-faults.seed=%d", n)
	return n
}

// stores are those that are on this machine.
var stores = []string{"journal", "file", "dbm", "activerecord"}

// storesAndFlags has besides them one that is another one where receipts do not wait.
var storesAndFlags = append(stores, "dbm -c 1")

// flagsOf takes the flags of the server off a store.
func flagsOf(queue string) (name string, flags []string) {
	words := strings.Fields(queue)
	return words[0], words[1:]
}

// open opens a store as the server does, with -c 0 or a time. It does not wait for the disk, where that is no
// matter.
func open(queue, storage string, log io.Writer, loose bool) (store.Backend, error) {
	l := slog.New(slog.NewTextHandler(log, nil))
	switch queue {
	case "journal":
		fs, err := vfs.Dir(filepath.Join(storage, "journal"))
		if err != nil {
			return nil, err
		}
		return journal.Open(journal.Config{FS: fs, NoSync: true, Log: l})
	case "file":
		return file.Open(file.Config{Dir: storage, NoSync: true, Log: l})
	case "dbm":
		cfg := dbm.Config{Path: filepath.Join(storage, "queues.db"), NoSync: true, Log: l}
		if loose {
			return dbm.OpenLogged(cfg)
		}
		return dbm.Open(cfg)
	}
	return activerecord.Open(activerecord.Config{
		Database: activerecord.Database{Adapter: "sqlite3", Database: filepath.Join(storage, "stompserver_development")}, NoSync: loose, Log: l,
	})
}

// holds reads what a store has of queues.
func holds(b store.Backend, queues ...string) (map[string][]string, error) {
	held := make(map[string][]string)
	infos, err := b.Queues()
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		rs, more, err := b.Read(nil, q, 0, 1<<20, 1<<40)
		if err != nil || more {
			return nil, fmt.Errorf("%s: %v, %w", q, more, err)
		}
		for _, r := range rs {
			held[q] = append(held[q], string(r.Msg.Body()))
		}
		at := slices.IndexFunc(infos, func(i store.Info) bool { return i.Name == q })
		if n := len(rs); n > 0 && (at < 0 || infos[at].Count != n || infos[at].Last < rs[n-1].Seq) {
			return nil, fmt.Errorf("%s has %d messages up to %d, and is told with %+v", q, n, rs[n-1].Seq, infos)
		}
	}
	return held, nil
}

// What a kernel or a container does not let root do cannot be installed either: scripts/testreport
// knows a skip for such a reason by how it begins.
const forbidden = "forbidden here: "

// needStrace skips the test where strace cannot be played with.
var needStrace = func() func(t *testing.T) {
	reason := sync.OnceValue(func() string {
		path, err := exec.LookPath("strace")
		if err != nil {
			return "strace is not installed"
		}
		out, err := exec.Command(path, "-f", "--seccomp-bpf", "-yy", "-e", "trace=unlinkat", "-e", "inject=unlinkat:error=EIO:when=1", "true").CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%sstrace cannot trace: %v: %.200s", forbidden, err, out)
		}
		return ""
	})
	return func(t *testing.T) {
		t.Helper()
		switch why := reason(); {
		case why != "" && os.Getenv("TEST_REQUIRE_ALL") == "1" && !strings.HasPrefix(why, forbidden):
			t.Fatal(why)
		case why != "":
			t.Skip(why)
		}
	}
}()

// A traced is the server within strace.
type traced struct {
	cmd   *exec.Cmd
	dir   string
	trace string
	pid   int
	addr  string
	exit  chan error
	ended bool
}

// start runs the server, and returns when it listens or has ended.
func start(t *testing.T, dir, queue string, strace ...string) *traced {
	t.Helper()
	name, flags := flagsOf(queue)
	return startWith(t, dir, name, flags, strace...)
}

// startWith is start with flags of the server.
func startWith(t *testing.T, dir, queue string, flags []string, strace ...string) *traced {
	t.Helper()
	s := &traced{dir: dir, trace: filepath.Join(t.TempDir(), "trace"), exit: make(chan error, 1)}
	ports := filepath.Join(dir, "ports.json")
	args := append([]string{"-f", "--seccomp-bpf", "-yy", "-o", s.trace}, strace...)
	args = append(args, process.Binary(), "-b", "127.0.0.1", "-p", "0", "-w", dir, "--ports-file", ports)
	s.cmd = exec.Command("strace", append(args, flags...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STOMPSERVER_") {
			s.cmd.Env = append(s.cmd.Env, v)
		}
	}
	s.cmd.Env = append(s.cmd.Env, "STOMPSERVER_QUEUE="+queue)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exit <- s.cmd.Wait() }()
	t.Cleanup(s.kill)
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		var p struct{ PID, Stomp int }
		if data, err := os.ReadFile(ports); err == nil && json.Unmarshal(data, &p) == nil && p.Stomp != 0 {
			s.pid, s.addr = p.PID, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Stomp))
			return s
		}
		select {
		case err := <-s.exit:
			s.exit <- err
			s.ended = true
			return s
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not start, and does not end:\n%s", s.log())
		}
	}
}

func (s *traced) logFile() string { return s.trace + ".log" }

func (s *traced) log() string {
	text, _ := os.ReadFile(s.logFile())
	return string(text)
}

// kill ends whatever is left of both.
func (s *traced) kill() {
	if !s.ended {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exit
		s.ended = true
	}
}

// stop ends the server as it should be, if it has not ended by itself, and returns its exit code.
func (s *traced) stop(t *testing.T) int {
	t.Helper()
	if !s.ended {
		_ = syscall.Kill(s.pid, syscall.SIGTERM)
		select {
		case <-s.exit:
		case <-time.After(patience):
			_ = syscall.Kill(s.pid, syscall.SIGQUIT)
			<-time.After(2 * time.Second) // for the goroutines
			t.Errorf("the server does not end:\n%s", s.log())
			s.kill()
		}
		s.ended = true
	}
	text := s.log()
	for _, word := range []string{"panic:", "fatal error:", "SIGSEGV", "SIGBUS", "goroutine "} {
		if strings.Contains(text, word) {
			t.Errorf("the server said %q:\n%.6000s", word, text)
			break
		}
	}
	return s.cmd.ProcessState.ExitCode()
}
