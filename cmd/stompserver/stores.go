package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stompserver"
)

// A storeCommand works on stored messages that no server uses: migrate, export, import and
// check-store share it.
type storeCommand struct {
	g      *globals
	config string // --config
	from   string
	to     string
	dryRun bool
}

func (c *storeCommand) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.config, "config", "C", "", "the configuration `file` that says where the storage directory is (default stompserver.conf)")
	cmd.Flags().BoolVar(&c.g.JSON, "json", c.g.JSON, "print JSON, one object a line")
	cmd.Flags().BoolVar(&c.g.Quiet, "quiet", c.g.Quiet, "print errors only")
}

// place reads TYPE or TYPE:DIR of a flag.
func (c *storeCommand) place(flag, text string) (stompserver.Place, error) {
	if text == "" {
		return stompserver.Place{}, usageError("%s is missing: --%s TYPE or --%s TYPE:DIR, such as --%s journal:.stompserver", "--"+flag, flag, flag, flag)
	}
	s, err := c.load()
	if err != nil {
		return stompserver.Place{}, err
	}
	p, err := stompserver.ParsePlace(text, s.Config)
	if err != nil {
		return p, usageError("--%s: %w", flag, err)
	}
	return p, nil
}

func (c *storeCommand) load() (*stompserver.Settings, error) {
	return load(stompserver.LoadOptions{File: c.config, Env: os.Environ(), Version: version})
}

// transfer runs do with a progress line and until an interrupt, and prints what it did.
func (c *storeCommand) transfer(ctx context.Context, out io.Writer, did string, do func(context.Context, stompserver.Transfer) ([]stompserver.QueueSummary, error)) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := newProgress(c.g)
	sums, err := do(ctx, stompserver.Transfer{DryRun: c.dryRun, Tell: func(n, of int) {
		if of > 0 {
			p.show("%s of %s messages, %d %%", p.count(int64(n)), p.count(int64(of)), int64(n)*100/int64(of))
		} else {
			p.show("%s messages", p.count(int64(n)))
		}
	}})
	p.clear()
	if err != nil {
		return storeFailed(err, sums)
	}
	if c.g.Quiet {
		return nil
	}
	if c.g.JSON {
		enc := json.NewEncoder(out)
		for _, s := range sums {
			if err := enc.Encode(struct {
				Queue    string `json:"queue"`
				Messages int    `json:"messages"`
				Bytes    int64  `json:"bytes"`
				Resumed  int    `json:"resumed"`
			}{s.Queue, s.Messages, s.Bytes, s.Resumed}); err != nil {
				return err
			}
		}
		return nil
	}
	n, resumed := 0, 0
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "QUEUE\tMESSAGES\tBYTES")
	for _, s := range sums {
		n += s.Messages
		resumed += s.Resumed
		fmt.Fprintf(tw, "%s\t%d\t%d\n", s.Queue, s.Messages, s.Bytes)
	}
	if len(sums) > 0 {
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	already := ""
	if resumed > 0 {
		already = fmt.Sprintf(", %d of them before", resumed)
	}
	if c.dryRun {
		did = "would be " + did
	}
	fmt.Fprintf(out, "%s %s%s\n", things(n, "message"), did, already)
	return nil
}

// storeFailed gives err its exit code, and says how to go on.
func storeFailed(err error, sums []stompserver.QueueSummary) error {
	n := 0
	for _, s := range sums {
		n += s.Messages
	}
	var storage *stompserver.StorageError
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, fmt.Errorf("interrupted after %s; the same command goes on from there", things(n, "message"))}
	case errors.As(err, &storage):
		return &exitError{exitIO, err}
	}
	return err
}

func newMigrateCommand(g *globals) *cobra.Command {
	c := &storeCommand{g: g}
	cmd := &cobra.Command{
		Use:   "migrate --from TYPE[:DIR] --to TYPE[:DIR]",
		Short: "Copy the stored messages of one queue type to another",
		Long: `Copy the stored messages of one queue type to another, while no server uses either.

Order, ids and delivery counts are kept, and the source stays as it is: remove it when the
server runs well with the copy. A copy that was interrupted goes on with the same command.
Without DIR it is the storage directory that the configuration names.`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := c.place("from", c.from)
			if err != nil {
				return err
			}
			to, err := c.place("to", c.to)
			if err != nil {
				return err
			}
			return c.transfer(cmd.Context(), g.Stdout, fmt.Sprintf("copied from %s to %s", from, to),
				func(ctx context.Context, t stompserver.Transfer) ([]stompserver.QueueSummary, error) {
					return t.Migrate(ctx, from, to)
				})
		},
	}
	cmd.Flags().StringVar(&c.from, "from", "", "where the messages are: `TYPE[:DIR]`")
	cmd.Flags().StringVar(&c.to, "to", "", "where they are to go: `TYPE[:DIR]`")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "read all of it, and write nothing")
	c.flags(cmd)
	return cmd
}

