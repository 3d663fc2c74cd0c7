package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker for a release: -X main.version=1.2.3 -X main.revision=… -X main.date=….
// Without it the revision is what the go command recorded.
var (
	version  = "dev"
	revision = ""
	date     = ""
)

// A buildInfo says what this binary was made from.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Date     string `json:"date"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func build() buildInfo {
	b := buildInfo{version, revision, date, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		modified := false
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && revision == "":
				b.Revision = s.Value
			case s.Key == "vcs.time" && date == "":
				b.Date = s.Value
			case s.Key == "vcs.modified" && revision == "":
				modified = s.Value == "true"
			}
		}
		if modified {
			b.Revision += "-modified"
		}
	}
	if b.Revision == "" {
		b.Revision = "unknown"
	}
	if b.Date == "" {
		b.Date = "unknown"
	}
	return b
}

func (b buildInfo) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "stompserver %s\nrevision %s\ndate     %s\ngo       %s %s\n",
		b.Version, b.Revision, b.Date, b.Go, b.Platform)
	return err
}

func newVersionCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, revision, date and Go",
		Args:  words(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if g.JSON {
				return json.NewEncoder(g.Stdout).Encode(build())
			}
			return build().print(g.Stdout)
		},
	}
	cmd.Flags().BoolVar(&g.JSON, "json", g.JSON, "print JSON")
	return cmd
}
