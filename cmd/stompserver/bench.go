package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stompserver/internal/client"
	"stompserver/internal/loadgen"
)

// benchFlags are the options of bench that are not loadgen's.
type benchFlags struct {
	server serverFlags
	csv    bool
	load   loadgen.Config
}

func newBenchCommand(g *globals) *cobra.Command {
	b := &benchFlags{}
	c := &b.load
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a broker and measure it",
		Long: `Sends and receives messages as fast as the broker takes them (or at --rate), and
tells throughput, latency, and whether anything was lost, duplicated or out of order.

It works with any STOMP broker, and for comparison with nats-server (--server
nats://HOST:PORT; core NATS, where consumers of one queue are a queue group). It uses
destinations of a random name and takes what it sent out of them again.

Without --rate the loop is closed: producers wait for consumers when --backlog messages
are under way, and the latency is mostly the time in that backlog. With --rate messages
are due at fixed times, and latency counts from then.`,
		Example: `  stompserver bench --producers 4 --consumers 4 --queues 4 --size 256 --duration 5s
  stompserver bench --rate 5000 --duration 30s --pid $(pidof stompserver)
  stompserver bench --topic --consumers 100
  stompserver bench --receipts --persistent --consumers 0 --window 100
  stompserver bench --idle 10000 --pid $(pidof stompserver)`,
		Args:              words(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("duration") && c.Messages > 0 {
				c.Duration = 0
			}
			return b.run(cmd.Context(), g)
		},
	}
	g.outputFlags(cmd)
	g.timeoutFlag(cmd, 10*time.Second)
	b.server.declare(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&c.Producers, "producers", 1, "connections that send")
	f.IntVar(&c.Consumers, "consumers", 1, "connections that receive; 0 only sends")
	f.IntVar(&c.Queues, "queues", 1, "destinations, dealt to producers and consumers")
	f.BoolVar(&c.Topic, "topic", false, "topics instead of queues: every consumer gets every message")
	f.StringVar(&c.Destination, "destination", "", "name of the destination, or with --queues its first part (default random)")
	f.IntVar(&c.Size, "size", 100, "bytes of a body")
	f.DurationVar(&c.Duration, "duration", 5*time.Second, "how long to measure")
	f.Int64Var(&c.Messages, "messages", 0, "send so many messages instead")
	f.DurationVar(&c.Warmup, "warmup", 0, "run so long before measuring")
	f.Float64Var(&c.Rate, "rate", 0, "messages a second of all producers, at fixed times (open loop)")
	f.BoolVar(&c.Receipts, "receipts", false, "ask for a receipt for every SEND")
	f.IntVar(&c.Window, "window", 1000, "with --receipts: messages of a producer still without theirs")
	f.IntVar(&c.Backlog, "backlog", 0, "messages of a destination sent and not yet received (default 20000, less for large ones and topics)")
	f.StringVar(&c.Ack, "ack", "auto", "auto, client or client-individual")
	f.IntVar(&c.Prefetch, "prefetch", 0, "unacknowledged messages to ask for (default the broker's)")
	f.BoolVar(&c.Persistent, "persistent", false, "send persistent:true")
	f.StringVar(&c.Version, "protocol", "1.2", "STOMP version: 1.0, 1.1 or 1.2")
	f.IntVar(&c.PID, "pid", 0, "the broker's process on this machine, to tell its CPU time and memory")
	f.BoolVar(&c.PIDChildren, "pid-children", false, "and those of its child processes")
	f.IntVar(&c.Idle, "idle", 0, "instead: open so many connections that only subscribe, and tell what one costs")
	f.BoolVar(&b.csv, "csv", false, "print a line of names and a line of values")
	completeWith(cmd, "ack", ackModes...)
	completeWith(cmd, "protocol", "1.0", "1.1", "1.2")
	return cmd
}

func (b *benchFlags) run(ctx context.Context, g *globals) error {
	if b.csv && g.JSON {
		return usageError("--csv and --json: one of them")
	}
	c := b.load
	var err error
	if c.Server, c.Login, c.Passcode, err = b.server.resolve(); err != nil {
		return err
	}
	if c.TLS, err = b.server.trust(); err != nil {
		return err
	}
	c.Timeout = g.Timeout
	p := newProgress(g)
	c.Progress = func(at loadgen.Progress) {
		p.show("%-10s %3.0f %%  sent %s  received %s", at.Phase, 100*min(1, at.Done), p.count(at.Sent), p.count(at.Received))
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does not wait for what is under way
	res, err := loadgen.Run(ctx, c)
	p.clear()
	if err != nil {
		return benchError(err)
	}
	switch {
	case g.JSON:
		err = json.NewEncoder(g.Stdout).Encode(res)
	case b.csv:
		err = writeBenchCSV(g.Stdout, res)
	default:
		err = writeBenchText(g.Stdout, res, p.count)
	}
	switch {
	case err != nil:
		return ioError("standard output", err)
	case ctx.Err() != nil:
		return &exitError{Code: exitInterrupted}
	case res.Problem != "":
		return fmt.Errorf("bench: %s", res.Problem)
	case !res.OK():
		return errors.New("bench: not every message came once and in order")
	}
	return nil
}

// benchError puts the exit code to an error of loadgen's.
func benchError(err error) error {
	var (
		bad   *loadgen.UsageError
		dial  *client.DialError
		login *loadgen.LoginError
		path  *os.PathError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{Code: exitInterrupted}
	case errors.As(err, &bad):
		return &exitError{Code: exitUsage, Err: err}
	case errors.As(err, &dial):
		return cannotReach(dial)
	case errors.As(err, &login):
		return &exitError{Code: exitRefused, Err: err}
	case errors.As(err, &path):
		return &exitError{Code: exitIO, Err: err}
	}
	return fmt.Errorf("bench: %w", err)
}
