// Package process builds stompserver and runs it as a process of its own, for tests that
// speak to it through real sockets and watch it from outside.
package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is what Main has built, or what TEST_SERVER_BIN names.
var binary string

// Main builds the server, runs the tests of m and removes what it built. With race the
// server has the race detector; what it finds fails the test whose server it was.
// It is to be called by TestMain, and does not return.
func Main(m *testing.M, race bool) {
	os.Exit(run(m, race))
}

func run(m *testing.M, race bool) int {
	if err := watch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if binary = os.Getenv("TEST_SERVER_BIN"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "stompserver-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "stompserver")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "stompserver/cmd/stompserver")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot build stompserver:", err)
		return 1
	}
	return m.Run()
}

// watch looks at every file of the module: the go command keeps the results of tests, and
// would not notice else that the server, which is no import of theirs, has changed.
func watch() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return errors.New("process: no go.mod above the tests")
		}
		root = filepath.Dir(root)
	}
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "__pycache__") && path != root {
			return filepath.SkipDir
		}
		_, err = os.Stat(path)
		return err
	})
}

// A Server is a running process. Its test ends it, and fails if it does not end well.
type Server struct {
	Host string // always 127.0.0.1
	Port int
	HTTP int // the port of HTTP
	PID  int

	log  log
	exit chan error

	killed bool // or stopped: it has been looked at
}

// Start runs the server on a free port of the loopback address, in a directory of its own,
// and returns when it accepts connections. Settings are lines as of an environment:
// STOMPSERVER_LIMITS_BODY=1KiB.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), settings...)
}

// StartIn is Start with dir as its working directory.
func StartIn(t testing.TB, dir string, settings ...string) *Server {
	t.Helper()
	ports := filepath.Join(dir, "ports.json")
	cmd := exec.Command(binary, "-b", "127.0.0.1", "-p", "0", "-w", dir, "--ports-file", ports)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STOMPSERVER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, settings...)
	s := &Server{Host: "127.0.0.1", exit: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = io.Discard, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	s.PID = cmd.Process.Pid
	go func() { s.exit <- cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })

	deadline := time.Now().Add(time.Minute)
	for {
		var p struct{ Stomp, HTTP int }
		data, err := os.ReadFile(ports)
		if err == nil && json.Unmarshal(data, &p) == nil && p.Stomp != 0 {
			s.Port, s.HTTP = p.Stomp, p.HTTP
			return s
		}
		select {
		case err := <-s.exit:
			s.exit <- err
			t.Fatalf("the server did not start: %v\n%s", err, s.log.tail())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s from the server\n%s", ports, s.log.tail())
		}
	}
}

// Addr is where it listens.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Alive reports whether the process has not ended.
func (s *Server) Alive() bool {
	select {
	case err := <-s.exit:
		s.exit <- err
		return false
	default:
		return true
	}
}

// RSS is the resident memory in bytes, and peak the most there ever was. Both are 0 where
// the system does not tell.
func (s *Server) RSS() (now, peak int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			now = kb << 10
		} else if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			peak = kb << 10
		}
	}
	return now, peak
}

// Files is how many files and sockets are open, 0 where the system does not tell.
func (s *Server) Files() int {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID))
	if err != nil {
		return 0
	}
	return len(all)
}

// CPU is the processor time used, 0 where the system does not tell.
func (s *Server) CPU() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// Log is what it has logged lately.
func (s *Server) Log() string { return s.log.tail() }

// AwaitLog waits for words in the log.
func (s *Server) AwaitLog(t testing.TB, words string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(s.Log(), words); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q:\n%s", words, s.Log())
		}
	}
}

// Binary is the file of the server that is tested.
func Binary() string { return binary }

// Kill ends the server at once, as kill -9 does. No other test of it follows.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	p, err := os.FindProcess(s.PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	<-s.exit
	s.killed = true
}

// Stop ends the server as it should be, and fails the test if it does not end well. No other test
// of it follows.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.stop(t)
	s.killed = true
}

func (s *Server) stop(t testing.TB) {
	t.Helper()
	if s.killed {
		return
	}
	p, err := os.FindProcess(s.PID)
	if err != nil {
		t.Fatal(err)
	}
	if s.Alive() {
		if runtime.GOOS == "windows" {
			p.Kill()
		} else {
			p.Signal(syscall.SIGTERM)
		}
	} else {
		t.Error("the server had ended")
	}
	select {
	case err = <-s.exit:
	case <-time.After(time.Minute):
		p.Signal(syscall.SIGQUIT) // for the goroutines
		<-s.exit
		err = errors.New("it had to be killed")
	}
	if err != nil && runtime.GOOS != "windows" {
		t.Errorf("the server ended with %v", err)
	}
	if bad := s.log.complaint(); bad != "" {
		t.Errorf("the server said %q", bad)
	}
	if t.Failed() {
		t.Logf("last lines of its log:\n%s", s.log.tail())
	}
}

// A log keeps the last bytes written to it.
type log struct {
	mu   sync.Mutex
	kept []byte
	bad  string
}

const logKept = 32 << 10

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if l.bad == "" && bytes.Contains(p, []byte(word)) {
			l.bad = word
		}
	}
	// The first words of a panic matter more than the last of its goroutines.
	if l.bad == "" || len(l.kept) < 2*logKept {
		l.kept = append(l.kept, p...)
	}
	if over := len(l.kept) - logKept; over > 0 && l.bad == "" {
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	return len(p), nil
}

func (l *log) complaint() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

func (l *log) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.kept)
}
