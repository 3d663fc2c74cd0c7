package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"stompserver"
)

// begun is when the process began, as near as a program can tell.
var begun = time.Now()

// stopTime is how long clients and store are given at a stop.
const stopTime = 10 * time.Second

func newServeCommand(g *globals) *cobra.Command {
	var a serverArgs
	cmd := &cobra.Command{
		Use:   "serve [options]",
		Short: "Run the broker (the default)",
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.Version {
				return build().print(g.Stdout)
			}
			g.NoColor = g.NoColor || a.NoColor
			return serve(cmd.Context(), g, &a)
		},
	}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(g.Stdout, cmd.Root()) })
	a.register(cmd)
	return cmd
}

// noWords refuses what is left when the flags are taken away.
func noWords(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	for _, c := range cmd.Root().Commands() {
		if c.Name() == words[0] {
			return usageError("unexpected word %q. A command comes before its flags: stompserver %s ...", words[0], words[0])
		}
	}
	return usageError("unexpected word %q. Options begin with a dash: see stompserver -h", words[0])
}

// options say where the settings come from.
func (a *serverArgs) options() stompserver.LoadOptions {
	dir, _ := os.Getwd()
	return stompserver.LoadOptions{Dir: dir, File: a.Config, Env: os.Environ(), Flags: a.Settings, Version: version}
}

// load reads the settings, with the exit code of what is wrong with them.
func load(o stompserver.LoadOptions) (*stompserver.Settings, error) {
	s, err := stompserver.Load(o)
	var bad *stompserver.ConfigError
	if errors.As(err, &bad) {
		code := exitConfig
		for _, p := range bad.Problems {
			if p.Source.Kind == "flag" {
				code = exitUsage
			}
		}
		return nil, &exitError{code, err}
	}
	return s, err
}

// serve runs the server until a signal, or ctx, stops it.
func serve(ctx context.Context, g *globals, a *serverArgs) (err error) {
	opts := a.options()
	s, err := load(opts)
	if err != nil {
		return err
	}
	child := daemonChild()
	s.Config.Sockets = stompserver.GivenSockets()
	again := s.Config.Sockets.Restarted()
	if s.Daemon && child == nil && !again {
		return daemonize(g, s)
	}
	if child != nil {
		defer func() { child.failed(err) }() // has no effect once it was ready
	}
	p, err := begin(g, opts, s, child != nil || s.Daemon && again)
	if err != nil {
		return err
	}
	defer p.pid.remove()

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, terminateSignals...)
	signal.Notify(signals, reloadSignals...)
	signal.Notify(signals, reopenSignals...)
	if len(restartSignals) > 0 { // none would be all
		signal.Notify(signals, restartSignals...)
	}
	defer signal.Stop(signals)

	weight := newBallast()
	s.Config.Version, s.Config.Revision = version, build().Revision
	if p.server, err = stompserver.New(s.Config); err != nil {
		var storage *stompserver.StorageError
		if errors.As(err, &storage) {
			return &exitError{exitIO, storage}
		}
		return &exitError{exitConfig, err}
	}
	if err := p.server.Start(ctx); err != nil {
		_ = p.server.Shutdown(ctx)
		return listenFailed(err)
	}
	if file := a.PortsFile; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(opts.Dir, file) // a daemon has left it
		}
		ports, err := writePortsFile(file, p.server.Addrs(), p.server.HTTPAddrs(), p.server.MoreAddrs())
		if err != nil {
			_ = p.server.Shutdown(ctx)
			return &exitError{exitIO, err}
		}
		defer ports.remove()
	}
	over := make(chan struct{})
	defer close(over)
	tuneGC(p.server.MemoryLimit(), weight, over)
	p.announce()
	child.ready()
	return p.run(ctx, signals)
}

// A process is a server and what belongs to its process.
type process struct {
	g        *globals
	opts     stompserver.LoadOptions
	settings *stompserver.Settings
	log      *logging
	pid      *pidFile // nil: there is none
	server   *stompserver.Server
	terminal bool // people look at standard output
}

// begin does what comes before the server, in the original's order: group and user, the
// directories, the log, the pid file.
func begin(g *globals, opts stompserver.LoadOptions, s *stompserver.Settings, daemon bool) (*process, error) {
	p := &process{g: g, opts: opts, settings: s, terminal: isTerminal(g.Stdout)}
	if !daemon { // a daemon's parent has done this
		if err := becomeUser(g, s); err != nil {
			return nil, err
		}
	}
	missing, err := makeDirs(s)
	if err != nil {
		return nil, err
	}
	if p.log, err = newLogging(s, g.Stderr); err != nil {
		return nil, &exitError{exitIO, fmt.Errorf("cannot open the log file: %w", err)}
	}
	s.Config.Log = p.log.Logger
	for _, w := range s.Warnings {
		p.log.Warn(w)
	}
	if daemon {
		if err := os.Chdir(s.WorkingDir); err != nil {
			return nil, &exitError{exitIO, err}
		}
	}
	// A pid file that nobody asked for is given up where it cannot be had.
	asked := s.Daemon || s.Given("pidfile")
	switch {
	case missing != nil && !asked:
		p.log.Info("no pid file", "err", missing)
	default:
		p.pid, err = writePIDFile(s.PIDFile)
		switch {
		case err == nil:
		case !asked:
			p.log.Info("no pid file", "file", s.PIDFile, "err", err)
		case errors.Is(err, errRunning):
			return nil, fmt.Errorf("%w (%s). Stop it, or give this one a pid file of its own with -P", err, s.PIDFile)
		default:
			return nil, &exitError{exitIO, fmt.Errorf("cannot write the pid file: %w", err)}
		}
	}
	return p, nil
}

