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
	"os/signal"
	"syscall"
	"time"

	"stompserver/scripts/internal/trial"
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
	flag.StringVar(&peerNames, "peers", "", "comma separated; default all: "+trial.Names(peers, func(p *peer) string { return p.key }))
	flag.StringVar(&rowNames, "rows", "", "comma separated; default all: "+trial.Names(rows, func(r *row) string { return r.key }))
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
	chosen, err := trial.Choose(peers, peerNames, func(p *peer) string { return p.key })
	if err != nil {
		return err
	}
	work, err := trial.Choose(rows, rowNames, func(r *row) string { return r.key })
	if err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "bench-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	built, root, err := trial.Build(ctx, o.dir)
	if err != nil {
		return err
	}
	if o.root = root; o.tool == "" {
		o.tool = built
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
			trial.Progress("%s: left out: %v", p.title, err)
			continue
		}
		if err := r.start(ctx); err != nil {
			trial.Progress("%s: left out: %v", p.title, err)
			r.stop()
			continue
		}
		trial.Progress("%s: accepted its first connection after %v", p.title, r.StartTime.Round(100*time.Microsecond))
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
				trial.Progress("%s, round %d, %s: %s", w.title, round+1, r.peer.title, v)
			}
		}
	}
	text := t.markdown(o)
	fmt.Println(text)
	if o.out != "" {
		return trial.ReplaceTable(o.out, "bench-peers", text)
	}
	return nil
}
