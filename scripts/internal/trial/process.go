//go:build linux

// Package trial is what the scripts that compare programs share: the processes compared, what
// `stompserver bench` says of them, and tables that are put into a document.
package trial

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

// A Process is a program that serves.
type Process struct {
	Cmd       *exec.Cmd
	StartTime time.Duration  // from exec until it was ready
	Interrupt syscall.Signal // what ends it in peace; default SIGTERM
	done      chan struct{}  // closed when it has ended
}

// Start runs cmd, which writes what it says to a file in dir, and waits for patience until
// ready reports no error. A process that is not nil has to be stopped, error or not.
func Start(ctx context.Context, cmd *exec.Cmd, dir string, patience time.Duration, ready func(context.Context) error) (*Process, error) {
	log, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.Dir == "" {
		cmd.Dir = dir
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGTERM
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Cmd: cmd, Interrupt: syscall.SIGTERM, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	for {
		if err := ready(ctx); err == nil {
			p.StartTime = time.Since(begin)
			return p, nil
		}
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-p.done:
			return p, fmt.Errorf("it ended at once: %s", lastLines(log.Name()))
		case <-time.After(200 * time.Microsecond):
		}
		if time.Since(begin) > patience {
			return p, fmt.Errorf("it does not listen after %v: %s", patience, lastLines(log.Name()))
		}
	}
}

// Accepts is a ready for what listens on a port of 127.0.0.1.
func Accepts(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		d := net.Dialer{}
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// Stop ends the process and whatever it started, after patience by force.
func (p *Process) Stop(patience time.Duration) {
	if p == nil {
		return
	}
	_ = syscall.Kill(-p.Cmd.Process.Pid, p.Interrupt)
	select {
	case <-p.done:
	case <-time.After(patience):
	}
	p.Kill()
}

// Kill ends it as a crash would.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Alive reports whether it has not ended by itself.
func (p *Process) Alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// FreePort is one that nobody listens on.
func FreePort() (int, error) {
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

// Needs says which of some programs or files are missing.
func Needs(what ...string) error {
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

// FirstLine is that of what a program says.
func FirstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// DebianVersion is that of a package, or a question mark.
func DebianVersion(pkg string) string {
	v := FirstLine("dpkg-query", "-W", "-f", "${Version}", pkg)
	if v == "" || strings.Contains(v, " ") {
		return "?"
	}
	return v
}

// Do runs a program and puts what it said into the error.
func Do(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
