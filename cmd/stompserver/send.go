package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stompserver/internal/client"
	"stompserver/internal/frame"
)

// sendFlags are the options of send.
type sendFlags struct {
	server     serverFlags
	headers    []string
	file       string
	lines      bool
	count      int
	persistent bool
	reply      bool

	destination string
	body        *string // the argument, nil if there is none
	stdin       bool    // the argument is "-"
	header      frame.Header
}

func newSendCommand(g *globals) *cobra.Command {
	s := &sendFlags{}
	cmd := &cobra.Command{
		Use:   "send DEST [BODY]",
		Short: "Send a message",
		Long: `Sends a message and waits until the server has confirmed it. The body is the second
argument, a file, or, if that is missing or "-", standard input.`,
		Example: `  stompserver send /queue/orders '{"id":7}' -H content-type:application/json
  stompserver send /queue/orders --file order.json --persistent
  tail -f events.log | stompserver send /topic/events --lines
  stompserver send /queue/convert --file in.doc --reply > out.pdf`,
		Args:              words(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.destination = args[0]
			if len(args) > 1 {
				s.body = &args[1]
			}
			s.stdin = len(args) > 1 && args[1] == "-"
			return s.run(cmd.Context(), g)
		},
	}
	g.outputFlags(cmd)
	g.timeoutFlag(cmd, 10*time.Second)
	s.server.declare(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&s.headers, "header", "H", nil, "a header, NAME:VALUE; may be repeated")
	f.StringVar(&s.file, "file", "", "read the body from this file")
	f.BoolVar(&s.lines, "lines", false, "send each line as a message of its own")
	f.IntVar(&s.count, "count", 1, "send the message so many times")
	f.BoolVar(&s.persistent, "persistent", false, "send persistent:true")
	f.BoolVar(&s.reply, "reply", false, "ask for an answer, wait for it and print it")
	refuseFlag(cmd, "expires", "the expiry of messages is not in this build yet")
	return cmd
}

func (s *sendFlags) run(ctx context.Context, g *globals) error {
	if err := s.check(); err != nil {
		return err
	}
	var in io.Reader = g.Stdin
	switch {
	case s.stdin:
	case s.body != nil:
		in = strings.NewReader(*s.body)
	case s.file != "":
		f, err := os.Open(s.file)
		if err != nil {
			return ioError("--file", err)
		}
		defer f.Close()
		in = f
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := s.server.dial(ctx, g, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	// Once interrupted, the server has a moment to confirm what was sent; a second signal
	// is not caught.
	var cut atomic.Bool
	defer context.AfterFunc(ctx, func() {
		stop()
		parting := partingTime
		if g.Timeout > 0 {
			parting = min(parting, g.Timeout)
		}
		select {
		case <-c.Done():
		case <-time.After(parting):
			cut.Store(true)
			_ = c.Close()
		}
	})()
	if (s.body == nil || s.stdin) && s.file == "" && isTerminal(g.Stdin) && !g.Quiet {
		what := "the body from the terminal, end it"
		if s.lines {
			what = "lines from the terminal, end them"
		}
		fmt.Fprintf(g.Stderr, "reading %s with %s\n", what, endOfInput)
	}
	in = newPromptReader(ctx, in)
	if s.reply {
		return s.ask(ctx, g, c, in)
	}
	t := &sender{g: g, c: c, progress: newProgress(g), destination: s.destination, header: s.header}
	if s.lines {
		err = t.lines(ctx, in)
	} else {
		err = t.copies(ctx, in, s.count)
	}
	t.progress.clear()
	interrupted := ctx.Err() != nil
	switch {
	case interrupted && t.messages == 0:
		return &exitError{Code: exitInterrupted}
	case interrupted:
		err = disconnect(context.WithoutCancel(ctx), g, c)
	case err == nil:
		err = disconnect(ctx, g, c)
	}
	if err == nil && !cut.Load() {
		err = t.report() // the server has confirmed all of it
	}
	switch {
	case interrupted:
		return &exitError{Code: exitInterrupted}
	case err != nil:
		return clientError(err)
	}
	return nil
}

// partingTime is how long an interrupted send waits for the server.
const partingTime = 2 * time.Second

func (s *sendFlags) check() error {
	switch {
	case s.destination == "":
		return usageError("send: the destination is empty")
	case s.body != nil && s.file != "":
		return usageError("send: BODY and --file: one of them")
	case s.count < 1:
		return usageError("--count: at least 1, not %d", s.count)
	case s.lines && s.count > 1:
		return usageError("--lines and --count: one of them")
	case s.reply && (s.lines || s.count > 1):
		return usageError("--reply: waits for the answer to one message, so without --lines and --count")
	}
	for _, h := range s.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return usageError("-H %q: is not NAME:VALUE", h)
		}
		switch name {
		case "destination", "content-length", "receipt", "transaction":
			return usageError("-H %s: is set by send itself", name)
		case "reply-to":
			if s.reply {
				return usageError("-H reply-to: is set by --reply")
			}
		}
		s.header.Add(name, value)
	}
	if s.persistent {
		s.header.Add("persistent", "true")
	}
	return nil
}

