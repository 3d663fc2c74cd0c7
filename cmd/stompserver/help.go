package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// writeHelp prints the help of the server: the options of the manual page first, as the
// original printed them.
func writeHelp(w io.Writer, root *cobra.Command) {
	fmt.Fprint(w, "Usage: stompserver [options]\n       stompserver COMMAND ...\n\n")
	writeFlags(w, manual)
	fmt.Fprint(w, "\nof stompserver_ng:\n")
	writeFlags(w, ng)
	fmt.Fprint(w, "\nfurther:\n")
	writeFlags(w, newer)
	fmt.Fprint(w, "\ncommands:\n")
	for _, c := range root.Commands() {
		if c.Hidden || !c.IsAvailableCommand() {
			continue
		}
		fmt.Fprintf(w, "    %-32s %s\n", c.Name(), c.Short)
	}
	fmt.Fprint(w, `
Long options may be shortened, in any case, with "-" for "_". A flag beats the environment
(STOMPSERVER_PORT, STOMPSERVER_LOG_LEVEL, ...), which beats the configuration file.
Queue type memory, the default, keeps nothing over a restart; journal, file and dbm keep all in the storage directory.
"stompserver man" has the whole manual, "stompserver COMMAND -h" the help of a command.
`)
}

func writeFlags(w io.Writer, e era) {
	for i := range serveFlags {
		if f := &serveFlags[i]; f.era == e {
			fmt.Fprintf(w, "%-36s %s\n", f.usage(), f.doc)
		}
	}
}

// usage is the flag as Ruby's option parser lists it: "    -p, --port=PORT".
func (f *serveFlag) usage() string {
	var b strings.Builder
	b.WriteString("    ")
	if f.short != 0 {
		b.WriteString("-" + string(f.short) + ", ")
	} else {
		b.WriteString("    ")
	}
	b.WriteString("--" + f.spelling())
	if f.arg != "" {
		b.WriteString("=" + f.arg)
	}
	return b.String()
}

// writeCommandHelp prints the help of a command other than serve.
func writeCommandHelp(w io.Writer, cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(w, "%s\n\n%s", about, cmd.UsageString())
}
