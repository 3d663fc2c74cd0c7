package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stompserver/internal/client"
)

// subscribeFlags are the options of subscribe.
type subscribeFlags struct {
	server  serverFlags
	count   int
	forTime time.Duration
	ack     string
	raw     bool
	headers bool
	dump    string
	exec    string
}

func newSubscribeCommand(g *globals) *cobra.Command {
	s := &subscribeFlags{}
	cmd := &cobra.Command{
		Use:   "subscribe DEST...",
		Short: "Receive messages and print them",
		Long: `Prints the bodies of the messages of one or more destinations, each on a line of its
own, until it is interrupted. A message of a queue is acknowledged once it is printed (or
written, or once the command has succeeded): what was not, stays in the queue.`,
		Example: `  stompserver subscribe /queue/orders --count 1 --headers
  stompserver subscribe /topic/events /topic/errors --for 10s
  stompserver subscribe /queue/mail --exec 'sendmail -t'`,
		Args:              words(1, -1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), g, args)
		},
	}
	g.outputFlags(cmd)
	g.timeoutFlag(cmd, 10*time.Second)
	s.server.declare(cmd)
	f := cmd.Flags()
	f.IntVar(&s.count, "count", 0, "end after so many messages")
	f.DurationVar(&s.forTime, "for", 0, "end after this time; exit code 3 if nothing came")
	f.StringVar(&s.ack, "ack", "client-individual", "auto, client or client-individual; in auto what the server has sent is gone")
	f.BoolVar(&s.raw, "raw", false, "print the bytes of the bodies and nothing else")
	f.BoolVar(&s.headers, "headers", false, "print a line with time, size and headers before each body")
	f.StringVar(&s.dump, "dump", "", "write bodies and headers to files in this directory, and print their names")
	f.StringVar(&s.exec, "exec", "", "run this shell command for each message, with the body as its input; if it fails, the message is refused (NACK)")
	completeWith(cmd, "ack", ackModes...)
	refuseFlag(cmd, "durable", "durable subscriptions are not in this build yet")
	refuseFlag(cmd, "selector", "selectors are not in this build yet")
	return cmd
}

func (s *subscribeFlags) check(g *globals, destinations []string) error {
	ways := 0
	for _, on := range []bool{s.raw, s.dump != "", s.exec != "", g.JSON} {
		if on {
			ways++
		}
	}
	switch {
	case slices.Contains(destinations, ""):
		return usageError("subscribe: a destination is empty")
	case s.ack != "auto" && s.ack != "client" && s.ack != "client-individual":
		return usageError("--ack: auto, client or client-individual, not %q", s.ack)
	case s.count < 0 || s.forTime < 0:
		return usageError("--count and --for: not negative")
	case ways > 1:
		return usageError("--raw, --json, --dump and --exec: one of them")
	case s.headers && ways > 0:
		return usageError("--headers: not with --raw, --json, --dump or --exec")
	case s.exec != "" && s.ack == "auto":
		return usageError("--exec: needs --ack client or client-individual, so that a message whose command fails is kept")
	}
	return nil
}

// A sink does with a message what the user wants. An error of kind errRefuse is about that
// message alone.
type sink interface {
	print(ctx context.Context, m *client.Message, n int, at time.Time) error
}

// errRefuse says that a message is to be given back to the server.
var errRefuse = errors.New("the message was refused")

func (s *subscribeFlags) sink(g *globals) (sink, error) {
	switch {
	case s.dump != "":
		return newDumper(g, s.dump)
	case s.exec != "":
		return &runner{g: g, command: s.exec}, nil
	}
	p := newMessagePrinter(g)
	p.raw, p.headers = s.raw, s.headers
	return p, nil
}

// subscribeBeat is the heart-beat asked for: a server that is gone is noticed.
const subscribeBeat = 10 * time.Second

func (s *subscribeFlags) run(ctx context.Context, g *globals, destinations []string) error {
	if err := s.check(g, destinations); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	out, err := s.sink(g)
	if err != nil {
		return err
	}
	c, err := s.server.dial(ctx, g, subscribeBeat)
	if err != nil {
		return err
	}
	defer c.Close()
	limit := ctx
	if s.forTime > 0 {
		var cancel context.CancelFunc
		limit, cancel = context.WithTimeout(ctx, s.forTime)
		defer cancel()
	}
	n, err := s.receive(limit, g, c, destinations, out)
	switch {
	case ctx.Err() != nil:
		_ = disconnect(context.Background(), g, c) // what was acknowledged is to reach the server
		return &exitError{Code: exitInterrupted}
	case errors.Is(err, context.DeadlineExceeded) && n == 0:
		return &exitError{Code: exitNothing, Err: fmt.Errorf("nothing received within %v", s.forTime)}
	case errors.Is(err, context.DeadlineExceeded):
	case err != nil:
		return clientError(err)
	}
	return disconnect(ctx, g, c)
}

// receive hands messages to out until there were enough or ctx ends. It returns how many.
func (s *subscribeFlags) receive(ctx context.Context, g *globals, c *client.Conn, destinations []string, out sink) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	type received struct {
		m   *client.Message
		err error
		at  time.Time
	}
	all := make(chan received)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, d := range destinations {
		sub, err := c.Subscribe(ctx, d, s.options())
		if err != nil {
			return 0, err
		}
		wg.Go(func() {
			for {
				m, err := sub.Next(ctx)
				select {
				case all <- received{m, err, time.Now()}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		})
	}
	for s.count == 0 || n < s.count {
		var r received
		select {
		case r = <-all:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		if r.err != nil {
			return n, r.err
		}
		switch err := out.print(ctx, r.m, n+1, r.at); {
		case errors.Is(err, errRefuse):
			if !g.Quiet {
				fmt.Fprintf(g.Stderr, "stompserver: message %d of %s: %v\n", n+1, r.m.Destination(), err)
			}
			if err := s.refuse(c, r.m); err != nil {
				return n, err
			}
		case err != nil:
			return n, ioError("writing a message", err)
		case s.ack != "auto":
			if err := c.Ack(r.m); err != nil {
				return n, err
			}
		}
		n++
	}
	return n, nil
}

// refuse gives m back, as far as the version can: in 1.0 it comes back when we leave.
func (s *subscribeFlags) refuse(c *client.Conn, m *client.Message) error {
	if c.Version().String() == "1.0" {
		return nil
	}
	return c.Nack(m)
}

// options asks for no more messages at a time than will be taken, under all the names
// that servers know for it.
func (s *subscribeFlags) options() client.SubscribeOptions {
	o := client.SubscribeOptions{Ack: s.ack}
	if prefetch := s.asksFor(); prefetch > 0 {
		o.Header.Add("prefetch-count", strconv.Itoa(prefetch))
		o.Header.Add("activemq.prefetchSize", strconv.Itoa(prefetch))
	}
	return o
}

// asksFor is how many messages the server may have under way to us; 0 is as it likes.
func (s *subscribeFlags) asksFor() int {
	switch {
	case s.ack == "auto":
		return 0 // it is not for this mode
	case s.exec != "":
		return 1
	case s.count < 100:
		return s.count
	}
	return 0
}
