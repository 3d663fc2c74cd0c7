//go:build linux

// Command bench-peers puts the same load on stompserver and on the brokers of its field,
// as far as they are installed here, and writes the table of docs/benchmarks.md.
//
// All of them run at the same time, on free ports of 127.0.0.1 and in a directory that is
// removed afterwards; the load goes to one after another, in rounds (A B C, A B C), so that
// a machine whose speed changes in between treats them alike. What is idle hardly costs
// anything. Start time and idle connections are measured on processes of their own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	duration time.Duration
	warmup   time.Duration
	rounds   int
	out      string
	tool     string // the built stompserver
	dir      string // for everything the peers write
	root     string // of the repository
}

func main() {
	var o options
	var peerNames, rowNames string
	flag.StringVar(&peerNames, "peers", "", "comma separated; default all: "+names(peers, func(p *peer) string { return p.key }))
	flag.StringVar(&rowNames, "rows", "", "comma separated; default all: "+names(rows, func(r *row) string { return r.key }))
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "measured part of each run")
	flag.DurationVar(&o.warmup, "warmup", time.Second, "before it")
	flag.IntVar(&o.rounds, "rounds", 1, "how often; the medians are shown")
	flag.StringVar(&o.out, "out", "", "Markdown file whose table is replaced (default: print only)")
	flag.StringVar(&o.tool, "stompserver", "", "the built stompserver (default: build it)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o, peerNames, rowNames); err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, peerNames, rowNames string) (err error) {
	chosen, err := choose(peers, peerNames, func(p *peer) string { return p.key })
	if err != nil {
		return err
	}
	work, err := choose(rows, rowNames, func(r *row) string { return r.key })
	if err != nil {
		return err
	}
	if o.root, err = os.Getwd(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.root, "scripts", "bench-peers")); err != nil {
		return fmt.Errorf("run it in the repository's top directory: %w", err)
	}
	if o.dir, err = os.MkdirTemp("", "bench-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if o.tool == "" {
		o.tool = filepath.Join(o.dir, "stompserver")
		if err := command(ctx, o.root, "go", "build", "-o", o.tool, "./cmd/stompserver"); err != nil {
			return fmt.Errorf("building stompserver: %w", err)
		}
	}

	var field []*runner
	defer func() {
		for _, r := range field {
			r.stop()
		}
	}()
	for _, p := range chosen {
		r := &runner{peer: p, o: o}
		if err := p.prepare(ctx, o); err != nil {
			progress("%s: left out: %v", p.title, err)
			continue
		}
		if err := r.start(ctx); err != nil {
			progress("%s: left out: %v", p.title, err)
			r.stop()
			continue
		}
		progress("%s: accepted its first connection after %v", p.title, r.startTime.Round(100*time.Microsecond))
		r.warm(ctx)
		field = append(field, r)
	}
	if len(field) == 0 {
		return fmt.Errorf("none of the brokers could be started")
	}
	t := newTable(field, work)
	for _, w := range work {
		for round := range o.rounds {
			for _, r := range field {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				v := w.measure(ctx, r)
				t.add(w, r, v)
				progress("%s, round %d, %s: %s", w.title, round+1, r.peer.title, v)
			}
		}
	}
	text := t.markdown(o)
	fmt.Println(text)
	if o.out != "" {
		return replaceTable(o.out, text)
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func names[T any](all []*T, key func(*T) string) string {
	var s []string
	for _, t := range all {
		s = append(s, key(t))
	}
	return strings.Join(s, ",")
}

func choose[T any](all []*T, list string, key func(*T) string) (chosen []*T, err error) {
	if list == "" {
		return all, nil
	}
	for _, name := range strings.Split(list, ",") {
		found := false
		for _, t := range all {
			if key(t) == strings.TrimSpace(name) {
				chosen, found = append(chosen, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is not one of %s", name, names(all, key))
		}
	}
	return chosen, nil
}

// command runs a program and puts what it said into the error.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
