package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stompserver"
)

func newConfigCommand(g *globals) *cobra.Command {
	var a serverArgs
	cmd := &cobra.Command{
		Use:   "config [options]",
		Short: "Print the effective configuration and where each value comes from",
		Args:  noWords,
		RunE: func(*cobra.Command, []string) error {
			s, err := load(a.options())
			if err != nil {
				return err
			}
			warn(g.Stderr, s)
			return printConfig(g, s)
		},
	}
	a.register(cmd)
	cmd.Flags().BoolVar(&g.JSON, "json", g.JSON, "print JSON, one object a line")
	hideSessionFlags(cmd)
	return cmd
}

// hideSessionFlags takes out the flags of the server that mean nothing to a command that
// does not serve.
func hideSessionFlags(cmd *cobra.Command) {
	for _, name := range []string{"ports-file", "no-color", "version"} {
		_ = cmd.Flags().MarkHidden(name)
	}
}

func printConfig(g *globals, s *stompserver.Settings) error {
	if g.JSON {
		out := json.NewEncoder(g.Stdout)
		for _, t := range stompserver.All() {
			if err := out.Encode(struct {
				Key    string `json:"key"`
				Value  string `json:"value"`
				Source string `json:"source"`
				Env    string `json:"env"`
			}{t.Key, t.Value(s), s.Source(t).String(), t.Env()}); err != nil {
				return err
			}
		}
		return nil
	}
	tw := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
	for _, t := range stompserver.All() {
		value := t.Value(s)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", t.Key, value, s.Source(t))
	}
	return tw.Flush()
}

func warn(w io.Writer, s *stompserver.Settings) {
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
}

func newCheckConfigCommand(g *globals) *cobra.Command {
	var a serverArgs
	cmd := &cobra.Command{
		Use:   "check-config [options] [FILE]",
		Short: "Check a configuration file and exit",
		Args:  words(0, 1),
		RunE: func(_ *cobra.Command, files []string) error {
			o := a.options()
			if len(files) > 0 {
				if o.File != "" {
					return usageError("name the file once, with -C or without")
				}
				o.File = files[0]
			}
			s, err := load(o)
			if err != nil {
				return err
			}
			warn(g.Stderr, s)
			what := s.File
			if what == "" {
				what = "no " + stompserver.DefaultFile + " here: the defaults"
			}
			if g.JSON {
				return json.NewEncoder(g.Stdout).Encode(struct {
					File     string   `json:"file"`
					OK       bool     `json:"ok"`
					Warnings []string `json:"warnings"`
				}{s.File, true, append([]string{}, s.Warnings...)})
			}
			fmt.Fprintf(g.Stdout, "%s: ok\n", what)
			return nil
		},
	}
	a.register(cmd)
	cmd.Flags().BoolVar(&g.JSON, "json", g.JSON, "print JSON")
	hideSessionFlags(cmd)
	return cmd
}
