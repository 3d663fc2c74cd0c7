//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"stompserver/scripts/internal/trial"
)

// bench puts the load of args on r, in rounds, and notes messages a CPU-second and a second.
func bench(ctx context.Context, o *options, b *book, row string, stores []*runner, args ...string) error {
	for round := range o.rounds {
		for _, r := range stores {
			all := append([]string{"--server", r.url(), "--pid", r.pid(), "--size", strconv.Itoa(size), "--persistent",
				"--duration", o.turn.String(), "--warmup", (o.turn / 2).String()}, args...)
			out, err := trial.Bench(ctx, o.tool, all...)
			if err == nil && (out.Flaw() != "" || out.Use == nil) {
				err = errors.New(out.Flaw())
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil { // the other stores go on
				b.note("%s, %s, round %d: %v", r.kind.title, row, round+1, err)
				continue
			}
			b.add(row, r.kind.key, out.Use.PerCPU)
			b.add(row+" rate", r.kind.key, out.ReceivedRate)
			trial.Progress("%s, round %d, %s: %s per CPU-second, %s/s", row, round+1, r.kind.key, trial.Short(out.Use.PerCPU), trial.Short(out.ReceivedRate))
		}
	}
	return nil
}

func safe(ctx context.Context, o *options, b *book, stores []*runner) error {
	return bench(ctx, o, b, "safe", stores, "--receipts", "--ack", "client-individual")
}

func keepUp(ctx context.Context, o *options, b *book, stores []*runner) error {
	return bench(ctx, o, b, "keepup", stores)
}

// one is one connection that waits for each receipt, and what bounds it.
func one(ctx context.Context, o *options, b *book, stores []*runner) error {
	return receipts(ctx, o, b, "one", stores, 1, "solo", (*disk).loop)
}

// many is 64 connections, each of which waits for each receipt, and what bounds them.
func many(ctx context.Context, o *options, b *book, stores []*runner) error {
	together := func(d *disk, record []byte) func(context.Context, time.Duration) (int64, time.Duration, error) {
		return d.together(record, connections)
	}
	if err := receipts(ctx, o, b, "many", stores, connections, "group", together); err != nil {
		return err
	}
	return libraries(ctx, o, b, stores)
}

const connections = 64

func receipts(ctx context.Context, o *options, b *book, row string, stores []*runner, conns int, mode string,
	raw func(*disk, []byte) func(context.Context, time.Duration) (int64, time.Duration, error),
) error {
	d, err := newDisk(filepath.Join(o.dir, "disk-"+row))
	if err != nil {
		return err
	}
	defer d.file.Close()
	disked, err := startEcho(ctx, o, mode)
	if err != nil {
		return err
	}
	defer disked.Kill()
	plain, err := startEcho(ctx, o, "none")
	if err != nil {
		return err
	}
	defer plain.Kill()
	record := sendFrame("/queue/bench")
	all := []contestant{
		{"disk", raw(d, record)}, {"echo", roundTrips(plain.addr(), conns)}, {"echo+disk", roundTrips(disked.addr(), conns)},
	}
	for _, r := range stores {
		own, err := r.fresh(ctx)
		if err != nil {
			return err
		}
		defer own.close()
		all = append(all, contestant{r.kind.key, roundTrips(own.addr(), conns)})
		if conns > 1 || r.kind.queue == "activerecord" {
			continue
		}
		embedded, err := startEmbedded(ctx, o, r.kind.queue)
		if err != nil {
			return err
		}
		defer embedded.close()
		all = append(all, contestant{embeddedKey(r.kind.key), roundTrips(embedded.addr(), conns)})
	}
	return turns(ctx, o, b, row, all)
}

// libraries compares the stores that are made of somebody's database with that alone.
func libraries(ctx context.Context, o *options, b *book, stores []*runner) error {
	for _, r := range stores {
		if r.kind.key != "dbm" && r.kind.queue != "activerecord" {
			continue
		}
		if err := library(ctx, o, b, r); err != nil {
			return fmt.Errorf("%s: %w", r.kind.key, err)
		}
	}
	return nil
}

func library(ctx context.Context, o *options, b *book, r *runner) error {
	r, err := r.fresh(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	key := r.kind.key
	if _, _, err := sendAll(ctx, r.addr(), connections, o.turn/4); err != nil { // warms up, and makes a row to copy
		return err
	}
	lib, err := r.bare(ctx)
	if err != nil {
		return err
	}
	defer lib.Close()
	for round := range o.rounds {
		before, err := r.transactions(ctx)
		if err != nil {
			return err
		}
		n, took, err := sendAll(ctx, r.addr(), connections, o.turn)
		if err != nil {
			return err
		}
		after, err := r.transactions(ctx)
		if err != nil {
			return err
		}
		rows := float64(n) / max(1, float64(after-before))
		limit, err := putFor(ctx, lib, max(1, int(math.Round(rows))), o.turn)
		if err != nil {
			return err
		}
		rate := float64(n) / took.Seconds()
		b.add("store", key, rate)
		b.add("rows", key, rows)
		b.add("library", key, limit)
		trial.Progress("library, round %d, %s: %s/s, %.1f rows a transaction; alone %s/s", round+1, key, trial.Short(rate), rows, trial.Short(limit))
	}
	return nil
}

// backlog fills a queue, starts the server anew after a kill and after a stop, and empties it.
func backlog(ctx context.Context, o *options, b *book, stores []*runner) error {
	for _, r := range stores {
		own, err := r.fresh(ctx)
		if err != nil {
			return err
		}
		err = own.backlog(ctx, b)
		own.close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.note("%s, backlog: %v", r.kind.title, err)
		}
	}
	return nil
}

func (r *runner) backlog(ctx context.Context, b *book) error {
	key, n := r.kind.key, r.o.backlog
	cpu, took, half := 0.0, 0.0, 0.0
	for i := range 2 { // what the second half needs is what a message needs: the window is full by then
		before := r.cpu()
		out, err := trial.Bench(ctx, r.o.tool, "--server", r.url(), "--size", strconv.Itoa(size), "--persistent", "--receipts",
			"--producers", "4", "--consumers", "0", "--messages", strconv.Itoa(n/2), "--destination", backlogQueue)
		if err == nil && (out.Flaw() != "" || out.Unconfirmed > 0) {
			err = fmt.Errorf("%s; %d without receipt", out.Flaw(), out.Unconfirmed)
		}
		if err != nil {
			return err
		}
		cpu += r.cpu() - before
		took += float64(n/2) / out.SentRate
		if i == 0 {
			half = r.rss()
		}
	}
	b.add("in", key, float64(n)/cpu)
	b.add("in rate", key, float64(n)/took)
	b.add("memory", key, max(0, r.rss()-half)/float64(n/2))
	b.add("resident", key, r.rss()/(1<<20))
	if r.kind.queue != "memory" {
		if err := r.restarts(ctx, b); err != nil {
			return err
		}
	}
	before := r.cpu()
	emptied, err := drain(ctx, r.addr(), backlogQueue, n/2*2)
	if err != nil {
		return err
	}
	b.add("out", key, float64(n)/(r.cpu()-before))
	b.add("out rate", key, float64(n)/emptied.Seconds())
	trial.Progress("backlog, %s: in %s and out %s per CPU-second, %.0f bytes of memory a message, ready %.0f ms after a kill and %.0f ms after a stop", key,
		trial.Short(b.median("in", key)), trial.Short(b.median("out", key)), b.median("memory", key), b.median("killed", key), b.median("stopped", key))
	return nil
}

const backlogQueue = "/queue/backlog"

// restarts notes how long the server takes to be ready again.
func (r *runner) restarts(ctx context.Context, b *book) error {
	r.Kill()
	if err := r.start(ctx); err != nil {
		return err
	}
	b.add("killed", r.kind.key, float64(r.StartTime)/1e6)
	begin := time.Now()
	r.Stop(time.Minute)
	b.add("stop", r.kind.key, time.Since(begin).Seconds()*1000)
	if err := r.start(ctx); err != nil {
		return err
	}
	b.add("stopped", r.kind.key, float64(r.StartTime)/1e6)
	return nil
}

// original compares the file store with that of the Ruby server, which is made to sync.
func original(ctx context.Context, o *options, b *book, stores []*runner) error {
	const program = "/usr/bin/stompserver"
	var ours *runner
	for _, r := range stores {
		if r.kind.key == "file" {
			ours = r
		}
	}
	if ours == nil {
		return nil
	}
	err := trial.Needs("ruby", program)
	if err != nil {
		trial.Progress("the Ruby server is left out: %v", err)
		return nil
	}
	if ours, err = ours.fresh(ctx); err != nil {
		return err
	}
	defer ours.close()
	theirs := &runner{kind: &kind{key: "ruby"}, o: o, dir: filepath.Join(o.dir, "ruby")}
	defer theirs.close()
	if theirs.port, err = trial.FreePort(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(theirs.dir, "etc"), 0o755); err != nil {
		return err
	}
	scripts := filepath.Join(o.root, "scripts")
	// The index of all messages, which it otherwise writes with each, would become its only work.
	cmd := exec.Command("ruby", "-W0", "-r", filepath.Join(scripts, "bench-peers", "ruby_stompserver.rb"), "-r", filepath.Join(scripts, "bench-stores", "ruby_fsync.rb"),
		program, "-p", strconv.Itoa(theirs.port), "-w", theirs.dir, "-q", "file", "-c", "3600")
	if theirs.Process, err = trial.Start(ctx, cmd, theirs.dir, 10*time.Second, trial.Accepts(theirs.port)); err != nil {
		return err
	}
	defer func() { ours.Kill() }() // a stop would make files of all that was sent
	// First, for what the others leave behind would be taken, too.
	if err := turns(ctx, o, b, "ruby passing", []contestant{{"ruby", passing(theirs.addr(), connections)}, {"file", passing(ours.addr(), connections)}}); err != nil {
		return err
	}
	for _, n := range []int{1, connections} {
		err := turns(ctx, o, b, fmt.Sprint("ruby ", n), []contestant{{"ruby", roundTrips(theirs.addr(), n)}, {"file", roundTrips(ours.addr(), n)}})
		if err != nil {
			return err
		}
	}
	return sustained(ctx, o, b, theirs, ours.kind)
}

// sustained is how many messages are sent where it matters that it goes on and on.
func (o *options) sustained() int { return max(o.backlog, 200_000) }

// sustained has so many messages sent without a consumer, in rounds, into one queue that grows: by one
// connection that does not wait for each receipt, and by many that do.
func sustained(ctx context.Context, o *options, b *book, theirs *runner, ours *kind) error {
	for _, conns := range []int{1, connections} {
		row, window := "ruby long", 1
		if conns == 1 {
			row, window = "ruby ahead", sentAhead
		}
		own, err := (&runner{kind: ours, o: o}).fresh(ctx)
		if err != nil {
			return err
		}
		for round := range o.rounds {
			err = errors.Join(
				note(ctx, b, row, round, contestant{"ruby", ahead(theirs.addr(), conns, window, 0)}, o.turn),
				note(ctx, b, row, round, contestant{"file", ahead(own.addr(), conns, window, int64(o.sustained()/o.rounds+1))}, 0))
			if err != nil {
				break
			}
		}
		own.Kill() // a stop would make files of all that was sent
		own.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// note has c take a turn, and notes its rate.
func note(ctx context.Context, b *book, row string, round int, c contestant, d time.Duration) error {
	n, took, err := c.run(ctx, d)
	if err != nil {
		return fmt.Errorf("%s: %w", c.key, err)
	}
	rate := float64(n) / took.Seconds()
	b.add(row, c.key, rate)
	trial.Progress("%s, round %d, %s: %s/s", row, round+1, c.key, trial.Short(rate))
	return nil
}

// sentAhead is how many messages one connection has under way where it does not wait for each receipt.
const sentAhead = 1000
