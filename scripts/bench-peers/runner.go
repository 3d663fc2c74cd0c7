//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"stompserver/scripts/internal/trial"
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
	*trial.Process
	peer *peer
	o    *options
	dir  string
	port int
}

// start runs the broker and waits until it accepts.
func (r *runner) start(ctx context.Context) (err error) {
	if r.port, err = trial.FreePort(); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp(r.o.dir, r.peer.key+"-"); err != nil {
		return err
	}
	cmd, err := r.peer.command(r.o, r.dir, r.port)
	if err != nil {
		return err
	}
	r.Process, err = trial.Start(ctx, cmd, r.dir, r.peer.startup, trial.Accepts(r.port))
	return err
}

// warm puts load on the broker until its compiler has seen it.
func (r *runner) warm(ctx context.Context) {
	if r.peer.warmup == 0 {
		return
	}
	half := (r.peer.warmup / 2).String()
	for _, args := range [][]string{{"--topic", "--consumers=10"}, {"--ack=client-individual"}} {
		_, _ = trial.Bench(ctx, r.o.tool, append([]string{"--server", r.url(), "--duration", half}, args...)...)
	}
}

// stop ends the broker and whatever it started.
func (r *runner) stop() {
	r.Stop(10 * time.Second)
	r.Process = nil
}

func (r *runner) url() string {
	return fmt.Sprintf("%s://127.0.0.1:%d%s", r.peer.scheme, r.port, r.peer.path)
}