func newExportCommand(g *globals) *cobra.Command {
	c := &storeCommand{g: g}
	cmd := &cobra.Command{
		Use:   "export --from TYPE[:DIR] [FILE]",
		Short: "Write stored messages as text, a JSON object a line",
		Long: `Write stored messages as text, a JSON object a line, while no server uses them.

Without FILE, or with "-", the text goes to standard output. "stompserver import" reads it.
A FILE that is there already is not overwritten.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) (err error) {
			from, err := c.place("from", c.from)
			if err != nil {
				return err
			}
			w, remarks, file := g.Stdout, g.Stderr, "standard output"
			if len(words) > 0 && words[0] != "-" {
				file = words[0]
				f, err2 := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err2 != nil {
					return &exitError{exitIO, err2}
				}
				defer func() {
					if e := errors.Join(f.Sync(), f.Close()); err == nil && e != nil {
						err = &exitError{exitIO, e}
					}
				}()
				w, remarks = f, g.Stdout
			}
			return c.transfer(cmd.Context(), remarks, fmt.Sprintf("written from %s to %s", from, file),
				func(ctx context.Context, t stompserver.Transfer) ([]stompserver.QueueSummary, error) {
					return t.Export(ctx, from, w)
				})
		},
	}
	cmd.Flags().StringVar(&c.from, "from", "", "where the messages are: `TYPE[:DIR]`")
	c.flags(cmd)
	return cmd
}

// rubyDump makes a dump of what the Ruby server stored with queue type dbm.
const rubyDump = `    ruby -rdbm -rjson -e '
      module StompServer; class StompFrame; attr_reader :headers, :body; end; end
      info = Marshal.load(File.binread("qinfo"))
      info[:queues].each { |dest, q| DBM.open(dest.gsub("/", "_")) { |db| q[:frames].each { |id|
        next unless data = db[id]
        frame = Marshal.load(data)
        puts JSON.generate(queue: dest, attempts: info[:frames][dest][id].to_h[:exceptions].to_i,
          headers_base64: frame.headers.map { |h| h.map { |s| [s].pack("m0") } },
          body_base64: [frame.body].pack("m0")) } } }' > dump
`

func newImportCommand(g *globals) *cobra.Command {
	c := &storeCommand{g: g}
	orphans, behind := "", false
	cmd := &cobra.Command{
		Use:   "import --to TYPE[:DIR] FILE",
		Short: "Store the messages of an export, or of another broker",
		Long: `Store the messages of an export, or of another broker, while no server uses the place.

FILE, or "-" for standard input, has a JSON object a line, which is one message:

    {"queue":"/queue/a","headers":{"type":"order"},"body":"..."}

Optional are body_base64 in place of body, for bytes that are no UTF-8 text; seq, which
orders and names the messages of a queue; attempts, how often it was delivered; arrived, in
milliseconds since 1970. Headers may be a list of pairs, too. An import that was interrupted
goes on with the same command.

The Ruby server's queue type dbm is brought over with Ruby's own library, which this command
uses in its storage directory (or with gdbm and GDBM in place of dbm and DBM):

` + rubyDump[:len(rubyDump)-1],
		Args: func(_ *cobra.Command, words []string) error {
			switch {
			case orphans != "" && len(words) > 0:
				return fmt.Errorf("unexpected word %q: with --orphans there is no FILE", words[0])
			case orphans == "" && len(words) == 0:
				return errors.New("FILE is missing. The form is: stompserver import --to TYPE[:DIR] FILE")
			case len(words) > 1:
				return fmt.Errorf("unexpected word %q. The form is: stompserver import --to TYPE[:DIR] FILE", words[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			to, err := c.place("to", c.to)
			if err != nil {
				return err
			}
			if orphans != "" {
				from, err := c.place("orphans", "file:"+orphans)
				if err != nil {
					return err
				}
				return c.transfer(cmd.Context(), g.Stdout, fmt.Sprintf("that the index of %s does not list stored in %s", orphans, to),
					func(ctx context.Context, t stompserver.Transfer) ([]stompserver.QueueSummary, error) {
						return t.AppendOrphans(ctx, from, to)
					})
			}
			r, name := g.Stdin, "standard input"
			if words[0] != "-" {
				f, err := os.Open(words[0])
				if err != nil {
					return &exitError{exitIO, err}
				}
				defer f.Close()
				r, name = f, words[0]
			}
			return c.transfer(cmd.Context(), g.Stdout, fmt.Sprintf("stored from %s in %s", name, to),
				func(ctx context.Context, t stompserver.Transfer) ([]stompserver.QueueSummary, error) {
					if behind {
						return t.Append(ctx, r, name, to)
					}
					return t.Import(ctx, r, name, to)
				})
		},
	}
	cmd.Flags().StringVar(&c.to, "to", "", "where the messages are to go: `TYPE[:DIR]`")
	cmd.Flags().BoolVar(&behind, "append", false, "store them behind what the place holds; an import that failed is then not to be repeated")
	cmd.Flags().StringVar(&orphans, "orphans", "", "instead of FILE, the messages in `DIR`, a storage directory of type file, that its index does not list: a crash of the Ruby server leaves them, consumed ones among them; they come behind what the place holds")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "read all of it, and write nothing")
	c.flags(cmd)
	return cmd
}

func newCheckStoreCommand(g *globals) *cobra.Command {
	c := &storeCommand{g: g}
	cmd := &cobra.Command{
		Use:   "check-store [DIR | TYPE[:DIR]]",
		Short: "Verify a storage directory that no server uses, and list what it holds",
		Long: `Verify a storage directory that no server uses, and list what it holds.

Every message is read and compared with its checksum. DIR is the storage directory that the
configuration names, if none is given. All types of stores in it are verified, or the one that is
named. Damage ends with exit code 74.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			s, err := c.load()
			if err != nil {
				return err
			}
			dir := s.Config.Storage
			if len(words) > 0 {
				dir = words[0]
			}
			places, err := placesIn(dir, s.Config)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			damaged := 0
			for _, p := range places {
				r, err := stompserver.Check(ctx, p)
				if err != nil {
					return storeFailed(err, nil)
				}
				damaged += len(r.Problems)
				if err := printReport(g, r); err != nil {
					return err
				}
			}
			if damaged > 0 {
				return &exitError{exitIO, fmt.Errorf("%s: %s. Restore the directory from a copy, or start with what is whole: on_damage: start", dir, things(damaged, "problem"))}
			}
			return nil
		},
	}
	c.flags(cmd)
	return cmd
}

