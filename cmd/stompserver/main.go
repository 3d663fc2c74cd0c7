// Command stompserver is a STOMP message broker, and the tools to talk to one.
//
// Without a sub-command it serves, with the flags of the Ruby stompserver's manual page.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stompserver"
)

// globals are what every sub-command shares. The flags among them are declared by the
// commands that honour them: see outputFlags and timeoutFlag.
type globals struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer // data, and everything else

	JSON    bool          // one JSON object a line instead of text for people
	Quiet   bool          // no progress, no remarks
	NoColor bool          // set by --no-color of serve, or by NO_COLOR in the environment
	Timeout time.Duration // for reaching a server and waiting for its answers; 0 is no limit
}

// outputFlags declares --json and --quiet, for a command that honours both.
func (g *globals) outputFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&g.JSON, "json", g.JSON, "print JSON, one object a line")
	f.BoolVar(&g.Quiet, "quiet", g.Quiet, "print results and errors only")
}

// timeoutFlag declares --timeout, for a command that waits for a server.
func (g *globals) timeoutFlag(cmd *cobra.Command, def time.Duration) {
	cmd.Flags().DurationVar(&g.Timeout, "timeout", def, "give up when the server has not answered by then")
}

// subcommands make the commands, in the order of the help.
var subcommands = []func(*globals) *cobra.Command{
	newServeCommand,
	newCheckConfigCommand,
	newConfigCommand,
	newPasswdCommand, newPermissionsCommand, newTLSCommand,
	newMigrateCommand,
	newExportCommand,
	newImportCommand,
	newCheckStoreCommand,
	newHealthCommand,
	newVersionCommand,
	newSendCommand,
	newSubscribeCommand,
	newBenchCommand,
	newCompletionCommand,
	newManCommand,
}

func main() {
	g := &globals{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, NoColor: os.Getenv("NO_COLOR") != ""}
	os.Exit(run(context.Background(), g, os.Args[1:]))
}

// run executes one command line and returns the exit code. It prints the error, if any.
func run(ctx context.Context, g *globals, args []string) int {
	// What fails before a command's own code begins is a matter of usage: an unknown
	// flag, a stray word.
	began := false
	root := newRootCommand(g)
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	args, err := arrange(root, args)
	if err == nil {
		root.SetArgs(args)
		if err = root.ExecuteContext(ctx); err != nil && !began {
			err = &exitError{Code: exitUsage, Err: err}
		}
	}
	code := exitCode(err)
	if code != exitInterrupted {
		report(g.Stderr, err)
	}
	return code
}

// newRootCommand makes the tree of commands. Its root serves, as serve does.
func newRootCommand(g *globals) *cobra.Command {
	cobra.EnableTraverseRunHooks = true // a command may have a PersistentPreRun too
	cobra.EnableCommandSorting = false
	root := newServeCommand(g)
	root.Use = "stompserver"
	root.Short = "STOMP message broker"
	root.SilenceUsage = true
	root.SilenceErrors = true
	root.CompletionOptions.DisableDefaultCmd = true
	serverHelp := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd == root {
			serverHelp(cmd, args)
			return
		}
		writeCommandHelp(g.Stdout, cmd)
	})
	for _, make := range subcommands {
		root.AddCommand(make(g))
	}
	// A command that only has commands of its own is not told as one that takes flags.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.SetFlagErrorFunc(flagProblem)
	root.SetIn(g.Stdin)
	root.SetOut(g.Stdout)
	root.SetErr(g.Stderr)
	return root
}

// arrange finds the command, which is the first word or serve, and puts the flags of those
// that take the server's into the form that pflag reads.
func arrange(root *cobra.Command, args []string) ([]string, error) {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name = args[0]
	}
	switch name {
	case "":
		return rewrite(args)
	case "serve", "config", "check-config":
		rest, err := rewrite(args[1:], "--json")
		return append([]string{name}, rest...), err
	case "help":
		if len(args) == 1 || args[1] == "help" {
			return args, nil
		}
		name = args[1]
	case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return args, nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return args, nil
		}
		names = append(names, c.Name())
	}
	if w := stompserver.Nearest(name, names); w != "" {
		return nil, usageError("there is no command %q; did you mean %q?", name, w)
	}
	return nil, usageError("there is no command %q: see stompserver -h", name)
}

// report prints an error: WHAT: WHY. HINT. Problems of a file begin with their place.
func report(w io.Writer, err error) {
	if err == nil || err.Error() == "" {
		return
	}
	var bad *stompserver.ConfigError
	if !errors.As(err, &bad) {
		// The package says its name as well.
		fmt.Fprintf(w, "stompserver: %s\n", strings.TrimPrefix(err.Error(), "stompserver: "))
		return
	}
	for _, p := range bad.Problems {
		if p.Source.Kind != "file" {
			fmt.Fprint(w, "stompserver: ")
		}
		fmt.Fprintln(w, p)
	}
}

// Exit codes. Those from 64 on are those of sysexits.h.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNothing     = 3   // nothing was received before the time limit
	exitUnavailable = 69  // cannot reach a server or lost it, or cannot listen
	exitIO          = 74  // a file cannot be read or written
	exitRefused     = 77  // the server refused: login or rights
	exitConfig      = 78  // the configuration is wrong
	exitInterrupted = 130 // by the user
)

// An exitError is an error that knows the exit code it ends the program with. With an Err
// of nil the program ends silently: what was to be said was said.
type exitError struct {
	Code int
	Err  error
}

func (e *exitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *exitError) Unwrap() error { return e.Err }

// usageError is an error of the command line.
func usageError(format string, args ...any) error {
	return &exitError{Code: exitUsage, Err: fmt.Errorf(format, args...)}
}

// exitCode is the exit code for what a command returned.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}
