package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"stompserver"
)

func newManCommand(g *globals) *cobra.Command {
	roff := false
	cmd := &cobra.Command{
		Use:   "man",
		Short: "Print the manual page stompserver(1)",
		Args:  words(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := &page{w: g.Stdout, roff: roff}
			manual1(p, cmd.Root())
			return p.err
		},
	}
	cmd.Flags().BoolVar(&roff, "roff", false, "print the source for man(1) instead of text")
	return cmd
}

// manual1 writes stompserver(1): the flags and settings as they are, the rest by hand.
func manual1(p *page, root *cobra.Command) {
	p.title("STOMPSERVER", "1", version)
	p.section("NAME")
	p.text("stompserver - STOMP message broker")
	p.section("SYNOPSIS")
	p.text("stompserver [options]")
	p.text("stompserver COMMAND ...")
	p.section("DESCRIPTION")
	p.text("stompserver is a message broker for STOMP 1.0, 1.1 and 1.2. Messages that are sent to a destination whose name starts with /queue are kept in order until one of the subscribers has taken them; any other destination is a topic, whose messages go to all who are subscribed at the time. It is the successor of the Ruby program of that name and takes its command line, configuration and password file.")
	p.text("Without a command it serves. It listens on this machine only unless told otherwise.")
	p.section("OPTIONS")
	for _, e := range []era{manual, ng, newer} {
		for i := range serveFlags {
			if f := &serveFlags[i]; f.era == e {
				p.item(strings.TrimSpace(f.usage()), f.doc+".")
			}
		}
	}
	p.text("A value may be attached to its option or stand apart; options of one letter may be joined, as in -adp 61614. Long options may be shortened as long as they are unambiguous, in any case, and with - for _.")
	p.section("COMMANDS")
	for _, c := range root.Commands() {
		if !c.Hidden && c.IsAvailableCommand() {
			p.item(c.UseLine(), c.Short+".")
		}
	}
	p.section("CONFIGURATION FILE")
	p.text("YAML, by default stompserver.conf in the current directory. Keys may be written with the leading colon of Ruby, as in :port: 61613. Parts of a name that are separated by dots below are nested sections in the file. Sizes are written as 64KiB or 1MB, times as 500ms, 10s, 5m, 24h or 7d. A key without a value is not set. Unknown keys are errors, unknown keys with a colon are warnings.")
	for _, t := range stompserver.All() {
		name := t.Key
		if t.Alias != "" {
			name += ", " + t.Alias
		}
		p.item(name, t.Doc+".")
	}
	p.section("ENVIRONMENT")
	p.text("Each key can be set by a variable: STOMPSERVER_, the key in upper case, and _ for the dots, as in STOMPSERVER_PORT or STOMPSERVER_LOG_LEVEL. With _FILE at its end the variable names a file that holds the value. STOMPSERVER_CONFIG names the configuration file. A flag beats the environment, which beats the file, which beats the default.")
	p.section("FILES")
	p.item("stompserver.conf", "The configuration file, in the current directory; -C names another.")
	p.item("etc/.passwd, .passwd", "Logins for -a, in etcdir or else in working_dir: a line login:passcode for each.")
	p.item("log/stompserver.pid", "The process id, in logdir, as long as the server runs.")
	p.item("log/stompserver.log", "The log of a daemon, in logdir.")
	p.section("SIGNALS")
	p.item("INT, TERM", "Stop: clients are told and served out, for at most ten seconds. A second one stops at once.")
	p.item("HUP", "Read configuration and password file again. What needs a restart is named in the log.")
	p.item("USR1", "Open the log file again.")
	p.item("USR2", "Restart, as another version if the program's file was replaced. No connection is refused meanwhile.")
	p.section("EXIT STATUS")
	for _, c := range []struct {
		code int
		text string
	}{
		{exitOK, "Done."}, {exitFailed, "Failed."}, {exitUsage, "The command line is wrong."},
		{exitNothing, "Nothing was received before the time limit."},
		{exitUnavailable, "Cannot reach a server, or lost it; cannot listen."}, {exitIO, "A file or directory cannot be read or written."},
		{exitRefused, "The server refused: login or rights."}, {exitConfig, "The configuration is wrong."},
		{exitInterrupted, "Interrupted by the user."},
	} {
		p.item(fmt.Sprint(c.code), c.text)
	}
	p.section("QUEUE TYPES")
	p.text("memory keeps queues in memory: the fastest, and gone with the process. journal, a log made for a disk, file, the Ruby server's own files, and dbm, a file of bbolt, keep them in the storage directory (-s). activerecord keeps them in the table of the Ruby server, in the database that database.yml (-y) names: PostgreSQL, MySQL, or SQLite in the storage directory. jetstream is not in this build yet and is refused.")
}

// A page is written as text for a terminal or as source for man(1).
type page struct {
	w    io.Writer
	roff bool
	err  error
}

func (p *page) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *page) title(name, section, version string) {
	if p.roff {
		p.printf(".TH %s %s \"\" \"stompserver %s\"\n", name, section, version)
		return
	}
	p.printf("%s(%s)%*s\n", name, section, 76-len(name)-3, "stompserver "+version)
}

func (p *page) section(name string) {
	if p.roff {
		p.printf(".SH %s\n", name)
		return
	}
	p.printf("\n%s\n", name)
}

func (p *page) text(s string) {
	if p.roff {
		p.printf(".PP\n%s\n", escapeRoff(s))
		return
	}
	p.wrap(7, s)
}

func (p *page) item(tag, s string) {
	if p.roff {
		p.printf(".TP\n.B %s\n%s\n", escapeRoff(tag), escapeRoff(s))
		return
	}
	p.wrap(7, tag)
	p.wrap(15, s)
}

// wrap writes s indented, in lines of 78 letters at most.
func (p *page) wrap(indent int, s string) {
	line := strings.Repeat(" ", indent)
	for _, word := range strings.Fields(s) {
		if len(line)+1+len(word) > 78 && strings.TrimSpace(line) != "" {
			p.printf("%s\n", line)
			line = strings.Repeat(" ", indent)
		}
		if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
	}
	p.printf("%s\n", line)
}

func escapeRoff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