func becomeUser(g *globals, s *stompserver.Settings) error {
	if s.Group != "" {
		fmt.Fprintf(g.Stdout, "Changing group to %s.\n", s.Group)
	}
	if s.User != "" {
		fmt.Fprintf(g.Stdout, "Changing user to %s.\n", s.User)
	}
	return become(s.User, s.Group)
}

// makeDirs makes the directories of the original. Those of log and etc that nobody asked
// for may be missing, in a directory that cannot be written; missing says why.
func makeDirs(s *stompserver.Settings) (missing, err error) {
	for _, d := range []struct{ key, dir string }{
		{"working_dir", s.WorkingDir}, {"logdir", s.LogDir}, {"etcdir", s.EtcDir},
	} {
		err := os.MkdirAll(d.dir, 0o755)
		switch {
		case err == nil:
		case s.Given(d.key) || s.Daemon || d.key == "working_dir":
			return nil, &exitError{exitIO, fmt.Errorf("cannot make the directory of %s: %w", d.key, err)}
		case missing == nil:
			missing = err
		}
	}
	return missing, nil
}

func listenFailed(err error) error {
	var l *stompserver.ListenError
	if !errors.As(err, &l) {
		return err
	}
	hint := ""
	switch {
	case l.HTTP:
		hint = ". It is for HTTP: choose another address with --http, or none with --http=off."
	case errors.Is(err, syscall.EADDRINUSE):
		hint = ". Another program listens there (the old stompserver?); stop it, or choose a port with -p."
	case errors.Is(err, syscall.EACCES), errors.Is(err, fs.ErrPermission):
		hint = ". Ports below 1024 are for root; choose another with -p."
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = ". This machine has no such address; choose one with -b."
	}
	return &exitError{exitUnavailable, fmt.Errorf("%w%s", err, hint)}
}

// run waits for signals until one, or ctx, ends the server.
func (p *process) run(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return p.stop(signals)
		case err := <-p.server.Failed():
			_ = p.stop(signals) // the same error again, most likely
			return &exitError{exitIO, fmt.Errorf("the storage failed, and nothing is confirmed any more: %w", err)}
		case sig := <-signals:
			switch {
			case oneOf(sig, terminateSignals):
				return p.stop(signals)
			case oneOf(sig, reloadSignals):
				p.reload()
			case oneOf(sig, restartSignals):
				if left, err := p.restart(signals); left {
					return err
				}
			case oneOf(sig, reopenSignals):
				if p.log.file == nil {
					p.log.Info("there is no log file to reopen")
				} else if err := p.log.reopen(); err != nil {
					p.log.Error("log file not reopened", "err", err)
				} else {
					p.log.Info("log file reopened")
				}
			}
		}
	}
}

func oneOf(sig os.Signal, of []os.Signal) bool {
	for _, s := range of {
		if s == sig {
			return true
		}
	}
	return false
}

// stop ends the server gracefully; a second signal ends it at once.
func (p *process) stop(signals <-chan os.Signal) error {
	start, st := time.Now(), p.server.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.server.Shutdown(ctx) }() // ends soon after ctx, and is waited for
	var err error
	again := false
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case sig := <-signals:
			if oneOf(sig, terminateSignals) {
				again = true
				cancel()
			}
		}
	}
	if p.terminal {
		fmt.Fprintf(p.g.Stdout, "stopping: %s told, %s in flight, storage closed\n",
			things(st.Connections, "connection"), things(st.Unacked, "message"))
	}
	if !p.terminal || p.log.file != nil {
		p.log.Info("stopped", "connections", st.Connections, "in_flight", st.Unacked, "took", time.Since(start).Round(time.Millisecond))
	}
	switch {
	case again:
		return &exitError{exitInterrupted, nil}
	case errors.Is(err, context.DeadlineExceeded):
		p.log.Warn("clients that did not leave in time were cut off")
		return nil
	}
	return err
}

// reload reads the settings again. What needs a restart keeps its value and is named.
func (p *process) reload() {
	s, err := stompserver.Load(p.opts)
	if err != nil {
		var bad *stompserver.ConfigError
		if errors.As(err, &bad) {
			for _, b := range bad.Problems {
				p.log.Error("configuration not reloaded", "err", b.String())
			}
		}
		p.server.NotReloaded()
		return
	}
	for _, w := range s.Warnings {
		p.log.Warn(w)
	}
	for _, t := range stompserver.All() {
		before, now := t.Value(p.settings), t.Value(s)
		switch {
		case before == now:
		case t.Restart:
			p.log.Warn("a change needs a restart", "key", t.Key, "is", before, "wanted", now)
		default:
			p.log.Info("changed", "key", t.Key, "from", before, "to", now)
		}
	}
	p.log.setLevel(s.LogLevel)
	if err := p.server.Reload(s.Config); err != nil {
		p.log.Error("not all was reloaded", "err", err)
	}
	// Values that need a restart are compared with those of the start the next time too.
	p.settings = s.Keeping(p.settings)
	p.log.Info("reloaded")
}

// isTerminal says that a person looks at what f shows, or types what it reads.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
