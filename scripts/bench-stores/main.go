//go:build linux

// Command bench-stores measures what each queue type of stompserver does, and beside it what
// the disk, or the library below the store, can do at all: the second table of
// docs/benchmarks.md.
//
// What is compared is measured in one run, in short turns (A B C, A B C), so that a machine or
// a disk whose speed changes in between treats all alike. Ratios are of the same turn.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"stompserver/scripts/internal/trial"
)

type options struct {
	turn    time.Duration
	rounds  int
	backlog int
	out     string
	tool    string // the built stompserver
	dir     string // for everything that is written
	root    string // of the repository
}

// A work is one kind of measurement.
type work struct {
	key string
	do  func(ctx context.Context, o *options, b *book, stores []*runner) error
}

var works = []*work{
	{"safe", safe}, {"one", one}, {"many", many}, {"keepup", keepUp}, {"backlog", backlog}, {"ruby", original},
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "-echo" { // a process of the measurement: see echo.go
		fmt.Fprintln(os.Stderr, "bench-stores:", serveEcho(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	var o options
	var storeNames, workNames, place string
	flag.StringVar(&storeNames, "stores", "", "comma separated; default all: "+trial.Names(kinds, func(k *kind) string { return k.key }))
	flag.StringVar(&workNames, "rows", "", "comma separated; default all: "+trial.Names(works, func(w *work) string { return w.key }))
	flag.DurationVar(&o.turn, "duration", time.Second, "of one turn")
	flag.IntVar(&o.rounds, "rounds", 5, "how many turns; the medians are shown")
	flag.IntVar(&o.backlog, "backlog", 200_000, "messages of the backlog")
	flag.StringVar(&place, "dir", "", "directory on the disk to measure (default: that for temporary files)")
	flag.StringVar(&o.out, "out", "", "Markdown file whose table is replaced (default: print only)")
	flag.StringVar(&o.tool, "stompserver", "", "the built stompserver (default: build it)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o, place, storeNames, workNames); err != nil {
		fmt.Fprintln(os.Stderr, "bench-stores:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, place, storeNames, workNames string) (err error) {
	chosen, err := trial.Choose(kinds, storeNames, func(k *kind) string { return k.key })
	if err != nil {
		return err
	}
	todo, err := trial.Choose(works, workNames, func(w *work) string { return w.key })
	if err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp(place, "bench-stores-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if err := os.Chmod(o.dir, 0o711); err != nil { // the databases run as somebody else
		return err
	}
	built, root, err := trial.Build(ctx, o.dir)
	if err != nil {
		return err
	}
	if o.root = root; o.tool == "" {
		o.tool = built
	}
	if o.tool, err = filepath.Abs(o.tool); err != nil {
		return err
	}
	var stores []*runner
	defer func() {
		for _, r := range stores {
			r.close()
		}
	}()
	for _, k := range chosen {
		r := &runner{kind: k, o: o}
		if err := r.open(ctx); err != nil {
			trial.Progress("%s: left out: %v", k.title, err)
			r.close()
			continue
		}
		stores = append(stores, r)
	}
	b := newBook()
	for _, w := range todo {
		if err := w.do(ctx, o, b, stores); err != nil {
			return fmt.Errorf("%s: %w", w.key, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	text := b.markdown(o, stores)
	fmt.Println(text)
	if o.out != "" {
		return trial.ReplaceTable(o.out, "bench-stores", text)
	}
	return nil
}

// A contestant takes its turn, for as long as it is told or a little longer, and says how
// often it did its thing and how long that took.
type contestant struct {
	key string
	run func(ctx context.Context, d time.Duration) (int64, time.Duration, error)
}

// parts is how many a turn is cut into where that costs nothing, for disks change their speed
// from one moment to the next. A stall in one of them counts in the whole turn.
const parts = 5

// turns has all take their turns, and notes the rates as row/key.
func turns(ctx context.Context, o *options, b *book, row string, all []contestant) error {
	for round := range o.rounds {
		counts, times := make([]int64, len(all)), make([]time.Duration, len(all))
		for range parts {
			for i, c := range all {
				n, took, err := c.run(ctx, o.turn/parts)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					return fmt.Errorf("%s: %w", c.key, err)
				}
				counts[i] += n
				times[i] += took
			}
		}
		for i, c := range all {
			rate := float64(counts[i]) / times[i].Seconds()
			b.add(row, c.key, rate)
			trial.Progress("%s, round %d, %s: %s/s", row, round+1, c.key, trial.Short(rate))
		}
	}
	return nil
}
