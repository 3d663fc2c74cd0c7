package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"stompserver"
)

func newConfigCommand(g *globals) *cobra.Command {
	var a serverArgs
	cmd := &cobra.Command{
		Use:   "config [options]",
		Short: "Print the effective configuration and where each value comes from",
		Args:  noWords,

		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			s, err := load(a.options())
			if err != nil {
				return err
			}
			warn(g.Stderr, s.Warnings)
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
				Value  any    `json:"value"`
				Source string `json:"source"`
				Env    string `json:"env"`
			}{t.Key, t.Typed(s), s.Source(t).String(), t.Env()}); err != nil {
				return err
			}
		}
		return nil
	}
	// A list of users may be longer than all else is wide: it does not push the others' sources aside.
	const wide = 50
	keys, values := 0, 0
	for _, t := range stompserver.All() {
		keys = max(keys, len(t.Key))
		if n := utf8.RuneCountInString(t.YAML(s)); n <= wide {
			values = max(values, n)
		}
	}
	for _, t := range stompserver.All() {
		if _, err := fmt.Fprintf(g.Stdout, "%-*s  %-*s  %s\n", keys, t.Key, values, t.YAML(s), s.Source(t)); err != nil {
			return ioError("standard output", err)
		}
	}
	return nil
}

func warn(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
}

func newCheckConfigCommand(g *globals) *cobra.Command {
	var a serverArgs
	cmd := &cobra.Command{
		Use:   "check-config [options] [FILE]",
		Short: "Check a configuration file and exit",
		Long: `Check a configuration file and exit.

All problems are told, with their lines; then the exit code is 78. Files that it names and that cannot be read here are
warned of only: they may be there where the server runs.`,
		Args: words(0, 1),

		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, files []string) error {
			o := a.options()
			if len(files) > 0 {
				if o.File != "" {
					return usageError("name the file once, with -C or without")
				}
				o.File = files[0]
			}
			s, err := load(o)
			if err == nil {
				s.Warnings = append(s.Warnings, s.FileWarnings()...)
			}
			if g.JSON {
				return printCheck(g, s, err)
			}
			if bad := (*stompserver.ConfigError)(nil); errors.As(err, &bad) {
				warn(g.Stderr, bad.Warnings)
			}
			if err != nil {
				return err
			}
			warn(g.Stderr, s.Warnings)
			what := s.File
			if what == "" {
				what = "no " + stompserver.DefaultFile + " here: the defaults"
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

// A checkJSON is what check-config --json prints.
type checkJSON struct {
	File     string        `json:"file"` // "" if there is none
	OK       bool          `json:"ok"`
	Problems []problemJSON `json:"problems"`
	Warnings []string      `json:"warnings"`
}

type problemJSON struct {
	Source string `json:"source"` // the file as it was named, the flag or the variable
	Line   int    `json:"line,omitempty"`
	Text   string `json:"text"`
}

// printCheck prints what load returned. The problems are data, and not on standard error
// too.
func printCheck(g *globals, s *stompserver.Settings, err error) error {
	out := checkJSON{OK: err == nil, Problems: []problemJSON{}, Warnings: []string{}}
	var bad *stompserver.ConfigError
	switch {
	case errors.As(err, &bad):
		out.File, out.Warnings = bad.File, append(out.Warnings, bad.Warnings...)
		for _, p := range bad.Problems {
			out.Problems = append(out.Problems, problemJSON{p.Source.Name, p.Source.Line, p.Text})
		}
		err = &exitError{Code: exitCode(err)}
	case err != nil:
		return err
	default:
		out.File, out.Warnings = s.File, append(out.Warnings, s.Warnings...)
	}
	if e := json.NewEncoder(g.Stdout).Encode(out); e != nil {
		return ioError("standard output", e)
	}
	return err
}
