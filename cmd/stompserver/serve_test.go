//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// ends PIDFILE [SIGNAL] sends a signal (TERM) to a daemon and waits for its end, which
// frees its lock.
func ends(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	data, err := io.ReadAll(f)
	ts.Check(err)
	pid, err := strconv.Atoi(string(data)) // no newline
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
	ts.Check(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
}

// A running server is the command as a process of its own.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	addr   string
	stdout *bufio.Reader
	stderr *bufio.Reader
	lines  string // of standard output, up to the last of the start
}

var startLine = regexp.MustCompile(`^Stomp protocol handler starting on (\S+) port ([0-9]+)\n$`)

// startServer starts the command in a directory with those files and waits until it serves.
func startServer(t *testing.T, files map[string]string, args ...string) *running {
	t.Helper()
	r := &running{t: t, dir: t.TempDir()}
	for name, text := range files {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.cmd = exec.Command("stompserver", append([]string{"-p", "0"}, args...)...)
	r.cmd.Dir = r.dir
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	r.stdout, r.stderr = bufio.NewReader(stdout), bufio.NewReader(stderr)
	for {
		line, err := r.stdout.ReadString('\n')
		if err != nil {
			rest, _ := io.ReadAll(r.stderr)
			t.Fatalf("it did not start: %s%s", line, rest)
		}
		r.lines += line
		if m := startLine.FindStringSubmatch(line); m != nil {
			r.addr = "127.0.0.1:" + m[2]
			return r
		}
	}
}

// log waits for a line of the log that holds text, and returns it.
func (r *running) log(text string) string {
	r.t.Helper()
	var seen bytes.Buffer
	for {
		line, err := r.stderr.ReadString('\n')
		seen.WriteString(line)
		if strings.Contains(line, text) {
			return line
		}
		if err != nil {
			r.t.Fatalf("no line with %q in the log:\n%s", text, seen.String())
		}
	}
}

func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// wait returns the exit code and the rest of the log.
func (r *running) wait() (int, string) {
	r.t.Helper()
	_, _ = io.Copy(io.Discard, r.stdout)
	rest, _ := io.ReadAll(r.stderr)
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode(), string(rest)
}

// connect logs a client in.
func (r *running) connect() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "CONNECT\naccept-version:1.2\nhost:x\nlogin:u\npasscode:p\n\n\x00"); err != nil {
		r.t.Fatal(err)
	}
	br := bufio.NewReader(c)
	if answer, err := br.ReadString(0); err != nil || !strings.HasPrefix(answer, "CONNECTED\n") {
		r.t.Fatalf("answer %q: %v", answer, err)
	}
	return c, br
}

func TestOriginalLines(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"default", nil, "Stomp protocol handler starting on 127.0.0.1 port PORT"},
		{"auth and debug", []string{"-da"}, "Client authorization enabled\nDebug enabled\nStomp protocol handler starting on 127.0.0.1 port PORT"},
		{"host", []string{"-b", "localhost"}, "Stomp protocol handler starting on localhost port PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startServer(t, map[string]string{"etc/.passwd": "u:p\n"}, tt.args...)
			_, port, _ := strings.Cut(r.addr, ":")
			want := "MemoryQueue initialized\nTopicManager initialized\nQueueManager initialized\n" + strings.Replace(tt.want, "PORT", port, 1) + "\n"
			if diff := cmp.Diff(want, r.lines); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			r.connect()
		})
	}
}

func TestGracefulStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			r := startServer(t, nil)
			pid, err := os.ReadFile(filepath.Join(r.dir, "log", "stompserver.pid"))
			if err != nil || string(pid) != strconv.Itoa(r.cmd.Process.Pid) {
				t.Errorf("the pid file says %q, %v", pid, err)
			}
			c, br := r.connect()
			r.signal(sig)
			rest, err := io.ReadAll(br)
			c.Close() // or it would be waited for
			if err != nil || !bytes.Contains(rest, []byte("\nerror-code:shutting-down\n")) {
				t.Errorf("the client is told %q, %v", rest, err)
			}
			code, log := r.wait()
			if code != 0 || !strings.Contains(log, " INFO stopped  connections=1 in_flight=0 took=") {
				t.Errorf("exit code %d, log %s", code, log)
			}
			if _, err := os.Stat(filepath.Join(r.dir, "log", "stompserver.pid")); err == nil {
				t.Error("the pid file is left behind")
			}
		})
	}
}

