package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stompserver"
)

// A serveFlag is one flag of serve.
type serveFlag struct {
	name  string // canonical: lower case, "-" between words
	shown string // in help, where it is spelt otherwise: working_dir
	short byte   // 0: none
	arg   string // the name of its value in help; "" takes none
	key   string // of the setting it sets; "" is for the command itself
	doc   string
	era   era
}

// An era says where a flag comes from. Flags of the manual page win over later ones when a
// prefix is resolved.
type era int

const (
	manual era = iota // stompserver(1) of the Ruby original
	ng                // stompserver_ng
	newer             // this one
	absent            // settled, but its feature is not in this build
)

var serveFlags = []serveFlag{
	{name: "config", short: 'C', arg: "CONFIGFILE", doc: "Configuration File (default: stompserver.conf)"},
	{name: "port", short: 'p', arg: "PORT", key: "port", doc: "Change the port (default: 61613; 0 picks a free one)"},
	{name: "host", short: 'b', arg: "ADDR", key: "host", doc: "Change the host (default: localhost; * for all addresses)"},
	{name: "queuetype", short: 'q', arg: "QUEUETYPE", key: "queue", doc: "Queue type (memory|journal|file|dbm|activerecord) (default: memory)"},
	{name: "working-dir", shown: "working_dir", short: 'w', arg: "DIR", key: "working_dir", doc: "Change the working directory (default: current directory)"},
	{name: "storage", short: 's', arg: "DIR", key: "storage", doc: "Change the storage directory (default: .stompserver, relative to working_dir)"},
	{name: "debug", short: 'd', key: "debug", doc: "Turn on debug messages"},
	{name: "auth", short: 'a', key: "auth", doc: "Require client authorization"},
	{name: "checkpoint", short: 'c', arg: "SECONDS", key: "checkpoint", doc: "Time between checkpointing the queues in seconds (default: 0)"},
	{name: "help", short: 'h', doc: "Show this message"},

	{name: "logdir", short: 'D', arg: "DIR", key: "logdir", era: ng, doc: "Directory of log and pid file (default: log, relative to working_dir)"},
	{name: "log-level", shown: "log_level", short: 'l', arg: "LEVEL", key: "log.level", era: ng, doc: "debug, info, warn or error (default: info)"},
	{name: "logfile", short: 'L', arg: "FILE", key: "log.file", era: ng, doc: "Log file, relative to logdir (default: standard error; with -z stompserver.log)"},
	{name: "pidfile", short: 'P', arg: "FILE", key: "pidfile", era: ng, doc: "File for the process id, relative to logdir (default: stompserver.pid)"},
	{name: "daemon", short: 'z', key: "daemon", era: ng, doc: "Run in the background"},
	{name: "dbyml", short: 'y', arg: "FILE", key: "dbyml", era: ng, doc: "database.yml of queue type activerecord (default: database.yml in etcdir, or else SQLite in the storage directory)"},
	{name: "session-cache", shown: "session_cache", short: 'S', arg: "N", key: "session_cache", era: ng, doc: "Accepted; has no effect"},

	{name: "tls-cert", arg: "FILE", key: "tls.cert", era: newer, doc: "Certificate for TLS, in PEM"},
	{name: "tls-key", arg: "FILE", key: "tls.key", era: newer, doc: "Its private key, in PEM"},
	{name: "http", arg: "ADDR", key: "http.listen", era: newer, doc: "Address and port of HTTP, or off (default: localhost:8161)"},
	{name: "log-format", arg: "FORMAT", key: "log.format", era: newer, doc: "text or json (default: text)"},
	{name: "ports-file", arg: "FILE", era: newer, doc: "Write the address and port in use to a file, as JSON; removed at a stop"},
	{name: "no-color", era: newer, doc: "Print without colours (as with NO_COLOR in the environment)"},
	{name: "version", short: 'V', era: newer, doc: "Show version, revision, date and Go"},

	{name: "no-console", era: absent},
	{name: "chaos", era: absent},
}

func (f *serveFlag) spelling() string {
	if f.shown != "" {
		return f.shown
	}
	return f.name
}

