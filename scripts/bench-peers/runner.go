//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A peer is a kind of broker.
type peer struct {
	key, title string
	scheme     string
	path       string // of the URL: the virtual host
	protocol   string // newest version of STOMP it speaks
	startup    time.Duration

	// prepare says why the peer cannot be run, and builds what must be built.
	prepare func(ctx context.Context, o *options) error
	// command is what to run so that it listens on 127.0.0.1:port, with dir to write to.
	command func(o *options, dir string, port int) (*exec.Cmd, error)
	// warmup is for how long it gets load before anything is measured.
	warmup time.Duration
	// version asks for it.
	version func(o *options) string
	// children says that descendants of the process do the work.
	children bool
	// without says why a row is not measured, "" if it is.
	without func(key string) string
}

// A runner is a peer that runs.
type runner struct {
	peer      *peer
	o         *options
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
	dir       string
	port      int
	startTime time.Duration // to the first accepted connection
}

// start runs the broker and waits until it accepts.
func (r *runner) start(ctx context.Context) (err error) {
	if r.port, err = freePort(); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp(r.o.dir, r.peer.key+"-"); err != nil {
		return err
	}
	if r.cmd, err = r.peer.command(r.o, r.dir, r.port); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(r.dir, "output"))
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if r.cmd.Dir == "" {
		r.cmd.Dir = r.dir
	}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	begin := time.Now()
	if err := r.cmd.Start(); err != nil {
		r.cmd = nil
		return err
	}
	r.done = make(chan struct{})
	go func() { _ = r.cmd.Wait(); close(r.done) }()
	d := net.Dialer{}
	for {
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err == nil {
			r.startTime = time.Since(begin)
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.done:
			return fmt.Errorf("it ended at once: %s", lastLines(log.Name()))
		case <-time.After(200 * time.Microsecond):
		}
		if time.Since(begin) > r.peer.startup {
			return fmt.Errorf("it does not listen after %v: %s", r.peer.startup, lastLines(log.Name()))
		}
	}
}

// warm puts load on the broker until its compiler has seen it.
func (r *runner) warm(ctx context.Context) {
	if r.peer.warmup == 0 {
		return
	}
	half := (r.peer.warmup / 2).String()
	for _, args := range [][]string{{"--topic", "--consumers=10"}, {"--ack=client-individual"}} {
		_, _ = r.o.bench(ctx, append([]string{"bench", "--json", "--quiet", "--server", r.url(), "--duration", half}, args...))
	}
}

// stop ends the broker and whatever it started.
func (r *runner) stop() {
	if r.cmd == nil {
		return
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.done
	r.cmd = nil
}

func (r *runner) alive() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (r *runner) url() string {
	return fmt.Sprintf("%s://127.0.0.1:%d%s", r.peer.scheme, r.port, r.peer.path)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func lastLines(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// needs says which of some programs or files are missing.
func needs(what ...string) error {
	for _, w := range what {
		if strings.HasPrefix(w, "/") {
			if _, err := os.Stat(w); err != nil {
				return fmt.Errorf("%s is not there", w)
			}
		} else if _, err := exec.LookPath(w); err != nil {
			return errors.New(w + " is not installed")
		}
	}
	return nil
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func debianVersion(pkg string) string {
	v := firstLine("dpkg-query", "-W", "-f", "${Version}", pkg)
	if v == "" || strings.Contains(v, " ") {
		return "?"
	}
	return v
}