func TestReload(t *testing.T) {
	r := startServer(t, map[string]string{"stompserver.conf": "server_header: one/1\nhost: 127.0.0.1\n"}, "-l", "info")
	conf := filepath.Join(r.dir, "stompserver.conf")
	there, answers := r.connect()
	if err := os.WriteFile(conf, []byte("server_header: two/2\nhost: localhost\nlimits: {body: 10B}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	if line := r.log("needs a restart"); !strings.Contains(line, "key=host is=127.0.0.1 wanted=localhost") {
		t.Errorf("log %s", line)
	}
	if line := r.log("INFO changed"); !strings.Contains(line, "key=server_header from=one/1 to=two/2") {
		t.Errorf("log %s", line)
	}
	r.log("INFO reloaded")

	// Limits of what clients send are for those who were there, too.
	if _, err := io.WriteString(there, "SEND\ndestination:/queue/a\n\nmore than ten bytes\x00"); err != nil {
		t.Fatal(err)
	}
	if answer, err := answers.ReadString(0); err != nil || !strings.Contains(answer, "limits.body, which is 10 here") {
		t.Errorf("answer %q: %v", answer, err)
	}

	// A file that is wrong leaves everything as it is.
	if err := os.WriteFile(conf, []byte("prot: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	if line := r.log("not reloaded"); !strings.Contains(line, `stompserver.conf:1: unknown key \"prot\"; did you mean \"port\"?`) {
		t.Errorf("log %s", line)
	}
	r.connect()
}

func TestReopenLog(t *testing.T) {
	r := startServer(t, nil, "-L", "a.log")
	path := filepath.Join(r.dir, "log", "a.log")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGUSR1)
	r.signal(syscall.SIGTERM)
	if code, log := r.wait(); code != 0 || log != "" {
		t.Errorf("exit code %d, standard error %q", code, log)
	}
	before, _ := os.ReadFile(path + ".old")
	if !strings.Contains(string(before), "INFO started") {
		t.Errorf("the old log is %q", before)
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	r := startServer(t, nil)
	c, _ := r.connect()
	// A client that reads nothing of a large backlog would be waited for.
	if _, err := io.WriteString(c, "SUBSCRIBE\nid:1\nack:auto\ndestination:/queue/a\n\n\x00"); err != nil {
		t.Fatal(err)
	}
	sender, br := r.connect()
	body := strings.Repeat("x", 1<<20)
	for range 12 {
		if _, err := fmt.Fprintf(sender, "SEND\ndestination:/queue/a\ncontent-length:%d\n\n%s\x00", len(body), body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(sender, "SEND\ndestination:/queue/b\nreceipt:r\n\n\x00"); err != nil {
		t.Fatal(err)
	}
	if _, err := br.ReadString(0); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGTERM)
	if rest, err := io.ReadAll(br); err != nil || !bytes.Contains(rest, []byte("shutting-down")) {
		t.Errorf("the sender is told %q, %v", rest, err)
	}
	r.signal(syscall.SIGTERM)
	start := time.Now()
	code, log := r.wait()
	if code != exitInterrupted || time.Since(start) > stopTime/2 {
		t.Errorf("exit code %d after %v, log %s", code, time.Since(start), log)
	}
}

func TestPortInUse(t *testing.T) {
	r := startServer(t, nil)
	_, port, _ := strings.Cut(r.addr, ":")
	cmd := exec.Command("stompserver", "-p", port, "--http=off") // which another test may have at 8161
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("stompserver: cannot listen on 127.0.0.1:%s: address already in use. Another program listens there (the old stompserver?); stop it, or choose a port with -p.\n", port)
	if err == nil || cmd.ProcessState.ExitCode() != exitUnavailable || string(out) != want {
		t.Errorf("exit code %d, %s, want %s", cmd.ProcessState.ExitCode(), out, want)
	}
}

func TestOpenToTheNetworkIsWarnedOf(t *testing.T) {
	r := startServer(t, nil, "-b", "0.0.0.0")
	r.log("WARN anyone who reaches this machine can use the server")
}

func TestSecondServerInOneDirectory(t *testing.T) {
	r := startServer(t, nil)
	second := func(args ...string) *exec.Cmd {
		cmd := exec.Command("stompserver", args...)
		cmd.Dir = r.dir
		return cmd
	}
	cmd := second("-p", "0", "-P", "stompserver.pid")
	out, _ := cmd.CombinedOutput()
	want := fmt.Sprintf("stompserver: a server is running already as process %d (%s). Stop it, or give this one a pid file of its own with -P\n",
		r.cmd.Process.Pid, filepath.Join(r.dir, "log", "stompserver.pid"))
	if cmd.ProcessState.ExitCode() != exitFailed || string(out) != want {
		t.Errorf("with the pid file named: exit code %d, %s, want %s", cmd.ProcessState.ExitCode(), out, want)
	}
}

// Nobody asked for the pid file, so the second server does without.
func TestSecondServerWithoutPIDFile(t *testing.T) {
	r := startServer(t, nil)
	two := startServer(t, nil, "-w", r.dir)
	two.log("INFO no pid file")
	two.signal(syscall.SIGTERM)
	if code, log := two.wait(); code != 0 {
		t.Errorf("exit code %d, log %s", code, log)
	}
	pid, err := os.ReadFile(filepath.Join(r.dir, "log", "stompserver.pid"))
	if err != nil || string(pid) != strconv.Itoa(r.cmd.Process.Pid) {
		t.Errorf("the first one's pid file says %q, %v", pid, err)
	}
}

func TestBecomesUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	dir, err := os.MkdirTemp("", "stompserver-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r := startServer(t, map[string]string{"stompserver.conf": ":user: nobody\n:working_dir: " + dir + "\n"})
	if !strings.HasPrefix(r.lines, "Changing user to nobody.\n") {
		t.Errorf("standard output is %s", r.lines)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc")
	}
	for _, want := range []string{"Uid:\t" + nobody.Uid + "\t" + nobody.Uid, "Gid:\t" + nobody.Gid + "\t" + nobody.Gid} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process is not %q:\n%s", want, status)
		}
	}
	st, err := os.Stat(filepath.Join(dir, "log"))
	if err != nil || strconv.Itoa(int(st.Sys().(*syscall.Stat_t).Uid)) != nobody.Uid {
		t.Errorf("the log directory is not the user's: %v", err)
	}
}

func TestNotPermitted(t *testing.T) {
	err := notPermitted("become user x", "user", syscall.EPERM)
	want := `cannot become user x: operation not permitted. Start as root, or take "user" out of the configuration`
	if err.Error() != want || exitCode(err) != 1 {
		t.Errorf("error %v (%d), want %s", err, exitCode(err), want)
	}
}