// rewrite turns arguments in any form that Ruby's option parser takes into --name=value
// and --name for pflag, followed by "--" and the words that are no flags. As in Ruby what
// follows --help (or --version) is not looked at.
//
// Ruby's forms are: values attached or apart (-p61614, -p 61614, --port=61614, --port
// 61614), clusters (-adp 61614), long names in any case, with "-" for "_", and by any
// unique prefix. A value may begin with a dash; "--" ends the flags. The flags of own are a
// command's and pass as they are.
func rewrite(args []string, own ...string) ([]string, error) {
	var flags, words []string
	stop := false
	add := func(f *serveFlag, value string) error {
		switch {
		case f.era == absent:
			return usageError("--%s is not in this build yet", f.name)
		case f.arg != "":
			flags = append(flags, "--"+f.name+"="+value)
		default:
			flags = append(flags, "--"+f.name)
			stop = f.name == "help" || f.name == "version"
		}
		return nil
	}
	for i := 0; i < len(args) && !stop; i++ {
		arg := args[i]
		// next is the value that stands apart from its flag.
		next := func(shown string, f *serveFlag) (string, error) {
			if i+1 == len(args) && f.era != absent {
				return "", usageError("%s needs a value: %s %s", shown, shown, f.arg)
			}
			i++
			return args[min(i, len(args)-1)], nil
		}
		var err error
		switch {
		case arg == "--":
			words = append(words, args[i+1:]...)
			i = len(args)
		case slices.Contains(own, arg):
			flags = append(flags, arg)
		case strings.HasPrefix(arg, "--"):
			name, value, attached := strings.Cut(arg[2:], "=")
			var f *serveFlag
			if f, err = resolve(name); err != nil {
				return nil, err
			}
			switch {
			case f.arg == "" && attached && f.era != absent:
				err = usageError("--%s takes no value", f.spelling())
			case f.arg != "" && !attached:
				value, err = next("--"+f.spelling(), f)
			}
			if err == nil {
				err = add(f, value)
			}
		case len(arg) > 1 && arg[0] == '-':
			err = cluster(arg[1:], next, add, &stop)
		default:
			words = append(words, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(words) > 0 && !stop {
		flags = append(append(flags, "--"), words...)
	}
	return flags, nil
}

// cluster reads the letters behind one dash.
func cluster(letters string, next func(string, *serveFlag) (string, error), add func(*serveFlag, string) error, stop *bool) error {
	for rest := letters; rest != "" && !*stop; {
		var f *serveFlag
		for i := range serveFlags {
			if s := serveFlags[i].short; s != 0 && s == rest[0] {
				f = &serveFlags[i]
			}
		}
		if f == nil {
			hint := ""
			if len(letters) > 2 {
				if long, err := resolve(strings.SplitN(letters, "=", 2)[0]); err == nil {
					hint = fmt.Sprintf("; did you mean --%s?", long.spelling())
				}
			}
			return usageError("unknown flag -%c%s", []rune(rest)[0], hint)
		}
		shown := "-" + rest[:1]
		rest = rest[1:]
		value := ""
		switch {
		case f.arg == "" && strings.HasPrefix(rest, "="):
			return usageError("%s takes no value", shown)
		case f.arg != "" && rest != "":
			value, rest = rest, ""
		case f.arg != "":
			var err error
			if value, err = next(shown, f); err != nil {
				return err
			}
		}
		if err := add(f, value); err != nil {
			return err
		}
		rest = strings.TrimLeft(rest, "-") // as Ruby: -a-d is -ad
	}
	return nil
}

// resolve finds the flag of a long name or of a prefix of it.
func resolve(given string) (*serveFlag, error) {
	name := strings.ReplaceAll(strings.ToLower(given), "_", "-")
	var old, all []*serveFlag
	for i := range serveFlags {
		f := &serveFlags[i]
		if f.name == name {
			return f, nil
		}
		if name != "" && strings.HasPrefix(f.name, name) {
			all = append(all, f)
			if f.era == manual {
				old = append(old, f)
			}
		}
	}
	if len(old) > 0 {
		all = old
	}
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return nil, usageError("unknown flag --%s%s", given, suggestFlag(name))
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = "--" + f.spelling()
	}
	return nil, usageError("--%s is ambiguous: it may be %s", given, strings.Join(names, ", "))
}

func suggestFlag(name string) string {
	var names []string
	for _, f := range serveFlags {
		if f.era != absent {
			names = append(names, f.name)
		}
	}
	if w := stompserver.Nearest(name, names); w != "" {
		return fmt.Sprintf("; did you mean --%s?", w)
	}
	return ""
}

// A serverArgs is what the flags of a command line say.
type serverArgs struct {
	Config    string // -C
	PortsFile string
	NoColor   bool
	Version   bool
	Settings  []stompserver.FlagValue
}

// register declares the flags of this build.
func (a *serverArgs) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	for i := range serveFlags {
		f := &serveFlags[i]
		if f.era == absent || f.name == "help" {
			continue
		}
		short := ""
		if f.short != 0 {
			short = string(f.short)
		}
		p := fs.VarPF(&flagValue{a, f}, f.name, short, f.doc)
		if f.arg == "" {
			p.NoOptDefVal = "true"
		}
		if words := f.words(); words != nil {
			completeWith(cmd, f.name, words...)
		}
	}
}

// words are the values that a flag can have, for completion; nil for any.
func (f *serveFlag) words() []string {
	switch f.name {
	case "queuetype":
		return stompserver.QueueTypes()
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{"text", "json"}
	}
	return nil
}

// A flagValue puts one flag's value into its serverArgs.
type flagValue struct {
	to   *serverArgs
	flag *serveFlag
}

func (v *flagValue) Set(s string) error {
	switch v.flag.name {
	case "config":
		v.to.Config = s
	case "ports-file":
		v.to.PortsFile = s
	case "no-color":
		v.to.NoColor = true
		return nil
	case "version":
		v.to.Version = true
		return nil
	default:
		name := "--" + v.flag.spelling()
		v.to.Settings = append(v.to.Settings, stompserver.FlagValue{Key: v.flag.key, Name: name, Value: s})
		return nil
	}
	if s == "" {
		return fmt.Errorf("it needs a value")
	}
	return nil
}

func (v *flagValue) String() string { return "" }

func (v *flagValue) Type() string {
	if v.flag.arg == "" {
		return "bool"
	}
	return strings.ToLower(v.flag.arg)
}