// placesIn are the stores in a directory; or the one that TYPE or TYPE:DIR names, if there is no directory of that name.
func placesIn(dir string, cfg stompserver.Config) (places []stompserver.Place, err error) {
	if _, err := os.Stat(dir); err != nil {
		if p, err := stompserver.ParsePlace(dir, cfg); err == nil {
			return []stompserver.Place{p}, nil
		}
	}
	for _, queue := range stompserver.FindStores(dir) {
		p, err := stompserver.ParsePlace(queue+":"+filepath.Clean(dir), cfg)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	if len(places) == 0 {
		return nil, &exitError{exitIO, fmt.Errorf("no store of any type is in %s", dir)}
	}
	return places, nil
}

func printReport(g *globals, r *stompserver.StoreReport) error {
	if g.JSON {
		type queue struct {
			Name     string `json:"queue"`
			Messages int    `json:"messages"`
			Bytes    int64  `json:"bytes"`
			First    uint64 `json:"first"`
			Last     uint64 `json:"last"`
		}
		queues := []queue{}
		for _, q := range r.Queues {
			queues = append(queues, queue(q))
		}
		return json.NewEncoder(g.Stdout).Encode(struct {
			Type     string   `json:"type"`
			Storage  string   `json:"storage"`
			OK       bool     `json:"ok"`
			Queues   []queue  `json:"queues"`
			Problems []string `json:"problems"`
			Remarks  []string `json:"remarks"`
		}{r.Place.Queue, r.Place.Storage, len(r.Problems) == 0, queues, append([]string{}, r.Problems...), append([]string{}, r.Remarks...)})
	}
	n := 0
	for _, q := range r.Queues {
		n += q.Messages
	}
	how := "whole"
	if len(r.Problems) > 0 {
		how = "DAMAGED"
	}
	if !g.Quiet || len(r.Problems) > 0 {
		fmt.Fprintf(g.Stdout, "%s: %s, %s\n", r.Place, how, things(n, "message"))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(g.Stdout, "    damaged: %s\n", p)
	}
	if g.Quiet {
		return nil
	}
	for _, p := range r.Remarks {
		fmt.Fprintf(g.Stdout, "    no damage: %s\n", p)
	}
	if len(r.Queues) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "QUEUE\tMESSAGES\tBYTES\tFIRST\tLAST")
	for _, q := range r.Queues {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\n", q.Name, q.Messages, q.Bytes, q.First, q.Last)
	}
	return tw.Flush()
}