// ask sends one message and waits for the answer in a queue of its own.
func (s *sendFlags) ask(ctx context.Context, g *globals, c *client.Conn, in io.Reader) error {
	body, err := io.ReadAll(in)
	if err != nil {
		return inputError("reading the body", err)
	}
	ctx, cancel := withTimeout(ctx, g.Timeout)
	defer cancel()
	queue := fmt.Sprintf("/queue/reply.%016x", rand.Uint64())
	sub, err := c.Subscribe(ctx, queue, client.SubscribeOptions{})
	if err != nil {
		return clientError(err)
	}
	s.header.Add("reply-to", queue)
	if err := c.SendConfirmed(ctx, s.destination, s.header, body); err != nil {
		return clientError(err)
	}
	m, err := sub.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return &exitError{Code: exitNothing, Err: fmt.Errorf("no answer from %s within %v", s.destination, g.Timeout)}
	}
	if err != nil {
		return clientError(err)
	}
	out := newMessagePrinter(g)
	if err := out.print(ctx, m, 1, time.Now()); err != nil {
		return ioError("standard output", err)
	}
	return disconnect(ctx, g, c)
}

// confirmEvery is after how many messages, or bytes, a sender waits for a receipt: it
// bounds what is under way, and what is not known to have arrived when a server fails.
const (
	confirmEvery      = 1000
	confirmEveryBytes = 4 << 20
)

// A sender sends many messages, confirmed in groups.
type sender struct {
	g           *globals
	c           *client.Conn
	progress    *progress
	destination string
	header      frame.Header
	messages    int64
	bytes       int64
	open        int // messages without receipt
	openBytes   int
}

func (t *sender) send(ctx context.Context, body []byte, last bool) error {
	err := ctx.Err()
	if err != nil {
		return err
	}
	t.open++
	t.openBytes += len(body)
	if last || t.open >= confirmEvery || t.openBytes >= confirmEveryBytes {
		wait, cancel := withTimeout(ctx, t.g.Timeout)
		err = t.c.SendConfirmed(wait, t.destination, t.header, body)
		cancel()
		t.open, t.openBytes = 0, 0
		if errors.Is(err, context.Canceled) {
			err = nil // it was sent, and DISCONNECT's receipt will confirm it
		}
	} else {
		err = t.c.Send(t.destination, t.header, body)
	}
	if err != nil {
		return err
	}
	t.messages++
	t.bytes += int64(len(body))
	t.progress.show("sent %s, %s", t.progress.things(t.messages, "message"), t.progress.things(t.bytes, "byte"))
	return nil
}

// copies sends the whole of in n times.
func (t *sender) copies(ctx context.Context, in io.Reader, n int) error {
	body, err := io.ReadAll(in)
	if err != nil {
		return inputError("reading the body", err)
	}
	t.c.Hold()
	for i := range n {
		if err := t.send(ctx, body, i == n-1); err != nil {
			return err
		}
	}
	return nil
}

// lines sends each line of in. What has been read goes out before more is waited for, so
// that it can follow a log.
func (t *sender) lines(ctx context.Context, in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	t.c.Hold()
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return inputError("reading lines", err)
		}
		if len(line) > 0 {
			line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
			if err := t.send(ctx, line, false); err != nil {
				return err
			}
		}
		read, _ := r.Peek(r.Buffered())
		if err != nil || bytes.IndexByte(read, '\n') < 0 {
			if err := t.c.Flush(); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // DISCONNECT's receipt confirms what is open
		}
	}
}

func (t *sender) report() error {
	var err error
	switch {
	case t.g.JSON:
		err = json.NewEncoder(t.g.Stdout).Encode(struct {
			Destination string `json:"destination"`
			Messages    int64  `json:"messages"`
			Bytes       int64  `json:"bytes"`
		}{t.destination, t.messages, t.bytes})
	case t.g.Quiet:
	case t.messages == 1:
		_, err = fmt.Fprintf(t.g.Stdout, "sent %s to %s\n", t.progress.things(t.bytes, "byte"), t.destination)
	default:
		_, err = fmt.Fprintf(t.g.Stdout, "sent %s, %s to %s\n", t.progress.things(t.messages, "message"), t.progress.things(t.bytes, "byte"), t.destination)
	}
	if err != nil {
		return ioError("standard output", err)
	}
	return nil
}
